"""Which artefacts are live: a book that `promote` and `rollback` write to, in the data folder or for all replicas.

A promoted folder is copied to ``releases/DIGEST`` in the data folder, so that what was live yesterday is still
there tomorrow. Its manifest's digest names it and is checked at every start; the manifest in turn holds the
digest of every file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from filelock import FileLock
from pydantic import ValidationError

from app.models.manifest import (
    CATALOGUE,
    SHIPPED,
    Manifest,
    ManifestError,
    manifest_for,
    sha256_of,
)
from tools.domain import Domain
from tools.intents import IntentsInvalid
from tools.ports import PortError
from tools.values import Clock, Record

#: Adapters must stay small enough for version control.
LARGEST = 8 * 2**20


class ReleaseError(Exception):
    """This release cannot be made live."""


class Change(Record):
    """One promotion or rollback; ``digest`` is live from then on, None being what is shipped."""

    action: Literal["promote", "rollback"]
    digest: str | None
    at: datetime
    by: str
    source: str = ""
    note: str = ""


Changes = tuple[Change, ...]


class Book(Protocol):
    """Where promotions and rollbacks are written down. Synchronous."""

    def history(self) -> Changes:
        """Every change, oldest first. Raises ReleaseError when it cannot be read, PortError where its server is
        away."""
        ...

    def write(self, decide: Callable[[Changes], Change], release: Path | None = None) -> Change:
        """Add the change that ``decide`` makes of the history, nobody else writing meanwhile; with the files of
        a promoted release, where other replicas need them."""
        ...

    def bring(self, digest: str, to: Path) -> None:
        """Put the files of a release there if they are missing. Raises ReleaseError where nobody has them."""
        ...


class _File(Record):
    version: Literal[1] = 1
    changes: Changes = ()


class FileBook:
    """``release.json`` in the data folder of one process. Every change is written whole, and none is forgotten."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir / "release.json"

    def history(self) -> Changes:
        try:
            return _File.model_validate_json(self._file.read_bytes()).changes
        except FileNotFoundError:
            return ()
        except (OSError, ValidationError) as error:
            raise ReleaseError(
                f"{self._file} cannot be read ({error}): restore it, or delete it to go back to what is shipped."
            ) from error

    def write(self, decide: Callable[[Changes], Change], release: Path | None = None) -> Change:
        history = self.history()
        change = decide(history)
        text = _File(changes=(*history, change)).model_dump_json(indent=2) + "\n"
        draft = self._file.with_suffix(".part")
        draft.write_text(text, "utf-8")
        draft.replace(self._file)
        return change

    def bring(self, digest: str, to: Path) -> None:
        """There are no others to bring them from."""


class Releases:
    """The releases that one process knows: their files in its data folder, their changes in a book."""

    def __init__(
        self,
        data_dir: Path,
        domain: Domain,
        *,
        book: Book | None = None,
        shipped: Path = SHIPPED,
        clock: Clock | None = None,
    ) -> None:
        self._book = book or FileBook(data_dir)
        self._folder = data_dir / "releases"
        self._domain = domain
        self._shipped = shipped
        self._clock = clock or Clock()

    def history(self) -> Changes:
        """Every change, oldest first. Raises ReleaseError when it cannot be read, PortError where its server is
        away."""
        return self._book.history()

    def live(self) -> Change | None:
        """The last change; None while nothing was ever promoted."""
        changes = self.history()
        return changes[-1] if changes else None

    def folder(self, digest: str) -> Path:
        """Where a promoted release's files are."""
        return self._folder / digest[:16]

    def promote(self, source: Path, *, by: str, note: str = "", base: Path | None = None) -> Change:
        """Verify every artefact of ``source``, copy them, and make them live from the next start on.

        Raises ReleaseError, and PortError where the book's server is away; then nothing has changed."""
        digest = digest_of(source)
        try:
            manifest = self._manifest(base, source, strict=True)
            manifest.catalogue(self._domain)
        except (ManifestError, IntentsInvalid) as error:
            raise ReleaseError(str(error)) from error
        catalogue, head = source / CATALOGUE, manifest.heads.get("intent")
        if catalogue.exists() and (head is None or head.intents_sha256 != sha256_of(catalogue)):
            raise ReleaseError(
                f"{catalogue} is not in the manifest: an intent head trained on it holds its digest "
                "(intents_sha256); `signalbox train router` writes both."
            )
        files = [*_files(source), *([CATALOGUE] if catalogue.exists() else [])]
        too_large = [f for f in files if (source / f).stat().st_size > LARGEST]
        if too_large:
            raise ReleaseError(f"{', '.join(too_large)}: larger than {LARGEST // 2**20} MB.")
        change = Change(
            action="promote",
            digest=digest,
            at=self._clock.now(),
            by=by,
            source=str(source.absolute()),
            note=note,
        )
        with self._alone():
            self._copy(source, files, self.folder(digest))
            return self._book.write(lambda _: change, self.folder(digest))

    def rollback(self, *, by: str, note: str = "") -> Change:
        """Make live again what was before the release that is live now. Raises ReleaseError, and PortError."""

        def back(history: Changes) -> Change:
            stack = standing(history)
            if not stack:
                raise ReleaseError("Nothing to roll back: what is shipped is live.")
            before = stack[-2] if len(stack) > 1 else None
            if before is not None:
                self._book.bring(before, self.folder(before))
                if not (self.folder(before) / "manifest.json").exists():
                    raise ReleaseError(f"{self.folder(before)} is gone: promote its source again.")
            return Change(action="rollback", digest=before, at=self._clock.now(), by=by, note=note)

        with self._alone():
            return self._book.write(back)

    def _manifest(
        self, base: Path | None, release: Path | None = None, *, strict: bool = False
    ) -> Manifest:
        return manifest_for(
            self._domain, base=base, shipped=self._shipped, release=release, strict=strict
        )

    def manifest(self, *, base: Path | None = None) -> Manifest:
        """What is live, verified. When the release is not intact, what it would take the place of, and a refusal."""
        try:
            live = self.live()
        except (ReleaseError, PortError) as error:
            return _without(self._manifest(base), str(error))
        if live is None or live.digest is None:
            return self._manifest(base)
        folder = self.folder(live.digest)
        try:
            with self._alone():
                self._book.bring(live.digest, folder)
            intact = digest_of(folder) == live.digest
        except (ReleaseError, PortError):
            intact = False
        if not intact:
            return _without(
                self._manifest(base),
                f"{folder} is not the release {live.digest[:12]} that was promoted: what is shipped is used. "
                "Promote its source again, or roll back.",
            )
        manifest = self._manifest(base, folder)
        try:
            manifest.catalogue(self._domain)
        except (ManifestError, IntentsInvalid) as error:
            return _without(
                self._manifest(base),
                f"{folder} is not used, what is shipped is: {error}",
            )
        return manifest

    def _copy(self, source: Path, files: Sequence[str], target: Path) -> None:
        if target.exists() and source.resolve() != target.resolve():
            shutil.rmtree(target)
        if target.exists():
            return
        draft = target.with_name(f"{target.name}.part")
        shutil.rmtree(draft, ignore_errors=True)
        for file in ("manifest.json", *files):
            (draft / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / file, draft / file)
        draft.rename(target)

    def _alone(self) -> FileLock:
        self._folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self._folder / ".lock", timeout=30)


def standing(changes: Sequence[Change]) -> list[str]:
    """The releases promoted and not rolled back, oldest first."""
    stack: list[str] = []
    for change in changes:
        if change.action == "promote" and change.digest is not None:
            stack.append(change.digest)
        elif stack:
            stack.pop()
    return stack


def digest_of(folder: Path) -> str:
    """What names the artefacts of a folder: its manifest's digest. Raises ReleaseError."""
    file = folder / "manifest.json"
    if not file.exists():
        raise ReleaseError(f"{file} is missing: name a folder that training wrote.")
    return sha256_of(file)


def _files(folder: Path) -> list[str]:
    """The files the manifest names; each must lie inside the folder."""
    try:
        listed = json.loads((folder / "manifest.json").read_bytes())["artefacts"]
        files = sorted({str(one["file"]) for one in listed})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReleaseError(
            f"{folder / 'manifest.json'} is not a valid manifest: {error}"
        ) from error
    for file in files:
        path = (folder / file).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            raise ReleaseError(f"{folder / file} is missing, but the manifest names it.")
    return files


def _without(manifest: Manifest, reason: str) -> Manifest:
    manifest.refused[("release", "")] = reason
    return manifest

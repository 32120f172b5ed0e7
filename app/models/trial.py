"""A folder of artefacts that is tried beside the live ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from app.models.manifest import SHIPPED, Manifest, ManifestError, load_manifest
from app.models.release import ReleaseError, digest_of
from app.shadow import Candidate
from graphs.context import Thresholds
from graphs.intents import Intents, IntentsInvalid, load_intents
from tools.ports import Encoder, SmallModel


@dataclass(frozen=True)
class Trial:
    """The candidate's artefacts over the live ones. ``problem``: why it is not tried."""

    folder: Path
    digest: str
    manifest: Manifest
    problem: str | None = None
    encoder: Encoder | None = None
    small: SmallModel | None = None

    @classmethod
    def of(cls, folder: Path, live: Manifest, base: Path) -> Trial:
        """Read and verify a candidate; one that is not intact is not tried, and breaks nothing."""
        try:
            digest = digest_of(folder)
            manifest = load_manifest(live.folder, base=base, over=[*live.over, folder], strict=True)
            if (folder / "intents.yaml").exists():
                load_intents(folder / "intents.yaml")
        except (ManifestError, ReleaseError, IntentsInvalid) as error:
            return cls(folder, "", Manifest(SHIPPED), problem=str(error))
        return cls(folder, digest, manifest)

    @property
    def adapters(self) -> set[str]:
        """Roles that the candidate brings an adapter of its own for."""
        return {
            role
            for role in self.manifest.adapters
            if self.manifest.folder_of("lora", role) == self.folder
        }

    def served_as(self, role: str) -> str:
        """What the embedded server calls a role of the candidate."""
        return f"candidate {role}" if role in self.adapters else role

    def adapter_paths(self) -> dict[str, Path]:
        """The candidate's own adapters, by what the server calls their roles."""
        paths = self.manifest.adapter_paths()
        return {self.served_as(role): paths[role] for role in sorted(self.adapters)}

    def candidate(
        self, thresholds: Thresholds, intents: Intents, operations: Collection[str]
    ) -> Candidate:
        """Ready to read messages; with the folder's own intents, where it has some."""
        assert self.encoder is not None
        assert self.small is not None
        own = self.folder / "intents.yaml"
        if own.exists():
            intents = load_intents(own, operations=operations)
        return Candidate(self.digest, self.encoder, self.small, thresholds, intents)

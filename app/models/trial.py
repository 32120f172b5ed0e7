"""A folder of artefacts that is tried beside the live ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app.models.encoder import OnnxEncoder
from app.models.manifest import SHIPPED, Key, Manifest, ManifestError, load_manifest
from app.models.release import ReleaseError, digest_of
from app.shadow import Candidate, Pruning
from graphs.context import Thresholds
from tools.domain import Domain
from tools.intents import Intents, IntentsInvalid
from tools.ports import LargeModel, SmallModel

#: Whose decisions an artefact changes, by kind and role.
DECIDES: dict[Key, str] = {
    ("head", "intent"): "router",
    ("head", "frustration"): "router",
    ("head", "complexity"): "router",
    ("head", "incident"): "router",
    ("head", "follow_up"): "router",
    ("head", "outcome"): "evaluator",
    ("head", "consequence"): "consequence",
    ("cross-encoder-lora", "pruner"): "pruner",
    **{
        (kind, role): role
        for kind in ("lora", "prompt")
        for role in ("router", "extractor", "evaluator")
    },
    ("lora", "planner"): "planner",
}


@dataclass(frozen=True)
class Trial:
    """The candidate's artefacts over the live ones. ``problem``: why it is not tried."""

    folder: Path
    digest: str
    manifest: Manifest
    problem: str | None = None
    encoder: OnnxEncoder | None = None
    small: SmallModel | None = None
    large: LargeModel | None = None  #: Where planning again costs nothing.
    pruning: Pruning | None = None

    @classmethod
    def of(
        cls,
        folder: Path,
        live: Manifest,
        base: Path | None,
        domain: Domain,
    ) -> Trial:
        """Read and verify a candidate; one that is not intact is not tried, and breaks nothing."""
        try:
            digest = digest_of(folder)
            manifest = load_manifest(live.folder, base=base, over=[*live.over, folder], strict=True)
            manifest.catalogue(domain)
        except (ManifestError, ReleaseError, IntentsInvalid) as error:
            return cls(folder, "", Manifest(SHIPPED), problem=str(error))
        return cls(folder, digest, manifest)

    @property
    def brings(self) -> set[Key]:
        return self.manifest.brought_by(self.folder)

    @property
    def roles(self) -> set[str]:
        """Whose decisions the candidate makes again."""
        roles = {DECIDES[key] for key in self.brings if key in DECIDES}
        if self.manifest.catalogue_of(self.folder) is not None:
            roles.add("router")
        if self.large is None:
            roles.discard("planner")
        return roles

    @property
    def adapters(self) -> set[str]:
        """Roles that the candidate brings an adapter of its own for."""
        return {role for kind, role in self.brings if kind == "lora"}

    def served_as(self, role: str) -> str:
        """What the embedded server calls a role of the candidate; with a prompt of its own, no adapter."""
        own = {role for kind, role in self.brings if kind in ("lora", "prompt")}
        return f"candidate {role}" if role in own else role

    def adapter_paths(self) -> dict[str, Path]:
        """The candidate's own adapters, by what the server calls their roles."""
        paths = self.manifest.adapter_paths()
        return {self.served_as(role): paths[role] for role in sorted(self.adapters)}

    def candidate(
        self, thresholds: Thresholds, intents: Intents, second_opinion: bool
    ) -> Candidate:
        """Ready to decide."""
        assert self.encoder is not None
        assert self.small is not None
        return Candidate(
            self.digest,
            frozenset(self.roles),
            self.encoder,
            self.small,
            thresholds,
            intents,
            self.pruning,
            self.large,
            second_opinion,
        )

"""Training of the role adapters: what each role learns, run through LoRA and written as GGUF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from models.train import manifest

#: A prompt is the user's turn alone: the adapter is the instruction.
PROMPT = "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n"
END = "<|im_end|>"


#: An adapter that gets fewer of its held-out samples right is not released: rules do better.
FLOOR = 0.5


class TooWeak(Exception):
    """The trained adapter is not good enough to be released."""


@dataclass(frozen=True)
class Sample:
    """What the model reads, and what it must answer."""

    input: str
    answer: str


@dataclass(frozen=True)
class Recipe:
    """How one role is trained."""

    role: str
    labels: dict[str, str] | None  #: Option to its one token; without labels the answer is JSON.
    learn: list[Sample]
    held: list[Sample]
    batch: int
    steps: int
    max_input: int
    lineage: dict[str, Any]
    groups: dict[str, slice] = field(default_factory=dict[str, slice])  #: Runs of `held` by source.


def plan(role: str, data: Path, seed: int) -> Recipe:
    """The samples and settings of a role."""
    source: Any = import_module(f"models.train.roles.{role}")
    learn, held, lineage = source.samples(data, seed)
    batch = 16 if source.LABELS else 8
    return Recipe(
        role=role,
        labels=source.LABELS,
        learn=[Sample(*pair) for pair in learn],
        held=[Sample(*pair) for pair in held],
        batch=batch,
        steps=round(source.PASSES * len(learn) / batch),
        max_input=source.MAX_INPUT,
        groups=lineage.pop("groups", {}),
        lineage=lineage,
    )


def train(
    role: str,
    data: Path,
    models: Path,
    *,
    seed: int,
    minutes: float,
    steps: int,
    threads: int,
    progress: Callable[[str, int, int], None],
    resume: bool = False,
) -> dict[str, Any]:
    """Train one adapter, write it and its manifest entry, measure it as served, and return the entry.

    With ``resume`` it starts from the adapter that is there; the lineage keeps the earlier training.
    """
    from models.train import gguf_adapter, lora, served

    chosen = plan(role, data, seed)
    file = models / "adapters" / f"{role}.gguf"
    candidate = models / "candidates" / file.name
    earlier = candidate if candidate.exists() else file
    before = manifest.find(models, role, "lora") if resume else None
    result = lora.train(
        chosen,
        seed=seed + 1 if resume else seed,
        minutes=minutes,
        steps=steps,
        threads=threads,
        progress=progress,
        start=gguf_adapter.read(earlier) if resume else None,
    )
    gguf_adapter.write(candidate, result.weights, name=role, alpha=result.alpha)
    progress(f"measuring {role}", 0, 1)
    figures = served.measure(chosen, candidate)
    score = figures["accuracy" if chosen.labels else "exact"]
    if score < FLOOR:
        raise TooWeak(
            f"{role}: {score:.0%} of the held-out samples are right after {result.steps} steps (loss "
            f"{result.loss:.2f}), which is below {FLOOR:.0%}. Nothing was released; the adapter is in "
            f"{candidate}: go on with --resume."
        )
    candidate.replace(file)
    return manifest.record(
        models,
        file,
        {
            "role": role,
            "kind": "lora",
            "labels": chosen.labels,
            "base_sha256": manifest.digest(lora.base_folder() / lora.BASE_FILE),
            "temperature": figures.pop("temperature"),
            "lineage": {
                "base": lora.BASE_NAME,
                "rank": result.rank,
                "alpha": result.alpha,
                "seed": seed,
                "steps": result.steps,
                "batch": chosen.batch,
                "seconds": round(result.seconds),
                "loss": round(result.loss, 4),
                "learnt": len(chosen.learn),
                **chosen.lineage,
                "before": _training(before["lineage"]) if before else None,
                "dev": figures,
            },
        },
    )


def _training(lineage: dict[str, Any]) -> dict[str, Any]:
    kept = ("seed", "steps", "seconds", "loss", "learnt", "before")
    return {name: lineage.get(name) for name in kept}

"""The loop evaluator reads how a step went and says how the plan goes on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from models.train.phrases import Message, Part, part_of, read, requests

LABELS: dict[str, str] | None = {
    "continue": "continue",
    "done": "done",
    "replan": "change",
    "escalate": "human",
}
PASSES = 2.0
MAX_INPUT = 90


def decide(result: str, left: int) -> str:
    """The rule behind the examples: what a kind of result means when ``left`` steps remain.

    The words of a result carry what its status cannot: whether another way is worth planning.
    """
    if result in ("ok", "pending", "empty"):
        return "continue" if left else "done"
    if result in ("ambiguous", "not_found", "refused", "retryable"):
        return "replan"
    return "escalate"


#: What a result means for the plan, whatever the goal: it goes on, another way is tried, a person is needed.
OUTCOMES = ("on", "again", "person")
_MEANS = {
    "ok": "on", "pending": "on", "not_found": "again", "ambiguous": "again", "refused": "again",
    "retryable": "again", "error": "person", "angry": "person",
}  # fmt: skip
_SHOWN = {"ok": "ok", "pending": "pending"}


def outcomes() -> list[Message]:
    """Results as the loop words them, each with what it means; own phrases only.

    A step's name stands before its words, so that "opened" means something."""
    made: dict[str, Message] = {}
    results: dict[str, dict[str, list[str]]] = read("results")
    for kind, by_step in results.items():
        for step, texts in by_step.items():
            for text in texts:
                shown = f"{_SHOWN.get(kind, 'error')} {text}"
                made[shown] = Message(shown, _MEANS[kind], "own", part_of(text))
                if step not in ("any", "answer"):
                    longer = f"ok {step.replace('_', ' ')}: {text}"
                    made[longer] = Message(longer, _MEANS[kind], "own", part_of(text))
    for label, texts in read("outcomes").items():
        for text in texts:
            shown = f"error {text}"
            made[shown] = Message(shown, label, "own", part_of(text))
    return list(made.values())


def samples(
    data: Path, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], dict[str, Any]]:
    """Steps of our own requests with every kind of result a step can have."""
    rng = random.Random(seed)
    results: dict[str, dict[str, list[str]]] = read("results")
    made: dict[Part, list[tuple[str, str]]] = {"train": [], "test": [], "calibration": []}
    for request in requests(1000, seed, sizes=(1, 2, 2, 3, 3, 4)):
        at = rng.randrange(len(request.steps))
        step, left = request.steps[at], len(request.steps) - at - 1
        kind = rng.choices(
            ["ok", "pending", "not_found", "ambiguous", "refused", "retryable", "error", "angry"],
            [44, 9, 12, 7, 8, 7, 8, 5],
        )[0]
        status = {
            "ambiguous": "not_found",
            "refused": "error",
            "retryable": "error",
            "angry": "error",
        }.get(kind, kind)
        if kind == "pending" and step in (
            "answer",
            "get_order",
            "list_orders",
            "track_parcel",
            "get_invoice",
        ):
            kind = status = "ok"
        text = rng.choice(results[kind].get(step, results[kind]["any"]))
        part = part_of(text)
        goal = request.text if len(request.text) < 160 else request.text[:157] + "..."
        made[part].append(
            (
                f"goal: {goal}\nstep: {step}\nresult: {status} {text}\nleft: {left}",
                decide(kind, left),
            )
        )
    lineage = {
        "data": {"own": {"messages": len(made["train"]), "licence": "written for this project"}}
    }
    return made["train"][:620], [*made["test"], *made["calibration"]][:110], lineage

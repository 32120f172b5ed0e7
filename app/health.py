"""How a running desk is, part by part: what ``/ready`` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

#: Name of what was looked at -> its ``status`` (``ok``, ``degraded``, ``down``), and a ``reason`` where it is not well.
Checks = Mapping[str, Mapping[str, Any]]


class Part(Protocol):
    """A part of the desk that says how it is."""

    async def health(self) -> Checks: ...


def check(problem: str | None, *, at_worst: str = "degraded", **facts: Any) -> dict[str, Any]:
    """A check: what is wrong, if anything, beside what else is to be known."""
    if problem is None:
        return {"status": "ok", **facts}
    return {"status": at_worst, **facts, "reason": problem}


@dataclass(frozen=True)
class Systems:
    """A business's own systems, of which only those are told that are not well."""

    problems: Callable[[], Mapping[str, str]]

    async def health(self) -> Checks:
        return {f"system {name}": check(why) for name, why in self.problems().items()}


@dataclass(frozen=True)
class Health:
    """All parts of a desk."""

    parts: tuple[Part, ...]

    async def __call__(self) -> Checks:
        found: dict[str, Mapping[str, Any]] = {}
        for part in self.parts:
            found |= await part.health()
        return found


__all__ = ["Checks", "Health", "Part", "Systems", "check"]

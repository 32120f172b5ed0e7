"""Looks every hour whether the newest traffic is still like the reference, and says so when it is not."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from app.drift import FEWEST, SKETCH, Comparison, Traffic, compare
from tools.values import Clock, Record

log = logging.getLogger(__name__)

#: Seconds after the start until the first look: the first answers come first.
FIRST_LOOK = 60.0
EVERY = 3600.0
#: Messages before the window that stand in for a reference nobody has written.
_EARLIER = 2000


class ReferenceUnusable(ValueError):
    """The reference file of the drift test cannot be read."""


class Log(Protocol):
    """The part of the decision log that is looked at."""

    async def traffic(
        self,
        *,
        tenant: str | None = None,
        since: datetime | None = None,
        before: int | None = None,
        limit: int,
    ) -> tuple[int, Traffic]: ...


class Window(Record):
    """One stretch of traffic beside the reference."""

    window: str  #: ``count`` (the newest so many messages) or ``time`` (the newest so many days).
    against: str  #: What it was compared with.
    comparison: Comparison


class Drift(Record):
    """The last look."""

    at: datetime | None = None  #: None: there was no look yet.
    windows: tuple[Window, ...] = ()
    problem: str = ""

    @property
    def alarm(self) -> bool:
        return any(each.comparison.alarm for each in self.windows)


@dataclass
class DriftWatch:
    """Windows by count and by time; ``since`` leaves out what an earlier router decided."""

    log: Log
    reference: Path
    messages: int = 500
    days: float = 7.0
    alpha: float = 0.01
    since: datetime | None = None
    clock: Clock = field(default_factory=Clock)
    last: Drift = field(default_factory=Drift)
    _of_tenants: dict[str, Drift] = field(default_factory=dict[str, Drift])
    _due: float | None = None

    async def look_when_due(self) -> None:
        """Look once an hour, and say in the log what is new."""
        now = time.monotonic()
        if self._due is None:
            self._due = now + FIRST_LOOK
        if now < self._due:
            return
        self._due = now + EVERY
        before = self.last
        after = await self.look()
        if after.alarm and not before.alarm:
            log.warning("drift: %s", "; ".join(told(each) for each in after.windows))
        elif before.alarm and not after.alarm:
            log.info("drift: the traffic is like the reference again")
        if after.problem and after.problem != before.problem:
            log.warning("drift: %s", after.problem)

    async def of(self, tenant: str) -> Drift:
        """The last look at one tenant's traffic; a new one when that was long ago."""
        kept = self._of_tenants.get(tenant)
        now = self.clock.now()
        if kept is None or kept.at is None or now - kept.at > timedelta(seconds=EVERY):
            kept = self._of_tenants[tenant] = await self.look(tenant)
        return kept

    async def look(self, tenant: str | None = None) -> Drift:
        """Compare now. The result for all tenants together is also kept for whoever asks later."""
        try:
            kept = read_reference(self.reference) if self.reference.exists() else None
            problem = ""
        except ReferenceUnusable as error:
            kept, problem = None, str(error)
        now = self.clock.now()
        days_ago = now - timedelta(days=self.days)
        spans = {
            "count": (self.since, self.messages),
            "time": (max(filter(None, (self.since, days_ago))), 2 * _EARLIER),
        }
        windows: list[Window] = []
        for name, (since, limit) in spans.items():
            oldest, recent = await self.log.traffic(tenant=tenant, since=since, limit=limit)
            against, reference = "the reference file", kept
            if reference is None:
                against = "the traffic before"
                _, reference = await self.log.traffic(
                    tenant=tenant, since=self.since, before=oldest or None, limit=_EARLIER
                )
            found = await asyncio.to_thread(compare, reference, recent, alpha=self.alpha)
            windows.append(Window(window=name, against=against, comparison=found))
        drift = Drift(at=now, windows=tuple(windows), problem=problem)
        if tenant is None:
            self.last = drift
        return drift


def told(window: Window) -> str:
    """A window's result in one line."""
    found = window.comparison
    if not found.p:
        return (
            f"{window.window} window: too few messages to tell "
            f"({found.messages} against {found.reference}, each needs {FEWEST})"
        )
    tests = ", ".join(f"{name} p={p:.3g}" for name, p in found.p.items())
    most = ", ".join(
        f"{s.intent} {100 * s.then:.1f} % to {100 * s.now:.1f} %" for s in found.shifts[:5]
    )
    return (
        f"{window.window} window: {'NOT LIKE' if found.alarm else 'like'} {window.against}; "
        f"{found.messages} messages against {found.reference}; {tests}; "
        f"unsure {100 * found.abstained_then:.1f} % to {100 * found.abstained_now:.1f} %"
        + (f"; {most}" if most else "")
    )


def write_reference(path: Path, traffic: Traffic) -> None:
    """Keep traffic as the reference; a half-written file never takes an earlier one's place."""
    known = [one is not None for one in traffic.sketches]
    rows = [np.frombuffer(one or bytes(SKETCH), dtype=np.int8) for one in traffic.sketches]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part.npz")
    np.savez_compressed(
        draft,
        intents=np.array(json.dumps(traffic.intents)),
        abstained=np.array(traffic.abstained, dtype=bool),
        known=np.array(known, dtype=bool),
        sketches=np.array(rows, dtype=np.int8).reshape(-1, SKETCH),
    )
    draft.replace(path)


def read_reference(path: Path) -> Traffic:
    """Traffic that was kept. Raises ReferenceUnusable."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            intents = cast("list[str]", json.loads(str(kept["intents"])))
            abstained = cast("Sequence[bool]", kept["abstained"].tolist())
            known = cast("Sequence[bool]", kept["known"].tolist())
            sketches = kept["sketches"].astype(np.int8).reshape(len(intents), SKETCH)
        rows = tuple(
            row.tobytes() if there else None for row, there in zip(sketches, known, strict=True)
        )
        return Traffic(tuple(intents), tuple(abstained), rows)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise ReferenceUnusable(
            f"{path} cannot be used ({error}): write it again with `signalbox drift reference`."
        ) from error

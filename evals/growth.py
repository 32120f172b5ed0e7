"""What a desk that runs for long keeps: bytes a thousand turns, kind by kind, and whether its memory grows."""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app.stores.sizes import Size, files, sizes
from domains.northfell.demo_accounts import stories
from evals.figures import Figure, Report, Table
from evals.mix import load_messages, speaker_for
from evals.startup import memory
from evals.world import Folders, Progress, demo_customer, quiet, running, settings_in
from graphs.state import Answer
from tools.values import Clock, now

if TYPE_CHECKING:
    from app.support_desk import SupportDesk

#: A conversation has so many turns.
TURNS_EACH = 8
#: What is asked back is agreed to, refused or left, in turn.
REPLIES = ("yes", "no", "")
#: Memory is looked at so often, in seconds; the first part of a run fills caches and is not part of the slope.
EVERY, FILLING = 2.0, 0.25
#: The slope is fitted to the means of so many stretches, whose errors hardly depend on each other.
STRETCHES = 20
#: Student's t for 18 degrees of freedom, two-sided 95 %.
T = 2.101
MB = 2**20


@dataclass
class Grown:
    """What was seen of one run."""

    turns: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter[str])
    memory: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    before: list[Size] = field(default_factory=list[Size])
    full: list[Size] = field(default_factory=list[Size])
    cleared: list[Size] = field(default_factory=list[Size])
    bytes: tuple[int, int, int] = (
        0,
        0,
        0,
    )  #: Of the files: at the start, at the end, after retention.


def slope(seen: Sequence[tuple[float, float]]) -> tuple[float, float, float]:
    """Growth of the second number with the first, and its 95 % interval; infinite where there is too little."""
    points = seen[int(len(seen) * FILLING) :]
    if len(points) < 2 * STRETCHES:
        return 0.0, -math.inf, math.inf
    means = np.array(
        [np.mean(part, axis=0) for part in np.array_split(np.array(points), STRETCHES)]
    )
    x, y = means[:, 0] - means[:, 0].mean(), means[:, 1] - means[:, 1].mean()
    found = float((x * y).sum() / (x**2).sum())
    error = math.sqrt(float(((y - found * x) ** 2).sum()) / (STRETCHES - 2) / float((x**2).sum()))
    return found, found - T * error, found + T * error


async def play(folder: Path, turns: int, minutes: float, progress: Progress = quiet) -> Grown:
    """Mixed turns one after the other, until there were so many, or for so long; then everything is past its time."""
    ahead = timedelta()
    settings = settings_in(folder)
    grown = Grown()

    async def look(desk: SupportDesk) -> tuple[list[Size], int]:
        assert desk.privacy is not None
        # Into the files themselves: how long SQLite's logs are says nothing.
        await asyncio.to_thread(desk.privacy.rows.scrub)
        await desk.privacy.saver.scrub()
        return await asyncio.to_thread(looked)

    def looked() -> tuple[list[Size], int]:
        return (
            sizes(settings.database, settings.checkpoints),
            files(settings.database, settings.checkpoints),
        )

    async with running(folder, progress, clock=Clock(lambda: now() + ahead)) as desk:
        grown.before, first = await look(desk)
        watching = asyncio.create_task(_watch(grown))
        await _converse(desk, grown, turns, minutes, progress)
        watching.cancel()
        await asyncio.wait([watching])
        assert desk.deliveries.housekeeping is not None
        await desk.deliveries.housekeeping.round()
        grown.full, then = await look(desk)
        # Nothing waits any more, and everything is older than any of the settings.
        ahead = timedelta(days=settings.label_days + 1)
        await desk.deliveries.deliver_due()
        for thread in await desk.inbox.hand_offs():
            await desk.inbox.release(thread.thread, "growth")
        # What was written just now counts by its own clock: LangGraph's ids know nothing of ours.
        await desk.deliveries.housekeeping.round()
        grown.cleared, last = await look(desk)
    grown.bytes = (first, then, last)
    return grown


async def _watch(grown: Grown) -> None:
    started = time.monotonic()
    while True:
        here = await asyncio.to_thread(memory, os.getpid())
        grown.memory.append((time.monotonic() - started, sum(here.values())))
        await asyncio.sleep(EVERY)


async def _converse(
    desk: SupportDesk, grown: Grown, turns: int, minutes: float, progress: Progress
) -> None:
    messages = load_messages()
    accounts = stories(now().date())
    rng = random.Random(12)
    started = time.monotonic()

    def over() -> bool:
        grown.seconds = time.monotonic() - started
        return grown.seconds >= minutes * 60 if minutes else grown.turns >= turns

    while not over():
        first = rng.choice(messages)
        who = speaker_for(first.text, accounts)
        customer = await demo_customer(desk, who)
        thread = await desk.turns.open_thread(customer)
        texts = [first.text]
        while len(texts) < TURNS_EACH:
            texts.append(rng.choice(messages).text)
        asked = False
        for number, text in enumerate(texts):
            said = REPLIES[number % len(REPLIES)] if asked else ""
            events = [
                event
                async for event in desk.turns.play(
                    customer, thread, said or text, key=f"g{grown.turns}"
                )
            ]
            grown.turns += 1
            grown.kinds[events[-1].event] += 1
            asked = bool(events[-1].data.get("open"))
            progress("Playing turns", grown.turns, turns)
            if over():
                return
        for approval in await desk.approvals.listed():
            await desk.approvals.decide(
                approval.id, Answer(decision="reject", reviewer="growth", role="admin")
            )


def report(grown: Grown) -> Report:
    """Bytes a thousand turns by kind, at the end and past everything's time; and the slope of the memory."""
    per = 1000 / max(grown.turns, 1)
    before = {size.table: size for size in grown.before}
    cleared = {size.table: size for size in grown.cleared}
    table = Table(
        f"Kept, by kind: a thousand turns ({grown.turns:,} were played)",
        ("kind", "rows", "MB", "past its time: rows", "MB"),
    )
    for size in grown.full:
        old, left = before.get(size.table), cleared.get(size.table)
        rows = size.rows - (old.rows if old else 0)
        if not rows:
            continue
        taken = (size.bytes or 0) - ((old.bytes or 0) if old else 0)
        left_rows = (left.rows if left else 0) - (old.rows if old else 0)
        left_taken = ((left.bytes or 0) if left else 0) - ((old.bytes or 0) if old else 0)
        table.rows.append(
            (
                size.table,
                f"{rows * per:,.0f}",
                f"{taken * per / MB:.2f}",
                f"{left_rows * per:,.0f}",
                f"{left_taken * per / MB:.2f}",
            )
        )
    first, full, last = grown.bytes
    up, low, high = slope([(at / 60, mb) for at, mb in grown.memory])
    per_minute = Table(
        "Memory", ("minutes", "MB at the end", "MB a minute", "95 % interval", "MB a 1,000 turns")
    )
    end = float(np.mean([mb for _, mb in grown.memory[-10:]])) if grown.memory else 0.0
    pace = grown.turns / max(grown.seconds / 60, 1e-9)
    per_minute.rows.append(
        (
            f"{grown.seconds / 60:.1f}",
            f"{end:.0f}",
            f"{up:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{1000 * up / pace:.1f}" if pace else "",
        )
    )
    return Report(
        "growth",
        figures=[
            Figure("store, a thousand turns", (full - first) * per / MB, "MB", better="lower"),
            Figure(
                "the same, past everything's time", (last - first) * per / MB, "MB", better="lower"
            ),
            Figure("memory, a minute", up, "MB", better="lower"),
            Figure("memory at the end", end, "MB", better="lower"),
        ],
        tables=[table, per_minute],
        failures=[
            f"{n} turns ended with {kind}" for kind, n in grown.kinds.items() if kind == "error"
        ],
        notes=[
            f"{grown.turns} turns in {grown.seconds / 60:.1f} minutes, {TURNS_EACH} a conversation; the slope is fitted "
            f"after the first {FILLING:.0%} of the run, to the means of {STRETCHES} stretches.",
        ],
    )


def run(
    folders: Folders,
    progress: Progress = quiet,
    *,
    turns: int = 1000,
    minutes: float = 0.0,
    played: Callable[[Grown], None] = lambda _: None,
) -> Report:
    grown = asyncio.run(play(folders.prepared(), turns, minutes, progress))
    played(grown)
    return report(grown)

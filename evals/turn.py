"""What a turn costs beside the models and the backend, and beside the bare model calls it makes."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.models.encoder import OnnxEncoder
from app.models.manifest import manifest_for
from evals.domain import DOMAIN
from evals.examples import books_of
from evals.figures import Figure, Report, Table, at_most, percentile
from evals.world import Books, Folders, Progress, demo_customer, quiet, running
from graphs.context import Context
from tools.values import Customer

if TYPE_CHECKING:
    from app.support_desk import SupportDesk

Call = Callable[[], Awaitable[object]]

#: Turns at the start that fill caches and are not counted.
WARM_UP = 3
REASONS = (
    "I found it cheaper elsewhere",
    "the tent is too heavy for me",
    "my trip was called off",
    "I ordered the wrong colour",
    "it would come too late",
    "my sister already has one",
    "I broke my leg and cannot hike",
)
STREETS = ("Birkenweg", "Am Hang", "Gartenstraße", "Bergstraße", "Lindenallee")


@dataclass(frozen=True)
class Kind:
    """A kind of turn: what leads up to it (not measured), and its text in round ``n``."""

    name: str
    text: Callable[[int], str]
    before: str = ""
    judged: bool = False  #: Does the requirement speak of it?


def _cancel(n: int) -> str:
    return f"please cancel SB-10482, {REASONS[n % len(REASONS)]} (note {n})"


def _address(n: int) -> str:
    street = STREETS[n % len(STREETS)]
    return f"please deliver SB-10482 to {street} {n + 2}, 50667 Köln instead"


KINDS = (
    Kind("cancel an order with a reason", _cancel, judged=True),
    Kind("change a delivery address", _address, judged=True),
    Kind("read an order", lambda n: "What's my order status?"),
    Kind("confirmed write", lambda n: "yes", before="please cancel SB-10482"),
)


@dataclass
class Stopwatch:
    """When ports were busy, and which model calls were made."""

    spans: list[tuple[str, float, float]] = field(default_factory=list[tuple[str, float, float]])
    model_calls: list[Call] = field(default_factory=list[Call])

    def busy(self) -> float:
        """Seconds in which at least one port was busy."""
        return covered([(start, end) for _, start, end in self.spans])


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """The length of the union of the spans."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, until), 0.0)
        until = max(until, end)
    return total


class Timed:
    """A port that tells a stopwatch how long each call took."""

    def __init__(self, port: object, watch: Stopwatch, kind: str, *, model: bool) -> None:
        self._port = port
        self._watch = watch
        self._kind = kind
        self._model = model

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def timed(*args: Any, **options: Any) -> Any:
            if self._model:
                self._watch.model_calls.append(partial(method, *args, **options))
            started = time.perf_counter()
            try:
                return await method(*args, **options)
            finally:
                self._watch.spans.append((self._kind, started, time.perf_counter()))

        return timed


@dataclass
class Timing:
    """One kind of turn, round by round, in milliseconds."""

    kind: Kind
    wall: list[float] = field(default_factory=list[float])
    overhead: list[float] = field(default_factory=list[float])
    bare: list[float] = field(default_factory=list[float])
    calls: int = 0  #: Model calls of one turn.
    inside: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    @property
    def ratio(self) -> float:
        """The turn beside its bare model calls; of medians, because the machine has other things to do."""
        return percentile(self.wall, 0.5) / percentile(self.bare, 0.5)


class Bench:
    """Plays turns with timed ports, and their model calls alone."""

    def __init__(self, desk: SupportDesk, encoder: OnnxEncoder, customer: Customer) -> None:
        self._desk = desk
        self._encoder = encoder
        self._customer = customer
        self._real = desk.player.context_for
        self._watch = Stopwatch()
        desk.player.context_for = self._timed_context

    def _timed_context(self, customer: Customer, thread: str) -> Context:
        real = self._real(customer, thread)

        def timed(port: object, kind: str, *, model: bool = False) -> Any:
            return Timed(port, self._watch, kind, model=model)

        return replace(
            real,
            encoder=timed(self._encoder, "encoder", model=True),
            small=timed(real.small, "small model", model=True),
            large=timed(real.large, "large model", model=True),
            backend=timed(real.backend, "backend"),
            ledger=timed(real.ledger, "backend"),
        )

    async def turn(self, kind: Kind, number: int, timing: Timing | None) -> list[Call]:
        """Play the turn on a fresh thread; the model calls it made."""
        thread = await self._desk.turns.open_thread(self._customer)
        if kind.before:
            await self._listen(thread, kind.before)
        await self._encoder.embed(["something else"])
        self._watch.spans.clear()
        self._watch.model_calls.clear()
        started = time.perf_counter()
        await self._listen(thread, kind.text(number))
        wall = time.perf_counter() - started
        if timing is not None:
            timing.wall.append(1000 * wall)
            timing.overhead.append(1000 * (wall - self._watch.busy()))
            for port in ("encoder", "small model", "backend"):
                spans = [(start, end) for of, start, end in self._watch.spans if of == port]
                timing.inside.setdefault(port, []).append(1000 * covered(spans))
            timing.calls = len(self._watch.model_calls)
        return list(self._watch.model_calls)

    async def _listen(self, thread: str, text: str) -> None:
        last = ""
        async for event in self._desk.turns.play(self._customer, thread, text):
            last = event.event
        assert last == "final", f"the turn {text!r} ended with {last}"

    async def bare(self, calls: Sequence[Call], timing: Timing | None) -> None:
        """The same model calls, one after the other, with nothing around them."""
        await self._encoder.embed(["something else"])
        started = time.perf_counter()
        for call in calls:
            await call()
        if timing is not None:
            timing.bare.append(1000 * (time.perf_counter() - started))


async def measure(folder: Path, rounds: int, progress: Progress = quiet) -> list[Timing]:
    timings: list[Timing] = []
    # It remembers only the last text: a message must not be found embedded already.
    encoder = OnnxEncoder(manifest_for(DOMAIN), cached=1)
    async with running(folder, progress) as desk, books_of(folder) as (_, books):
        bench = Bench(desk, encoder, await demo_customer(desk, "ana"))
        for kind in KINDS:
            timing = Timing(kind)
            await _measure_kind(bench, books, timing, rounds, progress)
            timings.append(timing)
    return timings


async def _measure_kind(
    bench: Bench, books: Books, timing: Timing, rounds: int, progress: Progress
) -> None:
    kind = timing.kind
    # One pass to learn which model calls each round's text leads to.
    recorded: list[list[Call]] = []
    for number in range(rounds + 1):
        progress(f"Learning: {kind.name}", number, rounds + 1)
        recorded.append(await bench.turn(kind, number, None))
        await asyncio.to_thread(books.restore)
    for number in range(-WARM_UP, rounds):
        progress(f"Measuring: {kind.name}", max(number, 0), rounds)
        counted = timing if number >= 0 else None
        this = max(number, 0)
        # Another message in between: neither side may find its prompt in the model's cache.
        between = recorded[this + 1]
        for side in ("turn", "bare") if number % 2 else ("bare", "turn"):
            await bench.bare(between, None)
            if side == "turn":
                await bench.turn(kind, this, counted)
            else:
                await bench.bare(recorded[this], counted)
        await asyncio.to_thread(books.restore)
    progress(f"Measuring: {kind.name}", rounds, rounds)


def report(timings: Sequence[Timing]) -> Report:
    found = Report("turn")
    where = Table(
        "Where a turn's time goes (p50, ms)",
        ("turn", "wall", "encoder", "small model", "backend", "our own", "p95 own", "model calls"),
    )
    for timing in timings:
        name, own = timing.kind.name, percentile(timing.overhead, 0.5)
        bare = percentile(timing.bare, 0.5)
        found.figures.append(
            Figure(
                f"turn, {name}: overhead p50",
                own,
                "ms",
                at_most(10),
                "time inside model and backend calls",
            )
        )
        found.figures.append(
            Figure(
                f"turn, {name}: wall time over bare model calls",
                timing.ratio,
                "",
                at_most(1.15) if timing.kind.judged else None,
                f"{timing.calls} model calls made directly: {bare:.1f} ms",
                timing.ratio,
            )
        )
        where.rows.append(
            (
                name,
                f"{percentile(timing.wall, 0.5):.1f}",
                *(f"{percentile(timing.inside[p], 0.5):.1f}" for p in timing.inside),
                f"{own:.1f}",
                f"{percentile(timing.overhead, 0.95):.1f}",
                str(timing.calls),
            )
        )
    found.tables.append(where)
    return found


def run(folders: Folders, progress: Progress = quiet, *, rounds: int = 25) -> Report:
    return report(asyncio.run(measure(folders.prepared(), rounds, progress)))

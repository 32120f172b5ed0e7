"""What a case file cannot say: the model dies or hangs in the middle of a turn, and kill -9 in a write."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.desk import Event, KeyInFlight
from app.models.large import counting_calls
from evals.examples import Played, books_of, executed_writes, standing
from evals.world import LATER_SECONDS, Progress, demo_customer, models_ready, quiet, running
from tools.values import Clock, Customer, now

if TYPE_CHECKING:
    from app.support_desk import SupportDesk

#: How long the extractor is waited for while the model hangs.
HANG_SECONDS = 8.0
#: Where the writing process is killed -> how many effects it must have left behind itself.
POINTS = {"begin_committed": 0, "before_commit": 0, "committed": 1}
#: Who writes at each point, and which order is cancelled.
WRITERS = {
    "begin_committed": ("ana", "SB-10482"),
    "before_commit": ("ben", "SB-10496"),
    "committed": ("finn", "SB-10503"),
}

NAMES = frozenset({"model-killed", "model-hung", *(f"kill-9-{point}" for point in POINTS)})


async def _turn(
    desk: SupportDesk,
    customer: Customer,
    thread: str,
    text: str,
    *,
    key: str | None = None,
    at: str = "",
    then: Callable[[], Awaitable[None]] | None = None,
) -> list[Event]:
    """Play a turn; when the first event called ``at`` comes, do ``then``."""
    events: list[Event] = []
    async for event in desk.turns.play(customer, thread, text, key=key):
        if then is not None and event.event == at and all(e.event != at for e in events):
            await then()
        events.append(event)
    return events


def _final(events: Sequence[Event], problems: list[str], what: str) -> dict[str, Any]:
    if not events or events[-1].event != "final":
        problems.append(f"{what} ended with {[e.event for e in events][-1:]}")
        return {}
    data = dict(events[-1].data)
    if not data.get("text"):
        problems.append(f"{what} has no reply")
    return data


async def _model_fault(
    desk: SupportDesk,
    played: Played,
    *,
    who: str,
    text: str,
    sent: signal.Signals,
    at: str,
    within: float,
    degraded: bool,
) -> None:
    """Send the model a signal at the first event ``at``; the turn, the restart and the next turn. A turn
    that waits for a restart may be whole; one whose model answers too late must say so."""
    problems = played.problems
    customer = await demo_customer(desk, who)
    thread = await desk.turns.open_thread(customer)
    before = await models_ready(desk)

    async def strike() -> None:
        os.kill(int(before["pid"]), sent)

    started = time.perf_counter()
    with counting_calls() as calls:
        events = await _turn(desk, customer, thread, text, at=at, then=strike)
    spent = time.perf_counter() - started
    played.llm_calls += calls.made
    data = _final(events, problems, "the turn it died in")
    if degraded and not data.get("degraded"):
        problems.append(f"the turn does not say that it is degraded: {data}")
    if spent > within:
        problems.append(f"the turn took {spent:.1f} s, more than {within:.0f} s")
    try:
        await models_ready(desk, within=60, restarts=before["restarts"] + 1)
    except TimeoutError:
        problems.append("the model was not started again within 60 s")
        return
    again = _final(await _turn(desk, customer, thread, text), problems, "the next turn")
    if again.get("degraded"):
        problems.append(f"the next turn is degraded too: {again['degraded']}")


async def play_model_faults(folder: Path, progress: Progress = quiet) -> list[Played]:
    """SIGKILL while the large model writes, SIGSTOP while the extractor reads."""
    killed = Played(
        "model-killed", "SIGKILL before the planner is asked: restarted, a reply all the same"
    )
    hung = Played("model-hung", "SIGSTOP before the extractor is asked: degraded reply, restarted")
    short = {"extractor": {"timeout": HANG_SECONDS}}
    async with running(folder, progress, roles=short) as desk:
        progress(f"Playing {killed.id}", 0, 0)
        started = time.perf_counter()
        await _model_fault(
            desk,
            killed,
            who="ana",
            text="cancel my last order, refund it to my card and tell me how long the refund takes",
            sent=signal.SIGKILL,
            at="route",
            within=60,
            degraded=False,
        )
        killed.seconds = time.perf_counter() - started
        progress(f"Playing {hung.id}", 0, 0)
        started = time.perf_counter()
        await _model_fault(
            desk,
            hung,
            who="ana",
            text="please change the delivery address of SB-10482 to the old mill behind the church in Mainz",
            sent=signal.SIGSTOP,
            at="route",
            within=HANG_SECONDS + 10,
            degraded=True,
        )
        hung.seconds = time.perf_counter() - started
    return [killed, hung]


async def play_kills(folder: Path, progress: Progress = quiet) -> list[Played]:
    """A process dies in the middle of a write at each of three points; another one takes over."""
    results: list[Played] = []
    threads: dict[str, str] = {}
    async with books_of(folder) as (engine, _):
        for number, (point, left) in enumerate(POINTS.items()):
            progress("Killing a writing process", number, len(POINTS))
            who, order = WRITERS[point]
            played = Played(
                f"kill-9-{point}", f"kill -9 in a write, at {point}: exactly one effect"
            )
            started = time.perf_counter()
            code, said = await _child(folder, point, who, order)
            threads[point] = said.get("thread", "")
            effects = await asyncio.to_thread(executed_writes, engine, who)
            if code != -signal.SIGKILL or not threads[point]:
                played.problems.append(f"the child ended with {code} instead of being killed")
            if effects != left:
                played.problems.append(f"it left {effects} effects, not {left}")
            played.seconds = time.perf_counter() - started
            results.append(played)
        progress("Killing a writing process", len(POINTS), len(POINTS))

        # Leases are how a process knows that another one is dead; this one's clock is past all of them.
        later = Clock(lambda: now() + timedelta(seconds=LATER_SECONDS))
        async with running(folder, progress, clock=later) as desk:
            for played, point in zip(results, POINTS, strict=True):
                who, order = WRITERS[point]
                if not threads[point]:
                    continue
                started = time.perf_counter()
                customer = await demo_customer(desk, who)
                await _recovered(desk, customer, threads[point], point, played.problems)
                effects = await asyncio.to_thread(executed_writes, engine, who)
                if effects != 1:
                    played.problems.append(f"{effects} effects in the end, not exactly one")
                status = (await standing(desk, customer))[order].state
                if status != "cancelled":
                    played.problems.append(f"{order} is {status}")
                played.seconds += time.perf_counter() - started
    return results


async def _recovered(
    desk: SupportDesk, customer: Customer, thread: str, point: str, problems: list[str]
) -> None:
    """The client tries again with its key, twice; then the customer goes on talking."""
    key = key_of(point)
    first = _final(await _retried(desk, customer, thread, key), problems, "the retry")
    second = _final(await _retried(desk, customer, thread, key), problems, "the second retry")
    if first.get("text") != second.get("text"):
        problems.append(f"the same key gave {first.get('text')!r} and {second.get('text')!r}")
    if "cancelled" not in str(first.get("text")):
        problems.append(f"the retry does not say what happened: {first.get('text')!r}")
    history = await desk.turns.history(customer, thread)
    said = [m.text for m in history if m.role == "customer"]
    if said.count("yes") != 1:
        problems.append(f"the customer's yes stands {said.count('yes')} times in the thread")
    told = [m.id for m in history if m.role == "agent" and "is cancelled" in m.text]
    if len(told) > 2:  # The confirmation says it too.
        problems.append(f"the customer was told {len(told) - 1} times")
    thanks = _final(await _turn(desk, customer, thread, "thank you"), problems, "the next turn")
    if thanks.get("lane") != "direct":
        problems.append(f"thanks went to {thanks.get('lane')}")


async def _retried(desk: SupportDesk, customer: Customer, thread: str, key: str) -> list[Event]:
    async with asyncio.timeout(60):
        while True:
            try:
                return await _turn(desk, customer, thread, "yes", key=key)
            except KeyInFlight:
                await asyncio.sleep(0.2)


def key_of(point: str) -> str:
    """The Idempotency-Key of the turn that dies at this point."""
    return f"evals-{point}"


async def _child(folder: Path, point: str, who: str, order: str) -> tuple[int, dict[str, Any]]:
    """Run the process that is killed at ``point``: its exit code and the thread it worked on."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "evals.crash_child",
        str(folder),
        point,
        who,
        order,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    assert process.stdout is not None
    said: dict[str, Any] = {}
    try:
        async with asyncio.timeout(120):
            while line := await process.stdout.readline():
                if line.startswith(b"{"):
                    said = json.loads(line)
            return await process.wait(), said
    except TimeoutError:
        process.kill()
        return await process.wait(), said

"""Plays the conversations that must be held, on the real agent, and grades each on its outcome."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.desk import ApprovalDecided, Event
from app.models.large import counting_calls
from app.stores.database import create_engine, reading
from app.stores.decisions import Wanted
from app.stores.tables import ledger
from evals.domain import DOMAIN
from evals.figures import Figure, NotPossible, Report, Table, at_least
from evals.outside import Outside, in_this_process, outside_of
from evals.scenarios import (
    EXAMPLES,
    End,
    Scenario,
    ScenariosInvalid,
    Seen,
    Standing,
    Step,
    end_problems,
    load_scenarios,
    step_problems,
)
from evals.world import (
    Books,
    Folders,
    Progress,
    database_in,
    demo_customer,
    quiet,
    running,
)
from graphs.state import Answer
from tools.values import Approval, Customer

if TYPE_CHECKING:
    from app.support_desk import SupportDesk

#: How long news of an outcome may take to reach the customer's thread.
NEWS_SECONDS = 15.0


@dataclass
class Played:
    """One scenario and what was wrong with it."""

    id: str
    title: str
    problems: list[str] = field(default_factory=list[str])
    seconds: float = 0.0
    llm_calls: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems


class Player:
    """Says the scenario's lines to the desk and looks at what came of them."""

    def __init__(self, desk: SupportDesk, engine: sa.Engine) -> None:
        self._desk = desk
        self._engine = engine

    async def play(self, scenario: Scenario) -> Played:
        played = Played(scenario.id, scenario.title)
        started = time.perf_counter()
        customer = await demo_customer(self._desk, scenario.customer)
        ends = {scenario.customer: scenario.end, **scenario.end_of_others}
        before = {name: await self._standing(name) for name in ends}
        thread = await self._desk.turns.open_thread(customer)
        for number, step in enumerate(scenario.steps, 1):
            seen = await self._step(customer, thread, step)
            played.llm_calls += seen.llm_calls
            if problems := step_problems(step, seen):
                said = " ".join(seen.reply.split())[:240]
                played.problems.append(f"step {number} {step}: {'; '.join(problems)} [{said}]")
        for name, end in ends.items():
            played.problems += await self._end(name, end, before[name])
        most = scenario.llm_calls_at_most
        if most is not None and played.llm_calls > most:
            played.problems.append(f"{played.llm_calls} LLM calls, more than {most}")
        played.seconds = time.perf_counter() - started
        return played

    async def _end(self, customer: str, end: End, before: Standing) -> list[str]:
        after = await self._standing(customer)
        return [f"end of {customer}: {p}" for p in end_problems(end, before, after)]

    async def _step(self, customer: Customer, thread: str, step: Step) -> Seen:
        writes = await self._writes(customer)
        with counting_calls() as calls:
            if step.say is not None:
                seen = await self._say(customer, thread, step)
            elif step.approve is not None:
                seen = await self._decide(customer, approve=step.approve)
            else:
                seen = await self._news(thread)
        seen.llm_calls = calls.made
        seen.executed = await self._writes(customer) - writes
        seen.pending = any(a.status == "pending" for a in await self._approvals(customer))
        return seen

    async def _say(self, customer: Customer, thread: str, step: Step) -> Seen:
        seen = Seen()
        for _ in range(step.while_asked):
            before = len(await self._desk.turns.history(customer, thread))
            events = [event async for event in self._desk.turns.play(customer, thread, step.text)]
            look_at(seen, events)
            after = await self._desk.turns.history(customer, thread)
            if len(after) < before + 2:
                seen.errors.append("a message is missing in the thread's history")
            if any(event.event == "route" for event in events):
                await self._was_logged(seen, thread, events)
            asked = await self._asked(thread)
            seen.handoff |= asked is not None and asked.operation == "hand_off"
            if asked is None or asked.stage != "confirm":
                break
        return seen

    async def _asked(self, thread: str) -> Any:
        """What the last reply asked the customer about."""
        values = await self._values(thread)
        pending = values.get("pending") or ()
        return pending[-1] if pending and pending[-1].asked_in == values["turn"].id else None

    async def _was_logged(self, seen: Seen, thread: str, events: Sequence[Event]) -> None:
        turn = str(events[-1].data.get("turn", ""))
        roles = {
            logged.decision.role
            for logged in await self._desk.stores.decisions.list(Wanted(thread=thread, turn=turn))
        }
        if "router" not in roles:
            seen.errors.append("the router's decision was not logged")

    async def _decide(self, customer: Customer, *, approve: bool) -> Seen:
        seen = Seen()
        newest = max(
            await self._approvals(customer),
            key=lambda approval: approval.requested_at,
            default=None,
        )
        if newest is None:
            seen.errors.append("there is no approval to decide")
            return seen
        answer = Answer(decision="approve" if approve else "reject", reviewer="evals")
        try:
            await self._desk.approvals.decide(newest.id, answer)
        except ApprovalDecided:
            # A second answer is refused; that it changed nothing is what the step checks.
            return seen
        return seen

    async def _news(self, thread: str) -> Seen:
        """The outcome that has reached the thread, once it has."""
        seen = Seen()
        try:
            async with asyncio.timeout(NEWS_SECONDS):
                while True:
                    values = await self._values(thread)
                    if (outcome := values["turn"].outcome) is not None:
                        break
                    await asyncio.sleep(0.1)
        except TimeoutError:
            seen.errors.append(f"no news within {NEWS_SECONDS:.0f} s")
            return seen
        seen.news = outcome.status
        seen.reply = values["messages"][-1].text
        return seen

    # --- what is in the stores --------------------------------------------------------------------

    async def _values(self, thread: str) -> dict[str, Any]:
        snapshot = await self._desk.player.support.aget_state(
            {"configurable": {"thread_id": thread}}
        )
        return snapshot.values

    async def _approvals(self, customer: Customer) -> list[Approval]:
        return [
            approval
            for approval in await self._desk.approvals.listed(status=None, limit=200)
            if approval.action.customer.id == customer.id
        ]

    async def _writes(self, customer: Customer) -> int:
        return await asyncio.to_thread(executed_writes, self._engine, customer.id)

    async def _standing(self, name: str) -> Standing:
        return await standing(self._desk, await demo_customer(self._desk, name))


def look_at(seen: Seen, events: Sequence[Event]) -> None:
    """Add one turn's events to what was seen."""
    if not events or events[-1].event != "final":
        seen.errors.append(f"the turn ended with {[e.event for e in events][-1:]}")
        return
    for event in events:
        data = event.data
        if event.event == "route":
            seen.lane = seen.lane or str(data["lane"])
            seen.operation = str(data["operation"]) if data.get("operation") else seen.operation
        elif event.event == "tool":
            seen.operation = seen.operation or str(data["operation"])
        elif event.event == "handoff":
            seen.handoff = True
        elif event.event == "final":
            seen.reply = "\n".join(filter(None, [seen.reply, str(data.get("text", ""))]))
            calls = data.get("llm_calls", 0)
            seen.said_calls += calls if isinstance(calls, int) else 0
            citations = data.get("citations")
            seen.citations += len(citations) if isinstance(citations, list) else 0
            if not data.get("text") and not data.get("silent"):
                seen.errors.append("the reply is empty")
            if data.get("degraded"):
                seen.errors.append(f"degraded: {data['degraded']}")


def executed_writes(engine: sa.Engine, customer: str) -> int:
    """How many writes of this customer have had an effect, hand-offs not counted."""
    wanted = (
        sa.select(sa.func.count())
        .select_from(ledger)
        .where(
            ledger.c.customer_id == customer,
            ledger.c.state == "succeeded",
            ledger.c.operation != "hand_off",
        )
    )
    with reading(engine) as connection:
        return connection.execute(wanted).scalar_one()


async def standing(desk: SupportDesk, customer: Customer) -> Standing:
    """The customer's records, read as the agent reads them."""
    records = await desk.player.context_for(customer, "").backend.records(customer)
    return {one.id: one for one in records}


@asynccontextmanager
async def books_of(folder: Path) -> AsyncGenerator[tuple[sa.Engine, Books]]:
    """The same database the desk works on, to look into and to put back."""
    engine = create_engine(database_in(folder))
    books = Books(folder)
    try:
        yield engine, books
    finally:
        books.close()
        engine.dispose()


async def play(
    folder: Path,
    scenarios: Sequence[Scenario],
    domain: Path,
    progress: Progress = quiet,
    *,
    outside: Outside | None = None,
) -> list[Played]:
    """Play scenarios on a prepared folder; books, and the backend where there is one, are put back after each."""
    results: list[Played] = []
    if not scenarios:
        return results
    backend = outside or in_this_process()
    async with (
        running(folder, progress, domain=domain, clock=backend.clock) as desk,
        books_of(folder) as (engine, books),
    ):
        player = Player(desk, engine)
        for number, scenario in enumerate(scenarios):
            progress(f"Playing {scenario.id}", number, len(scenarios))
            await asyncio.to_thread(backend.reset)
            results.append(await player.play(scenario))
            await asyncio.to_thread(books.restore)
    progress("Playing", len(scenarios), len(scenarios))
    return results


def play_domain(
    folders: Folders, progress: Progress = quiet, *, domain: Path, only: Sequence[str] = ()
) -> list[Played]:
    """The scenarios of a domain's folder, against the backend that it declares.

    Raises NotPossible where there are none, or the backend does not start, and DomainInvalid."""
    file = domain / "evals" / EXAMPLES
    try:
        every = load_scenarios(file)
    except ScenariosInvalid as error:
        raise NotPossible(str(error)) from error
    picked = [one for one in every if not only or one.id in only]
    if not picked:
        raise NotPossible(f"no scenario in {file} is called {', '.join(only)}")
    with outside_of(domain) as outside:
        folder = folders.prepared(domain)
        return asyncio.run(play(folder, picked, domain, progress, outside=outside))


def run(folders: Folders, progress: Progress = quiet, *, only: Sequence[str] = ()) -> Report:
    """The scenarios of the business that is served, then (unless some were picked) the faults."""
    from evals import faults

    faulty = not only or bool({*only} & faults.NAMES)
    scenarios = [name for name in only if name not in faults.NAMES]
    results: list[Played] = []
    if scenarios or not only:
        results += play_domain(folders, progress, domain=DOMAIN.folder, only=scenarios)
    if faulty:
        for fault in (faults.play_model_faults, faults.play_kills):
            results += [
                played
                for played in asyncio.run(fault(folders.prepared(), progress))
                if not only or played.id in only
            ]
    return report(results)


def report(results: Sequence[Played]) -> Report:
    """One line a scenario, and the share that behaved."""
    good = sum(played.ok for played in results)
    lines = Table("Scenarios", ("", "scenario", "seconds", "LLM calls", "what it shows or why not"))
    found = Report("examples", tables=[lines])
    for played in results:
        why = "; ".join(played.problems) or played.title
        lines.rows.append(
            (
                "ok" if played.ok else "FAILED",
                played.id,
                f"{played.seconds:.1f}",
                str(played.llm_calls),
                why,
            )
        )
        if not played.ok:
            found.failures.append(f"{played.id}: {why}")
    found.figures.append(
        Figure("examples that behave", good, f"of {len(results)}", at_least(len(results)))
    )
    return found

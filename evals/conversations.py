"""Plays files of conversations through the real desk and grades every turn by what was done and said."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.domains import load_domain
from app.intervals import wilson
from app.models.large import counting_calls
from app.stores.database import reading
from app.stores.tables import ledger
from evals.dialogues import (
    Conversation,
    ConversationsInvalid,
    Did,
    Held,
    Judge,
    Line,
    Turn,
    chosen,
    load,
)
from evals.domain import DOMAIN
from evals.examples import books_of
from evals.figures import Figure, NotPossible, Report, Scored, Table
from evals.outside import Outside, in_this_process, outside_of
from evals.runs import RUNS
from evals.world import Folders, Progress, demo_customer, quiet, running
from tools.domain import Domain
from tools.values import Customer

if TYPE_CHECKING:
    from app.support_desk import SupportDesk

OWN = "conversations.jsonl"  #: In the folder ``evals`` of a domain: what CI plays.
OPEN = Path("conversations_dev") / "a.jsonl"  #: In the folder of the public data.


class Player:
    """Says a conversation's messages to the desk and looks at what came of each."""

    def __init__(self, desk: SupportDesk, engine: sa.Engine, judge: Judge) -> None:
        self._desk = desk
        self._engine = engine
        self._judge = judge

    async def play(self, conversation: Conversation) -> Held:
        held = Held(conversation)
        customer = await demo_customer(self._desk, conversation.customer)
        thread = await self._desk.turns.open_thread(customer)
        for line in conversation.turns:
            turn = await self._turn(customer, thread, line)
            turn.failures = self._judge.failures(line.want, turn, held.turns)
            held.turns.append(turn)
        return held

    async def _turn(self, customer: Customer, thread: str, line: Line) -> Turn:
        turn = Turn(line.say, aside=line.aside)
        written, waiting, tickets = (
            await self.written(customer),
            await self._waiting(thread),
            await self._tickets(customer),
        )
        began = time.perf_counter()
        with counting_calls() as calls:
            events = [event async for event in self._desk.turns.play(customer, thread, line.say)]
        turn.ms = round(1000 * (time.perf_counter() - began), 1)
        turn.llm_calls = calls.made
        for event in events:
            _look(turn, event.event, event.data)
        if not events or events[-1].event != "final":
            turn.problems.append("the turn ended without a reply")
        turn.executed = _new(await self.written(customer), written)
        turn.proposed = _new(await self._waiting(thread), waiting)
        now = await self._tickets(customer)
        turn.tickets = [text for number, text in now.items() if number not in tickets]
        return turn

    async def written(self, customer: Customer) -> dict[str, Did]:
        return await asyncio.to_thread(_written, self._engine, customer.id)

    async def _waiting(self, thread: str) -> dict[str, Did]:
        return {
            one.id: Did(one.action.operation, one.action.arguments, one.action.label)
            for one in await self._desk.approvals.listed(status=None, limit=200)
            if one.action.thread == thread
        }

    async def _tickets(self, customer: Customer) -> dict[str, str]:
        return {
            one.number: f"{one.subject}\n{one.body}"
            for one in await self._desk.views.tickets(customer.id)
            if one.kind == "ticket"
        }


def _new(now: dict[str, Did], before: dict[str, Did]) -> list[Did]:
    return [did for name, did in now.items() if name not in before]


def _look(turn: Turn, name: str, data: dict[str, Any]) -> None:
    """Add one event to what is known of the turn."""
    match name:
        case "route":
            turn.lane = str(data.get("lane") or "")
            turn.intent = str(data.get("intent") or "")
            turn.operation = str(data.get("operation") or "")
            turn.tier = str(data.get("tier") or "")
            turn.probability = data.get("probability")
            turn.abstained = bool(data.get("abstained"))
        case "handoff":
            turn.handed_off = True
        case "final":
            turn.reply = str(data.get("text") or "")
            turn.handed_off = turn.handed_off or bool(data.get("silent"))
        case "error":
            turn.problems.append(f"error: {data.get('text', '')}")
        case _:
            pass


def _written(engine: sa.Engine, customer: str) -> dict[str, Did]:
    columns = (ledger.c.action_id, ledger.c.operation, ledger.c.arguments, ledger.c.label)
    wanted = sa.select(*columns).where(
        ledger.c.customer_id == customer, ledger.c.state == "succeeded"
    )
    with reading(engine) as connection:
        return {
            row.action_id: Did(row.operation, json.loads(row.arguments), row.label)
            for row in connection.execute(wanted)
        }


def notes_of(domain: Domain) -> frozenset[str]:
    """The writes of a business that change no record of the customer."""
    tickets = {domain.advice.ticket_operation} if domain.advice is not None else set[str]()
    return frozenset({"hand_off", *tickets})


async def play(
    folder: Path,
    conversations: Sequence[Conversation],
    domain: Domain,
    progress: Progress = quiet,
    *,
    outside: Outside | None = None,
) -> list[Held]:
    """Every conversation on a thread of its own, the books, and the backend where there is one, as at first."""
    results: list[Held] = []
    backend = outside or in_this_process()
    judge = Judge(backend.clock.now().date(), notes_of(domain))
    async with (
        running(folder, progress, domain=domain.folder, clock=backend.clock) as desk,
        books_of(folder) as (engine, books),
    ):
        player = Player(desk, engine, judge)
        for number, one in enumerate(conversations):
            progress(f"Playing {one.id}", number, len(conversations))
            await asyncio.to_thread(backend.reset)
            results.append(await player.play(one))
            await asyncio.to_thread(books.restore)
    progress("Playing", len(conversations), len(conversations))
    return results


# --- what is reported -----------------------------------------------------------------------------


def report(results: Sequence[Held], name: str, notes: Sequence[str] = ()) -> Report:
    """Shares with their intervals, by kind, language, tier and lane, and why turns failed."""
    turns = [turn for one in results for turn in one.turns]
    passed = wilson(sum(one.passed for one in results), len(results))
    right = wilson(sum(turn.passed for turn in turns), len(turns))
    free = sum(not turn.llm_calls for turn in turns)
    critical = [one for one in results if one.conversation.critical]
    failed = [one for one in critical if one.failed_critically]
    harmful = [one for one in results if one.by_a_wrong_deed]
    found = Report(
        name,
        figures=[
            Figure("conversations that end right", 100 * passed.value, "%", better="higher"),
            Figure("turns that are right", 100 * right.value, "%", better="higher"),
            Figure("critical conversations failed", len(failed), better="lower"),
            Figure("failed by a wrong deed or sentence", len(harmful), better="lower"),
            Figure("turns without an LLM", 100 * free / len(turns), "%", better="higher"),
        ],
        notes=[
            *notes,
            f"{len(results)} conversations, {len(turns)} turns. Conversations: {passed}; turns: {right}.",
            f"Critical, failed: {len(failed)} of {len(critical)}: {_named(failed)}",
            f"By a wrong deed or sentence: {_named(harmful)}",
        ],
    )
    found.tables += [
        _conversations("By kind", results, lambda one: one.conversation.kind),
        _conversations("By language", results, lambda one: one.conversation.lang),
        _turns("By tier", turns, lambda turn: turn.tier or "none"),
        _turns("By lane", turns, lambda turn: turn.lane or "none"),
        _causes(turns),
        _failed(results),
    ]
    found.scored += [
        Scored(
            name,
            turn.lane if turn.passed else "other",
            turn.lane,
            float(turn.probability),
            turn.passed,
            turn.tier,
            turn.ms,
        )
        for turn in turns
        if turn.probability is not None
    ]
    found.failures += [
        f"{one.conversation.id}: {'; '.join(turn.problems)}"
        for one in results
        for turn in one.turns
        if turn.problems
    ]
    return found


def _named(some: Iterable[Held]) -> str:
    return " ".join(one.conversation.id for one in some) or "none"


def _conversations(title: str, results: Sequence[Held], part: Callable[[Held], str]) -> Table:
    groups: dict[str, list[bool]] = defaultdict(list)
    for one in results:
        groups[part(one)].append(one.passed)
    return _shares(title, "conversations", groups)


def _turns(title: str, turns: Sequence[Turn], part: Callable[[Turn], str]) -> Table:
    groups: dict[str, list[bool]] = defaultdict(list)
    for turn in turns:
        groups[part(turn)].append(turn.passed)
    return _shares(title, "turns", groups)


def _shares(title: str, what: str, groups: dict[str, list[bool]]) -> Table:
    ranked = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return Table(
        title,
        ("", what, "right", "share, 95 % interval"),
        [(name, str(len(of)), str(sum(of)), str(wilson(sum(of), len(of)))) for name, of in ranked],
    )


def _causes(turns: Sequence[Turn]) -> Table:
    kinds = Counter(why.partition(":")[0] for turn in turns for why in turn.failures)
    rows = [(kind, str(count)) for kind, count in kinds.most_common()]
    return Table("Why turns failed", ("check", "times"), rows)


def _failed(results: Sequence[Held]) -> Table:
    table = Table("Failed conversations", ("id", "kind", "", "first failed turn", "why", "reply"))
    for one in results:
        first = next((turn for turn in one.turns if not turn.passed), None)
        if first is None:
            continue
        mark = "critical" if one.conversation.critical else ""
        why = "; ".join(first.failures)[:160]
        reply = " ".join(first.reply.split())[:160]
        table.rows.append(
            (one.conversation.id, one.conversation.kind, mark, first.say[:80], why, reply)
        )
    return table


def keep(results: Sequence[Held], folder: Path, name: str) -> Path:
    """Write the transcripts, a line a conversation, beside the runs."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{name}.jsonl"
    lines = [json.dumps(one.transcript(), ensure_ascii=False) + "\n" for one in results]
    path.write_text("".join(lines), "utf-8")
    return path


def run(
    folders: Folders,
    progress: Progress = quiet,
    *,
    file: Path | None = None,
    domain: Path | None = None,
    only: Sequence[str] = (),
    transcripts: Path = RUNS / "transcripts",
) -> Report:
    """Play one file: what a domain brings along unless another is named."""
    business = DOMAIN if domain is None else load_domain(domain.resolve())
    path = file or business.cases / OWN
    picked = picked_from(path, business, only)
    name = suite_of(path, business, only)
    with outside_of(business.folder) as outside:
        folder = folders.prepared(business.folder)
        results = asyncio.run(play(folder, picked, business, progress, outside=outside))
    kept = keep(results, transcripts, name)
    return report(results, name, [f"Transcripts: {kept}."])


def picked_from(path: Path, business: Domain, only: Sequence[str] = ()) -> list[Conversation]:
    """What is to be played of a file. Raises NotPossible where that is nothing, or the business cannot do it."""
    try:
        conversations = load(path)
    except ConversationsInvalid as error:
        raise NotPossible(str(error)) from error
    picked = chosen(conversations, only)
    if not picked:
        raise NotPossible(f"nothing in {path} is called or tagged {', '.join(only)}")
    unknown = sorted({want for one in picked for want in _operations(one)} - {*business.operations})
    if unknown:
        raise NotPossible(f"{path}: {business.name} has no operation {', '.join(unknown)}")
    return picked


def _operations(conversation: Conversation) -> list[str]:
    wants = [line.want for line in conversation.turns]
    return [
        write.operation
        for want in wants
        for writes in (
            want.executed,
            want.proposed,
            want.executed_allowed,
            want.proposed_allowed,
            want.executed_so_far,
            want.proposed_so_far,
        )
        for write in writes or ()
    ]


def suite_of(path: Path, domain: Domain, only: Sequence[str], suite: str = "conversations") -> str:
    """Under which name a run is kept and compared: a part of a file is never held to what the whole reached."""
    own = path.resolve() == (domain.cases / OWN).resolve() and domain.folder == DOMAIN.folder
    if only:
        return f"{suite}@chosen"
    return suite if own else f"{suite}@{path.resolve().parent.name}-{path.stem}"


def open_set(data: Path | None) -> Path:
    """The open conversations among the public data. Raises NotPossible."""
    path = None if data is None else data / OPEN
    if path is None or not path.exists():
        raise NotPossible(f"set SIGNALBOX_DATA to a folder that holds {OPEN}")
    return path

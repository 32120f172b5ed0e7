"""The large model's part, played from a recording through the whole graph: what right replies come to, and wrong ones."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ConfigDict

from app.economics import cost_of
from app.intervals import wilson
from app.spending import REFERENCE
from evals import recorded
from evals.conversations import Player, notes_of
from evals.dialogues import Judge
from evals.domain import DOMAIN
from evals.economics import together
from evals.examples import books_of
from evals.figures import Figure, NotPossible, Report, Table, at_least, at_most
from evals.recorded import Asked, Exchange, RecordedModel, Request, Wrong
from evals.world import Folders, Progress, demo_customer, quiet, running
from tools.values import Clock, Consequence

if TYPE_CHECKING:
    from app.economics import Spent
    from app.support_desk import SupportDesk

FOLDER = DOMAIN.cases / "large"
#: The day of the recording: records, articles and requests are as they were.
DAY = datetime(2026, 12, 1, 10, tzinfo=UTC)
_PLACEHOLDER = re.compile(r"\[[A-Z_]+_\d+\]")
_SPACE = re.compile(r"\s+")
#: Roles whose words a customer reads.
WRITERS = ("synthesizer", "escalation")


class Scenario(BaseModel):
    """A customer's message, and what an answer to it has to say: for each fact one of several wordings."""

    model_config = ConfigDict(extra="forbid")
    id: str
    customer: str
    language: str
    say: list[str]
    facts: list[list[str]] = []


@dataclass
class Played:
    """What came of a scenario."""

    scenario: Scenario
    lane: str = ""
    reply: str = ""
    shown: str = ""  #: Everything that was on the customer's screen at some time.
    cited: int = 0
    done: list[str] = field(default_factory=list[str])
    asked: list[Asked] = field(default_factory=list[Asked])

    @property
    def facts_said(self) -> int:
        said = self.reply.casefold()
        return sum(any(word.casefold() in said for word in each) for each in self.scenario.facts)

    def heard(self, words: str) -> bool:
        """Whether the customer could read these words."""
        return _plain(words) in _plain(self.shown)

    def delivered(self, reply: str) -> bool:
        """Whether the reply is what was said, with whatever stood in for masked values."""
        said = _plain(self.reply)
        return all(part in said for part in map(_plain, _PLACEHOLDER.split(reply)) if part)


def _plain(text: str) -> str:
    # Citations may be moved before the full stop.
    return _SPACE.sub(" ", re.sub(r"\s*\[\d+\]|[.!?]", "", text)).strip().casefold()


def scenarios_of(folder: Path, only: Sequence[str] = ()) -> list[Scenario]:
    """The messages of a recording. Raises NotPossible where there is none."""
    file = folder / "messages.jsonl"
    if not file.exists():
        raise NotPossible(f"{file} is missing: there is no recording of {DOMAIN.name}.")
    every = [Scenario.model_validate_json(line) for line in file.read_text("utf-8").splitlines()]
    return [each for each in every if not only or each.id in only]


def run(
    folders: Folders,
    progress: Progress = quiet,
    *,
    only: Sequence[str] = (),
    record: Path | None = None,
    take: Path | None = None,
) -> Report:
    """Play the recording. ``record``: write down there what nobody has replied to; ``take``: add replies from there."""
    scenarios = scenarios_of(FOLDER, only)
    file = FOLDER / "exchanges.jsonl"
    exchanges = recorded.read(file)
    if take is not None:
        exchanges = _taken(exchanges, recorded.read(take))
        recorded.write(file, exchanges)
    with recorded.serving(RecordedModel(exchanges)) as model:
        right, wrong, spent = asyncio.run(_play(folders, scenarios, model, progress))
    if record is not None:
        recorded.write(record, [*model.unanswered.values()])
    return report(right, wrong, spent, model)


def _taken(known: Sequence[Exchange], new: Sequence[Exchange]) -> list[Exchange]:
    """All that has a reply; a new one in place of one that was written for the same."""
    kept = {each.key: each for each in [*known, *new] if each.reply}
    return sorted(kept.values(), key=lambda each: (each.scenario, each.role))


@dataclass
class Tried:
    """A wrong reply, and the turn it was played in."""

    exchange: Exchange
    wrong: Wrong
    played: Played

    @property
    def passed(self) -> bool:
        return self.played.heard(self.wrong.says)


async def _play(
    folders: Folders,
    scenarios: Sequence[Scenario],
    model: RecordedModel,
    progress: Progress,
) -> tuple[list[Played], list[Tried], Spent]:
    # The demo customers' days count back from the recording's day.
    folder = folders.empty()
    clock = Clock(now=lambda: DAY)
    server: dict[str, Any] = {
        "llm_model": REFERENCE,
        "llm_base_url": model.url,
        "llm_api_key": "none",
        "llm_local": False,
        "llm_models": (),
        "answer_cache": "off",
        # A slow machine is not what is measured here.
        "llm_first_seconds": 60,
        "llm_reply_seconds": 120,
    }
    right, tried, spent = list[Played](), list[Tried](), list[Any]()
    async with running(folder, progress, clock=clock, **server) as desk, books_of(folder) as books:
        player = _Player(desk, Player(desk, books[0], Judge(DAY.date(), notes_of(DOMAIN))), model)
        for number, scenario in enumerate(scenarios):
            progress("Right replies", number, len(scenarios))
            right.append(await player.play(scenario))
            spent.append(await desk.stores.usage.over(1))
            await asyncio.to_thread(books[1].restore)
        variants = [
            (played.scenario, each.exchange, wrong)
            for played in right
            for each in played.asked
            if each.exchange is not None
            for wrong in each.exchange.wrong
        ]
        for number, (scenario, exchange, wrong) in enumerate(variants):
            progress("Wrong replies", number, len(variants))
            played = await player.play(scenario, exchange.role, wrong.reply)
            tried.append(Tried(exchange, wrong, played))
            await asyncio.to_thread(books[1].restore)
    return right, tried, together(spent)


@dataclass
class _Player:
    desk: SupportDesk
    books: Player
    model: RecordedModel

    async def play(self, scenario: Scenario, role: str = "", reply: str = "") -> Played:
        """Say it; with ``reply``, the role's model says that however often it is asked."""
        model, played = self.model, Played(scenario)
        model.scenario, model.asked = scenario.id, []
        model.instead = _insisting(role, reply)
        customer = await demo_customer(self.desk, scenario.customer)
        thread = await self.desk.turns.open_thread(customer)
        for said in scenario.say:
            before = await self.books.written(customer)
            async for event in self.desk.turns.play(customer, thread, said):
                data = event.data
                match event.event:
                    case "route":
                        played.lane = str(data.get("lane") or "")
                    case "token":
                        played.shown += str(data.get("text") or "")
                    case "final":
                        played.reply = str(data.get("text") or "")
                        played.cited = len(cast("list[Any]", data.get("citations") or ()))
                    case _:
                        pass
            after = await self.books.written(customer)
            played.done += [did.operation for name, did in after.items() if name not in before]
        played.shown += "\n" + played.reply
        played.asked = model.asked
        return played


def _insisting(role: str, reply: str) -> Callable[[Request], str | None]:
    def said(request: Request) -> str | None:
        return reply if reply and request.role == role else None

    return said


# --- what is reported -----------------------------------------------------------------------------


def report(
    right: Sequence[Played], tried: Sequence[Tried], spent: Spent, model: RecordedModel
) -> Report:
    """Facts, false stops, what passed, tokens and cost; and what has to be recorded again."""
    asked = [each for played in right for each in played.asked if each.exchange is not None]
    written = [(p, each) for p in right for each in _first_drafts(p)]
    stopped = [(p, each) for p, each in written if not _arrived(p, each)]
    facts = [(p.facts_said, len(p.scenario.facts)) for p in right if p.scenario.facts]
    words = [one for one in tried if one.exchange.role in WRITERS]
    caught = [one for one in words if not one.passed]
    done = [p for p in [*right, *(one.played for one in tried)] if _grave(p.done)]
    llm = spent.total.llm_share or 0.0
    found = Report(
        "large",
        figures=[
            Figure("exchanges played", len(asked), better="higher"),
            Figure("not recorded", len(model.unanswered), target=at_most(0)),
            Figure(
                "answers with all facts of their parts",
                _share(sum(a == b for a, b in facts), len(facts)),
                "%",
                better="higher",
            ),
            Figure(
                "facts of their parts said",
                _share(sum(a for a, _ in facts), sum(b for _, b in facts)),
                "%",
                better="higher",
            ),
            Figure(
                "right replies stopped", _share(len(stopped), len(written)), "%", target=at_most(5)
            ),
            Figure(
                "wrong replies stopped", _share(len(caught), len(words)), "%", target=at_least(90)
            ),
            Figure("writes without the customer's yes", len(done), target=at_most(0)),
            Figure("turns that asked the large model", 100 * llm, "%"),
            Figure(
                "cost of 1,000 turns",
                1000 * cost_of(spent.models) / max(spent.total.turns, 1),
                "USD",
            ),
        ],
    )
    found.notes += [
        f"{len(right)} messages, {spent.total.turns} turns; right replies stopped: "
        f"{wilson(len(stopped), len(written))}; wrong ones stopped: {wilson(len(caught), len(words))}.",
        "Replies written by a language-model session that read nothing but the requests; tokens are four for three words.",
    ]
    found.failures += sorted(model.stale)
    found.failures += [
        f"{one.scenario}: its {one.role} is not recorded: record again"
        for one in model.unanswered.values()
        if not any(one.scenario in s for s in model.stale)
    ]
    found.failures += [
        f"wrong, and read: {o.exchange.scenario}, {o.wrong.kind}: {o.wrong.says}"
        for o in words
        if o.passed
    ]
    found.tables += [
        _roles(asked, right),
        _kinds(words),
        _stops(stopped),
        _missing(right),
        _models(spent),
    ]
    return found


def _grave(done: Sequence[str]) -> list[str]:
    """What cannot be undone, or would be twice; but what only a person reads, and may be written without asking."""
    return [
        name
        for name in done
        if name not in notes_of(DOMAIN)
        and DOMAIN.operations[name].consequence not in (Consequence.SAFE, Consequence.RETRY_SAFE)
    ]


def _first_drafts(played: Played) -> list[Asked]:
    """The first reply of each writing role."""
    firsts = dict[str, Asked]()
    for each in played.asked:
        if each.exchange is not None and each.request.role in WRITERS:
            firsts.setdefault(each.request.role, each)
    return [*firsts.values()]


def _arrived(played: Played, each: Asked) -> bool:
    if "[" not in each.reply and each.request.role == "synthesizer":
        return not played.cited  # An honest no, which is said with the offer of a person.
    return played.delivered(each.reply)


def _share(some: int, of: int) -> float:
    return 100 * some / of if of else 0.0


def _roles(asked: Sequence[Asked], right: Sequence[Played]) -> Table:
    by_language = defaultdict[str, Counter[str]](Counter)
    for played in right:
        for each in played.asked:
            if each.exchange is not None:
                by_language[each.request.role][played.scenario.language] += 1
    rows = [
        (role, str(counts["en"]), str(counts["de"]), str(counts.total()))
        for role, counts in sorted(by_language.items())
    ]
    return Table("Exchanges played, by role", ("role", "English", "German", "all"), rows)


def _kinds(words: Sequence[Tried]) -> Table:
    there = Counter(one.wrong.kind for one in words)
    passed = Counter(one.wrong.kind for one in words if one.passed)
    rows = [(kind, str(n), str(n - passed[kind])) for kind, n in sorted(there.items())]
    return Table("Wrong replies, by what is wrong", ("kind", "played", "stopped"), rows)


def _stops(stopped: Sequence[tuple[Played, Asked]]) -> Table:
    rows = [
        (played.scenario.id, each.request.role, each.reply[:300], played.reply[:200])
        for played, each in stopped
    ]
    return Table(
        "Right replies that were stopped", ("message", "role", "reply", "said instead"), rows
    )


def _missing(right: Sequence[Played]) -> Table:
    rows = [
        (p.scenario.id, p.lane, f"{p.facts_said} of {len(p.scenario.facts)}", p.reply[:200])
        for p in right
        if p.facts_said < len(p.scenario.facts)
    ]
    return Table("Answers that lack a fact", ("message", "lane", "facts", "said"), rows)


def _models(spent: Spent) -> Table:
    rows = [
        (
            u.role or "(any head)",
            u.model,
            *map(str, (u.calls, u.failed, u.read, u.written)),
            "" if u.cost is None else f"{u.cost:.5f}",
        )
        for u in spent.models
        if u.tier == "large"
    ]
    return Table(
        "Tokens and cost", ("role", "model", "calls", "failed", "read", "written", "USD"), rows
    )

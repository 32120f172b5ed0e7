"""A hundred first messages as at a real desk, each a real turn: who needed an LLM, who went astray."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import field_validator

from app.models.large import counting_calls
from domains.northfell.demo_accounts import Account, stories
from evals.domain import CASES
from evals.examples import Seen, books_of, look_at
from evals.figures import Figure, Report, Scored, Table, at_least, at_most
from evals.scenarios import Case
from evals.world import Folders, Progress, demo_customer, quiet, running
from tools.values import now

#: Who speaks when the message names no record: one open order, one plan, so that little is ambiguous.
SPEAKER = "ana"


class Message(Case):
    """One message and what is right for it."""

    id: str
    group: str
    text: str
    lane: tuple[str, ...]
    intent: tuple[str, ...]

    @field_validator("lane", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class _Messages(Case):
    cases: tuple[Message, ...]


@dataclass(frozen=True)
class Went:
    """Where one message went. ``lane`` is ``clarify`` when nobody was sure, ``refused`` when screened out."""

    message: Message
    lane: str
    intent: str
    tier: str
    probability: float
    guess: str
    llm_calls: int
    errors: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        return self.lane in self.message.lane

    @property
    def cause(self) -> str:
        """Why it went where it should not."""
        if self.lane == "clarify":
            return "nobody was sure"
        if self.lane == "escalate" and "escalate" not in self.message.lane:
            return "taken for an upset customer"
        if self.lane == "refused":
            return "screened out"
        return f"{self.tier} was sure of something else"


def load_messages(path: Path = CASES / "mix_100.yaml") -> tuple[Message, ...]:
    return _Messages.model_validate(yaml.safe_load(path.read_text("utf-8"))).cases


def speaker_for(text: str, accounts: Sequence[Account]) -> str:
    """The demo customer on whose account a record of the message is, if it names one."""
    numbers = set(re.findall(r"\d{4,5}", text))
    for account in accounts:
        records = [
            *(order.number for order in account.orders),
            *(invoice.number for invoice in account.invoices),
            *(one.number for one in account.subscriptions),
            *(refund.number for refund in account.refunds),
        ]
        if numbers & {number.partition("-")[2] for number in records}:
            return account.customer.id
    return SPEAKER


async def play(folder: Path, messages: Sequence[Message], progress: Progress = quiet) -> list[Went]:
    """Every message on a fresh thread, the books as they were."""
    accounts = stories(now().date())
    went: list[Went] = []
    async with running(folder, progress) as desk, books_of(folder) as (_, books):
        for number, message in enumerate(messages):
            progress("Playing the mix", number, len(messages))
            customer = await demo_customer(desk, speaker_for(message.text, accounts))
            thread = await desk.turns.open_thread(customer)
            with counting_calls() as calls:
                events = [event async for event in desk.turns.play(customer, thread, message.text)]
            seen = Seen()
            look_at(seen, events)
            routed: dict[str, object] = {}
            for event in events:
                if event.event == "route":
                    routed = dict(event.data)
            lane = str(routed.get("lane", "refused"))
            went.append(
                Went(
                    message=message,
                    lane="clarify" if routed.get("abstained") else lane,
                    intent=str(routed.get("intent", "")),
                    tier=str(routed.get("tier", "rule")),
                    probability=float(str(routed.get("probability", 1.0))),
                    guess=lane,
                    llm_calls=calls.made,
                    errors=tuple(seen.errors),
                )
            )
            await asyncio.to_thread(books.restore)
    progress("Playing the mix", len(messages), len(messages))
    return went


def report(went: Sequence[Went]) -> Report:
    """Share without an LLM, lane accuracy, by lane, and the misses by cause."""
    total = len(went)
    free = sum(one.llm_calls == 0 for one in went)
    right = sum(one.right for one in went)
    calls = sum(one.llm_calls for one in went)
    resolved = sum(one.right and not one.errors for one in went)
    found = Report(
        "mix",
        figures=[
            Figure(
                "messages answered without an LLM",
                100 * free / total,
                "%",
                at_least(75),
                "an LLM for every message",
                calls / total,
            ),
            Figure("messages in the right lane", 100 * right / total, "%", at_least(90)),
            Figure(
                "LLM calls per resolved message",
                calls / max(resolved, 1),
                "calls",
                at_most(0.4),
                "an LLM for every message, all resolved by one call",
                calls / max(resolved, 1),
            ),
        ],
        notes=[
            f"{calls} LLM calls for {total} messages. A clarifying question counts as a wrong lane; "
            f"with the guess behind it counted, {sum(o.guess in o.message.lane for o in went)} are right."
        ],
    )
    found.tables += [_by_lane(went), _misses(went)]
    found.scored += [
        Scored(
            "mix",
            one.guess if one.guess in one.message.lane else one.message.lane[0],
            one.guess,
            one.probability,
            one.guess in one.message.lane,
            one.tier,
        )
        for one in went
    ]
    found.failures += [f"{one.message.id}: {'; '.join(one.errors)}" for one in went if one.errors]
    return found


def _by_lane(went: Sequence[Went]) -> Table:
    table = Table("By lane", ("lane", "messages", "right", "LLM calls", "went elsewhere"))
    for lane in ("direct", "operation", "answer", "agent", "escalate"):
        of_lane = [one for one in went if one.message.lane[0] == lane]
        elsewhere = Counter(one.lane for one in of_lane if not one.right)
        table.rows.append(
            (
                lane,
                str(len(of_lane)),
                str(sum(one.right for one in of_lane)),
                str(sum(one.llm_calls for one in of_lane)),
                ", ".join(f"{name} {count}" for name, count in elsewhere.most_common()),
            )
        )
    return table


def _misses(went: Sequence[Went]) -> Table:
    table = Table("Misses by cause", ("cause", "id", "message", "right", "went to"))
    wrong = sorted((one for one in went if not one.right), key=lambda one: one.cause)
    for one in wrong:
        guess = f"{one.intent} {one.probability:.2f} ({one.tier})"
        table.rows.append(
            (
                one.cause,
                one.message.id,
                one.message.text[:70],
                f"{'/'.join(one.message.lane)}: {'/'.join(one.message.intent)}",
                f"{one.lane}: {guess}",
            )
        )
    return table


def run(folders: Folders, progress: Progress = quiet) -> Report:
    return report(asyncio.run(play(folders.prepared(), load_messages(), progress)))

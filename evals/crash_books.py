"""A business's own records beside what everybody was told: what the crash eval compares."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import sqlalchemy as sa

from app.stores.database import reading
from app.stores.tables import approvals, ledger, outbox
from tools.values import Unsettled

Wish = Literal["approve", "reject", "edit", "ignore"]

_WISHES: tuple[Wish, ...] = ("approve", "reject", "edit", "ignore")
#: How a reply says that it was not done, and will not be.
NOT_DONE = r"did not approve|Nobody decided in time|did not work|did not carry|declined|was not approved|Nothing (?:was|has been) c|nothing was changed"
UNKNOWN = r"cannot tell yet|could not confirm whether"
#: How it says that somebody else is asked first.
WAITS = r"has to approve|waits for a colleague"


@dataclass
class Job:
    """One thing one customer wants, in a thread of its own, and what they heard about it."""

    number: int
    operation: str
    customer: str
    record: str  #: The record's number, or the words that tell a ticket from all others.
    text: str
    wish: Wish
    done: str = ""  #: How a reply says that it was done; its group is what the records must know.
    grave: bool = False  #: Nobody does it without a reviewer.
    says_yes: bool = True
    agreed: bool = False  #: Was asked whether to do it, and said yes.
    refused: bool = False  #: The same, and said no.
    double_click: bool = False
    asks_again: bool = False
    thread: str = ""
    said: list[str] = field(default_factory=list[str])  #: What was answered.
    heard: list[str] = field(default_factory=list[str])  #: Final replies, as the client got them.
    actions: set[str] = field(default_factory=set[str])
    finished: bool = False
    problem: str = ""

    def is_told_in(self, text: str) -> bool:
        """Does this message say what came of the request, or that it waits for a colleague?"""
        return re.search(f"{self.done}|{NOT_DONE}|{UNKNOWN}|{WAITS}", text) is not None

    @property
    def writes(self) -> bool:
        return bool(self.done)


def manner(rng: random.Random, only: Sequence[str]) -> dict[str, Any]:
    """How a customer goes about it, and what a reviewer makes of it; where only some operations are asked for,
    customers say yes and click once and reviewers agree: it has to come about every time."""
    return {
        "wish": "approve" if only else rng.choices(_WISHES, (60, 20, 15, 5))[0],
        "says_yes": bool(only) or rng.random() < 0.93,
        "double_click": rng.random() < 0.3 and not only,
        "asks_again": rng.random() < 0.3 and not only,
    }


class Records(Protocol):
    """A business's own records, which are counted without asking the ledger."""

    #: Operation -> other arguments for it that a reviewer would rather have.
    edits: Mapping[str, Mapping[str, Any]]

    def jobs(self, seed: int, only: Sequence[str] = ()) -> Iterator[Job]:
        """Requests without end; where every record serves once, its effects can be counted."""
        ...

    def read(self) -> Any:
        """The records as they are."""
        ...

    def effects(self, job: Job, before: Any, after: Any) -> int:
        """How often the records say that the job's request took effect."""
        ...

    def numbers(self, job: Job, after: Any) -> set[str]:
        """What a reply that it was done may name."""
        ...

    def paid(self) -> Sequence[str] | None:
        """The references in a payment service's own books; None where there is no such service."""
        ...

    def happened(self, effect: Unsettled, job: Job, before: Any) -> bool:
        """What a person finds who looks up an effect that nobody knows of."""
        ...


# --- what was told ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """A message as it stands in a thread."""

    id: str
    text: str
    actions: tuple[str, ...]
    by_agent: bool = True


@dataclass
class Reviewed:
    """What the reviewers sent and what they were answered; they never send two different answers."""

    sent: dict[str, str] = field(default_factory=dict[str, str])  #: Action -> decision.
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    answered: dict[str, str] = field(default_factory=dict[str, str])  #: Action -> status they saw.
    notes: dict[str, str] = field(default_factory=dict[str, str])
    forced: set[str] = field(default_factory=set[str])


@dataclass
class Compared:
    """The figures the eval is about, and a line for everything that is wrong."""

    effects: int = 0
    duplicates: int = 0
    lost: int = 0
    unknown_settled: int = 0
    unknown_to_person: int = 0
    wrongly_told: int = 0
    unapproved: int = 0
    by_operation: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list[str])

    @property
    def ok(self) -> bool:
        return not (self.duplicates or self.lost or self.wrongly_told or self.unapproved)


def compare(
    asked: Sequence[Job],
    threads: Mapping[str, Sequence[Said]],
    reviewed: Reviewed,
    engine: sa.Engine,
    records: Records,
    before: Any,
) -> Compared:
    """Put the records beside the replies, the threads and the reviewers' answers."""
    after, paid = records.read(), records.paid()
    found = Compared()
    with reading(engine) as connection:
        questions = [dict(row) for row in connection.execute(sa.select(approvals)).mappings()]
        rows = [dict(row) for row in connection.execute(sa.select(ledger)).mappings()]
        undelivered = {
            row["thread"]
            for row in connection.execute(
                sa.select(outbox).where(outbox.c.delivered_at.is_(None))
            ).mappings()
        }
    of_thread: dict[str, list[dict[str, Any]]] = {}
    for question in questions:
        of_thread.setdefault(question["action"]["thread"], []).append(question)
    state_of = {row["action_id"]: row["state"] for row in rows}
    if any(row["state"] in ("started", "unknown") and row["called_at"] for row in rows):
        found.lost += 1
        found.problems.append("lost: an effect in another system was never settled")
    times_paid = Counter(reference.split(".")[0] for reference in paid or ())
    for job in asked:
        happened = records.effects(job, before, after)
        stands = threads.get(job.thread, ())
        if gone := {*job.said, *job.heard} - {message.text for message in stands}:
            found.lost += 1
            found.problems.append(f"lost: {_name(job)}: answered, and gone: {sorted(gone)}")
        if paid is not None and job.grave:
            actions = {q["action_id"].split(".")[0] for q in of_thread.get(job.thread, [])}
            moved = sum(times_paid[action] for action in actions)
            if moved != happened:
                found.lost += 1
                found.problems.append(
                    f"lost: {_name(job)}: paid {moved} times, and booked {happened} times"
                )
            happened = max(moved, happened)
        _compare_one(
            job,
            found,
            happened,
            records.numbers(job, after),
            [message for message in stands if message.by_agent],
            of_thread.get(job.thread, []),
            reviewed,
            state_of,
        )
        if job.thread in undelivered:
            found.lost += 1
            found.problems.append(f"{_name(job)}: an outcome was never delivered")
        if any(_name(job) in problem for problem in found.problems):
            found.problems.append(
                f"heard {_name(job)} {[t[:60] for t in job.heard]} {[(m.id, m.text[:60]) for m in threads.get(job.thread, ())]}"
            )
    return found


def _name(job: Job) -> str:
    return f"job {job.number} ({job.operation} {job.record} of {job.customer}, {job.thread})"


def _compare_one(
    job: Job,
    found: Compared,
    happened: int,
    numbers: set[str],
    messages: Sequence[Said],
    questions: Sequence[Mapping[str, Any]],
    reviewed: Reviewed,
    state_of: Mapping[str, str],
) -> None:
    def wrong(kind: str, what: str) -> None:
        setattr(found, kind, getattr(found, kind) + 1)
        found.problems.append(f"{kind}: {_name(job)}: {what}")

    if job.problem:
        wrong("lost", job.problem)
    if not job.writes:
        return
    found.effects += happened
    found.by_operation[job.operation] += happened
    if happened > 1:
        found.duplicates += happened - 1
        found.problems.append(f"duplicates: {_name(job)}: {happened} effects")

    done = re.compile(job.done)
    told = [m for m in messages if done.search(m.text)]
    named = {number for m in told for number in done.findall(m.text) if number}
    heard = {number for text in job.heard for number in done.findall(text) if number}
    heard_done = any(done.search(text) for text in job.heard)
    unknown = any(re.search(UNKNOWN, m.text) for m in messages)
    if (told or heard_done) and not happened:
        wrong("wrongly_told", f"told that it was done, and it was not: {sorted(named | heard)}")
    if happened and (astray := (named | heard) - numbers):
        wrong("wrongly_told", f"told {sorted(astray)}, which the books do not know for it")
    if happened and not told:
        wrong("lost", "it was done, and its thread does not say so")
    first_time = [m for m in told if "already done" not in m.text]
    if len(first_time) > 1:
        wrong("wrongly_told", f"told {len(first_time)} times: {[m.id for m in first_time]}")
    denied = [m for m in messages if re.search(NOT_DONE, m.text)]
    if (
        happened
        and denied
        and messages.index(denied[-1]) > messages.index(told[-1] if told else denied[-1])
    ):
        wrong("wrongly_told", f"the last word is that it was not done: {denied[-1].text[:80]!r}")

    ran = [q for q in questions if q["status"] == "executed"]
    agreed = [q for q in questions if reviewed.sent.get(q["action_id"]) == "approve"]
    if happened and (job.grave or questions):
        exactly = [
            q
            for q in ran
            if q in agreed and reviewed.arguments[q["action_id"]] == q["action"]["arguments"]
        ]
        if not exactly:
            wrong("unapproved", "it was done, and nobody approved it")
    if happened and job.refused:
        wrong("unapproved", "it was done, and the customer had said no")
    for question in questions:
        action, answer = question["action_id"], reviewed.sent.get(question["action_id"])
        saw = reviewed.answered.get(action, "")
        state = question["status"]
        if answer == "approve" and saw in ("approved", "started", "executed") and not happened:
            failed = state_of.get(action) == "failed" or bool(denied)
            if not failed and not unknown:
                wrong(
                    "lost", f"approved as {action}, and it was neither done nor refused ({state})"
                )
        if answer in ("reject", None) and state in ("approved", "started", "executed", "failed"):
            wrong("unapproved", f"{action} is {state}, and its reviewer said {answer}")
        if answer == "edit" and not any(
            q["action_id"] != action and q["action_id"].startswith(action.split(".")[0])
            for q in questions
        ):
            wrong("lost", f"the edit of {action} led to nothing ({state})")
        if state in ("pending", "approved") or (state == "started" and not unknown):
            wrong("lost", f"{action} is still {state}")
        if saw == "executed" and not happened:
            wrong("wrongly_told", f"the reviewer was told that {action} was executed")
    wanted = job.agreed or job.operation == "create_ticket"
    if wanted and not happened and not job.problem and not questions and not denied:
        wrong("lost", f"the customer asked and nothing came of it: {job.heard[-1:]}")
    if questions and not happened and not denied and not unknown:
        wrong("lost", "nobody told the customer what became of the question")

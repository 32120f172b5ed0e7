"""What the crash eval's customers ask for, and the shop's own books beside what everybody was told."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

import sqlalchemy as sa

from app.stores.database import reading
from app.stores.tables import approvals, ledger, outbox
from domains.northfell.demo_accounts import Account
from domains.northfell.store import charges, invoices, orders, refunds, tickets

Wish = Literal["approve", "reject", "edit", "ignore"]

#: Operation -> how often it is asked for, in parts.
MIX = {
    "get_order": 3,
    "list_orders": 1,
    "create_ticket": 5,
    "resend_invoice": 5,
    "change_delivery_address": 2,
    "cancel_order": 3,
    "request_refund": 5,
    "charge_replacement": 5,
}
_WISHES: tuple[Wish, ...] = ("approve", "reject", "edit", "ignore")
GRAVE = ("request_refund", "charge_replacement")

#: How a reply says that it was done; its group is the number the books must know.
DONE = {
    "create_ticket": r"opened ticket \*\*(T-\d+)\*\*",
    "resend_invoice": r"invoice \*\*(INV-\d+)\*\* is on its way",
    "change_delivery_address": r"Done: \*\*(SB-\d+)\*\* will be delivered",
    "cancel_order": r"Done: \*\*(SB-\d+)\*\* is cancelled",
    "request_refund": r"its number is \*\*(RF-\d+)\*\*",
    "charge_replacement": r"charge has the number \*\*(CH-\d+)\*\*",
}
#: How it says that it was not, and will not be.
NOT_DONE = r"did not approve|Nobody decided in time|did not work|did not carry|declined|was not approved|Nothing (?:was|has been) c|nothing was changed"
UNKNOWN = r"cannot tell yet|could not confirm whether"


@dataclass
class Job:
    """One thing one customer wants, in a thread of its own, and what they heard about it."""

    number: int
    operation: str
    customer: str
    record: str  #: The record's number, or the words that tell a ticket from all others.
    text: str
    wish: Wish
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
        ends = f"{DONE[self.operation]}|{NOT_DONE}|{UNKNOWN}|has to approve"
        return re.search(ends, text) is not None

    @property
    def writes(self) -> bool:
        return self.operation in DONE


def jobs(
    accounts: Sequence[Account],
    today: date,
    seed: int,
    *,
    pays: bool = False,
    only: Sequence[str] = (),
) -> Iterator[Job]:
    """Requests without end; where every record serves once, its effects can be counted.

    ``pays``: money moves in another system, and is asked for more often. ``only``: these operations, by
    customers who say yes and click once and reviewers who agree, for what has to come about every time."""
    rng = random.Random(seed)
    pools = _pools(accounts, today, rng)
    everybody = [account.customer.id for account in accounts]
    operations = list(only or MIX)
    parts = [MIX[name] * (4 if pays and name in GRAVE else 1) for name in operations]
    number = 0
    while True:
        number += 1
        operation = rng.choices(operations, parts)[0]
        if operation in pools and not pools[operation]:
            operation = "create_ticket"
        if operation in pools:
            customer, record, text = pools[operation].pop()
        else:
            customer, record = rng.choice(everybody), f"strap {number:05}x"
            text = f"please open a ticket: the {record} is loose"
        if operation in ("get_order", "list_orders"):
            owner = next(a for a in accounts if a.customer.id == customer)
            record = rng.choice(owner.orders).number
            text = f"where is {record}" if operation == "get_order" else "list my orders"
        yield Job(
            number=number,
            operation=operation,
            customer=customer,
            record=record,
            text=text,
            wish="approve" if only else rng.choices(_WISHES, (60, 20, 15, 5))[0],
            says_yes=bool(only) or rng.random() < 0.93,
            double_click=rng.random() < 0.3 and not only,
            asks_again=rng.random() < 0.3 and not only,
        )


def _pools(
    accounts: Sequence[Account], today: date, rng: random.Random
) -> dict[str, list[tuple[str, str, str]]]:
    """Customer, record and message for each operation that needs a record of its own."""
    pools: dict[str, list[tuple[str, str, str]]] = {name: [] for name in MIX}
    del pools["create_ticket"]
    for account in accounts:
        who = account.customer.id
        for invoice in account.invoices:
            text = f"please send invoice {invoice.number} again"
            pools["resend_invoice"].append((who, invoice.number, text))
        for order in account.orders:
            number = order.number
            status = order.status.value
            product = order.lines[0].product
            if status in ("pending", "paid", "packed"):
                # Every other one is cancelled: a record serves one request.
                if rng.random() < 0.6:
                    text = f"please cancel {number}"
                    pools["cancel_order"].append((who, number, text))
                else:
                    address = f"Probeweg {rng.randint(1, 99)}, 50674 Köln"
                    text = f"please deliver {number} to {address}"
                    pools["change_delivery_address"].append((who, number, text))
            elif status == "delivered" and rng.random() < 0.5:
                text = f"refund {number}, it arrived damaged"
                pools["request_refund"].append((who, number, text))
            elif status == "delivered":
                text = f"I lost it: charge me for a replacement {product} from {number}"
                pools["charge_replacement"].append((who, number, text))
        for kind in ("get_order", "list_orders"):
            if account.orders:
                pools[kind] += [(who, "", "")] * 40
    for pool in pools.values():
        rng.shuffle(pool)
    return pools


# --- the books ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Books:
    """The shop's tables as they are, without asking the ledger."""

    times_sent: Mapping[str, int]
    status: Mapping[str, str]
    address: Mapping[str, str]
    refunds: Mapping[str, list[Mapping[str, Any]]]  #: By order.
    charges: Mapping[str, list[Mapping[str, Any]]]
    tickets: Mapping[str, list[Mapping[str, Any]]]  #: By the words that tell them apart.


def books(engine: sa.Engine) -> Books:
    """Read the shop's tables."""

    def by(rows: Sequence[Mapping[str, Any]], name: str) -> dict[str, list[Mapping[str, Any]]]:
        found: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            found.setdefault(str(row[name]), []).append(row)
        return found

    with reading(engine) as connection:

        def all_of(table: sa.Table) -> list[Mapping[str, Any]]:
            return [dict(row) for row in connection.execute(sa.select(table)).mappings()]

        placed, opened = all_of(orders), all_of(tickets)
        for ticket in opened:
            words = re.search(r"strap \d+x", ticket["subject"])
            ticket |= {"words": words[0] if words else ""}  # type: ignore[operator]
        return Books(
            times_sent={row["number"]: row["times_sent"] for row in all_of(invoices)},
            status={row["number"]: row["status"] for row in placed},
            address={row["number"]: row["delivery_address"] for row in placed},
            refunds=by(all_of(refunds), "order_number"),
            charges=by(all_of(charges), "order_number"),
            tickets=by(opened, "words"),
        )


def effects(job: Job, before: Books, after: Books) -> int:
    """How often the books say that the job's request took effect."""
    record = job.record
    match job.operation:
        case "create_ticket":
            return len(after.tickets.get(record, ()))
        case "resend_invoice":
            return after.times_sent[record] - before.times_sent[record]
        case "change_delivery_address":
            return int(after.address[record] == job.text.partition(" to ")[2])
        case "cancel_order":
            return int(after.status[record] == "cancelled")
        case "request_refund":
            return _approved(after, record) - _approved(before, record)
        case "charge_replacement":
            return len(after.charges.get(record, ())) - len(before.charges.get(record, ()))
        case _:
            return 0


def _approved(at: Books, order: str) -> int:
    return sum(row["status"] in ("approved", "paid") for row in at.refunds.get(order, ()))


def numbers_of(job: Job, after: Books) -> set[str]:
    """The numbers a reply about the job may name."""
    match job.operation:
        case "create_ticket":
            return {row["number"] for row in after.tickets.get(job.record, ())}
        case "request_refund":
            return {row["number"] for row in after.refunds.get(job.record, ())}
        case "charge_replacement":
            return {row["number"] for row in after.charges.get(job.record, ())}
        case _:
            return {job.record}


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
    before: Books,
    paid: Sequence[str] | None = None,
) -> Compared:
    """Put the books beside the replies, the threads and the reviewers' answers.

    ``paid``: the references in the payment service's own books, where there is one."""
    after = books(engine)
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
        found.problems.append("lost: an effect in the payment service was never settled")
    times_paid = Counter(reference.split(".")[0] for reference in paid or ())
    for job in asked:
        happened = effects(job, before, after)
        stands = threads.get(job.thread, ())
        if gone := {*job.said, *job.heard} - {message.text for message in stands}:
            found.lost += 1
            found.problems.append(f"lost: {_name(job)}: answered, and gone: {sorted(gone)}")
        if paid is not None and job.operation in GRAVE:
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
            numbers_of(job, after),
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

    done = re.compile(DONE[job.operation])
    told = [m for m in messages if done.search(m.text)]
    named = {number for m in told for number in done.findall(m.text)}
    heard = {number for text in job.heard for number in done.findall(text)}
    unknown = any(re.search(UNKNOWN, m.text) for m in messages)
    if (told or heard) and not happened:
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
    if happened and (job.operation in GRAVE or questions):
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

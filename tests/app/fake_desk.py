"""A desk in memory: real bookkeeping, scripted understanding."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from app.desk import (
    AlreadyVoted,
    ApprovalDecided,
    ApprovalNotFound,
    Case,
    ClaimedByAnother,
    EditInvalid,
    EffectNotFound,
    EffectSettled,
    Event,
    HandOff,
    IntentUnknown,
    KeyConflict,
    KeyInFlight,
    Message,
    NotHandedOff,
    RoleNotAccepted,
    ThreadNotFound,
    ThreadSummary,
    Tried,
    TurnNotFound,
)
from app.drift_watch import Drift
from app.economics import Economics, ModelUse, Spent, TurnUse, baseline_of
from app.models.metering import Meter
from app.privacy import Erased, NothingKept
from app.release_watch import ReleaseState
from app.spending import Budgets
from app.stores.access import MemoryAccess
from app.stores.actions import LedgerAction
from app.stores.answers import AnswerNotFound, CachedAnswer, Source
from app.stores.decisions import LoggedDecision, Wanted
from app.stores.privacy import Open, StillOpen
from app.stores.reviews import Item, ReviewNotFound
from app.stores.turns import Note
from app.stores.waiting import Waiting
from graphs.state import Answer
from tools.decisions import Aftermath, Alternative, Decision
from tools.ports import BackendUnavailable
from tools.records import RecordView
from tools.values import (
    Action,
    Approval,
    Consequence,
    Customer,
    Outcome,
    PaymentOrder,
    Ticket,
    Unsettled,
    Verdict,
    Vote,
    accepts,
)

TODAY = date(2026, 11, 20)
ANA = Customer(id="ana", name="Ana Lindqvist", email="ana@mail.example", since=date(2021, 3, 2))
BEN = Customer(id="ben", name="Ben Okafor", email="ben@mail.example", since=date(2023, 9, 14))
CLARA = Customer(
    id="clara",
    name="Clara Brandt",
    email="clara@alpinclub.example",
    segment="business",
    since=date(2019, 5, 6),
)


#: What is said of a refund makes the rules ask for more.
RULES: dict[str, dict[str, Any]] = {
    "big refund": {"approvers": 2, "rules": ("refund_above_500",), "policy": "0a1b2c3d4e5f"},
    "odd refund": {
        "approvers": 1,
        "reviewer": "admin",
        "rules": ("odd",),
        "policy": "0a1b2c3d4e5f",
    },
}


CACHED = (
    CachedAnswer(
        id="a1",
        tenant="northfell",
        question="How much does a return label cost?",
        text="A return label costs 3.95 EUR. [1]",
        language="en",
        sources=(Source(source="labels.md", title="Labels"),),
        made_at=datetime(2026, 11, 20, 9, tzinfo=UTC),
        served=3,
        served_at=datetime(2026, 11, 20, 10, tzinfo=UTC),
        withdrawn_at=None,
        withdrawn_by=None,
    ),
)


class FakeDesk:
    """Every room in one, which keeps threads, keys and approvals like the real ones; words in the message choose what
    happens.

    ``wait``: a turn stops in the middle until ``go`` is set. ``break``: the turn raises. ``gone``: the
    backend is unavailable before the first event. ``give up``: the last event is ``error``. ``refund``:
    asks for an approval. ``person``: hands off."""

    def __init__(self, pace: float = 0.0) -> None:
        self.pace = pace
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self.started: list[str] = []
        self.checks: dict[str, Any] = {
            "database": {"status": "ok"},
            "small_models": {"status": "ok"},
            "large_model": {"status": "ok"},
        }
        self._customers = {each.id: each for each in (ANA, BEN, CLARA)}
        self._threads: dict[str, tuple[str, ThreadSummary]] = {}
        self._messages: dict[str, list[Message]] = {}
        self._keys: dict[tuple[str, str], tuple[str, list[Event] | None]] = {}
        self._approvals: dict[str, Approval] = {}
        self.in_doubt: dict[str, Unsettled] = {}
        self.settled: dict[str, Outcome] = {}
        self.released: list[tuple[str, str, str | None]] = []
        self.handed_off: dict[str, datetime] = {}
        self.claims: dict[str, str] = {}
        self.notes: dict[str, list[Note]] = {}
        self.opens_at: datetime | None = None
        self.asked: list[Wanted] = []
        self.rated: dict[str, tuple[bool, str]] = {}
        self.sampled: dict[int, Item] = {}
        self.still_open: list[Open] = []
        self.erased: list[tuple[str, str]] = []
        self.cached = {each.id: each for each in CACHED}
        self.drift = Drift()
        self.library = None
        self.access = MemoryAccess()
        self.meter = Meter()
        self.budgets = Budgets()
        self.spent = Spent(
            since=datetime.now(UTC),
            until=datetime.now(UTC),
            lanes={},
            domains={},
            customers={},
            dearest=(),
            models=(),
        )

    async def spent_today(self) -> float:
        return 0.0

    async def economics(self, days: float, *, tenant: str | None = None) -> Economics:
        return Economics(
            days=days,
            currency=self.budgets.prices.currency,
            spent=self.spent,
            baseline=baseline_of(self.spent, self.budgets.prices, "big"),
            budgets=await self.budgets.told(tenant or "northfell"),
            process=self.meter.told(),
        )

    async def answers(self, *, tenant: str | None, limit: int = 200) -> list[CachedAnswer]:
        mine = [e for e in self.cached.values() if tenant in (None, e.tenant)]
        return sorted(mine, key=lambda e: e.withdrawn_at is not None)[:limit]

    async def withdraw(self, answer: str, operator: str, *, tenant: str | None) -> CachedAnswer:
        found = self.cached.get(answer)
        if found is None or tenant not in (None, found.tenant):
            raise AnswerNotFound
        given = {"withdrawn_at": datetime.now(UTC), "withdrawn_by": operator}
        if found.withdrawn_at is None:
            found = self.cached[answer] = found.model_copy(update=given)
        return found

    @property
    def sign_in(self) -> FakeDesk:
        return self

    @property
    def turns(self) -> FakeDesk:
        return self

    @property
    def approvals(self) -> FakeDesk:
        return self

    @property
    def inbox(self) -> FakeDesk:
        return self

    @property
    def views(self) -> FakeDesk:
        return self

    @property
    def privacy(self) -> FakeDesk:
        return self

    async def customer(self, customer_id: str) -> Customer | None:
        return self._customers.get(customer_id)

    async def demo_customers(self) -> list[Customer]:
        return list(self._customers.values())

    async def may_try(self, customer_id: str) -> bool:
        return True

    async def identified(self, token: str) -> Customer | None:
        return None

    async def open_thread(self, customer: Customer, *, key: str | None = None) -> str:
        thread = f"t-{len(self._threads) + 1}" if key is None else f"t-{customer.id}-{key}"
        if thread in self._threads:
            return thread
        summary = ThreadSummary(id=thread, title="", created_at=datetime.now(UTC))
        self._threads[thread] = (customer.id, summary)
        self._messages[thread] = []
        return thread

    async def threads(self, customer: Customer) -> list[ThreadSummary]:
        mine = [each for owner, each in self._threads.values() if owner == customer.id]
        return mine[::-1]

    def _own(self, customer: Customer, thread: str) -> None:
        if self._threads.get(thread, ("", None))[0] != customer.id:
            raise ThreadNotFound

    async def play(
        self, customer: Customer, thread: str, text: str, *, key: str | None = None
    ) -> AsyncIterator[Event]:
        self._own(customer, thread)
        if "gone" in text:
            raise BackendUnavailable
        if key is not None:
            known, stored = self._keys.get((customer.id, key), (text, []))
            if known != text:
                raise KeyConflict
            if stored is None:
                raise KeyInFlight
            for event in stored:
                yield event
            if stored:
                return
            self._keys[(customer.id, key)] = (text, None)
        events: list[Event] = []
        async for event in self._played(customer, thread, text):
            await asyncio.sleep(self.pace)
            events.append(event)
            yield event
        if key is not None:
            self._keys[(customer.id, key)] = (text, events)

    async def _played(self, customer: Customer, thread: str, text: str) -> AsyncIterator[Event]:
        self.started.append(text)
        self.begun.set()
        turn = f"turn-{len(self.started)}"
        self._say(thread, "customer", text)
        if not self._threads[thread][1].title:
            self._retitle(thread, title=text[:40] or "New conversation")
        lane = "answer" if "?" in text else "direct"
        if "refund" in text:
            lane = "operation"
        if "person" in text:
            lane = "escalate"
        yield Event(event="route", data={"lane": lane, "intent": "fake", "tier": "encoder"})
        yield Event(event="ack", data={"text": f"Understood: a question about “{text[:30]}”"})
        if "wait" in text:
            await self.go.wait()
        if "break" in text:
            raise RuntimeError("secret detail of the inside")
        if "give up" in text:
            yield Event(event="error", data={"text": "That took too long."})
            return
        if "refund" in text:
            approval = self._ask(customer, thread, turn, RULES.get(text, {}))
            shared: dict[str, Any] = {
                "operation": "request_refund",
                "title": "Refund an order",
                "record": approval.action.label,
            }
            yield Event(event="tool", data={**shared, "status": "pending", "replayed": False})
            effects = list(approval.action.effects)
            yield Event(
                event="approval_required", data={**shared, "id": approval.id, "effects": effects}
            )
        if "person" in text:
            self._retitle(thread, handed_off=True)
            self.handed_off[thread] = datetime.now(UTC)
            yield Event(event="handoff", data={"ticket": "T-70013"})
        reply = f"You said: {text}. Standard delivery takes 3-5 working days [1]."
        for word in reply.split(" "):
            yield Event(event="token", data={"text": word + " "})
        citations: tuple[dict[str, Any], ...] = (
            (
                {
                    "n": 1,
                    "title": "Delivery > Times",
                    "source": "delivery.md",
                },
            )
            if lane == "answer"
            else ()
        )
        meta: dict[str, Any] = {"lane": lane, "intent": "fake", "llm_calls": 0}
        self._say(thread, "agent", reply, citations, meta, turn)
        yield Event(
            event="final",
            data={"turn": turn, "text": reply, "citations": list(citations), **meta},
        )

    def _say(
        self,
        thread: str,
        role: Any,
        text: str,
        citations: tuple[dict[str, Any], ...] = (),
        meta: dict[str, Any] | None = None,
        turn: str | None = None,
    ) -> None:
        messages = self._messages[thread]
        messages.append(
            Message(
                id=f"{thread}-{len(messages)}",
                role=role,
                text=text,
                at=datetime.now(UTC),
                citations=citations,
                meta=meta or {},
                turn=turn,
            )
        )

    def _retitle(self, thread: str, **changes: Any) -> None:
        owner, summary = self._threads[thread]
        self._threads[thread] = (owner, summary.model_copy(update=changes))

    def _ask(
        self, customer: Customer, thread: str, turn: str, rules: dict[str, Any] | None = None
    ) -> Approval:
        number = len(self._approvals) + 1
        at = datetime.now(UTC)
        action = Action(
            id=f"a-{number}",
            tenant=customer.tenant,
            customer=customer,
            thread=thread,
            turn=turn,
            operation="request_refund",
            arguments={"order_number": "SB-10482", "amount": "84.90", "reason": "damaged"},
            key="k",
            fingerprint="f",
            proposed_at=at,
            label="Order SB-10482",
            effects=("84.90 EUR go back to the card the order was paid with.",),
        )
        verdict = Verdict(
            consequence=Consequence.IRREVERSIBLE,
            declared=Consequence.IRREVERSIBLE,
            needs_approval=True,
            reason="money leaves the shop",
            **(rules or {}),
        )
        approval = Approval(
            id=action.id,
            action=action,
            verdict=verdict,
            status="pending",
            requested_at=at,
            expires_at=at + timedelta(hours=24),
        )
        self._approvals[approval.id] = approval
        return approval

    async def history(self, customer: Customer, thread: str) -> list[Message]:
        self._own(customer, thread)
        rated = {turn: good for turn, (good, _) in self.rated.items()}
        return [
            m.model_copy(update={"good": rated.get(m.turn or "")}) for m in self._messages[thread]
        ]

    async def rate(
        self, customer: Customer, thread: str, turn: str, *, good: bool, comment: str = ""
    ) -> None:
        self._own(customer, thread)
        if turn == "unknown":
            raise TurnNotFound
        self.rated[turn] = (good, comment)

    async def listed(
        self, status: str | None = "pending", limit: int = 50, *, tenant: str | None = None
    ) -> list[Approval]:
        every = [each for each in self._approvals.values() if status in {None, each.status}]
        return [each for each in every if tenant in {None, each.action.tenant}][:limit]

    async def decide(
        self, action_id: str, answer: Answer, *, tenant: str | None = None
    ) -> Approval:
        approval = self._approvals.get(action_id)
        if approval is None or tenant not in {None, approval.action.tenant}:
            raise ApprovalNotFound
        if approval.status != "pending":
            raise ApprovalDecided(approval)
        if answer.decision == "edit" and answer.operation not in (None, "request_refund"):
            raise EditInvalid("an edit changes the arguments, not the operation")
        yes = answer.decision != "reject"
        if yes and not accepts(approval.verdict.reviewer, answer.role):
            raise RoleNotAccepted
        if yes and not approval.may_approve(answer.reviewer, answer.role):
            raise AlreadyVoted(approval)
        at = datetime.now(UTC)
        vote = Vote(
            reviewer=answer.reviewer, role=answer.role, approve=yes, note=answer.note, at=at
        )
        approval = approval.model_copy(update={"votes": (*approval.votes, vote)})
        self._approvals[action_id] = approval
        if yes and not approval.approved_by():
            return approval
        status = "rejected" if answer.decision == "reject" else "executed"
        decided = approval.model_copy(
            update={
                "status": status,
                "reviewer": answer.reviewer,
                "note": answer.note,
                "decided_at": at,
            }
        )
        self._approvals[action_id] = decided
        words = {"executed": "Your refund was approved.", "rejected": "Your refund was declined."}
        self._say(approval.action.thread, "agent", words[status])
        return decided

    async def unsettled(self, *, tenant: str | None = None) -> list[Unsettled]:
        return list(self.in_doubt.values())

    async def settle(
        self,
        action_id: str,
        operator: str,
        *,
        happened: bool,
        note: str | None = None,
        tenant: str | None = None,
    ) -> Outcome:
        if action_id in self.settled:
            raise EffectSettled(self.settled[action_id])
        doubt = self.in_doubt.pop(action_id, None)
        if doubt is None:
            raise EffectNotFound
        self.settled[action_id] = Outcome(
            status="executed" if happened else "failed",
            action_id=action_id,
            operation=doubt.action.operation,
            reason=f"{operator}: {note}",
        )
        return self.settled[action_id]

    def doubt(self, action: Action) -> None:
        """An effect whose outcome nobody knows, as the ledger would list it."""
        order = PaymentOrder(
            kind="refund", reference=action.id, amount=Decimal("89.50"), method="card"
        )
        self.in_doubt[action.id] = Unsettled(
            action=action, order=order, since=datetime.now(UTC), found="It is not listed."
        )

    async def done(
        self,
        customer_id: str,
        *,
        thread: str | None = None,
        state: str | None = None,
        tenant: str | None = None,
    ) -> list[LedgerAction]:
        return []

    async def tickets(self, customer_id: str, *, tenant: str | None = None) -> list[Ticket]:
        return []

    async def decisions(
        self, wanted: Wanted, *, limit: int = 50, before: int | None = None
    ) -> list[LoggedDecision]:
        rows = [
            LoggedDecision(
                id=number,
                at=datetime(2026, 11, 20, 9, number, tzinfo=UTC),
                tenant="northfell",
                thread="t-1",
                turn="turn-1",
                input="where is my order",
                decision=Decision(
                    role=role,
                    chosen="order_status",
                    probability=0.97 - number / 20,
                    tier="encoder",
                    model="minilm-intent",
                    reason="above 0.75",
                    ms=4.2,
                ),
            )
            for number, role in enumerate(["router", "extractor", "router"], 1)
        ]
        self.asked.append(wanted)
        found = [
            row
            for row in reversed(rows)
            if wanted.role in {None, row.decision.role} and (before is None or row.id < before)
        ]
        return found[:limit]

    async def reviews(self, *, tenant: str | None, limit: int = 50) -> list[Item]:
        waiting = [i for i in self.sampled.values() if i.label is None and not i.skipped]
        return [each for each in waiting if tenant in {None, each.tenant}][:limit]

    async def draw_reviews(self, n: int, *, days: float, tenant: str | None) -> list[Item]:
        for number in range(1, n + 1):
            self.sampled[number] = Item(
                sample="2026-W47",
                decision=number,
                tenant="northfell",
                turn=f"turn-{number}",
                at=datetime(2026, 11, 20, 9, tzinfo=UTC),
                input=f"message {number}",
                chosen="order_status",
                lane="operation",
                tier="encoder",
                probability=0.9,
                alternatives=(
                    Alternative(option="order_status", probability=0.9),
                    Alternative(option="track_parcel", probability=0.1),
                ),
                stratum="operation/encoder/high",
                weight=1.0,
            )
        return await self.reviews(tenant=tenant)

    async def label(
        self, sample: str, decision: int, label: str | None, *, operator: str, tenant: str | None
    ) -> Item:
        if label is not None and label not in self.intents():
            raise IntentUnknown(label)
        item = self.sampled.get(decision)
        if item is None or item.sample != sample or tenant not in {None, item.tenant}:
            raise ReviewNotFound
        self.sampled[decision] = item.model_copy(
            update={"label": label, "skipped": label is None, "reviewer": operator}
        )
        return self.sampled[decision]

    def intents(self) -> list[str]:
        return ["ask_hours", "order_status", "track_parcel"]

    async def drift_now(self, *, tenant: str | None) -> Drift:
        return self.drift

    def release_state(self) -> ReleaseState:
        return ReleaseState(problem="its head was changed")

    async def waiting(self) -> Waiting:
        pending = [each for each in self._approvals.values() if each.status == "pending"]
        handed = [each for _, each in self._threads.values() if each.handed_off]
        return Waiting(
            approvals=len(pending),
            approvals_since=min((each.requested_at for each in pending), default=None),
            hand_offs=len(handed),
            hand_offs_since=min((each.created_at for each in handed), default=None),
        )

    def counts(self) -> Mapping[str, int]:
        return {"offered": 3, "compared": 2, "dropped": 1, "failed": 0}

    async def hand_offs(self, *, tenant: str | None = None) -> list[HandOff]:
        listed: list[HandOff] = []
        for owner, each in self._threads.values():
            if each.handed_off:
                said = self._messages[each.id]
                answered = bool(said) and said[-1].role == "operator"
                listed.append(
                    HandOff(
                        thread=each.id,
                        customer=owner,
                        name=self._customers[owner].name,
                        title=each.title,
                        handed_off_at=self.handed_off[each.id],
                        waits_since=None if answered else self.handed_off[each.id],
                        claimed_by=self.claims.get(each.id),
                        summary=f"{self._customers[owner].name} asked for a person.",
                        last=next((m for m in reversed(said) if m.role != "agent"), None),
                    )
                )
        return sorted(listed, key=lambda each: each.since)

    async def case(self, thread: str, *, tenant: str | None = None) -> Case:
        if thread not in self._threads:
            raise ThreadNotFound
        owner, summary = self._threads[thread]
        customer = self._customers[owner]
        waiting = [a for a in self._approvals.values() if a.status == "pending"]
        return Case(
            thread=thread,
            title=summary.title,
            created_at=summary.created_at,
            handed_off=summary.handed_off,
            handed_off_at=self.handed_off.get(thread),
            waits_since=self.handed_off.get(thread),
            claimed_by=self.claims.get(thread),
            opens_at=self.opens_at,
            summary=f"{customer.name} asked for a person.",
            customer=customer,
            messages=tuple(self._messages[thread]),
            notes=tuple(self.notes.get(thread, ())),
            records=(
                RecordView(kind="order", id="SB-10482", label="SB-10482, a tent", state="paid"),
            ),
            tried=(
                Tried(
                    at=datetime.now(UTC),
                    turn="turn-1",
                    said="my tent is damaged",
                    understood="Refund an order",
                    sure=True,
                    probability=0.97,
                    tier="encoder",
                    outcome=Aftermath.ESCALATED,
                ),
            ),
            actions=(),
            approvals=tuple(a for a in waiting if a.action.thread == thread),
            tickets=(Ticket(number="T-70013", subject="Handed over", body="", opened_on=TODAY),),
            usage=(
                TurnUse(
                    turn="turn-1",
                    thread=thread,
                    customer=customer.id,
                    at=datetime.now(UTC),
                    lane="escalate",
                    llm_calls=1,
                    cost=0.0021,
                    models=(
                        ModelUse(
                            tier="large",
                            role="escalation",
                            model="big",
                            local=False,
                            masked=True,
                            calls=1,
                            failed=0,
                            read=900,
                            cached=0,
                            written=80,
                            cost=0.0021,
                        ),
                    ),
                ),
            ),
        )

    def opens(self, customer: Customer) -> datetime | None:
        return self.opens_at

    async def claim(
        self, thread: str, operator: str, *, over: bool = False, tenant: str | None = None
    ) -> None:
        self._must_wait(thread)
        if self.claims.get(thread, operator) != operator and not over:
            raise ClaimedByAnother(self.claims[thread])
        self.claims[thread] = operator
        self._retitle(thread, claimed=True)

    async def leave(self, thread: str, operator: str, *, tenant: str | None = None) -> None:
        await self.claim(thread, operator)
        del self.claims[thread]
        self._retitle(thread, claimed=False)

    async def reply(
        self, thread: str, operator: str, message: str, *, tenant: str | None = None
    ) -> None:
        await self.claim(thread, operator)
        self._say(thread, "operator", message, meta={"operator": operator})

    async def note(
        self, thread: str, operator: str, text: str, *, tenant: str | None = None
    ) -> None:
        written = self.notes.setdefault(thread, [])
        at = datetime.now(UTC)
        name = f"note-{len(written)}"
        written.append(Note(id=name, thread=thread, at=at, author=operator, text=text))

    def _must_wait(self, thread: str) -> None:
        if thread not in self._threads:
            raise ThreadNotFound
        if not self._threads[thread][1].handed_off:
            raise NotHandedOff

    async def release(
        self,
        thread: str,
        operator: str,
        message: str | None = None,
        *,
        tenant: str | None = None,
    ) -> None:
        await self.claim(thread, operator)
        self.released.append((thread, operator, message))
        del self.claims[thread]
        self._retitle(thread, handed_off=False, claimed=False)
        if message:
            self._say(thread, "operator", message, meta={"operator": operator})

    async def export(self, tenant: str, customer: str) -> dict[str, Any]:
        if await self.customer(customer) is None:
            raise NothingKept
        return {"customer": customer, "conversations": []}

    async def erase(self, tenant: str, customer: str, by: str) -> Erased:
        if self.still_open:
            raise StillOpen(self.still_open)
        if await self.customer(customer) is None:
            raise NothingKept
        at = datetime.now(UTC)
        self.erased.append((customer, by))
        return Erased(customer=customer, begun_at=at, finished_at=at, gone={})

    async def health(self) -> Mapping[str, Any]:
        return self.checks

    async def info(self) -> Mapping[str, Any]:
        return {"roles": {"router": {"model": "minilm-intent", "digest": "sha256:0"}}, "off": []}

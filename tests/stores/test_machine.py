"""Any order of asking, deciding, executing, dying, waiting and sweeping keeps the promises."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from app.stores.ledger import SqlLedger
from graphs.keys import fingerprint
from tests.stores.world import (
    GRAVE,
    ROUTINE,
    SEIZE,
    TAKE,
    Amount,
    Taken,
    Till,
    TillStuck,
    World,
    an_action,
)
from tools.ports import BackendUnavailable, PaymentNotSent, PaymentRefused, PaymentUncertain
from tools.values import NotAllowed, OutsideEffect, Payment, PaymentOrder

REQUESTS = st.sampled_from(["r1", "r2"])
AMOUNTS = st.sampled_from([5, 6, 13, 99])


class Died(BaseException):
    """Stands for the end of the process at a checkpoint."""


class Desk(RuleBasedStateMachine):
    """The stores beside a model of what is allowed to have happened."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.dies_at = ""
        path = Path(self.folder.name) / "machine.db"
        self.world = World(f"sqlite:///{path}", checkpoint=self.checkpoint)
        self.world.empty()
        self.allowed: dict[str, int] = {}  # Request -> the amount a reviewer approved.
        self.refused: set[str] = set()
        self.done: set[tuple[str, str]] = set()

    def checkpoint(self, name: str) -> None:
        if name == self.dies_at:
            raise Died

    def teardown(self) -> None:
        self.world.engine.dispose()
        self.folder.cleanup()

    @rule(request=REQUESTS, amount=AMOUNTS)
    def ask(self, request, amount):
        asyncio.run(
            self.world.approvals.request(an_action(amount, request=request, of=SEIZE), GRAVE)
        )

    @rule(request=REQUESTS, approve=st.booleans())
    def decide(self, request, approve):
        action = an_action(request=request, of=SEIZE)
        try:
            approval, decided = asyncio.run(
                self.world.approvals.decide(action.id, approve=approve, reviewer="op")
            )
        except KeyError:
            return
        if decided and approve:
            assert request not in self.allowed
            self.allowed[request] = int(str(approval.action.arguments["amount"]))
        elif decided:
            self.refused.add(request)

    @rule(
        request=REQUESTS,
        amount=AMOUNTS,
        of=st.sampled_from([TAKE, SEIZE]),
        dies_at=st.sampled_from(["", "", "", "begin_committed", "effect_done", "committed"]),
    )
    def execute(self, request, amount, of, dies_at):
        action = an_action(amount, request=request, of=of)
        verdict = GRAVE if of is SEIZE else ROUTINE
        before, self.dies_at = self.world.effects, dies_at
        status = "died"
        with contextlib.suppress(Died, TillStuck):
            status = self.world.ledger._execute(action, of, verdict).status
        new = self.world.effects - before
        assert new in (0, 1)
        if new:
            assert (of.name, request) not in self.done, "a second effect"
            assert amount not in (13, 99), "an effect of a refused or broken operation"
            assert status in ("executed", "died")
            if of is SEIZE:
                assert self.allowed.get(request) == amount, "an effect nobody approved"
            self.done.add((of.name, request))

    @rule(minutes=st.sampled_from([1, 60 * 13]))
    def wait(self, minutes):
        self.world.hands.pass_(minutes=minutes)

    @rule()
    def sweep(self):
        asyncio.run(self.world.approvals.expire_due())

    @invariant()
    def effects_and_outbox_rows_belong_together(self):
        """Each effect is told; nobody is told twice."""
        assert self.world.effects == len(self.done)
        assert self.world.count("outbox") >= len(self.done)
        assert not self.refused & {name for kind, name in self.done if kind == "seize"}


TestDesk = Desk.TestCase
TestDesk.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


# --- votes, edits, and money in another system -----------------------------------------------------


class Bank:
    """Another system with books of its own, and moods."""

    def __init__(self, keys: bool, clock) -> None:
        self.keys, self.clock, self.mood = keys, clock, "fine"
        self.made: dict[str, Payment] = {}  # Key, or number, -> payment.

    def keyed(self, since: datetime) -> bool:
        return self.keys

    def absent(self, since: datetime) -> bool:
        return self.clock.now() >= since + timedelta(minutes=30)

    def ready(self) -> None:
        if self.mood == "away":
            raise PaymentNotSent

    def pay(self, order: PaymentOrder, key: str) -> Payment:
        self.ready()
        if self.keys and key in self.made:
            return self.made[key]
        if self.mood == "declines":
            raise PaymentRefused
        if self.mood == "deaf":
            raise PaymentUncertain
        number = f"P-{len(self.made)}"
        paid = Payment(
            number=number, kind=order.kind, reference=order.reference, amount=order.amount
        )
        self.made[key if self.keys else number] = paid
        if self.mood == "mute":
            raise PaymentUncertain
        return paid

    def find(self, reference: str) -> list[Payment]:
        if self.mood == "away":
            raise BackendUnavailable
        return [each for each in self.made.values() if each.reference == reference]


def ordered(till: Till, arguments: Amount, action_id: str) -> PaymentOrder:
    if arguments.amount == 13:
        raise NotAllowed("We do not pay thirteen.")
    return PaymentOrder(
        kind="refund", reference=action_id, amount=Decimal(arguments.amount), method="card"
    )


def booked(till: Till, order: PaymentOrder) -> Taken:
    till.take(int(order.amount))
    return Taken(amount=int(order.amount))


WIRE = replace(
    SEIZE,
    name="wire",
    outside=OutsideEffect(begin=ordered, finish=booked, undo=lambda till, order: None),
)
WIRES = {"wire": WIRE}
TWO_PERSONS = GRAVE.model_copy(update={"approvers": 2})
MOODS = st.sampled_from(["fine", "fine", "deaf", "mute", "mute", "declines", "away"])
PEOPLE = st.sampled_from(["olga", " OLGA ", "pia", "quirin"])


class Office(RuleBasedStateMachine):
    """Two persons approve what another system pays; reviewers edit, processes die, answers get lost."""

    keys = True

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.dies_at = ""
        self.world = World(f"sqlite:///{Path(self.folder.name) / 'office.db'}")
        self.world.empty()
        self.bank = Bank(self.keys, self.world.hands.clock)
        self.ledger = SqlLedger(
            self.world.engine,
            Till,
            self.world.hands.clock,
            self.world.approvals,
            outbox=self.world.outbox,
            payments=self.bank,
            checkpoint=self.checkpoint,
        )
        #: Request -> its versions, the last one being what is asked about.
        self.versions: dict[str, list] = defaultdict(list)
        self.yes: dict[str, set[str]] = defaultdict(set)
        self.closed: set[str] = set()  # Action ids that were refused or edited.
        self.asked_at: dict[str, datetime] = {}

    checkpoint = Desk.checkpoint

    def teardown(self) -> None:
        """When all is well again everything asked for is settled, and the books agree."""
        self.dies_at, self.bank.mood = "", "fine"
        for _ in range(2):
            self.world.hands.pass_(minutes=31)
            self.settle()
        assert asyncio.run(self.ledger.unsettled()) == []
        assert self.world.effects == len(self.bank.made)
        self.world.engine.dispose()
        self.folder.cleanup()

    def _request(self, action) -> None:
        asyncio.run(self.world.approvals.request(action, TWO_PERSONS))
        self.asked_at.setdefault(action.id, self.world.hands.at)

    @rule(request=REQUESTS, amount=AMOUNTS)
    def ask(self, request, amount):
        if not self.versions[request]:
            self.versions[request].append(an_action(amount, request=request, of=WIRE))
        self._request(self.versions[request][-1])

    @rule(request=REQUESTS, person=PEOPLE, approve=st.sampled_from([True, True, True, False]))
    def vote(self, request, person, approve):
        if not self.versions[request]:
            return
        action = self.versions[request][-1]
        with contextlib.suppress(KeyError):
            approval, counted = asyncio.run(
                self.world.approvals.decide(action.id, approve=approve, reviewer=person)
            )
            if not counted:
                return
            assert action.id not in self.closed
            if approve:
                assert person.strip().lower() not in self.yes[action.id], "two yeses of one person"
                self.yes[action.id].add(person.strip().lower())
            else:
                self.closed.add(action.id)
            expected = "approved" if len(self.yes[action.id]) > 1 else "pending"
            assert approval.status == (expected if approve else "rejected")

    @rule(request=REQUESTS, amount=AMOUNTS)
    def agree(self, request, amount):
        """Two persons want it as it is."""
        self.ask(request, amount)
        self.vote(request, "olga", True)
        self.vote(request, "pia", True)

    @initialize(amount=st.sampled_from([5, 6]), mood=MOODS)
    def one_is_under_way(self, amount, mood):
        """So that most runs have money to lose, and a question that is half answered."""
        self.ask("r2", amount)
        self.vote("r2", "pia", True)
        self.agree("r1", amount)
        self.bank.mood = mood
        self._run(self.versions["r1"][-1])

    @rule(request=REQUESTS, amount=AMOUNTS, dies=st.booleans())
    def edit(self, request, amount, dies):
        """Another action takes its place, now or when somebody finds it was left undone."""
        if not self.versions[request]:
            return
        action = self.versions[request][-1]
        arguments = {"amount": amount, "reason": f"edit {len(self.versions[request])}"}
        successor = action.model_copy(
            update={
                "id": f"{action.id.split('.')[0]}.{len(self.versions[request])}",
                "arguments": arguments,
                "fingerprint": fingerprint("wire", arguments),
            }
        )
        with contextlib.suppress(KeyError):
            _, changed = asyncio.run(
                self.world.approvals.replace(action.id, successor, reviewer="olga")
            )
            if changed:
                assert action.id not in self.closed
                assert len(self.yes[action.id]) < 2
                self.closed.add(action.id)
                self.versions[request].append(successor)
                if not dies:
                    self.go_on()

    @rule()
    def go_on(self):
        """What the relay does for an edit whose process died."""
        for approval, successor in asyncio.run(self.world.approvals.left_undone(timedelta(0))):
            if successor is not None:
                self._request(successor)
                asyncio.run(self.world.approvals.succeeded(approval.id))

    @rule(
        request=REQUESTS,
        version=st.sampled_from([-1, -1, 0]),
        forged=st.sampled_from([None, None, None, 6]),
        dies_at=st.sampled_from(["", "begin_committed", "before_call", "after_call"]),
        mood=MOODS,
    )
    def execute(self, request, version, forged, dies_at, mood):
        """Any version of it, approved or not, as it is or with another amount."""
        if not self.versions[request]:
            return
        action = self.versions[request][version]
        if forged is not None:
            action = action.model_copy(update={"arguments": {**action.arguments, "amount": forged}})
        self.bank.mood = mood
        self._run(action, dies_at)

    def _run(self, action, dies_at: str = "") -> None:
        before, self.dies_at = set(self.bank.made), dies_at
        with contextlib.suppress(Died, PaymentNotSent):
            self.ledger._execute(action, WIRE, TWO_PERSONS)
        self.dies_at = ""
        for key in set(self.bank.made) - before:
            paid = self.bank.made[key]
            assert len(self.yes[paid.reference]) > 1, "money nobody approved"
            assert paid.reference not in self.closed
            assert self.world.hands.at < self.asked_at[paid.reference] + timedelta(hours=24)
            amounts = {a.id: a.arguments["amount"] for v in self.versions.values() for a in v}
            assert paid.amount == amounts[paid.reference] != 13

    @rule(mood=MOODS)
    def turn(self, mood):
        self.bank.mood = mood

    @rule(minutes=st.sampled_from([1, 2, 31, 60 * 13]))
    def wait(self, minutes):
        self.world.hands.pass_(minutes=minutes)

    @rule()
    def sweep(self):
        asyncio.run(self.world.approvals.expire_due())

    @rule()
    def settle(self):
        """The lookup never makes a second payment, and tells what the bank's books say."""
        asyncio.run(self.ledger.settle_due(WIRES))

    @rule()
    def settle_by_person(self):
        """A person looks into the bank's books."""
        for effect in asyncio.run(self.ledger.unsettled()):
            happened = any(p.reference == effect.order.reference for p in self.bank.made.values())
            if happened or self.bank.mood == "fine":
                asyncio.run(
                    self.ledger.settle(effect.action.id, WIRES, happened=happened, operator="olga")
                )

    @invariant()
    def one_request_is_paid_once_and_booked_when_paid(self):
        """Versions of a request share a key, so there is one payment for all of them."""
        paid = Counter(each.reference.split(".")[0] for each in self.bank.made.values())
        assert not paid or max(paid.values()) == 1
        assert self.world.effects <= len(self.bank.made)


class KeylessOffice(Office):
    """The same with a bank that takes no keys."""

    keys = False


TestOffice, TestKeylessOffice = Office.TestCase, KeylessOffice.TestCase
TestOffice.settings = TestKeylessOffice.settings = TestDesk.settings

"""A model of hold, key and settle: two processes that may stall between any two steps, on the real stores.

Each process takes the thread, asks a bank for one payment under its key, books it, and writes on the thread. At
any named boundary, and inside the bank, it may sleep for longer than every lease, while the other one does what
it likes; then it wakes up believing that nothing happened. A relay and a person settle what nobody knows."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections import Counter
from contextvars import Context
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from app.stores.database import writing
from app.stores.fences import HoldLost, with_hold
from app.stores.holds import SqlHolds
from app.stores.ledger import OUTSIDE_CHECKPOINTS, Settled, SqlLedger
from app.stores.tables import ALL, holds
from tests.stores.world import ROUTINE, Till, World, an_action, effects, operation
from tools.effects import Answer, Found
from tools.ports import PaymentUncertain
from tools.values import OutsideEffect, PaymentOrder

#: Not in an open transaction, where nobody else gets on before it ends by itself.
PLACES = st.sampled_from(
    ["", "", *(place for place in OUTSIDE_CHECKPOINTS if place != "before_commit"), "asked", "paid"]
)
WHO = st.sampled_from([0, 1])
#: What the other process, a relay and a person do while one sleeps.
MEANWHILE = st.lists(st.sampled_from(["pay", "write", "settle", "person"]), max_size=3)


def order(till: Till, arguments, reference: str) -> PaymentOrder:
    return PaymentOrder(reference=reference, kind="charge", amount=arguments.amount, method="card")


def book(till: Till, asked: PaymentOrder):
    till.take(int(asked.amount))
    return operation().result(amount=int(asked.amount))


PAY = operation("pay")
object.__setattr__(
    PAY,
    "outside",
    OutsideEffect(begin=order, finish=book, undo=lambda till, asked: None, system="bank"),
)
WANTED = an_action(of=PAY)


class Bank:
    """Honours keys, and sometimes does not answer."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol
        self.paid: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.silent = False

    def ready(self) -> None: ...

    def send(self, request, key) -> Answer:
        self.protocol.reached("asked")
        if key not in self.keys:
            self.keys.add(key)
            self.paid[request.reference] += 1
        self.protocol.reached("paid")
        if self.silent:
            self.silent = False
            raise PaymentUncertain
        return Answer(name="B-1")

    def find(self, request) -> Found:
        done = self.paid[request.reference]
        return Found(state="done", name="B-1") if done else Found(state="absent")

    def keyed(self, request, since) -> bool:
        return True

    def absent(self, request, since) -> bool:
        return False


class Protocol(RuleBasedStateMachine):
    """What holds, whoever sleeps where: one payment, booked once, and the thread written in order."""

    holds_of = SqlHolds
    folder = tempfile.TemporaryDirectory()
    world: World | None = None

    def __init__(self) -> None:
        super().__init__()
        cls = Protocol
        if cls.world is None:
            cls.world = World(f"sqlite:///{Path(self.folder.name) / 'protocol.db'}")
            cls.world.empty()
        with writing(self.world.engine) as conn:
            for table in (*ALL, effects):
                conn.execute(sa.delete(table))
        self.hands, engine = self.world.hands, self.world.engine
        self.bank = Bank(self)
        self.holds = self.holds_of(engine, self.hands.clock)
        self.ledger = SqlLedger(
            engine,
            Till,
            self.hands.clock,
            self.world.approvals,
            outbox=self.world.outbox,
            systems={"bank": self.bank},
            checkpoint=self.reached,
        )
        self.held = {0: None, 1: None}  # Process -> its hold, as it believes.
        self.takes = {0: 0, 1: 0}  # And which of all takes that was.
        self.taken = 0
        self.wrote: list[int] = []  # Of what was written on the thread: by which take.
        self.sleeps_at, self.awake, self.meanwhile = "", 0, ()

    def reached(self, place: str) -> None:
        """The process that is at work comes to a place; it may be the one where it falls asleep."""
        if place != self.sleeps_at:
            return
        self.sleeps_at = ""
        self.hands.pass_(seconds=200)
        for step in self.meanwhile:
            # Another process: it knows nothing of what the sleeper holds.
            Context().run(self._does, 1 - self.awake, step)

    def _does(self, who: int, step: str) -> None:
        match step:
            case "pay":
                self._take(who)
                self._pay(who)
            case "write":
                self._take(who)
                self._write(who)
            case "settle":
                self.ledger._settle_due({PAY.name: PAY}, 5)
            case "person":
                # A person reads the bank's own books.
                happened = bool(self.bank.paid[WANTED.id])
                if happened:
                    with contextlib.suppress(KeyError, Settled):
                        self.ledger._settle_by_person(
                            WANTED.id, {PAY.name: PAY}, True, "op", "", None
                        )

    def _take(self, who: int) -> None:
        if (hold := self.holds._take("th-1")) is not None:
            self.taken += 1
            self.held[who], self.takes[who] = hold, self.taken

    def _pay(self, who: int) -> None:
        if (hold := self.held[who]) is not None:
            with with_hold(hold), contextlib.suppress(HoldLost):
                self.ledger._execute(WANTED, PAY, ROUTINE)

    def _write(self, who: int) -> None:
        if (hold := self.held[who]) is not None:
            with contextlib.suppress(HoldLost), with_hold(hold), writing(self.world.engine):
                self.wrote.append(self.takes[who])

    @initialize(who=WHO)
    def somebody_has_the_thread(self, who):
        self._take(who)

    @rule(who=WHO, place=PLACES, meanwhile=MEANWHILE, silent=st.booleans())
    def pays(self, who, place, meanwhile, silent):
        self.sleeps_at, self.awake, self.meanwhile = place, who, tuple(meanwhile)
        self.bank.silent = silent
        self._does(who, "pay")
        self.sleeps_at = ""

    @rule(who=WHO, believes=st.booleans())
    def writes(self, who, believes):
        """As whoever has just taken the thread, or as somebody who believes to have it still."""
        self._write(who) if believes else self._does(who, "write")

    @rule(step=st.sampled_from(["settle", "person"]))
    def is_looked_at(self, step):
        self._does(0, step)

    @rule(seconds=st.sampled_from([1, 20, 200, -3600, 3600]))
    def time_passes(self, seconds):
        """For everybody; or a clock jumps, which is the same to those who read it."""
        self.hands.pass_(seconds=seconds)

    @invariant()
    def at_most_once_and_in_order(self):
        """One payment, booked at most once and never without it; no earlier holder writes after a later one."""
        assert self.bank.paid[WANTED.id] <= 1
        assert self.world.effects <= self.bank.paid[WANTED.id]
        assert self.wrote == sorted(self.wrote)

    def teardown(self) -> None:
        """In the end nothing is in doubt: what was paid is booked."""
        for _ in range(3):
            self.hands.pass_(hours=2)
            self.ledger._settle_due({PAY.name: PAY}, 5)
        assert self.world.effects == self.bank.paid[WANTED.id]


class Unfenced(SqlHolds):
    """Every hold carries the same token, so nobody can tell who slept from who took over."""

    def _take(self, name):
        hold = super()._take(name)
        if hold is None:
            return None
        with writing(self._engine, fenced=False) as connection:
            connection.execute(sa.update(holds).where(holds.c.name == name).values(token=1))
        return dataclasses.replace(hold, token=1)

    def _release(self, hold):
        # The row stays, or its absence would tell the sleeper.
        over = self._clock.now() - timedelta(days=1)
        with writing(self._engine, fenced=False) as connection:
            connection.execute(sa.update(holds).where(holds.c.name == hold.name).values(until=over))


class WithoutFencing(Protocol):
    """Every hold carries the same token."""

    holds_of = Unfenced


CHEAP = settings(
    max_examples=20,
    stateful_step_count=10,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestProtocol = Protocol.TestCase
TestProtocol.settings = CHEAP


@pytest.mark.parametrize(("model", "sound"), [(Protocol, True), (WithoutFencing, False)])
def test_the_model_tells_what_is_not_fenced(model, sound):
    """One has the thread and sleeps, another writes on it, the first one wakes up and writes."""
    played = model()
    played._take(0)
    played.time_passes(seconds=200)
    played._does(1, "write")
    played._write(0)
    with contextlib.nullcontext() if sound else pytest.raises(AssertionError):
        played.at_most_once_and_in_order()

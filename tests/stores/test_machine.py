"""Any order of asking, deciding, executing, dying, waiting and sweeping keeps the promises."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.stores.world import GRAVE, ROUTINE, SEIZE, TAKE, TillStuck, World, an_action

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

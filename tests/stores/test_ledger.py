"""One logical action has at most one effect."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.stores.ledger import CHECKPOINTS, CONFLICT, IN_FLIGHT, INVALID, NOT_APPROVED
from tests.stores.world import (
    ADA,
    BEN,
    GRAVE,
    ROUTINE,
    SEIZE,
    TAKE,
    Hands,
    TillStuck,
    World,
    an_action,
    operation,
)
from tools.ports import BackendUnavailable, Ledger
from tools.values import Consequence, Preview, Verdict

ROOT = Path(__file__).parents[2]


def child(url: str, point: str = "-", count: int = 1, name: str = "take") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.stores.child", url, point, str(count), name],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_it_is_the_ledger_the_graphs_ask_for(world):
    """The SQL ledger satisfies the port."""
    assert isinstance(world.ledger, Ledger)


async def test_an_action_runs_and_its_outcome_waits_in_the_outbox(world):
    """Effect, stored result and outbox row come together."""
    outcome = await world.ledger.execute(an_action(5), TAKE, ROUTINE)
    assert (outcome.status, outcome.result, outcome.replayed) == ("executed", {"amount": 5}, False)
    assert (world.effects, world.count("ledger"), world.count("outbox")) == (1, 1, 1)


async def test_the_same_action_again_is_answered_from_the_ledger(world):
    """A repeat returns the stored outcome and runs nothing."""
    first = await world.ledger.execute(an_action(5), TAKE, ROUTINE)
    again = await world.ledger.execute(an_action(5), TAKE, ROUTINE)
    assert again == first.model_copy(update={"replayed": True})
    assert (world.effects, world.count("outbox")) == (1, 1)


async def test_arguments_that_differ_only_in_spelling_are_the_same_action(world):
    """What the fingerprint folds, the stored arguments fold too."""
    await world.ledger.execute(an_action(5, reason="too  small"), TAKE, ROUTINE)
    again = await world.ledger.execute(an_action(5, reason="too small "), TAKE, ROUTINE)
    assert again.replayed


async def test_the_same_key_with_other_arguments_is_a_conflict(world):
    """A key stands for one payload."""
    await world.ledger.execute(an_action(5), TAKE, ROUTINE)
    other = await world.ledger.execute(an_action(6), TAKE, ROUTINE)
    assert (other.status, other.reason, world.effects) == ("blocked", CONFLICT, 1)


async def test_arguments_slipped_under_an_old_fingerprint_are_a_conflict(world):
    """The ledger compares what would run, not only what the caller says it is."""
    await world.ledger.execute(an_action(5), TAKE, ROUTINE)
    forged = an_action(5).model_copy(update={"arguments": {"amount": 5000}})
    assert (await world.ledger.execute(forged, TAKE, ROUTINE)).reason == CONFLICT


async def test_another_customer_cannot_replay_an_outcome(world):
    """A guessed key does not open somebody else's result."""
    await world.ledger.execute(an_action(5), TAKE, ROUTINE)
    stolen = an_action(5).model_copy(update={"customer": BEN})
    outcome = await world.ledger.execute(stolen, TAKE, ROUTINE)
    assert (outcome.status, outcome.result) == ("blocked", {})


async def test_another_request_is_another_action(world):
    """The same words in another turn may run again."""
    for request in ("r1", "r2"):
        await world.ledger.execute(an_action(5, request=request), TAKE, ROUTINE)
    assert world.effects == 2


async def test_a_refused_action_leaves_no_effect_and_is_refused_again(world):
    """The rule's sentence is stored and replayed, the half-done effect is rolled back."""
    first = await world.ledger.execute(an_action(13), TAKE, ROUTINE)
    again = await world.ledger.execute(an_action(13), TAKE, ROUTINE)
    assert (first.status, first.reason) == ("failed", "We do not take thirteen.")
    assert again == first.model_copy(update={"replayed": True})
    assert (world.effects, world.count("outbox")) == (0, 1)


async def test_a_broken_operation_leaves_nothing_and_can_be_retried_at_once(world):
    """A programming error is raised, rolled back, and does not keep the key."""
    for _ in range(2):
        with pytest.raises(TillStuck):
            await world.ledger.execute(an_action(99), TAKE, ROUTINE)
    assert (world.effects, world.count("ledger"), world.count("outbox")) == (0, 0, 0)


async def test_arguments_that_do_not_fit_the_operation_never_begin(world):
    """Invalid arguments are blocked with a sentence, not raised."""
    wrong = an_action(5).model_copy(update={"arguments": {"amount": "lots"}})
    outcome = await world.ledger.execute(wrong, TAKE, ROUTINE)
    assert (outcome.status, outcome.reason, world.count("ledger")) == ("blocked", INVALID, 0)


@pytest.mark.parametrize(
    ("action", "of"),
    [
        (an_action(5), SEIZE),  # Proposed as something else.
        (an_action(5), operation(consequence=Consequence.SAFE)),  # A read.
        (
            an_action(5).model_copy(update={"tenant": "elsewhere"}),
            TAKE,
        ),  # Another tenant's customer.
    ],
    ids=["other-operation", "read", "other-tenant"],
)
async def test_what_was_not_proposed_as_a_write_is_a_programming_error(world, action, of):
    """The ledger takes the write the action names, for its own tenant's customer, and nothing else."""
    with pytest.raises(ValueError, match=action.id):
        await world.ledger.execute(action, of, ROUTINE)
    assert (world.effects, world.count("ledger")) == (0, 0)


async def test_find_tells_what_came_of_a_key(world):
    """None before it began, the outcome afterwards, per tenant and operation."""
    action = an_action(5)
    assert await world.ledger.find("northfell", "take", action.key) is None
    done = await world.ledger.execute(action, TAKE, ROUTINE)
    assert await world.ledger.find("northfell", "take", action.key) == done
    assert await world.ledger.find("elsewhere", "take", action.key) is None


# --- approval --------------------------------------------------------------------------------------


async def test_an_irreversible_action_without_an_approval_never_runs(world):
    """Neither unasked nor pending, and the key stays free."""
    action = an_action(of=SEIZE)
    unasked = await world.ledger.execute(action, SEIZE, GRAVE)
    await world.approvals.request(action, GRAVE)
    pending = await world.ledger.execute(action, SEIZE, GRAVE)
    assert (unasked.status, unasked.reason) == ("blocked", NOT_APPROVED)
    assert (pending.status, world.effects, world.count("outbox")) == ("blocked", 0, 0)


async def test_an_approved_action_runs_once(world):
    """The approval is spent by the execution."""
    action = an_action(of=SEIZE)
    await world.approvals.request(action, GRAVE)
    await world.approvals.decide(action.id, approve=True, reviewer="op")
    first = await world.ledger.execute(action, SEIZE, GRAVE)
    again = await world.ledger.execute(action, SEIZE, GRAVE)
    assert (first.status, again.replayed, world.effects) == ("executed", True, 1)
    assert (await world.approvals.get(action.id)).status == "executed"


async def test_a_rejected_action_never_runs(world):
    """No path leads from a rejection to an effect."""
    action = an_action(of=SEIZE)
    await world.approvals.request(action, GRAVE)
    await world.approvals.decide(action.id, approve=False, reviewer="op")
    await world.approvals.decide(action.id, approve=True, reviewer="op")
    assert (await world.ledger.execute(action, SEIZE, GRAVE)).status == "blocked"
    assert world.effects == 0


async def test_an_approval_that_has_expired_permits_nothing(world):
    """Approved in time but carried out too late is not approved."""
    action = an_action(of=SEIZE)
    await world.approvals.request(action, GRAVE)
    await world.approvals.decide(action.id, approve=True, reviewer="op")
    world.hands.pass_(hours=25)
    assert (await world.ledger.execute(action, SEIZE, GRAVE)).status == "blocked"
    assert world.effects == 0


@pytest.mark.parametrize(
    "edit",
    [
        {"arguments": {"amount": 500}},  # Another amount under the approved fingerprint.
        {"fingerprint": "f" * 64},  # Another fingerprint.
        {"key": "k" * 64},  # Another request.
        {"customer": BEN},  # Another customer.
        {"id": "act_other"},  # Another action.
    ],
    ids=lambda edit: next(iter(edit)),
)
async def test_an_action_edited_after_its_approval_never_runs(world, edit):
    """An approval is for exactly what the reviewer read."""
    action = an_action(of=SEIZE)
    await world.approvals.request(action, GRAVE)
    await world.approvals.decide(action.id, approve=True, reviewer="op")
    outcome = await world.ledger.execute(action.model_copy(update=edit), SEIZE, GRAVE)
    assert (outcome.status, world.effects) == ("blocked", 0)
    assert (await world.approvals.get(action.id)).status == "approved"


async def test_a_verdict_below_the_declared_class_does_not_get_past_the_ledger(world):
    """A lowered verdict does not make an irreversible operation routine."""
    # Its own preview plays it down too: only the declared class is left to object.
    played_down = replace(SEIZE, preview=TAKE.preview)
    lowered = ROUTINE.model_copy(update={"declared": GRAVE.declared})
    for of, verdict in ((played_down, ROUTINE), (TAKE, lowered)):
        outcome = await world.ledger.execute(an_action(of=of), of, verdict)
        assert outcome.status == "blocked"
    assert world.effects == 0


@pytest.mark.parametrize("raised", [{"consequence": "irreversible"}, {"needs_approval": True}])
async def test_a_raised_verdict_asks_for_an_approval_of_a_routine_operation(world, raised):
    """A model or a record's state may raise the class."""
    verdict = Verdict.model_validate(ROUTINE.model_dump() | raised)
    assert (await world.ledger.execute(an_action(), TAKE, verdict)).status == "blocked"
    assert world.effects == 0


async def test_a_record_that_became_grave_since_the_verdict_asks_for_an_approval(world):
    """The consequence is worked out again in the transaction of the effect."""
    by_now = replace(TAKE, preview=lambda shop, given: Preview(consequence=GRAVE.consequence))
    assert (await world.ledger.execute(an_action(), by_now, ROUTINE)).reason == NOT_APPROVED
    await world.approvals.request(an_action(), GRAVE)
    await world.approvals.decide(an_action().id, approve=True, reviewer="op")
    assert (await world.ledger.execute(an_action(), by_now, ROUTINE)).status == "executed"
    assert world.effects == 1


async def test_an_approved_action_that_fails_uses_its_approval_up(world):
    """A refusal by the shop is the end of this action, not an open permission."""
    action = an_action(13, of=SEIZE)
    await world.approvals.request(action, GRAVE)
    await world.approvals.decide(action.id, approve=True, reviewer="op")
    assert (await world.ledger.execute(action, SEIZE, GRAVE)).status == "failed"
    assert (await world.approvals.get(action.id)).status == "failed"
    assert world.effects == 0


# --- leases ----------------------------------------------------------------------------------------


async def test_an_action_in_flight_is_refused_until_its_lease_is_over(url):
    """While one holds the key the other is told to wait; a dead holder's key is taken over."""

    class Died(BaseException):
        """Ends the first holder between its two transactions."""

    def die(name: str) -> None:
        raise Died

    first = World(url, checkpoint=die)
    first.empty()
    with pytest.raises(Died):
        await asyncio.to_thread(first.ledger._execute, an_action(), TAKE, ROUTINE)
    second = World(url, first.hands)
    assert (await second.ledger.execute(an_action(), TAKE, ROUTINE)).reason == IN_FLIGHT
    found = await second.ledger.find("northfell", "take", an_action().key)
    assert (found.status, second.effects) == ("unknown", 0)
    first.hands.pass_(seconds=31)
    assert (await second.ledger.execute(an_action(), TAKE, ROUTINE)).status == "executed"
    assert second.effects == 1
    first.engine.dispose()
    second.engine.dispose()


async def test_a_slow_holder_whose_key_was_taken_over_runs_nothing(url):
    """The lease owner is checked again in the transaction of the effect."""
    hands = Hands()
    takeover = World(url, hands)
    takeover.empty()
    seen = []

    def stall(name: str) -> None:
        if name == "begin_committed":
            hands.pass_(seconds=31)
            seen.append(takeover.ledger._execute(an_action(), TAKE, ROUTINE))

    slow = World(url, hands, stall)
    late = await slow.ledger.execute(an_action(), TAKE, ROUTINE)
    assert (seen[0].status, late.status, late.reason) == ("executed", "blocked", IN_FLIGHT)
    assert (takeover.effects, takeover.count("outbox")) == (1, 1)
    slow.engine.dispose()
    takeover.engine.dispose()


# --- many at once, and sudden death ----------------------------------------------------------------


async def test_64_duplicates_at_once_have_one_effect(world):
    """Threads race for one key; everybody else is refused or gets the replay."""
    with ThreadPoolExecutor(64) as pool:
        outcomes = list(
            pool.map(
                lambda _: world.ledger._execute(an_action(), TAKE, ROUTINE),
                range(64),
            )
        )
    fresh = [each for each in outcomes if each.status == "executed" and not each.replayed]
    assert len(fresh) == 1
    assert {each.status for each in outcomes} <= {"executed", "blocked"}
    assert (world.effects, world.count("outbox")) == (1, 1)


@pytest.mark.process
async def test_two_processes_on_one_database_have_one_effect(world):
    """Replicas share nothing but the database."""
    pair = [child(world.url, count=8) for _ in range(2)]
    statuses = " ".join([process.communicate(timeout=60)[0] for process in pair]).split()
    assert len(statuses) == 16
    assert "executed" in statuses
    assert (world.effects, world.count("outbox")) == (1, 1)


@pytest.mark.process
@pytest.mark.parametrize("name", ["take", "seize"])
@pytest.mark.parametrize("point", CHECKPOINTS)
async def test_killed_at_any_point_and_restarted_there_is_one_effect(world, point, name):
    """kill -9 of a real process, then a restart: one effect, one outbox row, one spent approval."""
    of, verdict = (SEIZE, GRAVE) if name == "seize" else (TAKE, ROUTINE)
    action = an_action(of=of)
    if name == "seize":
        await world.approvals.request(action, GRAVE)
        await world.approvals.decide(action.id, approve=True, reviewer="op")
    killed = child(world.url, point, name=name)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    before = world.effects
    assert before == (1 if point == "committed" else 0)
    world.hands.pass_(seconds=31)
    for replayed in (point == "committed", True):
        outcome = await world.ledger.execute(action, of, verdict)
        assert (outcome.status, outcome.replayed) == ("executed", replayed)
    assert (world.effects, world.count("outbox"), world.count("ledger")) == (1, 1, 1)


async def test_a_connection_lost_before_the_commit_leaves_nothing(new_postgres_url):
    """The caller hears that the database is away; trying again has one effect."""

    def cut(name: str) -> None:
        if name == "before_commit" and not lost:
            lost.append(name)
            with other.engine.connect() as connection:
                connection.execute(
                    sa.text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )

    lost: list[str] = []
    other = World(new_postgres_url)
    other.empty()
    world = World(new_postgres_url, checkpoint=cut)
    with pytest.raises(BackendUnavailable):
        await world.ledger.execute(an_action(), TAKE, ROUTINE)
    assert (lost, other.effects) == (["before_commit"], 0)
    assert (await world.ledger.execute(an_action(), TAKE, ROUTINE)).status == "executed"
    assert (other.effects, other.count("outbox")) == (1, 1)
    world.engine.dispose()
    other.engine.dispose()


async def test_an_answer_lost_after_the_commit_is_read_from_the_row(world):
    """When the connection dies behind the commit, the row tells that the effect is there."""
    outcome = await world.ledger.execute(an_action(), TAKE, ROUTINE)
    assert world.ledger._settle(an_action()) == outcome


async def test_the_customer_is_the_one_of_the_action(world):
    """The effect lands on the books of the customer in the action."""
    await world.ledger.execute(an_action(customer=BEN), TAKE, ROUTINE)
    with world.engine.connect() as connection:
        owners = connection.execute(sa.text("SELECT customer_id FROM till_effects")).scalars()
        assert list(owners) == [BEN.id] != [ADA.id]

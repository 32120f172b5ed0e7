"""Every question is asked once, answered once, and its answer is told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from app.stores.approvals import EXPIRED, REJECTED
from app.stores.tables import outbox
from tests.stores.world import GRAVE, SEIZE, an_action
from tools.ports import Approvals

ASKED = an_action(of=SEIZE)


async def told(world):
    """The statuses and sentences in the outbox."""
    with world.engine.connect() as connection:
        return [
            (row["status"], row["reason"])
            for row in connection.execute(sa.select(outbox.c.outcome)).scalars()
        ]


async def test_it_is_the_store_the_graphs_ask_for(world):
    """The SQL store satisfies the port."""
    assert isinstance(world.approvals, Approvals)


async def test_a_question_is_stored_once(world):
    """Asking again, later, returns the first question as it was."""
    first = await world.approvals.request(ASKED, GRAVE)
    world.hands.pass_(hours=1)
    assert await world.approvals.request(ASKED, GRAVE) == first
    assert (first.status, first.action, first.verdict) == ("pending", ASKED, GRAVE)
    assert await world.approvals.pending() == [first]


async def test_an_approval_says_who_gave_it_and_when(world):
    """Reviewer, note and time are kept; nobody is told, because nothing has happened yet."""
    await world.approvals.request(ASKED, GRAVE)
    world.hands.pass_(minutes=5)
    approval, decided = await world.approvals.decide(
        ASKED.id, approve=True, reviewer="op", note="fine"
    )
    assert (decided, approval.status, approval.reviewer, approval.note) == (
        True,
        "approved",
        "op",
        "fine",
    )
    assert approval.decided_at == world.hands.at
    assert await world.approvals.get(ASKED.id) == approval
    assert (await told(world), await world.approvals.pending()) == ([], [])


async def test_a_rejection_is_told_to_the_customer(world):
    """The outbox carries it, without the reviewer's note."""
    await world.approvals.request(ASKED, GRAVE)
    await world.approvals.decide(ASKED.id, approve=False, reviewer="op", note="fraud?")
    assert await told(world) == [("rejected", REJECTED)]


@pytest.mark.parametrize("second", [True, False])
async def test_a_second_decision_changes_nothing(world, second):
    """The first answer stands and the second reviewer learns of it."""
    await world.approvals.request(ASKED, GRAVE)
    first, _ = await world.approvals.decide(ASKED.id, approve=False, reviewer="op")
    again, decided = await world.approvals.decide(ASKED.id, approve=second, reviewer="other")
    assert (again, decided) == (first, False)
    assert len(await told(world)) == 1


async def test_of_many_reviewers_at_once_one_decides(world):
    """Sixteen clicks, one decision."""
    await world.approvals.request(ASKED, GRAVE)
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(
                lambda each: world.approvals._decide(ASKED.id, each % 2 == 0, f"op{each}", None),
                range(16),
            )
        )
    winners = [approval for approval, decided in answers if decided]
    assert len(winners) == 1
    assert {approval.reviewer for approval, _ in answers} == {winners[0].reviewer}


@pytest.mark.parametrize(("names", "counted"), [(1, 1), (2, 2), (16, 2)])
async def test_of_many_yeses_at_once_different_persons_count(world, names, counted):
    """Sixteen clicks by one person are one vote, by two persons two; a third finds it decided."""
    two = GRAVE.model_copy(update={"approvers": 2})
    await world.approvals.request(ASKED, two)
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(
                lambda each: world.approvals._decide(ASKED.id, True, f"op{each % names}", None),
                range(16),
            )
        )
    approval = await world.approvals.get(ASKED.id)
    assert sum(changed for _, changed in answers) == counted
    assert len({each.reviewer for each in approval.votes}) == len(approval.votes) == counted
    assert approval.status == ("approved" if counted == 2 else "pending")


async def test_a_question_nobody_knows_is_a_key_error(world):
    """An unknown id is not silently approved."""
    with pytest.raises(KeyError):
        await world.approvals.decide("act_nothing", approve=True, reviewer="op")
    assert await world.approvals.get("act_nothing") is None


async def test_a_question_past_its_time_cannot_be_decided(world):
    """The late answer expires it, tells the customer once, and decides nothing."""
    await world.approvals.request(ASKED, GRAVE)
    world.hands.pass_(hours=24)
    assert (await world.approvals.get(ASKED.id)).status == "expired"
    for _ in range(2):
        late, decided = await world.approvals.decide(ASKED.id, approve=True, reviewer="op")
        assert (late.status, decided) == ("expired", False)
    assert await told(world) == [("expired", EXPIRED)]


async def test_expiry_sweeps_what_is_due_and_tells_once(world):
    """Unanswered and approved-but-never-run questions expire; answered ones do not."""
    late = [an_action(of=SEIZE, request=name) for name in ("unanswered", "approved", "rejected")]
    for action in late:
        await world.approvals.request(action, GRAVE)
    await world.approvals.decide(late[1].id, approve=True, reviewer="op")
    await world.approvals.decide(late[2].id, approve=False, reviewer="op")
    assert await world.approvals.expire_due() == []
    world.hands.pass_(hours=25)
    fresh = await world.approvals.request(an_action(of=SEIZE, request="fresh"), GRAVE)
    expired = await world.approvals.expire_due()
    assert {approval.id for approval in expired} == {late[0].id, late[1].id}
    assert await world.approvals.expire_due() == []
    assert sorted(status for status, _ in await told(world)) == ["expired", "expired", "rejected"]
    assert await world.approvals.pending() == [fresh]


async def test_questions_are_listed_newest_first_in_pages(world):
    """Status, page size and the place to go on from."""
    asked = []
    for each in range(5):
        asked.append(await world.approvals.request(an_action(of=SEIZE, request=str(each)), GRAVE))
        world.hands.pass_(minutes=1)
    page = await world.approvals.list(limit=2)
    rest = await world.approvals.list(limit=10, before=page[-1].requested_at)
    assert [each.id for each in page + rest] == [each.id for each in reversed(asked)]
    await world.approvals.decide(asked[3].id, approve=False, reviewer="op")
    assert [each.id for each in await world.approvals.list("rejected")] == [asked[3].id]
    assert len(await world.approvals.list("pending")) == 4
    assert await world.approvals.list(tenant="elsewhere") == []


async def test_of_a_withdrawal_and_many_approvals_one_counts(world):
    """Whoever comes first has the last word, and the other learns of it."""
    await world.approvals.request(ASKED, GRAVE)
    with ThreadPoolExecutor(16) as pool:
        votes = [
            pool.submit(world.approvals._decide, ASKED.id, True, f"op{n}", None) for n in range(8)
        ]
        back = pool.submit(world.approvals._withdraw, ASKED.id, ASKED.customer)
    counted = [vote.result()[1] for vote in votes] + [back.result()[1]]
    assert counted.count(True) == 1
    stored = await world.approvals.get(ASKED.id)
    assert stored is not None
    assert stored.status == ("withdrawn" if back.result()[1] else "approved")


async def test_a_withdrawal_is_in_the_audit(world):
    """It says that the customer did it; nothing is put into the outbox, for they know."""
    await world.approvals.request(ASKED, GRAVE)
    await world.approvals.withdraw(ASKED.id, ASKED.customer)
    last = world.approvals._audit.of_action(ASKED.id)[-1]
    assert (last.kind, last.actor) == ("approval_withdrawn", f"customer:{ASKED.customer.id}")
    assert await told(world) == []

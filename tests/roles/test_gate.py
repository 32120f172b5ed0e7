"""The consequence head in the gate: it comes before the judge, and it may only raise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from domains.northfell.operations import OPERATIONS
from graphs.context import Limits
from graphs.verdict import at_least
from tests.graphs.world import ScriptedEncoder, World, a_choice
from tools.ports import Choice, ModelUnavailable
from tools.values import Arguments, Consequence, Operation, Preview

SAFE, RETRY_SAFE, RETRY_UNSAFE, IRREVERSIBLE, UNKNOWN = Consequence
CLASSES = [c.value for c in Consequence if c is not UNKNOWN]


class Classing(ScriptedEncoder):
    """A head that answers one class, with this probability."""

    def __init__(self, says: Consequence, probability: float = 0.97) -> None:
        super().__init__()
        self.says, self.probability = says, probability
        self.asked: list[str] = []

    async def classify(self, head: str, text: str, *, before: str = "") -> Choice:
        if head != "consequence":
            return await super().classify(head, text)
        self.asked.append(text)
        if self.broken is not None:
            raise self.broken
        return a_choice(self.says.value, self.probability, CLASSES, "encoder")


def undeclared(summary: str = "Something about a ticket.") -> Operation:
    """An operation that came from somewhere else, about which nobody said what it does."""
    template = OPERATIONS["create_ticket"]

    def preview(shop: Any, given: Arguments) -> Preview:
        return template.preview(shop, given).model_copy(update={"consequence": UNKNOWN})

    return replace(
        template,
        name="imported",
        title="Imported",
        summary=summary,
        consequence=UNKNOWN,
        preview=preview,
        confirm=False,
    )


def a_world(encoder: Classing, operation: Operation | None = None, **limits: Any) -> World:
    world = World(encoder=encoder, limits=Limits(**limits))
    added = operation or undeclared()
    world.operations[added.name] = added
    return world


async def run(world: World, operation: str = "imported"):
    given = {} if operation == "list_orders" else {"subject": "A question"}
    return await world.actions.propose(world.an_action(operation, **given), world.context)


async def test_a_class_the_head_is_sure_of_needs_no_judge():
    """An undeclared operation is classed once, cheaply, and the decision is logged."""
    world = a_world(Classing(RETRY_UNSAFE))

    outcome = await run(world)

    assert outcome.status == "executed"
    assert world.large.calls == []
    assert world.logged("consequence")[0] == "retry_unsafe"


async def test_what_the_head_calls_irreversible_waits_for_a_person():
    """The gravest class goes to the reviewers, judge or no judge."""
    world = a_world(Classing(IRREVERSIBLE))

    outcome = await run(world)

    assert outcome.status == "pending"
    assert world.large.calls == []


async def test_an_unsure_head_asks_the_judge_once():
    """Below its threshold the head hands on."""
    world = a_world(Classing(RETRY_UNSAFE, 0.5))
    world.large.enqueue("judge", {"consequence": "retry_unsafe", "reason": "It opens a ticket."})

    outcome = await run(world)

    assert outcome.status == "executed"
    assert world.large.roles == ["judge"]


async def test_the_judge_may_not_go_below_what_is_certain():
    """A judge who is talked into `safe` cannot make a read of what the head took for a write."""
    world = a_world(Classing(RETRY_UNSAFE, 0.5))
    world.large.enqueue("judge", {"consequence": "safe", "reason": "The text says it is safe."})
    action = world.an_action("imported", subject="A question")

    await world.actions.propose(action, world.context)

    state = await world.actions.compiled.aget_state({"configurable": {"thread_id": action.id}})
    assert state.values["verdict"].consequence is RETRY_SAFE


@pytest.mark.parametrize("answer", [ModelUnavailable("down"), {"consequence": "nonsense"}])
async def test_what_nobody_can_tell_goes_to_a_person(answer):
    """Head unsure, judge silent or babbling: a person decides."""
    world = a_world(Classing(RETRY_UNSAFE, 0.5))
    world.large.enqueue("judge", answer)

    assert (await run(world)).status == "pending"


async def test_without_the_head_the_judge_is_asked():
    """A head that does not answer makes the gate slower, not laxer."""
    encoder = Classing(SAFE)
    encoder.broken = ModelUnavailable("no such head")
    world = a_world(encoder)
    world.large.enqueue("judge", {"consequence": "irreversible", "reason": "It sends goods."})

    assert (await run(world)).status == "pending"
    assert world.large.roles == ["judge"]


async def test_a_description_that_admits_it_outweighs_a_head_that_was_fooled():
    """Even a head that is sure of a read does not let `deletes everything` run."""
    world = a_world(Classing(SAFE, 0.999), undeclared("Safe and read-only. Deletes everything."))

    outcome = await run(world)

    assert outcome.status == "pending"
    assert world.large.calls == []


async def test_declared_operations_are_not_looked_at_by_default():
    """What an author declared costs no model call."""
    encoder = Classing(IRREVERSIBLE)
    world = a_world(encoder)

    await run(world, "list_orders")
    await run(world, "create_ticket")

    assert encoder.asked == []


@pytest.mark.parametrize("says", CLASSES)
@pytest.mark.parametrize("name", ["create_ticket", "request_refund"])
async def test_a_declared_class_is_never_lowered(says, name):
    """With the setting on, the head's word counts only where it is stricter."""
    world = a_world(Classing(Consequence(says)), class_declared=True)
    given = {"subject": "A question"} if name == "create_ticket" else {"order_number": "SB-10482"}
    action = world.an_action(name, **given)

    outcome = await world.actions.propose(action, world.context)

    declared = OPERATIONS[name].consequence
    state = await world.actions.compiled.aget_state({"configurable": {"thread_id": action.id}})
    if (found := state.values.get("verdict")) is not None:
        # Unsure of something graver: the judge, or a person, which is stricter than any class but the last.
        strictness = [*CLASSES, UNKNOWN].index
        assert strictness(found.consequence) >= max(strictness(declared), strictness(says))
    else:
        assert outcome.status == "blocked"


async def test_a_declared_read_can_be_raised_to_a_persons_decision():
    """An author's `safe` is no more than a floor."""
    world = a_world(Classing(IRREVERSIBLE), class_declared=True)
    action = world.an_action("list_orders")

    assert (await world.actions.propose(action, world.context)).status == "pending"


async def test_a_raised_read_runs_as_the_write_that_it_may_be():
    """Through the ledger, once; the second time its outcome is told again."""
    world = a_world(Classing(RETRY_UNSAFE), class_declared=True)
    action = world.an_action("list_orders")

    first = await world.actions.propose(action, world.context)
    again = await world.actions.propose(action, world.context)

    assert (first.status, first.replayed) == ("executed", False)
    assert (again.status, again.replayed) == ("executed", True)
    assert "execute" in world.ledger.calls


@pytest.mark.parametrize(
    ("judged", "floor", "expected"),
    [
        (SAFE, None, SAFE),
        (SAFE, RETRY_SAFE, RETRY_SAFE),
        (IRREVERSIBLE, RETRY_SAFE, IRREVERSIBLE),
        (UNKNOWN, RETRY_SAFE, UNKNOWN),  # nobody could tell: a person decides
        (RETRY_UNSAFE, SAFE, RETRY_UNSAFE),
    ],
)
def test_the_floor_of_a_judgement(judged, floor, expected):
    """The judge may be stricter than the floor, never milder."""
    assert at_least(judged, floor) is expected

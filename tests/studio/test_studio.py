"""A real `langgraph dev` opens the three graphs, and an interrupt is resumed through its API."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph_sdk.client import LangGraphClient

from domains.northfell.memory import demo_world

pytestmark = [pytest.mark.studio, pytest.mark.models, pytest.mark.slow]


async def run(studio: LangGraphClient, thread: str, graph: str, **sent: Any) -> Any:
    return await studio.runs.wait(thread, graph, **sent)


async def new_thread(studio: LangGraphClient) -> str:
    return (await studio.threads.create())["thread_id"]


def delivered_order() -> str:
    books = demo_world()
    orders = books.account(books.customer("ana")).orders.values()
    return next(order.number for order in orders if order.status == "delivered")


@pytest.mark.parametrize(
    ("graph", "nodes"),
    [
        ("support", {"receive", "screen", "understand", "loop", "validate", "deliver"}),
        ("action", {"receive", "classify", "approve", "execute", "reconcile"}),
        ("loop", {"receive", "plan", "act", "observe", "evaluate"}),
    ],
)
async def test_a_graph_can_be_opened_and_drawn(
    studio: LangGraphClient, graph: str, nodes: set[str]
) -> None:
    """Each graph is listed, has its picture, and a schema for Studio's input form."""
    [assistant] = await studio.assistants.search(graph_id=graph)
    drawn = await studio.assistants.get_graph(assistant["assistant_id"])
    schemas = await studio.assistants.get_schemas(assistant["assistant_id"])

    assert nodes <= {str(node["id"]) for node in drawn["nodes"]}
    fields = ["operation", "arguments"] if graph == "action" else ["messages"]
    assert list(schemas["input_schema"]["properties"]) == fields
    assert schemas["state_schema"]
    for panel in ("context_schema", "config_schema"):
        assert set(schemas[panel]["properties"]) == {"customer", "reviewer"}
    inner = await studio.assistants.get_subgraphs(assistant["assistant_id"])
    assert set(inner) == ({"loop"} if graph == "support" else set())


async def test_a_turn_is_answered(studio: LangGraphClient) -> None:
    """Typed into the form's one field: a greeting is answered by the direct lane."""
    state = await run(
        studio, await new_thread(studio), "support", input={"messages": "Hello there"}
    )

    assert [message["type"] for message in state["messages"]] == ["human", "ai"]
    assert state["messages"][0]["content"] == "Hello there"
    assert state["messages"][1]["content"]


async def test_a_chat_message_is_answered_from_the_demo_books(studio: LangGraphClient) -> None:
    """Typed into Studio's chat: the same graph, on the books of the demo customer."""
    number = delivered_order()
    said = {"role": "user", "content": f"What is the status of my order {number}?"}
    state = await run(studio, await new_thread(studio), "support", input={"messages": [said]})

    assert [message["type"] for message in state["messages"]] == ["human", "ai", "tool"]
    assert number in state["messages"][1]["content"]


async def test_an_interrupt_is_resumed_once_and_by_nothing_else(studio: LangGraphClient) -> None:
    """A refund waits; a raw yes does nothing; a reviewer's answer pays once, however often it comes."""
    order = delivered_order()
    thread = await new_thread(studio)
    wanted = {
        "operation": "request_refund",
        "arguments": {"order_number": order, "reason": "damaged"},
    }

    await run(studio, thread, "action", input=wanted)

    assert await waits(studio, thread)
    assert await refund(studio, order) is None

    said = {"type": "response", "args": "approve it"}
    for wrong in (True, "yes", said, [said], {"approved": True}, {"decision": "yes"}):
        with pytest.raises(Exception, match="ValidationError"):
            await run(studio, thread, "action", command={"resume": wrong})
        assert await waits(studio, thread), wrong
        assert await refund(studio, order) is None

    answer = [{"type": "accept", "args": None}]
    done = await run(studio, thread, "action", command={"resume": answer})
    paid = await refund(studio, order)
    assert done["outcome"]["status"] == "executed"
    assert not await waits(studio, thread)
    assert paid

    await run(studio, thread, "action", command={"resume": answer})
    again = await run(studio, await new_thread(studio), "action", input=wanted)
    assert again["outcome"]["status"] == "blocked"
    assert await refund(studio, order) == paid


async def said(studio: LangGraphClient, thread: str, text: Any, **more: Any) -> Any:
    """One turn as agent-chat-ui and Studio's chat send it."""
    message = {"type": "human", "content": text}
    return await run(studio, thread, "support", input={"messages": [message]}, **more)


async def test_a_knowledge_question_is_answered_with_its_sources(studio: LangGraphClient) -> None:
    """Retrieved, pruned and cited in a real development server, which forbids every blocking call."""
    state = await said(studio, await new_thread(studio), "How long do I have to return an item?")

    reply = state["messages"][1]["content"]
    assert state["route"]["lane"] == "answer"
    assert "[1]" in reply
    assert ".md)" in reply
    assert state["passages"]


@pytest.mark.parametrize(
    "mode",
    [
        "values",
        "updates",
        "messages",
        "messages-tuple",
        "custom",
        "events",
        "debug",
        "tasks",
        "checkpoints",
    ],
)
async def test_every_stream_mode_answers_a_knowledge_question(
    studio: LangGraphClient, mode: Any
) -> None:
    """None of them ends in an error, and each brings something of its kind."""
    question = {"messages": [{"role": "user", "content": "How do I dry a tent?"}]}
    parts = [
        part
        async for part in studio.runs.stream(
            await new_thread(studio), "support", input=question, stream_mode=mode
        )
    ]

    names = {part.event.split("/")[0] for part in parts}
    assert "error" not in names, parts[-1]
    assert names - {"metadata"}


async def test_a_run_is_the_customers_whom_its_context_names(studio: LangGraphClient) -> None:
    """Ben's run does not find Ana's order; a customer that is not there is an error in words."""
    number = delivered_order()
    asked = f"What is the status of my order {number}?"
    own = await said(studio, await new_thread(studio), asked, context={"customer": "ana"})
    foreign = await said(studio, await new_thread(studio), asked, context={"customer": "ben"})

    assert own["outcome"]["status"] == "executed"
    assert foreign["outcome"] is None or foreign["outcome"]["status"] != "executed"
    with pytest.raises(Exception, match="NoSuchCustomer"):
        await said(studio, await new_thread(studio), asked, context={"customer": "zoe"})


async def test_a_fork_with_an_edited_state_goes_on(studio: LangGraphClient) -> None:
    """Any channel edited as plain JSON is read as the value it is; what cannot be read is refused at once."""
    thread = await new_thread(studio)
    await said(studio, thread, "How do I dry a tent?")
    history = await studio.threads.get_history(thread, limit=50)
    before = next(each for each in history if each["next"] == ["screen"])
    edited = {"turn": {**before["values"]["turn"], "text": "Hello there"}}

    forked = await studio.threads.update_state(
        thread, edited, checkpoint_id=before["checkpoint"]["checkpoint_id"], as_node="receive"
    )
    state = await run(
        studio, thread, "support", input=None, checkpoint_id=forked["checkpoint"]["checkpoint_id"]
    )
    with pytest.raises(Exception, match="turn"):
        await studio.threads.update_state(thread, {"turn": {"text": 5}}, as_node="receive")

    assert state["route"]["lane"] == "direct"
    assert state["messages"][-1]["content"]


async def test_a_state_goes_on_as_it_was_shown(studio: LangGraphClient) -> None:
    """Studio sends a whole state back, dates of articles among it; each step of the turn can be gone on from."""
    thread = await new_thread(studio)
    await said(studio, thread, "How do I dry a tent?")
    history = await studio.threads.get_history(thread, limit=50)
    [late] = [each for each in history if each["next"] == ["validate"]]
    whole = {name: value for name, value in late["values"].items() if name != "messages"}
    whole["passages"][0]["needs"] = [0, 1, 2]  # Three numbers that are no date.

    forked = await studio.threads.update_state(
        thread, whole, checkpoint_id=late["checkpoint"]["checkpoint_id"]
    )
    state = await run(
        studio, thread, "support", input=None, checkpoint_id=forked["checkpoint"]["checkpoint_id"]
    )

    assert whole["passages"][0]["updated"]
    assert "[1]" in state["messages"][-1]["content"]


async def test_an_approval_is_asked_for_on_the_customers_own_thread(
    studio: LangGraphClient,
) -> None:
    """With description, record and customer; an answer that is none or a bad edit is asked again with the
    reason; the customer may go on chatting; a yes pays once and is told."""
    thread = await new_thread(studio)
    orders = demo_world()
    number = next(
        o.number
        for o in orders.account(orders.customer("carla")).orders.values()
        if o.status == "delivered" and not o.refunded
    )
    carla: dict[str, Any] = {"context": {"customer": "carla", "reviewer": "olga"}}
    await said(studio, thread, f"I want a refund for {number}, it arrived damaged", **carla)
    asked = await said(studio, thread, "yes", **carla)

    [waiting] = asked["__interrupt__"]
    assert waiting["value"]["action_request"]["action"] == "request_refund"
    assert number in waiting["value"]["record"]
    assert waiting["value"]["customer"]["id"] == "carla"
    assert number in waiting["value"]["description"]
    assert "Carla" in waiting["value"]["description"]

    async def answer(sent: Any) -> Any:
        return await run(studio, thread, "support", command={"resume": sent}, **carla)

    free = await answer([{"type": "response", "args": "fine by me"}])
    assert "free text" in free["__interrupt__"][0]["value"]["problem"]
    other = {"action": "request_refund", "args": {"order_number": "SB-99999"}}
    bad = await answer([{"type": "edit", "args": other}])
    assert "another record" in bad["__interrupt__"][0]["value"]["description"]

    chatted = await said(studio, thread, "Hello again", **carla)
    assert chatted["__interrupt__"], "a chat in between does not lose the question"

    paid = await answer([{"type": "accept", "args": None}])
    assert "__interrupt__" not in paid
    assert paid["outcome"]["status"] == "executed"
    assert paid["messages"][-1]["type"] == "tool"
    assert paid["messages"][-1]["tool_call_id"] == paid["messages"][-2]["tool_calls"][0]["id"]


async def test_an_attachment_is_refused_in_words(studio: LangGraphClient) -> None:
    """An image alone, and an image beside a question that is answered all the same."""
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    alone = await said(studio, await new_thread(studio), [image])
    beside = await said(
        studio, await new_thread(studio), [{"type": "text", "text": "Hello there"}, image]
    )

    assert "cannot open attachments" in alone["messages"][-1]["content"]
    assert "cannot open attachments" in beside["messages"][-1]["content"]
    assert len(beside["messages"][-1]["content"]) > 120


async def waits(studio: LangGraphClient, thread: str) -> bool:
    return (await studio.threads.get_state(thread))["next"] == ["approve"]


async def refund(studio: LangGraphClient, order: str) -> dict[str, Any] | None:
    """The order's refund, asked through the gate itself."""
    wanted = {"operation": "get_refund_status", "arguments": {"order_number": order}}
    state = await run(studio, await new_thread(studio), "action", input=wanted)
    return state["outcome"]["result"] or None

"""What agent-chat-ui and agent-inbox send, replayed as recorded; and whether they can show what comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient

pytestmark = [pytest.mark.studio, pytest.mark.models, pytest.mark.slow]

RECORDED = Path(__file__).parent / "recorded"
CHAT_UI: dict[str, Any] = json.loads((RECORDED / "agent_chat_ui.json").read_text())
INBOX: dict[str, Any] = json.loads((RECORDED / "agent_inbox.json").read_text())


class Client:
    """Sends the recorded bodies for one customer."""

    def __init__(self, http: httpx.AsyncClient, studio: LangGraphClient, customer: str) -> None:
        self._http = http
        self.studio, self.customer, self.thread = studio, customer, ""

    async def open(self) -> Client:
        self.thread = (await self.studio.threads.create())["thread_id"]
        return self

    async def send(self, recorded: Mapping[str, Any], text: str = "") -> dict[str, Any]:
        """The request as it was recorded, to the route it was recorded for; the thread's state afterwards."""
        words = json.dumps(recorded).replace("$id", str(uuid4())).replace("$text", text)
        body = json.loads(words)
        if "as_node" in body:
            answer = await self._http.post(f"/threads/{self.thread}/state", json=body)
        else:
            # Whose browser it is the client does not say: a run's context does.
            body["context"] = {"customer": self.customer, "reviewer": "olga"}
            streams = "stream_mode" in body
            where = f"/threads/{self.thread}/runs/" + ("stream" if streams else "wait")
            answer = await self._http.post(where, json=body)
        answer.raise_for_status()
        assert "event: error" not in answer.text, answer.text[-2000:]
        return await self.state()

    async def state(self) -> dict[str, Any]:
        found = await self._http.get(f"/threads/{self.thread}/state")
        return found.json()

    async def inbox(self) -> list[Any]:
        """The interrupts that agent-inbox lists of this thread."""
        listed = await self.studio.threads.search(status="interrupted", limit=100)
        mine = [each for each in listed if each["thread_id"] == self.thread]
        return [one["value"] for each in mine for of in each["interrupts"].values() for one in of]

    async def say(self, text: str) -> dict[str, Any]:
        return await self.send(CHAT_UI["say"], text)

    async def ask_for_a_refund(self, order: str) -> dict[str, Any]:
        await self.say(f"I want a refund for {order}, it arrived damaged")
        return await self.say("yes")


@pytest.fixture
async def client(server: str, studio: LangGraphClient) -> AsyncIterator[Any]:
    async with httpx.AsyncClient(base_url=server, timeout=60) as http:
        yield lambda customer: Client(http, studio, customer)


def messages(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    return state["values"]["messages"]


def interrupts(state: Mapping[str, Any]) -> list[Any]:
    return [one["value"] for task in state["tasks"] for one in task["interrupts"]]


def card_of(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The card that agent-chat-ui draws of an interrupt: it needs requests, and the decisions they may take."""
    [request], [config] = value["action_requests"], value["review_configs"]
    assert isinstance(request["name"], str)
    assert isinstance(request["args"], dict)
    assert config["action_name"] == request["name"]
    assert set(config["allowed_decisions"]) == {"approve", "edit", "reject"}
    return request


async def test_a_question_is_shown_with_its_sources(client: Any):
    """agent-chat-ui draws a message's content and nothing beside it."""
    ana = await client("ana").open()
    state = await ana.say("How long do I have to return an item?")

    reply = messages(state)[-1]
    assert reply["type"] == "ai"
    assert "[1]" in reply["content"]
    assert reply["content"].rstrip().splitlines()[-1].endswith(".md)")


async def test_an_operation_is_a_call_with_its_result(client: Any):
    """Every call is followed by its result, so that the client makes none up."""
    ben = await client("ben").open()
    said = messages(await ben.say("Where is my order SB-10455?"))

    [call] = said[-2]["tool_calls"]
    assert call["args"]["order_number"] == "SB-10455"
    assert (said[-1]["type"], said[-1]["tool_call_id"]) == ("tool", call["id"])
    assert json.loads(said[-1]["content"])["status"] == "executed"


async def test_an_image_is_refused_in_words(client: Any):
    """As agent-chat-ui sends it; the words beside it are answered."""
    ana = await client("ana").open()
    state = await ana.send(CHAT_UI["say with an image"], "Hello there")

    assert "cannot open attachments" in messages(state)[-1]["content"]
    assert len(messages(state)[-1]["content"]) > 120


async def test_a_cancelled_message_is_not_lost(client: Any, studio: LangGraphClient):
    """What the customer wrote stands in the thread although its run was stopped."""
    ana = await client("ana").open()
    body = json.loads(json.dumps(CHAT_UI["say"]).replace("$text", "How long is the warranty?"))
    begun = await studio.runs.create(ana.thread, "support", input=body["input"])
    for _ in range(400):
        if (await ana.state())["values"].get("messages"):
            break
        await asyncio.sleep(0.02)
    await studio.runs.cancel(ana.thread, begun["run_id"], wait=True)

    [said] = [m["content"] for m in messages(await ana.state()) if m["type"] == "human"]
    # Stopped before its first node or after it: as it was sent, or as the text of a turn.
    assert said in ("How long is the warranty?", body["input"]["messages"][0]["content"])
    again = await ana.say("Hello")
    assert messages(again)[-1]["type"] == "ai"


async def test_agent_chat_ui_reviews_in_the_chat(client: Any):
    """A card with record and effects, the reason after a bad edit, and one effect after a yes."""
    ben = await client("ben").open()
    [waiting] = interrupts(await ben.ask_for_a_refund("SB-10390"))
    request = card_of(waiting)
    assert request["args"]["order_number"] == "SB-10390"
    assert "SB-10390" in request["description"]
    assert "Ben Okafor" in request["description"]

    [again] = interrupts(await ben.send(CHAT_UI["edit"]))
    assert card_of(again)["description"].startswith("Your last answer changed nothing: ")

    done = await ben.send(CHAT_UI["approve"])
    assert interrupts(done) == []
    assert done["values"]["outcome"]["status"] == "executed"
    assert messages(done)[-1]["type"] == "tool"


async def test_agent_inbox_reviews_what_the_chat_asked_for(client: Any):
    """Listed with description, record and customer; free text and a bad edit come back with the reason."""
    dev = await client("dev").open()
    await dev.ask_for_a_refund("SB-10350")
    [listed] = await dev.inbox()
    assert listed["action_request"]["action"] == "request_refund"
    assert "SB-10350" in listed["record"]
    assert "SB-10350" in listed["description"]
    assert "Dev Anand" in listed["customer"]["name"]
    # Its current version reads the middleware's form first, where there is one.
    assert card_of(listed)["arguments"] == listed["action_request"]["args"]

    [text] = interrupts(await dev.send(INBOX["respond"]))
    assert "free text decides nothing" in text["description"]
    [edit] = interrupts(await dev.send(INBOX["edit"]))
    assert "another record" in edit["description"]
    ignored = await dev.send(INBOX["ignore"])
    assert interrupts(ignored) == []
    assert ignored["values"]["outcome"]["status"] == "rejected"
    assert await dev.inbox() == []


@pytest.mark.parametrize(
    ("recorded", "customer", "order"),
    [
        (CHAT_UI["mark as resolved"], "eva", "SB-10288"),
        (INBOX["mark as resolved"], "carla", "SB-9410"),
    ],
    ids=["agent-chat-ui", "agent-inbox"],
)
async def test_resolved_leaves_nothing_waiting(
    client: Any, recorded: dict[str, Any], customer: str, order: str
):
    """Who ends the thread has not approved: nothing is paid, the customer is told, nothing waits any more."""
    whoever = await client(customer).open()
    [waiting] = interrupts(await whoever.ask_for_a_refund(order))
    resolved = await whoever.send(recorded)

    assert resolved["next"] == []
    assert interrupts(resolved) == []
    assert resolved["values"]["outcome"]["status"] == "rejected"
    told = [m["content"] for m in messages(resolved) if m["type"] == "ai"][-1]
    assert "did not approve it" in told
    assert await whoever.inbox() == []
    later = await whoever.say("Hello again")
    assert interrupts(later) == [], f"{waiting['action_id']} still waits"

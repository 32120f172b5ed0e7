"""SSE and disconnects, over a real server and real sockets."""

from __future__ import annotations

import asyncio
import json

import httpx

from .conftest import OPERATOR_KEY, Served, log_in, served
from .fake_desk import FakeDesk

STREAM = {"Accept": "text/event-stream"}


async def read(response: httpx.Response) -> list[tuple[str, dict]]:
    events = []
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            events.append((name, json.loads(line.removeprefix("data: "))))
    return events


async def test_a_turn_as_a_stream(live: Served):
    """Typed events in order, tokens that make up the reply, and final at the end."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        headers = await log_in(client, "ana") | STREAM
        body = {"text": "refund?"}
        async with client.stream("POST", "/v1/chat", json=body, headers=headers) as response:
            events = await read(response)

    assert response.headers["content-type"].startswith("text/event-stream")
    names = [name for name, _ in events]
    assert list(dict.fromkeys(names))[:5] == ["route", "ack", "tool", "approval_required", "token"]
    assert names[-1] == "final"
    tokens = "".join(data["text"] for name, data in events if name == "token")
    assert events[-1][1]["text"] == tokens.strip()
    assert {"t-1"} == {data["thread"] for _, data in events}


async def test_events_arrive_while_the_turn_runs(live: Served, desk: FakeDesk):
    """Where the message goes is at the client before the reply exists."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        headers = await log_in(client, "ana") | STREAM
        async with client.stream("POST", "/v1/chat", json={"text": "wait"}, headers=headers) as r:
            lines = r.aiter_lines()
            first = await anext(lines)
            assert not desk.go.is_set()
            desk.go.set()
            rest = [line async for line in lines]

    assert first == "event: route"
    assert "event: final" in rest


async def test_an_error_in_mid_stream_is_an_event(live: Served):
    """The stream ends with an error event, never with a broken connection, and tells no internals."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        headers = await log_in(client, "ana") | STREAM
        async with client.stream("POST", "/v1/chat", json={"text": "break"}, headers=headers) as r:
            events = await read(r)

    assert [name for name, _ in events] == ["route", "ack", "error"]
    assert "secret" not in json.dumps(events)


async def test_what_is_refused_before_the_stream_has_a_status(live: Served):
    """A foreign thread is a 404 problem although a stream was asked for."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        headers = await log_in(client, "ana") | STREAM
        body = {"text": "hi", "thread": "t-99"}
        response = await client.post("/v1/chat", json=body, headers=headers)

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_reader_that_leaves_does_not_end_the_turn(live: Served, desk: FakeDesk):
    """The turn goes on after the connection is gone, and its reply is in the history."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        headers = await log_in(client, "ana")
        stream = client.stream("POST", "/v1/chat", json={"text": "wait"}, headers=headers | STREAM)
        async with stream as response:
            await anext(response.aiter_lines())
        await asyncio.sleep(0.1)  # the server notices
        desk.go.set()
        messages = await until_answered(client, headers)

    assert [each["role"] for each in messages] == ["customer", "agent"]


async def test_a_json_reader_that_leaves_does_not_end_the_turn(live: Served, desk: FakeDesk):
    """The same holds without a stream."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        headers = await log_in(client, "ana")
        request = asyncio.create_task(
            client.post("/v1/chat", json={"text": "wait"}, headers=headers)
        )
        await desk.begun.wait()
        request.cancel()
        await asyncio.wait([request])
        desk.go.set()
        messages = await until_answered(client, headers)

    assert [each["role"] for each in messages] == ["customer", "agent"]


async def until_answered(client: httpx.AsyncClient, headers: dict[str, str]) -> list[dict]:
    messages: list[dict] = []
    for _ in range(100):
        thread = (await client.get("/v1/threads/t-1", headers=headers)).json()
        messages = thread["messages"]
        if messages[-1]["role"] == "agent":
            break
        await asyncio.sleep(0.02)
    return messages


async def test_a_second_click_while_the_turn_runs(live: Served, desk: FakeDesk):
    """The same key in flight is 409 with a time to come back; afterwards it is the first reply."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        headers = await log_in(client, "ana") | {"Idempotency-Key": "k"}
        thread = (await client.post("/v1/threads", headers=headers)).json()["id"]
        body = {"text": "wait", "thread": thread}
        first = asyncio.create_task(client.post("/v1/chat", json=body, headers=headers))
        await desk.begun.wait()
        second = await client.post("/v1/chat", json=body, headers=headers)
        desk.go.set()
        third = await client.post("/v1/chat", json=body, headers=headers)
        reply = await first
        if third.status_code == 409:
            third = await client.post("/v1/chat", json=body, headers=headers)

    assert second.status_code == 409
    assert second.headers["retry-after"]
    assert reply.json() == third.json()
    assert desk.started == ["wait"]


async def test_a_stop_lets_running_turns_finish(app, desk: FakeDesk):
    """The desk is closed only after the turn nobody reads any more is done."""
    async with served(app) as live, httpx.AsyncClient(base_url=live.url) as client:
        headers = await log_in(client, "ana")
        async with client.stream(
            "POST", "/v1/chat", json={"text": "wait"}, headers=headers | STREAM
        ) as response:
            await anext(response.aiter_lines())
        live.server.should_exit = True
        await asyncio.sleep(0.2)
        assert not live.task.done()
        desk.go.set()
        await asyncio.wait_for(live.task, 5)

    messages = await desk.history((await desk.demo_customers())[0], "t-1")
    assert [each.role for each in messages] == ["customer", "agent"]


async def test_a_large_body_on_a_real_socket(live: Served, desk: FakeDesk):
    """The client can read the 413 although it was still sending."""
    async with httpx.AsyncClient(base_url=live.url) as client:
        headers = {"X-API-Key": OPERATOR_KEY, "Content-Type": "application/json"}
        response = await client.post("/v1/chat", content=b"a" * 3_000_000, headers=headers)

    assert response.status_code == 413
    assert desk.started == []

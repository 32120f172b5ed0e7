"""Nothing synchronous holds the event loop for longer than 20 ms of processor time."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage

from app.config import Settings
from app.main import create_app
from tests.app.conftest import over
from tests.desk.world import TENANT
from tests.watchdog import LIMIT, best, watching

ROUNDS = 3
#: As long as a message may be, and full of what is masked.
PERSONAL = (
    "I am Ana, ana.lindqvist@mail.example, +49 151 5550 118, DE89 3704 0044 0532 0130 00. " * 60
)[:4000]
#: As large as a body may be.
LARGE = ("word, and a 12/11/2026 or so; ana@mail.example; " * 1400)[: 64 * 1024 - 200]


@pytest.fixture
async def desk(world):
    async with world.process() as desk:
        yield desk


async def long_thread(world, desk, turns: int = 200) -> str:
    """A conversation of so many turns."""
    thread = await desk.turns.open_thread(world.customers["ana"])
    said = []
    for number in range(turns):
        extra = {"at": "2026-11-20T09:00:00+00:00", "intent": "greeting", "lane": "answer"}
        said += [
            HumanMessage(
                f"and number {number}? " * 10, id=f"t_{number}:in", additional_kwargs=extra
            ),
            AIMessage(f"That is {number}. " * 20, id=f"t_{number}:out", additional_kwargs=extra),
        ]
    config = {"configurable": {"thread_id": thread}}
    async with desk.stores.holds.holding(thread):
        await desk.player.support.aupdate_state(config, {"messages": said}, as_node="deliver")
    return thread


async def played(world, desk, thread, text, intent="greeting"):
    await world.say(
        desk, thread, text, intent
    )  # What is imported and compiled once is no part of it.
    rounds = []
    for number in range(ROUNDS):
        with watching() as held:
            await world.say(desk, thread, f"{text[:-3]} {number}", intent)
        rounds.append(held)
    return best(*rounds)


async def test_a_turn_on_a_long_thread(world, desk):
    """Two hundred turns: read, played on, written."""
    held = await played(world, desk, await long_thread(world, desk), "hello and so on")
    assert held.longest < LIMIT, held.where


@pytest.mark.parametrize("text", [PERSONAL, LARGE], ids=["masked", "64 kB"])
async def test_a_long_message(world, desk, text):
    """Everything in it is looked for, masked and logged."""
    held = await played(world, desk, await desk.turns.open_thread(world.customers["ana"]), text)
    assert held.longest < LIMIT, held.where


async def test_a_long_thread_is_read_by_everybody(world, desk):
    """The customer's history, the operators' case, the export."""
    thread = await long_thread(world, desk)
    ana = world.customers["ana"]

    async def read():
        await desk.turns.history(ana, thread)
        await desk.inbox.case(thread)
        await desk.privacy.export(TENANT, "ana")

    await read()
    rounds = []
    for _ in range(ROUNDS):
        with watching() as held:
            await read()
        rounds.append(held)
    assert best(*rounds).longest < LIMIT, best(*rounds).where


async def test_the_doors(world, desk, tmp_path):
    """Large bodies in, a long thread out, through the whole app."""
    settings = Settings(_env_file=None, data_dir=tmp_path, operators={"olga": "the-operators-key"})
    app = create_app(settings, over(desk))
    thread = await long_thread(world, desk)
    world.encoder.intents["hello"] = ("greeting", 0.97)
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope, receive, send):
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            body = json.dumps({"text": LARGE, "thread": thread}).encode()
            sent = {"content": body, "headers": {"content-type": "application/json"}}
            logged_in = await client.post("/v1/login", json={"customer": "ana"})
            client.headers["authorization"] = f"Bearer {logged_in.json()['token']}"

            async def through():
                answers = [
                    await client.post("/v1/chat", **sent),
                    await client.get(f"/v1/threads/{thread}"),
                ]
                assert [answer.status_code for answer in answers] == [200, 200]

            await through()
            rounds = []
            for _ in range(ROUNDS):
                with watching() as held:
                    await through()
                rounds.append(held)
    assert best(*rounds).longest < LIMIT, best(*rounds).where


async def test_the_watchdog_bites():
    """A callback that computes is found, with its place; one that waits in a thread is not."""
    with watching() as held:
        await asyncio.to_thread(time.sleep, 0.03)
    assert held.longest < LIMIT
    with watching() as held:
        await asyncio.sleep(0)
        until = time.thread_time() + 10 * LIMIT
        while time.thread_time() < until:
            pass
        await asyncio.sleep(0)
    assert held.longest > LIMIT
    assert "test_the_watchdog_bites" in held.where

"""An operator of one tenant neither sees nor decides another's; over HTTP, on the real desk and its stores."""

from __future__ import annotations

import httpx
import pytest
import sqlalchemy as sa

from app.answer_cache import ProcessAnswers
from app.config import Settings
from app.main import create_app
from app.stores.database import create_engine, writing
from domains.northfell import store as shop
from tests.app.conftest import over

KEYS = {"olga": "olga's own key 1", "sven": "sven's own key 2", "quirin:admin": "quirin's key 3"}


def key_of(name: str) -> dict[str, str]:
    return {"X-API-Key": next(key for named, key in KEYS.items() if named.startswith(name))}


@pytest.fixture
async def desk(world):
    """Ben is another tenant's customer than Ana."""
    ben = world.customers["ben"].model_copy(update={"tenant": "southfell"})
    world.customers["ben"] = ben
    engine = create_engine(world.url)
    with writing(engine) as connection:
        connection.execute(sa.insert(shop.customers).values(**ben.model_dump(exclude={"facts"})))
    engine.dispose()
    async with world.process() as desk:
        yield desk


@pytest.fixture
async def client(desk, tmp_path):
    settings = Settings(  # pyright: ignore[reportCallIssue]
        _env_file=None,
        data_dir=tmp_path / "data",
        operators=KEYS,
        operator_tenants={"olga": "northfell", "sven": "southfell"},
    )
    app = create_app(settings, over(desk))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope, receive, send):
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


async def a_refund_waits(world, desk, who, order):
    thread = await desk.turns.open_thread(world.customers[who])
    await world.say(desk, thread, f"refund {order}", "request_refund", who=who)
    events = await world.say(desk, thread, "yes", "affirm", who=who)
    return next(e.data["id"] for e in events if e.event == "approval_required")


async def test_an_approval_is_there_for_its_tenants_operators_only(world, desk, client):
    """Ana's refund: listed for and decided by her tenant's operator and those of all tenants."""
    action = await a_refund_waits(world, desk, "ana", "SB-10482")

    listed = {
        name: [
            each["id"]
            for each in (await client.get("/v1/approvals?status=all", headers=key_of(name))).json()[
                "approvals"
            ]
        ]
        for name in ("olga", "sven", "quirin")
    }
    foreign = [
        await client.post(
            f"/v1/approvals/{action}", headers=key_of("sven"), json={"decision": decision, **more}
        )
        for decision, more in (
            ("approve", {}),
            ("reject", {}),
            ("edit", {"arguments": {"reason": "damaged"}}),
        )
    ]
    own = await client.post(
        f"/v1/approvals/{action}", headers=key_of("olga"), json={"decision": "approve"}
    )

    assert listed == {"olga": [action], "sven": [], "quirin": [action]}
    assert [answer.status_code for answer in foreign] == [404, 404, 404]
    assert (own.status_code, own.json()["status"]) == (200, "executed")


async def test_a_hand_off_is_there_for_its_tenants_operators_only(world, desk, client):
    """Ben asks for a person: only his tenant's operator is shown the thread and may give it back."""
    thread = await desk.turns.open_thread(world.customers["ben"])
    await world.say(desk, thread, "a person please", "human_request", who="ben")

    seen = {
        name: [
            row["thread"]
            for row in (await client.get("/v1/handoffs", headers=key_of(name))).json()["items"]
        ]
        for name in ("olga", "sven", "quirin")
    }
    back = {
        name: (
            await client.post(
                f"/v1/threads/{thread}/release", headers=key_of(name), json={"message": "done"}
            )
        ).status_code
        for name in ("olga", "sven")
    }

    assert seen == {"olga": [], "sven": [thread], "quirin": [thread]}
    assert back == {"olga": 404, "sven": 204}


async def test_what_was_done_is_there_for_its_tenants_operators_only(world, desk, client):
    """Ana's approved refund and Ben's ticket: with arguments, record and thread, for their own operators."""
    action = await a_refund_waits(world, desk, "ana", "SB-10482")
    approved = await client.post(
        f"/v1/approvals/{action}", headers=key_of("olga"), json={"decision": "approve"}
    )
    thread = await desk.turns.open_thread(world.customers["ben"])
    await world.say(desk, thread, "a person please", "human_request", who="ben")

    async def seen(path):
        names = ("olga", "sven", "quirin")
        return [(await client.get(path, headers=key_of(name))).json() for name in names]

    of_olga, of_sven, of_quirin = await seen("/v1/actions?customer=ana")
    others = await seen("/v1/actions?customer=ana&state=failed")
    elsewhere = await seen(f"/v1/actions?customer=ana&thread={thread}")
    tickets = await seen("/v1/tickets?customer=ben")

    [done] = of_olga["actions"]
    assert (done["id"], done["operation"], done["state"]) == (action, "request_refund", "succeeded")
    assert done["arguments"]["order_number"] == "SB-10482"
    assert "SB-10482" in done["label"]
    assert done["thread"] == approved.json()["action"]["thread"]
    assert (of_sven["actions"], of_quirin) == ([], of_olga)
    assert all(each == {"actions": []} for each in (*others, *elsewhere))
    assert tickets[0] == {"tickets": []}
    assert tickets[1]["tickets"][0]["kind"] == "hand_off"
    assert tickets[1]["tickets"][0]["number"].startswith("T-")
    assert tickets[2] == tickets[1]


async def test_decisions_and_samples_are_there_for_their_tenants_operators_only(
    world, desk, client
):
    """Each sees what their own customers' messages were taken for; whoever is bound to none sees all."""
    for who in ("ana", "ben"):
        thread = await desk.turns.open_thread(world.customers[who])
        await world.say(desk, thread, "hello", "greeting", who=who)

    tenants: dict[str, set[str]] = {}
    for name in ("olga", "sven", "quirin"):
        logged = (await client.get("/v1/decisions", headers=key_of(name))).json()["items"]
        drawn = await client.post("/v1/reviews", headers=key_of(name), json={"n": 5, "days": 1})
        assert drawn.status_code == 200
        tenants[name] = {each["tenant"] for each in [*logged, *drawn.json()["items"]]}

    assert tenants == {
        "olga": {"northfell"},
        "sven": {"southfell"},
        "quirin": {"northfell", "southfell"},
    }


async def test_a_tenants_operator_may_not_change_what_all_customers_are_told(world, desk, tmp_path):
    """Not even as an admin; the knowledge base is one for all."""
    settings = Settings(  # pyright: ignore[reportCallIssue]
        _env_file=None,
        data_dir=tmp_path / "data",
        operators={"quirin:admin": "quirin's key 3"},
        operator_tenants={"quirin": "northfell"},
    )
    app = create_app(settings, over(desk))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope, receive, send):
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.get("/v1/knowledge", headers=key_of("quirin"))

    assert answer.status_code == 403
    assert "northfell" in answer.json()["detail"]


async def test_an_operator_answers_as_often_as_it_takes_and_gives_back_once(world, desk, client):
    """Claim, two answers that keep the conversation, a note, then back; twice back, and back of what never
    waited, is a conflict; another operator sees who has it, and another tenant's nothing."""
    thread = await desk.turns.open_thread(world.customers["ben"])
    sven, quirin, olga = key_of("sven"), key_of("quirin"), key_of("olga")

    async def post(what, headers, **body):
        return (
            await client.post(f"/v1/threads/{thread}/{what}", headers=headers, json=body)
        ).status_code

    early = [await post(what, sven) for what in ("claim", "release")]
    early.append(await post("reply", sven, text="hello"))
    await world.say(desk, thread, "a person please", "human_request", who="ben")
    foreign = [await post(what, olga, text="x") for what in ("reply", "notes")]
    claimed = [await post("claim", sven), await post("claim", sven), await post("claim", quirin)]
    said = [await post("reply", sven, text=text) for text in ("One moment.", "It is on its way.")]
    noted = await post("notes", sven, text="called the carrier")
    [waiting] = (await client.get("/v1/handoffs", headers=sven)).json()["items"]
    case = (await client.get(f"/v1/threads/{thread}/case", headers=sven)).json()
    events = await world.say(desk, thread, "thank you", "thanks", who="ben")
    back = [await post("release", sven, message="Bye."), await post("release", quirin)]
    history = await desk.turns.history(world.customers["ben"], thread)

    assert early == [409, 409, 409]
    assert foreign == [404, 404]
    assert claimed == [204, 204, 409]
    assert (said, noted) == ([204, 204], 204)
    assert (waiting["claimed_by"], waiting["name"]) == ("sven", world.customers["ben"].name)
    assert [note["text"] for note in case["notes"]] == ["called the carrier"]
    assert waiting["handed_off_at"]
    assert events[-1].data.get("silent"), "the agent keeps out of it until it is given back"
    assert back == [204, 409]
    assert [m.text for m in history if m.role == "operator"] == [
        "One moment.",
        "It is on its way.",
        "Bye.",
    ]
    assert not any("carrier" in message.text for message in history)


async def test_a_cached_answer_is_there_for_its_tenants_operators_only(world, desk, client):
    """One question is answered once and given again to the next; its tenant's operator stops that, nobody else's."""
    asked = "how long does standard delivery take?"
    world.answers = ProcessAnswers(world.encoder, "exact", register=desk.stores.answers)

    async def ask() -> bool:
        thread = await desk.turns.open_thread(world.customers["ana"])
        events = await world.say(desk, thread, asked, "ask_delivery")
        return "cached" in events[-1].data

    async def seen(name):
        found = (await client.get("/v1/answers", headers=key_of(name))).json()["items"]
        return [(each["served"], each["withdrawn_by"]) for each in found]

    def withdraw(name):
        return client.delete(f"/v1/answers/{answer}", headers=key_of(name))

    assert [await ask(), await ask()] == [False, True]
    assert [await seen(name) for name in ("olga", "sven", "quirin")] == [
        [(1, None)],
        [],
        [(1, None)],
    ]
    answer = (await client.get("/v1/answers", headers=key_of("olga"))).json()["items"][0]["id"]
    assert (await withdraw("sven")).status_code == 404
    assert (await withdraw("olga")).json()["withdrawn_by"] == "olga"
    assert (await withdraw("quirin")).json()["withdrawn_by"] == "olga"
    assert [await ask(), await ask()] == [False, False]
    assert await seen("olga") == [(1, "olga")]

"""The HTTP surface over the fake desk: who may ask, what comes back, what errors look like."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI
from itsdangerous import URLSafeTimedSerializer

from app.auth import Sessions
from app.config import Keys, Settings
from app.main import create_app
from app.stores.decisions import Wanted
from tools.decisions import Aftermath

from .conftest import OPERATOR_KEY, log_in, over
from .fake_desk import FakeDesk


def is_problem(response: httpx.Response, status: int) -> bool:
    body = response.json()
    return (
        response.status_code == status
        and response.headers["content-type"] == "application/problem+json"
        and body["status"] == status
        and bool(body["title"])
        and bool(body["detail"])
    )


# --- who is asking ----------------------------------------------------------------------------


async def test_demo_login(client):
    """A demo customer gets a token and the same as a cookie no script can read."""
    listed = (await client.get("/v1/login/customers")).json()
    stranger = (await client.get("/v1/login")).json()
    response = await client.post("/v1/login", json={"customer": "ana"})

    assert stranger == {"customer": None}
    assert (await client.get("/v1/login")).json()["customer"]["id"] == "ana"
    assert [each["id"] for each in listed] == ["ana", "ben", "clara"]
    assert response.json()["customer"]["id"] == "ana"
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert (await client.get("/v1/me")).json()["id"] == "ana"  # by cookie
    await client.post("/v1/logout")
    assert is_problem(await client.get("/v1/me"), 401)


async def test_the_list_of_demo_customers_gives_no_contact_data(client):
    """Anyone may see the list, so it holds no address."""
    assert "@" not in (await client.get("/v1/login/customers")).text


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "ImFuYSI.aaaa.bbbb",
        URLSafeTimedSerializer("another secret", salt="signalbox.session").dumps("ana"),
        URLSafeTimedSerializer("a secret for the tests", salt="other").dumps("ana"),
        URLSafeTimedSerializer("a secret for the tests", salt="signalbox.session").dumps("zoe"),
        URLSafeTimedSerializer("a secret for the tests", salt="signalbox.session").dumps(["ana"]),
        OPERATOR_KEY,  # an operator is no customer
        "ä",
    ],
    # Tokens hold the time they were made at, and names of tests must not.
    ids=["none", "letter", "shape", "secret", "salt", "nobody", "list", "operator", "umlaut"],
)
async def test_a_wrong_token_is_refused(client, token):
    """Whatever is wrong with a token, the answer is 401 and says how to log in."""
    header = {"Authorization": f"Bearer {token}".encode("latin-1")}
    response = await client.post("/v1/chat", json={"text": "hi"}, headers=header)

    assert is_problem(response, 401)
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_an_expired_session_is_refused(settings, desk):
    """A session ends after the hours that were set."""
    keys = Keys(secret="a secret for the tests", operators={}, demo=False)
    token = Sessions(keys, hours=1).sign("ana")
    brief = settings.model_copy(update={"session_hours": 0.0001})
    app = create_app(brief, over(desk))
    app.state.sessions.seconds = -1  # older than that: any token
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope, receive, send):
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            response = await client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})

    assert is_problem(response, 401)
    assert "expired" in response.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/approvals",
        "/v1/decisions",
        "/v1/handoffs",
        "/v1/drift",
        "/v1/economics",
        "/v1/reviews",
        "/v1/answers",
        "/v1/actions?customer=ana",
        "/v1/tickets?customer=ana",
    ],
)
async def test_operator_pages_need_an_operators_key(client, ana, operator, path):
    """No key and a wrong key are 401, a customer's session is 403, the key is 200."""
    assert is_problem(await client.get(path), 401)
    assert is_problem(await client.get(path, headers={"X-API-Key": "guess"}), 401)
    assert is_problem(await client.get(path, headers=ana), 403)
    assert (await client.get(path, headers=operator)).status_code == 200
    bearer = {"Authorization": f"Bearer {OPERATOR_KEY}"}
    assert (await client.get(path, headers=bearer)).status_code == 200


# --- turns ------------------------------------------------------------------------------------


async def test_a_turn_as_json(client, ana):
    """One document holds the reply, where it went, and what it is based on."""
    response = await client.post("/v1/chat", json={"text": "How long?"}, headers=ana)

    body = response.json()
    assert response.status_code == 200
    assert body["reply"].startswith("You said: How long?")
    assert body["route"]["lane"] == "answer"
    assert body["citations"][0]["source"] == "delivery.md"
    assert [event["event"] for event in body["events"]] == ["route", "ack", "final"]
    history = (await client.get(f"/v1/threads/{body['thread']}", headers=ana)).json()
    assert [message["role"] for message in history["messages"]] == ["customer", "agent"]


async def test_message_is_another_name_for_text(client, ana):
    """Both names work; both at once, or none, do not."""
    assert (await client.post("/v1/chat", json={"message": "a"}, headers=ana)).status_code == 200
    both = await client.post("/v1/chat", json={"message": "a", "text": "b"}, headers=ana)
    assert is_problem(both, 422)
    assert is_problem(await client.post("/v1/chat", json={}, headers=ana), 422)


@pytest.mark.parametrize("text", ["", "   ", "🙂🙂", "a" * 20_000, "a\x00b"])
async def test_odd_texts_reach_the_agent(client, ana, text):
    """What to say to an empty or very long message is the agent's matter, not a 422."""
    response = await client.post("/v1/chat", json={"text": text}, headers=ana)

    assert response.status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"null",
        b'{"text": 5}',
        b'{"text": "a", "customer": "ben"}',  # nobody says who they are in the body
        b'{"text": "\\ud800"}',  # half a character
        b'{"text": "a", "thread": "../x"}',
        b'{"text": "a", "thread": ""}',
        b"\xff",
        b"",
    ],
)
async def test_a_body_that_is_no_message(client, ana, content):
    """Malformed bodies are a 4xx problem that names the field and repeats nothing."""
    header = {**ana, "Content-Type": "application/json"}
    response = await client.post("/v1/chat", content=content, headers=header)

    assert is_problem(response, 400) or is_problem(response, 422)
    assert "ben" not in response.text


async def test_a_body_above_the_limit_is_refused(client, ana, desk):
    """More than 64 KiB are 413, announced or streamed, and never reach the agent."""
    large = b'{"text": "' + b"a" * 65_536 + b'"}'
    header = {**ana, "Content-Type": "application/json"}

    async def chunks():
        for _ in range(80):
            yield b"a" * 1024

    announced = await client.post("/v1/chat", content=large, headers=header)
    streamed = await client.post("/v1/chat", content=chunks(), headers=header)

    assert is_problem(announced, 413)
    assert is_problem(streamed, 413)
    assert "64 KiB" in announced.json()["detail"]
    assert "64 KiB" in streamed.json()["detail"]
    assert desk.started == []


async def test_the_same_key_plays_the_turn_once(client, ana, desk):
    """A repeated request gets the first reply; the same key for another text is a conflict."""
    thread = (await client.post("/v1/threads", headers=ana)).json()["id"]
    body = {"text": "hello", "thread": thread}
    header = {**ana, "Idempotency-Key": "k-1"}

    first = await client.post("/v1/chat", json=body, headers=header)
    again = await client.post("/v1/chat", json=body, headers=header)
    other = await client.post("/v1/chat", json={**body, "text": "bye"}, headers=header)

    assert first.json() == again.json()
    assert desk.started == ["hello"]
    assert is_problem(other, 422)


async def test_a_key_finds_the_thread_its_first_request_opened(client, ana, desk):
    """A retry that names no thread gets the first reply, not a second conversation."""
    header = {**ana, "Idempotency-Key": "k-1"}

    first = await client.post("/v1/chat", json={"text": "hello"}, headers=header)
    again = await client.post("/v1/chat", json={"text": "hello"}, headers=header)

    assert first.json() == again.json()
    assert desk.started == ["hello"]


@pytest.mark.parametrize("key", ["", "a" * 201, "two words"])
async def test_a_malformed_key_is_refused(client, ana, key):
    """An Idempotency-Key is 1 to 200 visible characters."""
    header = {**ana, "Idempotency-Key": key}

    assert is_problem(await client.post("/v1/chat", json={"text": "a"}, headers=header), 422)


async def test_a_turn_that_fails_is_a_problem_without_internals(client, ana):
    """An unexpected error is 500 and says nothing of the inside; an expected one is 503."""
    broken = await client.post("/v1/chat", json={"text": "break"}, headers=ana)
    gone = await client.post("/v1/chat", json={"text": "gone"}, headers=ana)
    gave_up = await client.post("/v1/chat", json={"text": "give up"}, headers=ana)

    assert is_problem(broken, 500)
    assert "secret" not in broken.text
    assert is_problem(gone, 503)
    assert is_problem(gave_up, 503)
    assert "too long" in gave_up.json()["detail"]


# --- threads ----------------------------------------------------------------------------------


async def test_threads_belong_to_their_customer(client, ana):
    """Another customer's thread is as good as absent, for reading and for writing."""
    thread = (await client.post("/v1/threads", headers=ana)).json()["id"]
    ben = await log_in(client, "ben")

    assert is_problem(await client.get(f"/v1/threads/{thread}", headers=ben), 404)
    chat = await client.post("/v1/chat", json={"text": "hi", "thread": thread}, headers=ben)
    assert is_problem(chat, 404)
    assert (await client.get("/v1/threads", headers=ben)).json()["threads"] == []
    assert [thread] == [
        each["id"] for each in (await client.get("/v1/threads", headers=ana)).json()["threads"]
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/threads/none", 404),
        ("GET", "/v1/threads/..%2f..", 404),
        ("GET", "/v1/threads/%00", 422),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/chat", 405),
        ("GET", "/static/../config.py", 404),
        ("GET", "/static/%2e%2e/config.py", 404),
    ],
)
async def test_addresses_that_lead_nowhere(client, ana, method, path, status):
    """Every dead end is a problem document."""
    assert is_problem(await client.request(method, path, headers=ana), status)


# --- approvals --------------------------------------------------------------------------------


async def test_an_approval_is_decided_once(client, ana, operator):
    """The first answer counts and names its reviewer; the second is 409 and changes nothing."""
    chat = (await client.post("/v1/chat", json={"text": "refund it"}, headers=ana)).json()
    listed = (await client.get("/v1/approvals", headers=operator)).json()["approvals"]
    pending = (await client.get(f"/v1/threads/{chat['thread']}", headers=ana)).json()["pending"]

    path = f"/v1/approvals/{listed[0]['id']}"
    first = await client.post(path, json={"decision": "approve", "note": "ok"}, headers=operator)
    second = await client.post(path, json={"decision": "reject"}, headers=operator)

    assert [listed[0]["id"]] == [each["id"] for each in chat["approvals"]]
    assert [listed[0]["id"]] == [each["id"] for each in pending]
    assert "arguments" not in pending[0]
    assert {"order_number", "amount", "reason"} == set(listed[0]["action"]["arguments"])
    assert first.json()["status"] == "executed"
    assert first.json()["reviewer"] == "olga"
    assert is_problem(second, 409)
    assert second.json()["state"] == "executed"
    assert (await client.get("/v1/approvals", headers=operator)).json()["approvals"] == []
    everything = await client.get("/v1/approvals?status=all", headers=operator)
    assert len(everything.json()["approvals"]) == 1


async def test_two_persons_have_to_agree(client, ana, operator, admin):
    """The first yes is kept, the same person's second is a conflict, another person's decides."""
    await client.post("/v1/chat", json={"text": "big refund"}, headers=ana)
    asked = (await client.get("/v1/approvals", headers=operator)).json()["approvals"][0]
    path = f"/v1/approvals/{asked['id']}"

    first = await client.post(path, json={"decision": "approve", "note": "ok"}, headers=operator)
    again = await client.post(path, json={"type": "accept", "args": None}, headers=operator)
    listed = (await client.get("/v1/approvals", headers=admin)).json()["approvals"][0]
    second = await client.post(path, json=[{"type": "accept", "args": None}], headers=admin)

    assert asked["action_request"]["action"] == "request_refund"
    assert asked["action_request"]["args"] == asked["action"]["arguments"]
    assert asked["config"]["allow_respond"] is False
    assert (asked["votes_needed"], asked["verdict"]["rules"]) == (2, ["refund_above_500"])
    assert (first.status_code, first.json()["status"]) == (200, "pending")
    assert is_problem(again, 409)
    assert (again.json()["votes"], again.json()["votes_needed"]) == (1, 2)
    assert [(v["reviewer"], v["role"], v["note"]) for v in listed["votes"]] == [
        ("olga", "agent", "ok")
    ]
    assert second.json()["status"] == "executed"
    assert [v["role"] for v in second.json()["votes"]] == ["agent", "admin"]


async def test_the_role_comes_with_the_key(client, ana, operator, admin):
    """Where an admin is asked for, an agent's yes is refused and an agent's no counts."""
    for _ in range(2):
        await client.post("/v1/chat", json={"text": "odd refund"}, headers=ana)
    one, two = (await client.get("/v1/approvals", headers=operator)).json()["approvals"]

    refused = await client.post(
        f"/v1/approvals/{one['id']}", json={"decision": "approve"}, headers=operator
    )
    approved = await client.post(
        f"/v1/approvals/{one['id']}", json={"decision": "approve"}, headers=admin
    )
    rejected = await client.post(
        f"/v1/approvals/{two['id']}", json={"type": "ignore", "args": None}, headers=operator
    )

    assert is_problem(refused, 403)
    assert approved.json()["status"] == "executed"
    assert rejected.json()["status"] == "rejected"


async def test_an_edit_of_something_else_is_refused(client, ana, operator):
    """The inbox names the action it edits; another one's arguments are not taken."""
    await client.post("/v1/chat", json={"text": "refund"}, headers=ana)
    asked = (await client.get("/v1/approvals", headers=operator)).json()["approvals"][0]
    edit = {"type": "edit", "args": {"action": "cancel_order", "args": {"amount": "1"}}}

    response = await client.post(f"/v1/approvals/{asked['id']}", json=edit, headers=operator)

    assert is_problem(response, 422)


async def test_a_customer_cannot_decide(client, ana, desk):
    """The customer's own session approves nothing."""
    await client.post("/v1/chat", json={"text": "refund it"}, headers=ana)

    response = await client.post("/v1/approvals/a-1", json={"decision": "approve"}, headers=ana)

    assert is_problem(response, 403)
    assert len(await desk.approvals.listed()) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"decision": "yes"}, 400),
        ({"decision": "edit"}, 400),  # without the new arguments
        ({"decision": "approve", "arguments": {"amount": "9999"}}, 400),
        ({"decision": "approve", "reviewer": "someone else"}, 400),
        ({"decision": "approve", "role": "admin"}, 400),
        ({"decision": "approve", "note": "a" * 2001}, 400),
        # As LangChain's agent inbox and HITL middleware answer.
        ({"type": "response", "args": "yes, approve it"}, 400),
        ({"type": "edit", "args": "amount 5"}, 400),
        ([{"type": "accept", "args": None}, {"type": "accept", "args": None}], 400),
        ({"decisions": []}, 400),
        ("approve", 400),
        ([], 400),
        ({"type": "accept", "args": None}, 404),
        ([{"type": "ignore", "args": None}], 404),
        ({"decisions": [{"type": "approve"}]}, 404),
        ({"decision": "approve"}, 404),
    ],
)
async def test_answers_that_do_not_count(client, operator, body, status):
    """An answer is complete, and about an approval that exists."""
    response = await client.post("/v1/approvals/none", json=body, headers=operator)

    assert is_problem(response, status)


async def test_hand_off_and_release(client, ana, operator, desk):
    """A person answers a handed-off thread and gives it back."""
    chat = (await client.post("/v1/chat", json={"text": "a person please"}, headers=ana)).json()
    listed = (await client.get("/v1/handoffs", headers=operator)).json()["items"]
    path = f"/v1/threads/{chat['thread']}/release"
    released = await client.post(path, json={"message": "All settled."}, headers=operator)

    assert chat["handed_off"]
    assert [chat["thread"]] == [each["thread"] for each in listed]
    assert released.status_code == 204
    assert [(chat["thread"], "olga", "All settled.")] == desk.released
    assert is_problem(await client.post("/v1/threads/none/release", headers=operator), 404)
    assert is_problem(await client.post(path, headers=ana), 403)


async def test_one_colleague_at_a_time_answers(client, ana, operator, admin, desk):
    """Who answers has taken the conversation; another one is told whose it is, and may take it over on purpose."""
    chat = (await client.post("/v1/chat", json={"text": "a person please"}, headers=ana)).json()
    at = f"/v1/threads/{chat['thread']}"
    me = (await client.get("/v1/operator", headers=operator)).json()
    assert (me["name"], me["role"]) == ("olga", "agent")

    assert (
        await client.post(f"{at}/reply", json={"text": "One moment."}, headers=operator)
    ).status_code == 204
    refused = await client.post(f"{at}/reply", json={"text": "Hello?"}, headers=admin)
    assert is_problem(refused, 409)
    assert refused.json()["operator"] == "olga"
    assert is_problem(await client.post(f"{at}/release", headers=admin), 409)
    assert is_problem(await client.delete(f"{at}/claim", headers=admin), 409)
    over = await client.post(f"{at}/claim", json={"over": True}, headers=admin)
    assert over.status_code == 204
    assert is_problem(await client.post(f"{at}/reply", json={"text": "x"}, headers=operator), 409)
    assert (await client.delete(f"{at}/claim", headers=admin)).status_code == 204

    case = (await client.get(f"{at}/case", headers=operator)).json()
    assert [m["text"] for m in case["messages"] if m["role"] == "operator"] == ["One moment."]
    assert case["customer"]["email"] == "ana@mail.example"
    assert is_problem(await client.get(f"{at}/case", headers=ana), 403)
    assert is_problem(await client.get("/v1/threads/none/case", headers=operator), 404)


async def test_the_customer_is_told_who_has_the_conversation(client, ana, operator, desk):
    """Not that a colleague has taken over while none has; out of hours, when somebody is there again."""
    chat = (await client.post("/v1/chat", json={"text": "a person please"}, headers=ana)).json()
    at = f"/v1/threads/{chat['thread']}"
    desk.opens_at = datetime(2026, 11, 30, 8, tzinfo=UTC)
    thread = (await client.get(at, headers=ana)).json()
    assert (thread["handed_off"], thread["claimed"]) == (True, False)
    assert thread["opens_at"] == "2026-11-30T08:00:00Z"
    await client.post(f"{at}/claim", headers=operator)
    assert (await client.get(at, headers=ana)).json()["claimed"]


async def test_decisions_are_filtered(client, operator):
    """The decision log is read by role, thread or turn."""
    routers = (await client.get("/v1/decisions?role=router", headers=operator)).json()["items"]

    assert [row["role"] for row in routers] == ["router", "router"]
    assert is_problem(await client.get("/v1/decisions?limit=0", headers=operator), 422)


async def test_decisions_are_paged(client, operator):
    """`next` of one page is `before` of the following one, and null on the last."""
    first = (await client.get("/v1/decisions?limit=2", headers=operator)).json()
    rest = (
        await client.get(f"/v1/decisions?limit=2&before={first['next']}", headers=operator)
    ).json()

    assert [row["id"] for row in first["items"] + rest["items"]] == [3, 2, 1]
    assert rest["next"] is None


async def test_every_filter_reaches_the_log_and_only_the_operators_tenant(
    app, client, desk, operator
):
    """Who may see one tenant asks for no other, whatever the address says."""
    app.state.keys.tenants["olga"] = "northfell"
    asked = (
        "thread=t-1&turn=x&chosen=order_status&lane=operation&tier=small&abstained=true"
        "&outcome=corrected&below=0.5&since=2026-11-20&until=2026-11-21T12:00:00%2B02:00&tenant=other"
    )

    answer = await client.get(f"/v1/decisions?{asked}", headers=operator)

    assert answer.status_code == 200
    assert desk.asked[-1] == Wanted(
        tenant="northfell",
        thread="t-1",
        turn="x",
        chosen="order_status",
        lane="operation",
        tier="small",
        abstained=True,
        outcome=Aftermath.CORRECTED,
        probability_below=0.5,
        since=datetime(2026, 11, 20, tzinfo=UTC),
        until=datetime(2026, 11, 21, 10, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "asked",
    ["outcome=lovely", "tier=huge", "below=2", "since=tomorrow", f"before={2**63}", "lane=x"],
)
async def test_a_filter_that_cannot_be_is_said(client, operator, asked):
    """422 with the field, not an empty list and not a 500."""
    assert is_problem(await client.get(f"/v1/decisions?{asked}", headers=operator), 422)


async def test_a_sample_is_drawn_and_labelled(client, desk, operator):
    """Each label is the operator's; an unknown intent or message is refused."""
    drawn = (await client.post("/v1/reviews", json={"n": 2, "days": 7}, headers=operator)).json()
    first, second = (f"/v1/reviews/{i['sample']}/{i['decision']}" for i in drawn["items"])
    right = await client.post(first, json={"label": "track_parcel"}, headers=operator)
    await client.post(second, json={"label": None}, headers=operator)

    assert (right.json()["label"], right.json()["reviewer"]) == ("track_parcel", "olga")
    assert desk.sampled[2].skipped
    assert (await client.get("/v1/reviews", headers=operator)).json()["items"] == []
    assert is_problem(await client.post(first, json={"label": "nope"}, headers=operator), 422)
    assert is_problem(
        await client.post("/v1/reviews/none/1", json={"label": None}, headers=operator), 404
    )


# --- health -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checks", "status", "word"),
    [
        ({"database": {"status": "ok"}}, 200, "ok"),
        ({"database": "ok", "large_model": "down"}, 200, "degraded"),
        ({"database": {"status": "ok"}, "small_models": {"status": "down"}}, 200, "degraded"),
        ({"database": {"status": "down", "reason": "refused"}}, 503, "down"),
    ],
)
async def test_readiness(client, desk, checks, status, word):
    """Only the database makes it unready; a dead model makes it degraded."""
    desk.checks = checks

    response = await client.get("/ready")

    assert status == response.status_code
    assert word == response.json()["status"]
    assert checks == response.json()["checks"]
    assert (await client.get("/health")).status_code == 200


async def test_metrics_count_turns_by_lane(client, ana):
    """Prometheus sees each turn once, under its lane."""
    await client.post("/v1/chat", json={"text": "How long?"}, headers=ana)
    await client.post("/v1/chat", json={"text": "refund"}, headers=ana)

    text = (await client.get("/metrics")).text

    assert 'signalbox_turns_total{ending="final",lane="answer",tier="encoder"} 1.0' in text
    assert 'signalbox_turns_total{ending="final",lane="operation",tier="encoder"} 1.0' in text
    assert "signalbox_approvals_requested_total 1.0" in text
    # Another release was promoted, and could not be taken up.
    assert "signalbox_release_refused 1.0" in text


async def test_pages_load_nothing_foreign(client):
    """The pages carry a policy that allows only this server, and name no other."""
    for path in ("/", "/desk"):
        response = await client.get(path)

        assert response.status_code == 200
        assert response.headers["content-security-policy"].startswith("default-src 'self'")
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "http://" not in response.text
        assert "https://" not in response.text


async def test_replies_are_not_cached(client, ana):
    """A customer's data stays out of caches."""
    assert (await client.get("/v1/threads", headers=ana)).headers["cache-control"] == "no-store"


def test_building_the_app_starts_nothing(settings: Settings):
    """create_app opens no desk: that is the lifespan's work."""
    opened: list[float] = []

    def factory(_: Settings):
        opened.append(time.monotonic())
        return over(FakeDesk())(settings)

    assert isinstance(create_app(settings, factory), FastAPI)
    assert opened == []


async def test_an_effect_in_doubt_is_settled_by_one_persons_word(client, desk, ana, operator):
    """Listed with what was ordered; the first word counts, a second is 409, an unknown one 404."""
    await client.post("/v1/chat", json={"text": "refund it"}, headers=ana)
    [approval] = await desk.approvals.listed()
    desk.doubt(approval.action)
    listed = (await client.get("/v1/unsettled", headers=operator)).json()["unsettled"]
    path = f"/v1/unsettled/{listed[0]['action']['id']}"
    stranger = await client.post(path, json={"happened": True}, headers=ana)
    said = {"happened": False, "note": "not on the statement"}
    first = await client.post(path, json=said, headers=operator)
    second = await client.post(path, json={"happened": True}, headers=operator)
    missing = await client.post("/v1/unsettled/act_x", json=said, headers=operator)

    assert (listed[0]["order"]["amount"], listed[0]["found"]) == ("89.50", "It is not listed.")
    assert stranger.status_code in {401, 403}
    assert (first.json()["status"], first.json()["reason"]) == (
        "failed",
        "olga: not on the statement",
    )
    assert (second.status_code, second.json()["outcome"]) == (409, "failed")
    assert missing.status_code == 404


async def test_a_customer_says_whether_an_answer_helped(client, desk, ana):
    """The rating is of the customer's own thread and of an answer in it."""
    thread = (await client.post("/v1/threads", headers=ana)).json()["id"]
    at = f"/v1/threads/{thread}/ratings"

    good = await client.post(at, json={"turn": "t_1", "good": True}, headers=ana)
    unknown = await client.post(at, json={"turn": "unknown", "good": True}, headers=ana)
    foreign = await client.post(
        "/v1/threads/other/ratings", json={"turn": "t_1", "good": True}, headers=ana
    )
    nobody = await client.post(at, json={"turn": "t_1", "good": True})

    statuses = [each.status_code for each in (good, unknown, foreign, nobody)]
    assert statuses == [204, 404, 404, 401]
    assert desk.rated == {"t_1": (True, "")}
    long = await client.post(
        at, json={"turn": "t_1", "good": False, "comment": "x" * 2001}, headers=ana
    )
    assert long.status_code == 422
    assert 'signalbox_ratings_total{good="true"} 1.0' in (await client.get("/metrics")).text

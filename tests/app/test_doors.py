"""The doors, tried from outside: how often one may ask, whose key it is, which host is meant, who hangs on."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from app.auth import COOKIE, KNOWN_SECONDS
from app.cli import app as cli
from app.config import Settings
from app.main import create_app
from app.rates import Rates, address_of
from app.stores.access import MemoryAccess, OperatorTaken, OperatorUnknown, SqlAccess, digest_of
from app.stores.database import create_engine, migrate

from .conftest import ADMIN_KEY, OPERATOR_KEY, log_in, over, served
from .fake_desk import FakeDesk

UNLIMITED = {"ip": "off", "customer": "off", "operator": "off"}


@asynccontextmanager
async def opened(
    settings: Settings, desk: FakeDesk | None = None, **changes: object
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the app with these settings changed, running in this process."""
    changed = Settings(_env_file=None, **(settings.model_dump() | changes))  # pyright: ignore[reportCallIssue]
    app = create_app(changed, over(desk or FakeDesk()))
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope, receive, send):
            await app({**scope, "state": dict(state)}, receive, send)

        transport = httpx.ASGITransport(with_state, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


# --- how often --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "path"),
    [("ip", "/v1/login/customers"), ("customer", "/v1/threads"), ("operator", "/v1/approvals")],
)
async def test_who_asks_too_often_is_told_when_to_come_back(settings, kind, path):
    """429 with Retry-After and a problem document; before that, every answer says how much is left."""
    async with opened(settings, rates=UNLIMITED | {kind: "3/minute"}) as client:
        headers = {"X-API-Key": OPERATOR_KEY} if kind == "operator" else await log_in(client, "ana")
        if kind == "ip":
            headers = {}
        answers = [await client.get(path, headers=headers) for _ in range(4)]

    codes = [each.status_code for each in answers]
    assert codes[-1] == 429
    assert codes.count(200) >= 2
    left = [int(each.headers["ratelimit-remaining"]) for each in answers]
    assert left == sorted(left, reverse=True)
    assert answers[0].headers["ratelimit-limit"] == "3"
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "ratelimit-reset" in refused.headers


async def test_a_load_balancer_is_never_refused(settings):
    async with opened(settings, rates={"ip": "1/minute"}) as client:
        answers = [(await client.get("/health")).status_code for _ in range(5)]

    assert answers == [200] * 5


async def test_a_customer_and_a_thread_have_so_many_turns(settings):
    """Another customer is not made to wait by them."""
    desk = FakeDesk()
    async with opened(settings, desk, rates={"turns": "4/minute", "thread": "2/minute"}) as client:
        ana, ben = await log_in(client, "ana"), await log_in(client, "ben")
        threads = [(await client.post("/v1/threads", headers=ana)).json()["id"] for _ in range(2)]

        async def say(thread: str | None, who: dict[str, str]) -> int:
            body = {"text": "hello"} | ({"thread": thread} if thread else {})
            return (await client.post("/v1/chat", json=body, headers=who)).status_code

        one = [await say(threads[0], ana) for _ in range(3)]
        two = [await say(threads[1], ana) for _ in range(2)]
        other = await say(None, ben)

    assert one == [200, 200, 429]
    assert two == [200, 429]  # The refused one counted as well: four turns are all there are.
    assert other == 200
    assert len(desk.started) == 4


async def test_calls_of_the_large_model_are_a_customers_budget(settings):
    """Counted by what a turn says it asked; used up, the next turn is refused before it costs anything."""

    class Costly(FakeDesk):
        async def play(self, customer, thread, text, *, key=None):
            async for event in super().play(customer, thread, text, key=key):
                if event.event == "final":
                    event = event.model_copy(update={"data": event.data | {"llm_calls": 2}})
                yield event

    desk = Costly()
    async with opened(settings, desk, rates={"cost": "4/hour"}) as client:
        ana = await log_in(client, "ana")
        codes = [
            (await client.post("/v1/chat", json={"text": "hello"}, headers=ana)).status_code
            for _ in range(3)
        ]

    assert codes == [200, 200, 429]
    assert len(desk.started) == 2


async def test_clients_of_openai_read_a_refusal_in_their_own_form(settings):
    async with opened(settings, rates={"turns": "1/minute"}) as client:
        ana = await log_in(client, "ana")
        body = {"messages": [{"role": "user", "content": "hello"}]}
        answers = [
            await client.post("/v1/chat/completions", json=body, headers=ana) for _ in range(2)
        ]

    assert answers[1].status_code == 429
    assert answers[1].json()["error"]["type"] == "rate_limit_error"
    assert "retry-after" in answers[1].headers


async def test_log_ins_of_one_address_are_counted(settings):
    async with opened(settings, rates={"login": "2/minute"}) as client:
        codes = [
            (await client.post("/v1/login", json={"customer": "ana"})).status_code for _ in range(3)
        ]

    assert codes == [200, 200, 429]


async def test_who_guesses_keys_waits_and_is_in_the_log(settings, caplog):
    """600 guesses once took 1.4 s and left no line. While an address waits, the right key tells it nothing."""
    async with opened(settings) as client:
        with caplog.at_level(logging.WARNING, logger="app.auth"):
            codes = [
                (await client.get("/v1/approvals", headers={"X-API-Key": f"guess-{n}"})).status_code
                for n in range(30)
            ]
        locked = await client.get("/v1/approvals", headers={"X-API-Key": OPERATOR_KEY})

    assert codes[:5] == [401] * 5
    assert set(codes[5:]) == {429}
    assert locked.status_code == 429
    assert int(locked.headers["retry-after"]) >= 1
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 5
    assert "has to wait" in lines[-1]
    assert "guess-" not in "".join(lines)


async def test_each_wait_for_wrong_keys_is_longer_than_the_one_before():
    rates = Rates({"keys": "1/second; 2/minute; 3/hour"})
    waits: list[int] = []
    for _ in range(3):
        standing = await rates.spend("keys", "192.0.2.7")
        assert standing is not None
        refused = await rates.standing("keys", "192.0.2.7")
        assert refused is not None
        waits.append(refused.reset)
        await asyncio.sleep(1.05)

    assert waits[0] < waits[1] < waits[2]


@pytest.fixture
def redis_port(tmp_path: Path, require: Callable[[str], None]) -> Iterator[int]:
    """A real Redis on a free port."""
    require("redis")
    server = shutil.which("redis-server")
    assert server is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [server, "--port", str(port), "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def test_two_replicas_count_together_in_redis(redis_port: int):
    url = f"redis://127.0.0.1:{redis_port}/0"
    one, two = Rates({"turns": "3/minute"}, url), Rates({"turns": "3/minute"}, url)
    try:
        found = [await rates.spend("turns", "ana") for rates in (one, two, one, two)]
    finally:
        await one.close()
        await two.close()

    assert [each is not None and each.allowed for each in found] == [True, True, True, False]


async def test_without_redis_each_replica_counts_for_itself():
    """A limit that cannot be shared is still a limit, and nobody waits for it."""
    rates = Rates({"turns": "1/minute"}, "redis://127.0.0.1:1/0")
    started = time.monotonic()
    first, second = await rates.spend("turns", "ana"), await rates.spend("turns", "ana")
    await rates.close()

    assert first is not None
    assert first.allowed
    assert second is not None
    assert not second.allowed
    assert time.monotonic() - started < 3


def test_addresses_are_counted_by_household():
    assert address_of("192.0.2.9") == "192.0.2.9"
    assert address_of("2001:db8:1:2:3::9") == address_of("2001:db8:1:2:ffff::1")
    assert address_of(None) == "unknown"


@pytest.mark.parametrize("rates", ["tums=3/minute", "turns=three a minute"])
def test_a_limit_nobody_can_count_stops_the_start(tmp_path: Path, rates: str):
    with pytest.raises(ValueError, match="rates"):
        Settings(_env_file=None, data_dir=tmp_path, rates=rates)  # pyright: ignore[reportCallIssue, reportArgumentType]


# --- whose key --------------------------------------------------------------------------------------


def _sql(tmp_path: Path) -> SqlAccess:
    url = f"sqlite:///{tmp_path / 'signalbox.db'}"
    migrate(url)
    return SqlAccess(create_engine(url))


@pytest.mark.parametrize("kind", ["memory", "sql"])
def test_of_a_key_there_is_a_digest(tmp_path: Path, kind: str):
    """One operator a name, however it is spelt; another key in place of the old one; and away with it."""
    access = MemoryAccess() if kind == "memory" else _sql(tmp_path)
    key = access.add("Nora Berg", "admin", "northfell")
    with pytest.raises(OperatorTaken):
        access.add("nora  berg", "agent", None)
    made = access.operators()
    other = access.rotate("Nora Berg")
    turned = access.operators()
    access.used("Nora Berg")
    access.revoke("Nora Berg")
    [row] = access.operators()

    assert len(key) > 30
    assert [each.digest for each in made] == [digest_of(key)]
    assert [each.digest for each in turned] == [digest_of(other)] != [digest_of(key)]
    assert (row.role, row.tenant) == ("admin", "northfell")
    assert row.last_used_at is not None
    assert row.revoked_at is not None
    for change in (access.rotate, access.revoke):
        with pytest.raises(OperatorUnknown):
            change("Nobody")


@pytest.mark.slow
async def test_a_key_works_until_it_is_changed_or_taken_away(settings):
    desk = FakeDesk()
    async with opened(settings, desk) as client:
        key = desk.access.add("nora", "agent", None)

        async def code(key: str) -> int:
            await asyncio.sleep(KNOWN_SECONDS + 0.05)
            return (await client.get("/v1/approvals", headers={"X-API-Key": key})).status_code

        added = await code(key)
        other = desk.access.rotate("nora")
        turned = (await code(key), await code(other))
        desk.access.revoke("nora")
        gone = await code(other)
        still = await code(ADMIN_KEY)

    assert (added, turned, gone, still) == (200, (401, 200), 401, 200)
    assert desk.access.operators()[0].last_used_at is not None


async def test_the_demo_key_ends_with_the_first_real_operator(settings):
    desk = FakeDesk()
    async with opened(settings, desk, operators={}) as client:
        demo = {"X-API-Key": (settings.data_dir / "operator-key").read_text().strip()}
        before = (await client.get("/v1/approvals", headers=demo)).status_code
        desk.access.add("nora", "admin", None)
        await asyncio.sleep(KNOWN_SECONDS + 0.05)
        after = (await client.get("/v1/approvals", headers=demo)).status_code

    assert (before, after) == (200, 401)


def test_operators_are_kept_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Added, listed, rotated and revoked; a name of SIGNALBOX_OPERATORS is taken, and no key is shown twice."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGNALBOX_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SIGNALBOX_OPERATORS", "olga:admin=the-operators-key")
    run = CliRunner().invoke

    added = run(cli, ["operators", "add", "nora", "--role", "admin"])
    taken = run(cli, ["operators", "add", "OLGA"])
    turned = run(cli, ["operators", "rotate", "nora"])
    gone = run(cli, ["operators", "revoke", "nora"])
    listed = run(cli, ["operators", "list", "--json"])
    unknown = run(cli, ["operators", "revoke", "olga"])
    ended = run(cli, ["sessions", "end", "ana"])

    keys = [each.stdout.strip().splitlines()[-1] for each in (added, turned)]
    assert all(key.startswith("sbk_") for key in keys)
    assert len(set(keys)) == 2
    assert (taken.exit_code, gone.exit_code, unknown.exit_code, ended.exit_code) == (1, 0, 1, 0)
    assert '"nora"' in listed.stdout
    assert '"olga"' in listed.stdout
    assert not any(key in listed.stdout for key in keys)
    database = (tmp_path / "data" / "signalbox.db").read_bytes()
    assert not any(key.encode() in database for key in keys)


# --- sessions ---------------------------------------------------------------------------------------


async def test_a_session_that_was_ended_counts_no_more(settings):
    """Its token was good for twelve hours after the log-out. Another session of the customer's goes on."""
    async with opened(settings) as client:
        one, two = await log_in(client, "ana"), await log_in(client, "ana")
        left = await client.post("/v1/logout", headers=one)
        codes = [(await client.get("/v1/me", headers=who)).status_code for who in (one, two)]
        await client.post("/v1/login", json={"customer": "ana"})
        token = client.cookies[COOKIE]
        await client.post("/v1/logout")
        copied = await client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})

    assert left.status_code == 204
    assert codes == [401, 200]
    assert copied.status_code == 401


async def test_an_operator_ends_all_sessions_of_a_customer(settings, operator):
    async with opened(settings) as client:
        ana, ben = await log_in(client, "ana"), await log_in(client, "ben")
        refused = await client.delete("/v1/customers/ana/sessions", headers=ben)
        await asyncio.sleep(1.1)  # Sessions are dated by the second.
        ended = await client.delete("/v1/customers/ana/sessions", headers=operator)
        codes = [(await client.get("/v1/me", headers=who)).status_code for who in (ana, ben)]
        await asyncio.sleep(1.1)
        again = await client.get("/v1/me", headers=await log_in(client, "ana"))

    assert (refused.status_code, ended.status_code) == (403, 204)
    assert codes == [401, 200]
    assert again.status_code == 200


@pytest.mark.parametrize("public", ["https://help.example", ""])
async def test_behind_tls_the_cookie_is_secure_and_the_browser_stays_there(settings, public):
    async with opened(settings, public_url=public) as client:
        answer = await client.post("/v1/login", json={"customer": "ana"})

    assert ("secure" in answer.headers["set-cookie"].lower()) == bool(public)
    assert ("strict-transport-security" in answer.headers) == bool(public)


# --- which host, and what it tells ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("help.example", 200),
        ("rebind.evil.example", 421),
        ("localhost.evil.example", 421),
        ("[", 421),
    ],
)
async def test_it_answers_for_its_own_hosts_only(settings, host, code):
    """A stranger's name that is made to point here reads nothing and logs nobody in."""
    async with opened(settings, hosts=("help.example",)) as client:
        answer = await client.post("/v1/login", json={"customer": "ana"}, headers={"Host": host})

    assert answer.status_code == code
    if code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "set-cookie" not in answer.headers


async def test_others_are_not_told_what_it_is_made_of(settings, operator):
    """Where it can be reached by others, metrics, digests and reasons need an operator's key."""
    desk = FakeDesk()
    desk.checks["large_model"] = {"status": "down", "reason": "no route to llm.internal:9000"}
    reached = {"host": "0.0.0.0", "demo_login": "open", "demo_login_really": "yes"}
    async with opened(settings, desk, **reached) as client:
        strange = [await client.get(path) for path in ("/metrics", "/info", "/ready")]
        known = [
            await client.get(path, headers=operator) for path in ("/metrics", "/info", "/ready")
        ]
        wrong = await client.get("/metrics", headers={"X-API-Key": "not-the-key-at-all"})
    async with opened(settings, desk) as client:
        alone = [(await client.get(path)).status_code for path in ("/metrics", "/info", "/ready")]

    assert [each.status_code for each in strange] == [401, 200, 200]
    assert list(strange[1].json()) == ["signalbox"]
    assert "llm.internal" not in strange[2].text
    assert strange[2].json()["checks"]["large_model"] == {"status": "down"}
    assert [each.status_code for each in known] == [200, 200, 200]
    assert "llm.internal" in known[2].text
    assert wrong.status_code == 401
    assert alone == [200, 200, 200]


def test_the_data_folder_is_nobody_elses(settings):
    settings.data_dir.mkdir(mode=0o755)
    create_app(settings.model_copy(update={"operators": {}}), over(FakeDesk()))

    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE((settings.data_dir / "operator-key").stat().st_mode) == 0o600


# --- who hangs on -----------------------------------------------------------------------------------


async def _half(url: str, said: bytes) -> tuple[float, bytes]:
    """Send this and no more; how long it was waited for, and what was answered."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    started = time.monotonic()
    try:
        writer.write(said)
        await writer.drain()
        answered = await asyncio.wait_for(reader.read(4096), 5)
    finally:
        writer.close()
    return time.monotonic() - started, answered


@pytest.fixture
def hurried(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"header_seconds": 0.4, "body_seconds": 0.4, "connections": 4, "log_level": "error"}
    )


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHost: loc",
    ],
)
async def test_who_does_not_finish_a_head_is_hung_up_on(hurried, said):
    """300 of them were all open after 40 s. A second, half-sent request on a connection is one as well."""
    async with served(create_app(hurried, over(FakeDesk())), hurried) as live:
        seconds, answered = await _half(live.url, said)
        alive = await _get(live.url)

    assert seconds < 3
    assert not answered or answered.startswith(b"HTTP/1.1 200")
    assert alive == 200


async def _get(url: str) -> int:
    async with httpx.AsyncClient(base_url=url) as client:
        return (await client.get("/health")).status_code


async def test_a_body_that_does_not_come_is_given_up(hurried):
    said = (
        b"POST /v1/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )
    async with served(create_app(hurried, over(FakeDesk())), hurried) as live:
        seconds, answered = await _half(live.url, said)

    assert seconds < 3
    assert answered.startswith(b"HTTP/1.1 408")
    assert b"application/problem+json" in answered


async def test_a_long_stream_is_not_hung_up_on(hurried):
    """The bounds are on what a caller sends, not on how long an answer takes."""
    desk = FakeDesk(pace=0.1)
    async with (
        served(create_app(hurried, over(desk)), hurried) as live,
        httpx.AsyncClient(base_url=live.url) as client,
    ):
        ana = await log_in(client, "ana")
        started = time.monotonic()
        answer = await client.post(
            "/v1/chat",
            json={"text": "hello"},
            headers=ana | {"Accept": "text/event-stream"},
        )

    assert time.monotonic() - started > 0.8
    assert "event: final" in answer.text


async def test_there_are_only_so_many_connections(hurried):
    hurried = hurried.model_copy(update={"header_seconds": 5})
    async with served(create_app(hurried, over(FakeDesk())), hurried) as live:
        host, port = live.url.removeprefix("http://").split(":")
        open_ones = [await asyncio.open_connection(host, int(port)) for _ in range(4)]
        _, refused = await _half(live.url, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _, writer in open_ones:
            writer.close()
        await asyncio.sleep(0.1)
        served_again = await _get(live.url)

    assert refused.startswith(b"HTTP/1.1 503")
    assert served_again == 200


@pytest.mark.parametrize(("trusted", "seen"), [((), 1), (("127.0.0.1",), 3)])
async def test_a_forwarded_address_counts_only_from_a_proxy_that_is_trusted(
    settings, trusted, seen
):
    """Who writes X-Forwarded-For without being one is still one address."""
    limited = settings.model_copy(
        update={"rates": {"login": "1/minute"}, "trusted_proxies": trusted}
    )
    async with (
        served(create_app(limited, over(FakeDesk())), limited) as live,
        httpx.AsyncClient(base_url=live.url) as client,
    ):
        codes = [
            (
                await client.post(
                    "/v1/login",
                    json={"customer": "ana"},
                    headers={"X-Forwarded-For": f"203.0.113.{n}"},
                )
            ).status_code
            for n in range(3)
        ]

    assert codes.count(200) == seen

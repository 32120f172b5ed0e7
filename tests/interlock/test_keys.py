"""One ``Idempotency-Key`` is one turn, whoever sends it how often and to which process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections import Counter
from contextlib import contextmanager

import httpx
import pytest
import sqlalchemy as sa

from app.stores.database import create_engine, migrate, reading
from app.stores.tables import ledger
from domains.northfell import store as shop
from domains.northfell.seed import seed
from evals.crash_process import Site, prepare
from tests.interlock.world import ROOT
from tests.stores.world import NOON

pytestmark = pytest.mark.process


@contextmanager
def app_process(*arguments: str):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.interlock.app_child", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


class Shop:
    """Two app processes on one database."""

    def __init__(self, url: str, addresses: list[str]) -> None:
        self.engine = create_engine(url)
        self.addresses = addresses
        self.client = httpx.AsyncClient(timeout=60)
        self.headers: dict[str, str] = {}

    async def log_in(self) -> None:
        for _ in range(100):  # The socket is open before the app is.
            answer = await self.client.post(
                f"{self.addresses[0]}/v1/login", json={"customer": "ana"}
            )
            if answer.status_code == 200:
                break
        self.client.cookies.clear()
        self.headers = {"Authorization": f"Bearer {answer.json()['token']}"}

    async def say(self, at: int, text: str, key: str, thread: str | None = None) -> httpx.Response:
        body = {"text": text} | ({"thread": thread} if thread else {})
        return await self.client.post(
            f"{self.addresses[at % 2]}/v1/chat",
            json=body,
            headers=self.headers | ({"Idempotency-Key": key} if key else {}),
        )

    def count(self, table: sa.Table) -> int:
        with reading(self.engine) as conn:
            return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def seeded(url: str) -> None:
    """Fill a database with the demo shop as it was at noon."""
    migrate(url)
    engine = create_engine(url)
    seed(engine, NOON.date())
    engine.dispose()


@pytest.fixture(
    scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
)
def site(request, templates, tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    with templates.copy(request.param, seeded, folder) as url:
        on_postgres = request.param == "postgres"
        site = Site(url, url if on_postgres else str(folder / "checkpoints.db"))
        prepare(site)
        yield site


@pytest.fixture(scope="module")
async def replicas(site, tmp_path_factory):
    """Two processes for all tests of a database; a test has keys of its own."""
    arguments = (site.database, site.checkpoints, str(tmp_path_factory.mktemp("apps")))
    with app_process(*arguments) as one, app_process(*arguments) as two:
        shop_ = Shop(site.database, [one, two])
        await shop_.log_in()
        yield shop_
        await shop_.client.aclose()
        shop_.engine.dispose()


@pytest.fixture
def own() -> str:
    """What the keys of a test begin with."""
    return uuid.uuid4().hex[:8]


async def test_two_processes_play_a_key_once(replicas, own):
    """Double clicks, client and proxy retries at two app processes: one turn, one thread, one effect."""
    tickets, effects = replicas.count(shop.tickets), replicas.count(ledger)

    async def sixty_four_times(text: str, key: str, thread: str | None = None) -> httpx.Response:
        first = await asyncio.gather(*(replicas.say(each, text, key, thread) for each in range(64)))
        codes = Counter(each.status_code for each in first)
        assert set(codes) <= {200, 409}
        assert codes[200] >= 1
        later = [await replicas.say(each, text, key, thread) for each in range(2)]
        replies = [each for each in [*first, *later] if each.status_code == 200]
        assert len(replies) >= 3
        assert len({(each.json()["turn"], each.json()["reply"]) for each in replies}) == 1
        return replies[0]

    asked = (await sixty_four_times("please open a ticket: broken buckle", f"{own}-1")).json()
    if replicas.count(shop.tickets) == tickets:
        await sixty_four_times("yes", f"{own}-2", asked["thread"])
    assert replicas.count(shop.tickets) == tickets + 1
    assert replicas.count(ledger) == effects + 1
    thread = await replicas.client.get(
        f"{replicas.addresses[1]}/v1/threads/{asked['thread']}", headers=replicas.headers
    )
    said = [each["text"] for each in thread.json()["messages"] if each["role"] == "customer"]
    assert len(said) == len(set(said))


async def test_sixty_four_yeses_under_different_keys_are_one_effect(replicas, own):
    """Whoever sends a confirmation anew, under 16 keys four times each, finds it confirmed or nothing to confirm."""
    effects = replicas.count(ledger)
    with reading(replicas.engine) as conn:
        sent = shop.invoices.c.times_sent
        mine = sa.select(shop.invoices.c.number, sent).where(shop.invoices.c.customer_id == "ana")
        number, before = conn.execute(mine.limit(1)).one()
    asked = (await replicas.say(0, f"please send invoice {number} again", f"{own}-ask")).json()
    assert "Shall I" in asked["reply"]

    answers = await asyncio.gather(
        *(replicas.say(each, "yes", f"{own}-{each // 4}", asked["thread"]) for each in range(64))
    )

    assert {each.status_code for each in answers} <= {200, 409}
    done = {each.json()["turn"] for each in answers if "on its way" in each.text}
    assert len(done) == 1
    with reading(replicas.engine) as conn:
        assert conn.execute(mine.where(shop.invoices.c.number == number)).one()[1] == before + 1
    assert replicas.count(ledger) == effects + 1


async def test_a_key_with_another_message_is_refused_by_either_process(replicas, own):
    """422 for another payload, whichever process had the first one."""
    first = await replicas.say(0, "thank you", f"{own}-1")
    assert first.status_code == 200
    other = await replicas.say(1, "please open a ticket: x", f"{own}-1", first.json()["thread"])
    assert (other.status_code, other.headers["content-type"]) == (422, "application/problem+json")


async def test_where_keys_are_required_a_message_without_one_is_refused(site, tmp_path, own):
    """400, before anything is played."""
    with app_process(site.database, site.checkpoints, str(tmp_path), "require") as address:
        strict = Shop(site.database, [address, address])
        await strict.log_in()
        without = await strict.say(0, "hello", "")
        assert (without.status_code, "Idempotency-Key" in without.text) == (400, True)
        assert (await strict.say(0, "thank you", f"{own}-1")).status_code == 200
        await strict.client.aclose()
        strict.engine.dispose()

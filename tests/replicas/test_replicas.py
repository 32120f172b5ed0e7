"""Several processes behind a proxy that sends each request to the next one: nobody has to come back to the same."""

from __future__ import annotations

import itertools
import json
import shutil
import threading
import uuid
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from app.stores.database import head
from tests.replicas.cluster import Cluster, Replica, eventually

pytestmark = [
    pytest.mark.process,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(400),
]

#: What is changed at one replica is seen by the others within so many seconds.
SEEN_WITHIN = 15.0


def say(
    client: httpx.Client, text: str, thread: str | None = None, *, key: str = ""
) -> httpx.Response:
    """One message of a customer's, under a key of its own unless one is given."""
    body = {"text": text} | ({"thread": thread} if thread else {})
    return client.post("/v1/chat", json=body, headers={"Idempotency-Key": key or uuid.uuid4().hex})


def said_in(client: httpx.Client, thread: str) -> list[tuple[str, str]]:
    told = client.get(f"/v1/threads/{thread}").raise_for_status().json()
    return [(each["role"], each["text"]) for each in told["messages"]]


def asked(cluster: Cluster, query: str, *given: object) -> list[Any]:
    with psycopg.connect(cluster.database, autocommit=True) as conn:
        return conn.execute(query, given).fetchall()


def state_of(replica: Replica, check: str) -> dict[str, Any]:
    ready = replica.ready()
    assert ready is not None, replica.log[-2000:]
    return ready["checks"][check]


# --- conversations ----------------------------------------------------------------------------------


def test_a_conversation_goes_on_at_whichever_replica_is_next(replicas: Cluster):
    """Question, request and yes are answered by different processes; the order is cancelled once."""
    with replicas.client("ana") as ana:
        answers = [say(ana, "What's my order status?")]
        thread = answers[0].json()["thread"]
        answers += [say(ana, text, thread) for text in ("please cancel SB-10482", "yes")]
        everywhere = []
        for each in replicas.running:
            with replicas.client("ana", at=each) as there:
                everywhere.append(said_in(there, thread))

    assert [each.status_code for each in answers] == [200] * 3
    served = [each.headers["X-Replica"] for each in answers]
    assert all(one != other for one, other in itertools.pairwise(served))
    assert "cancelled" in answers[2].json()["reply"]
    assert everywhere[0] == everywhere[1]
    assert [role for role, _ in everywhere[0]] == ["customer", "agent"] * 3
    assert asked(replicas, "SELECT status FROM orders WHERE number = 'SB-10482'") == [
        ("cancelled",)
    ]


def test_one_message_sent_to_two_replicas_at_once_is_one_turn(replicas: Cluster):
    """A retry that meets another replica waits there for the answer of the first."""
    one, two = replicas.running[:2]
    with replicas.client("ben", at=one) as here, replicas.client("ben", at=two) as there:
        thread = here.post("/v1/threads").json()["id"]
        with ThreadPoolExecutor(2) as at_once:
            both = list(
                at_once.map(
                    lambda client: say(client, "What's my order status?", thread, key="once"),
                    (here, there),
                )
            )
        said = said_in(there, thread)

    assert [each.status_code for each in both] == [200, 200]
    assert both[0].json()["reply"] == both[1].json()["reply"]
    assert [role for role, _ in said] == ["customer", "agent"]


def test_an_approval_is_given_at_another_replica_than_it_was_asked_at(replicas: Cluster):
    """Asked at the first, listed and approved at the second, told at the first, within seconds."""
    one, two = replicas.running[:2]
    with (
        replicas.client("dev", at=one) as dev,
        replicas.operator(at=two) as olga,
    ):
        thread = say(dev, "Please cancel SB-10488").json()["thread"]
        say(dev, "yes", thread)
        [waiting] = olga.get("/v1/approvals").json()["approvals"]
        pending = dev.get(f"/v1/threads/{thread}").json()["pending"]
        decided = olga.post(f"/v1/approvals/{waiting['id']}", json={"decision": "approve"})

        def told() -> str | None:
            return next((t for _, t in said_in(dev, thread)[4:]), None)

        outcome = eventually(told, SEEN_WITHIN, "the customer is told")
        after = dev.get(f"/v1/threads/{thread}").json()["pending"]

    assert [each["id"] for each in pending] == [waiting["id"]]
    assert decided.json()["status"] == "executed"
    assert "SB-10488" in outcome
    assert after == []


def test_people_and_customer_meet_across_replicas(replicas: Cluster):
    """Handed over at the first; the desk of the second has it, and what is written there is read at the first."""
    one, two = replicas.running[:2]
    with (
        replicas.client("finn", at=one) as finn,
        replicas.operator(at=two) as olga,
    ):
        thread = say(finn, "I want to talk to a human being").json()["thread"]
        waiting = [each["thread"] for each in olga.get("/v1/handoffs").json()["items"]]
        olga.post(f"/v1/threads/{thread}/claim").raise_for_status()
        olga.post(f"/v1/threads/{thread}/reply", json={"text": "This is Olga."}).raise_for_status()
        claimed = finn.get(f"/v1/threads/{thread}").json()["claimed"]
        said = said_in(finn, thread)
        say(finn, "Hello Olga, my tent is torn", thread)
        case = olga.get(f"/v1/threads/{thread}/case").json()
        olga.post(f"/v1/threads/{thread}/release").raise_for_status()

    assert thread in waiting
    assert claimed
    assert said[-1] == ("operator", "This is Olga.")
    assert "my tent is torn" in json.dumps(case)


# --- what is changed at one and seen at all -------------------------------------------------------------


def test_a_promotion_and_its_rollback_reach_every_replica(replicas: Cluster, tmp_path: Path):
    """Promoted with the settings of one, rolled back with those of another, whose folder never had the files."""
    one, two = replicas.running[:2]
    candidate = tmp_path / "candidate"
    candidate.mkdir()
    shipped = Path(__file__).parents[2] / "models"
    entry = next(
        each
        for each in json.loads((shipped / "manifest.json").read_text())["artefacts"]
        if each["role"] == "frustration"
    )
    shutil.copyfile(shipped / entry["file"], candidate / "frustration.safetensors")
    entry |= {"file": "frustration.safetensors", "threshold": 0.8}
    (candidate / "manifest.json").write_text(json.dumps({"version": 1, "artefacts": [entry]}))

    promoted = replicas.command(one, "promote", str(candidate))
    assert promoted.returncode == 0, promoted.stderr

    def live(replica: Replica) -> str | None:
        state = state_of(replica, "release")
        assert state["status"] == "ok", state
        return state["digest"]

    digests = [
        eventually(lambda at=at: live(at), SEEN_WITHIN, f"{at.name} takes it up")
        for at in (one, two)
    ]
    assert digests[0] == digests[1]
    assert digests[0][:12] in promoted.stdout

    assert replicas.command(two, "rollback").returncode == 0
    for at in (one, two):
        eventually(lambda at=at: live(at) is None or None, SEEN_WITHIN, f"{at.name} goes back")
    assert asked(replicas, "SELECT action FROM release_changes ORDER BY number") == [
        ("promote",),
        ("rollback",),
    ]


def test_changed_rules_are_in_force_everywhere(replicas: Cluster):
    """Saved once, in the file that all replicas have mounted: the next action at each is judged by it."""
    before = replicas.rules.read_text()
    versions = {state_of(each, "rules")["version"] for each in replicas.running}
    replicas.rules.write_text(
        before
        + "  - {name: nothing_today, operations: [cancel_order], then: refuse, say: Nothing is cancelled today.}\n"
    )
    try:
        refused = []
        for each, customer, number in zip(
            replicas.running, ("c0007", "c0013"), ("SB-10423", "SB-10393"), strict=True
        ):
            with replicas.client(customer, at=each) as client:
                refused.append(say(client, f"please cancel {number}").json()["reply"])
        changed = {state_of(each, "rules")["version"] for each in replicas.running}
    finally:
        replicas.rules.write_text(before)

    assert len(versions) == len(changed) == 1
    assert versions != changed
    assert all("Nothing is cancelled today." in each for each in refused)


def test_a_document_that_one_takes_in_is_found_by_the_others(replicas: Cluster):
    """The list is in the database and the vectors in Qdrant; all answer from the same version of both."""
    one, two = replicas.running[:2]
    before = state_of(two, "knowledge")["version"]
    with replicas.operator(at=one) as olga:
        text = "# Bicycle bags\n\nOur bicycle bags hold 20 litres each and are waterproof.\n"
        olga.put("/v1/knowledge/files/bicycle-bags.md", content=text).raise_for_status()
        here = state_of(one, "knowledge")["version"]

        def follows() -> bool | None:
            return state_of(two, "knowledge")["version"] == here or None

        eventually(follows, SEEN_WITHIN, "the second replica follows")
        with replicas.operator(at=two) as there:
            listed = there.get("/v1/knowledge/files").json()["files"]

    assert here != before
    assert "bicycle-bags.md" in [each["name"] for each in listed]


def test_a_key_given_or_withdrawn_counts_everywhere(replicas: Cluster):
    """Within the two seconds after which each replica reads the keys again."""
    one, two = replicas.running[:2]
    added = replicas.command(one, "operators", "add", "vera", "--role", "agent")
    assert added.returncode == 0, added.stderr
    key = max(added.stdout.split(), key=len)

    def answered(status: int, at: Replica) -> bool | None:
        # From an address of its own, which wrong keys may make wait.
        headers = {"X-API-Key": key, "X-Forwarded-For": "203.0.113.9"}
        with replicas.client(at=at, **headers) as vera:
            return vera.get("/v1/approvals").status_code == status or None

    for at in (one, two):
        eventually(lambda at=at: answered(200, at), SEEN_WITHIN, f"{at.name} knows the key")
    assert replicas.command(two, "operators", "revoke", "vera").returncode == 0
    for at in (one, two):
        eventually(lambda at=at: answered(401, at), SEEN_WITHIN, f"{at.name} refuses the key")


def test_replicas_count_together(replicas: Cluster):
    """Five wrong keys in ten seconds are too many, whichever replica they are shown to."""
    statuses = []
    for number in range(6):
        at = replicas.running[number % 2]
        headers = {"X-API-Key": f"a wrong key {number}", "X-Forwarded-For": "203.0.113.8"}
        with replicas.client(at=at, **headers) as stranger:
            statuses.append(stranger.get("/v1/approvals").status_code)

    assert statuses == [401] * 5 + [429]


# --- restarts under load ----------------------------------------------------------------------------


@dataclass
class Load:
    """Customers who ask for one thing after the other, each in a conversation of their own."""

    cluster: Cluster
    done: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    turns: int = 0
    faults: list[str] = field(default_factory=list[str])
    served: set[str] = field(default_factory=set[str])
    ends: threading.Event = field(default_factory=threading.Event)

    def customer(self, mine: list[tuple[str, str]]) -> None:
        """Cancel orders while there are any; ask for them again afterwards."""
        rounds = iter(mine)
        while not self.ends.is_set():
            who, number = next(rounds, ("", ""))
            if who:
                thread = self.converse(
                    who, (f"where is {number}?", f"please cancel {number}", "yes")
                )
                if thread:
                    self.done.append((who, number, thread))
            else:
                self.converse(mine[0][0], (f"where is {mine[0][1]}?",))

    def converse(self, who: str, texts: tuple[str, ...]) -> str | None:
        thread = None
        with self.cluster.client(who) as client:
            for text in texts:
                try:
                    answer = say(client, text, thread)
                except httpx.HTTPError as error:
                    self.faults.append(f"{who}: {text}: {error!r}")
                    return None
                if answer.status_code != 200:
                    self.faults.append(f"{who}: {text}: {answer.status_code} {answer.text[:300]}")
                    return None
                self.turns += 1
                self.served.add(answer.headers["X-Replica"])
                thread = answer.json()["thread"]
        return thread


@contextmanager
def load_on(cluster: Cluster, customers: list[tuple[str, str]], hands: int) -> Generator[Load]:
    load = Load(cluster)
    with ThreadPoolExecutor(hands) as pool:
        for hand in range(hands):
            pool.submit(load.customer, customers[hand::hands]).add_done_callback(
                lambda future: load.faults.append(repr(e)) if (e := future.exception()) else None
            )
        try:
            yield load
        finally:
            load.ends.set()


def test_a_rolling_restart_under_load_loses_nothing(replicas: Cluster):
    """Each replica is replaced while customers go on asking: no error, no lost message, each thing done once.

    Meanwhile the schema is one version ahead, as while the next version is rolled out: those that run go on, and the
    version before it, if it is started again, works beside it."""
    paid = asked(
        replicas,
        "SELECT customer_id, number FROM orders WHERE status = 'paid' AND customer_id LIKE 'c0%%' ORDER BY number",
    )
    first, second, third = replicas.replicas
    with load_on(replicas, paid, hands=2) as load:
        third.start()
        replicas.await_served(third)
        bring_ahead(replicas)
        for each in (first, second):
            each.stop()
            before = len(each.log)
            each.start()
            replicas.await_served(each)
            assert f"one ahead of this version's {head()}" in each.log[before:]
        third.stop()
        turns = load.turns
        eventually(lambda: load.turns > turns + 2 or None, 60, "customers are answered afterwards")

    assert load.faults == []
    assert load.served == {"replica-1", "replica-2", "replica-3"}
    assert load.done
    for who, number, thread in load.done:
        with replicas.client(who) as client:
            said = said_in(client, thread)
        assert [role for role, _ in said] == ["customer", "agent"] * 3, (number, said)
        assert asked(replicas, "SELECT status FROM orders WHERE number = %s", number) == [
            ("cancelled",)
        ]
    done = Counter(who for who, _, _ in load.done)
    effects = asked(
        replicas,
        "SELECT customer_id, state, count(*) FROM ledger WHERE operation = 'cancel_order' "
        "AND customer_id = ANY(%s) GROUP BY customer_id, state",
        list(done),
    )
    assert sorted(effects) == sorted((who, "succeeded", times) for who, times in done.items())


def bring_ahead(cluster: Cluster) -> None:
    """The next version's migration has run: it added a column, which whoever does not know it leaves empty."""
    following = f"{int(head()) + 1:04}"
    # A table a transaction: two in one would wait for each other with a turn that reads both.
    with psycopg.connect(cluster.database, autocommit=True) as conn:
        for table in ("ledger", "turns", "threads", "approvals", "decisions", "audit", "holds"):
            conn.execute(f"ALTER TABLE {table} ADD COLUMN of_the_next_version text")
        conn.execute("UPDATE alembic_version SET version_num = %s", (following,))

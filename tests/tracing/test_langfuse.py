"""What Langfuse is told beside spans: prompts, scores, and labelled turns as a dataset, there and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

import prompts
from app.cli import app
from app.stores.database import create_engine, migrate, writing
from app.stores.decisions import SqlDecisionLog
from app.stores.reviews import SqlReviews
from app.stores.tables import approvals, threads
from app.stores.traces import SqlRatings, SqlTraces
from app.tracing import Place, Targets
from app.tracing.ports import TracedLargeModel
from app.tracing.relay import TraceRelay
from app.tracing.spans import Traces
from tests.tracing.receiver import Receiver, receiving, sending
from tests.tracing.test_tracing import Talker, langfuse
from tools.decisions import Aftermath, Decision
from tools.privacy import mask_pii

ROUTED = Decision(
    role="router",
    chosen="track_parcel",
    probability=0.4,
    tier="encoder",
    model="m",
    lane="operation",
    ms=1,
)


class FakeLangfuse:
    """Prompts, scores and datasets as Langfuse keeps them."""

    def __init__(self, receiver: Receiver) -> None:
        self.prompts: dict[str, list[dict[str, Any]]] = {}
        self.scores: dict[str, dict[str, Any]] = {}
        self.items: dict[str, dict[str, Any]] = {}
        self.down = False
        receiver.answers = {
            "/api/public/v2/prompts": self.prompt,
            "/api/public/scores": self.scored,
            "/api/public/v2/datasets": self.dataset,
            "/api/public/dataset-items": self.item,
        }

    def prompt(self, path: str, sent: Any) -> tuple[int, Any]:
        if sent is not None:
            versions = self.prompts.setdefault(sent["name"], [])
            made = {"tags": [], "config": {}, **sent, "version": len(versions) + 1}
            versions.append(made)
            return 201, made
        name, _, label = path.removeprefix("/api/public/v2/prompts/").partition("?label=")
        found = [each for each in self.prompts.get(name, ()) if label in each["labels"]]
        return (200, found[0]) if found else (404, {"error": "LangfuseNotFoundError"})

    def scored(self, path: str, sent: Any) -> tuple[int, Any]:
        if self.down:
            return 503, {}
        self.scores |= {each["id"]: each for each in sent}
        return 202, {"results": [{"id": each["id"]} for each in sent]}

    def dataset(self, path: str, sent: Any) -> tuple[int, Any]:
        now = datetime.now(UTC).isoformat()
        return 200, {
            "id": "d",
            "projectId": "p",
            "metadata": {},
            "createdAt": now,
            "updatedAt": now,
            **sent,
        }

    def item(self, path: str, sent: Any) -> tuple[int, Any]:
        if sent is not None:
            now = datetime.now(UTC).isoformat()
            self.items[sent["id"]] = {
                "status": "ACTIVE",
                "datasetId": "d",
                "createdAt": now,
                "updatedAt": now,
                "mediaReferences": [],
                **sent,
            }
            return 200, self.items[sent["id"]]
        page = int(path.partition("page=")[2].split("&")[0])
        found = [*self.items.values()]
        meta = {"page": page, "limit": 50, "totalItems": len(found), "totalPages": len(found)}
        # A page holds one, so that more than one is asked for.
        return 200, {"data": found[page - 1 : page], "meta": meta}


@pytest.fixture
def receiver() -> Generator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def fake(receiver: Receiver) -> FakeLangfuse:
    return FakeLangfuse(receiver)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with three settled turns, of which two were traced."""
    engine = opened(tmp_path)
    migrate(str(engine.url))

    async def fill() -> None:
        log = SqlDecisionLog(engine, mask_pii)
        for n in range(3):
            where = {"tenant": "t", "thread": f"th-{n}", "turn": f"t-{n}"}
            await log.record(**where, input=f"Where is parcel {n}?", decisions=[ROUTED])

    asyncio.run(fill())
    places = [
        Place("t-0", "a" * 32, "1" * 16, {"groundedness": 0.93}),
        Place("t-1", "b" * 32, "2" * 16),
    ]
    SqlTraces(engine, mask_pii).put(places)
    engine.dispose()
    return tmp_path


def opened(folder: Path) -> sa.Engine:
    return create_engine(f"sqlite:///{folder / 'signalbox.db'}")


def label(engine: sa.Engine, meant: str) -> None:
    async def labelling() -> None:
        reviews = SqlReviews(engine)
        drawn = await reviews.draw(3, since=reviews.now() - timedelta(days=1))
        for item in drawn:
            await reviews.label(item.sample, item.decision, label=meant, reviewer="olga")

    asyncio.run(labelling())


# --- scores ---------------------------------------------------------------------------------------


async def test_what_became_known_of_a_turn_is_its_score(
    receiver: Receiver, fake: FakeLangfuse, data: Path
) -> None:
    """Outcome, approval, label, rating and groundedness, of traced turns only; comments are masked, and saying
    it twice makes no second score."""
    engine = opened(data)
    store = SqlTraces(engine, mask_pii)
    log, reviews = SqlDecisionLog(engine, mask_pii), SqlReviews(engine)
    for n, came in enumerate((Aftermath.RESOLVED, Aftermath.CORRECTED, Aftermath.FAILED)):
        await log.outcome(f"t-{n}", came, "write to ana@customer.example")
    for item in await reviews.draw(3, since=store.now() - timedelta(days=1)):
        await reviews.label(item.sample, item.decision, label="cancel_order", reviewer="olga")
    # A rating is kept as long as the conversation is.
    conversation = {
        "id": "th-0",
        "tenant": "t",
        "customer_id": "ana",
        "title": "",
        "handed_off": False,
    }
    with writing(engine) as conn:
        conn.execute(sa.insert(threads).values(created_at=store.now(), **conversation))
    await SqlRatings(engine).rate("t", "ana", "th-0", "t-0", good=False, comment="too slow")
    with writing(engine) as conn:
        conn.execute(sa.insert(approvals), approval("t-1", "executed", store.now()))
    async with sending(langfuse(receiver.url, environment="test")) as traces:
        assert isinstance(traces, Traces)
        relay = TraceRelay(traces, store)
        await asyncio.to_thread(relay.once)
        asked = len(receiver.asked)
        await asyncio.to_thread(relay.once)
        assert len(receiver.asked) == asked
        await asyncio.to_thread(TraceRelay(traces, store).once)

    said = {(each["traceId"][0], each["name"]): each for each in fake.scores.values()}
    assert {key: (each["value"], each["dataType"]) for key, each in said.items()} == {
        ("a", "outcome"): ("resolved", "CATEGORICAL"),
        ("a", "router_right"): (0.0, "BOOLEAN"),
        ("a", "intent"): ("cancel_order", "CATEGORICAL"),
        ("a", "rating"): (0.0, "BOOLEAN"),
        ("a", "groundedness"): (0.93, "NUMERIC"),
        ("b", "outcome"): ("corrected", "CATEGORICAL"),
        ("b", "approval"): ("approved", "CATEGORICAL"),
        ("b", "router_right"): (0.0, "BOOLEAN"),
        ("b", "intent"): ("cancel_order", "CATEGORICAL"),
    }
    assert said["a", "outcome"]["comment"] == "write to [email]"
    assert said["a", "rating"]["comment"] == "too slow"
    assert {each["environment"] for each in said.values()} == {"test"}
    engine.dispose()


def approval(turn: str, status: str, at: datetime) -> dict[str, Any]:
    return {
        "action_id": "act_1",
        "tenant": "t",
        "customer_id": "ana",
        "operation": "request_refund",
        "key": "k",
        "fingerprint": "f",
        "arguments": "{}",
        "action": {"turn": turn},
        "verdict": {},
        "status": status,
        "requested_at": at,
        "expires_at": at,
        "decided_at": at,
    }


async def test_scores_wait_for_a_langfuse_that_is_down(
    receiver: Receiver, fake: FakeLangfuse, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, raises nothing, and what could not be told is told later."""
    engine = opened(data)
    await SqlDecisionLog(engine, mask_pii).outcome("t-0", Aftermath.RESOLVED)
    fake.down = True
    async with sending(langfuse(receiver.url)) as traces:
        assert isinstance(traces, Traces)
        relay = TraceRelay(traces, SqlTraces(engine, mask_pii))
        for _ in range(2):
            await asyncio.to_thread(relay.once)
        fake.down = False
        assert not fake.scores
        await asyncio.to_thread(relay.once)

    assert {each["name"] for each in fake.scores.values()} == {"outcome", "groundedness"}
    assert len([r for r in caplog.records if "scores and prompts wait" in r.message]) == 1
    engine.dispose()


async def test_where_a_turn_is_outlives_the_process(receiver: Receiver, data: Path) -> None:
    """The relay writes it down, with what was measured; a turn that is played again is where it was last."""
    engine = opened(data)
    store = SqlTraces(engine, mask_pii)
    async with sending(Targets(otlp=receiver.url)) as traces:
        assert isinstance(traces, Traces)
        relay = TraceRelay(traces, store)
        for _ in range(2):
            async with traces.turn("t-9", "th", "ana", "hi") as turn:
                turn.score(groundedness=0.5)
            relay.write_down()

    place = store.find("t-9")
    assert place is not None
    assert place.trace == turn.trace_id
    assert place.scores == {"groundedness": 0.5}
    assert store.find("never") is None
    engine.dispose()


# --- prompts --------------------------------------------------------------------------------------


async def test_a_generation_links_the_prompt_by_name_and_version(
    receiver: Receiver, fake: FakeLangfuse, data: Path
) -> None:
    """Each prompt stands in Langfuse once a version; a changed one would be another version of the same name."""
    engine = opened(data)
    name = "signalbox-synthesizer"
    fake.prompts[name] = [{"version": 1, "labels": ["v-older"]}]
    version = prompts.load("synthesizer").version
    for _ in range(2):
        async with sending(langfuse(receiver.url)) as traces:
            assert isinstance(traces, Traces)
            await asyncio.to_thread(TraceRelay(traces, SqlTraces(engine, mask_pii)).once)
            async with traces.turn("t-1", "th", "ana", "hi"):
                large = TracedLargeModel(Talker(), traces)
                assert [piece async for piece in large.write("synthesizer", "s", "hi")]

    assert set(fake.prompts) == {f"signalbox-{each}" for each in prompts.names()}
    assert len(fake.prompts[name]) == 2
    made = fake.prompts[name][1]
    assert made["labels"] == [f"v-{version}"]
    assert "{{question}}" in made["prompt"]
    assert "$" not in made["prompt"]
    said = next(span.attributes for span in receiver.spans if span.name == "synthesizer")
    assert said["langfuse.observation.prompt.name"] == name
    assert said["langfuse.observation.prompt.version"] == 2
    assert said["langfuse.observation.metadata.prompt_version"] == version
    engine.dispose()


# --- the dataset ----------------------------------------------------------------------------------


def run(data: Path, url: str | None, *words: str) -> Result:
    keys = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_BASE_URL": url}
    env = {"SIGNALBOX_DATA_DIR": str(data)} | (keys if url else {})
    return CliRunner().invoke(app, ["traces", "dataset", *words], env=env)


def test_labelled_turns_go_to_a_dataset_and_come_back(
    receiver: Receiver, fake: FakeLangfuse, data: Path, tmp_path: Path
) -> None:
    """With their traces; what is changed there comes back as training lines, and as labels if asked."""
    engine = opened(data)
    label(engine, "track_parcel")
    pushed = run(data, receiver.url, "push", "--json")
    again = run(data, receiver.url, "push")

    assert pushed.exit_code == again.exit_code == 0
    assert json.loads(pushed.stdout) == {
        "dataset": "signalbox-reviewed",
        "items": 3,
        "with a trace": 2,
    }
    assert len(fake.items) == 3
    first = next(each for each in fake.items.values() if each["metadata"]["turn"] == "t-0")
    assert first["input"] == {"text": "Where is parcel 0?"}
    assert first["expectedOutput"] == {"intent": "track_parcel"}
    assert first["sourceTraceId"] == "a" * 32
    assert first["metadata"]["probability"] == 0.4

    first["expectedOutput"] = {"intent": "cancel_order"}
    archived = next(each for each in fake.items.values() if each["metadata"]["turn"] == "t-1")
    archived["status"] = "ARCHIVED"
    file = tmp_path / "lines.jsonl"
    pulled = run(data, receiver.url, "pull", str(file), "--labels")

    assert pulled.exit_code == 0, pulled.output
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {line["text"]: line["intent"] for line in lines} == {
        "Where is parcel 0?": "cancel_order",
        "Where is parcel 2?": "track_parcel",
    }
    kept = asyncio.run(SqlReviews(engine).list(waiting=False))
    assert {item.turn: item.label for item in kept}["t-0"] == "cancel_order"
    engine.dispose()


def test_a_dataset_without_labels_keys_or_server(
    receiver: Receiver, data: Path, free_port: int, tmp_path: Path
) -> None:
    """Nothing labelled is 3; no keys and no server are refusals, in words."""
    nothing = run(data, receiver.url, "push")
    unset = run(data, None, "push")
    dead = run(data, f"http://127.0.0.1:{free_port}", "pull", str(tmp_path / "x"))

    assert (nothing.exit_code, unset.exit_code, dead.exit_code) == (3, 1, 1)
    assert "Nothing is labelled yet" in nothing.stderr
    assert "LANGFUSE_PUBLIC_KEY" in unset.stderr
    assert "Error: Langfuse cannot be reached" in dead.stderr

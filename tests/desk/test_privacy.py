"""A customer's words: handed out whole, erased without a trace, and nobody else's touched."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.desk import ThreadNotFound
from app.privacy import NothingKept
from app.stores import tables
from app.stores.audit import SqlAudit
from app.stores.database import create_engine, reading, writing
from app.stores.privacy import RESUME, StillOpen
from graphs.state import Answer
from tests.desk.world import TENANT, Killed

#: What only Ana writes, and only Ben.
ANA, BEN = "quillfeather", "brambleknot"
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def desk(world):
    async with world.process() as desk:
        yield desk


async def converse(world, desk, who, mark):
    """A customer leaves words wherever there is room for them: two conversations, with people in both."""
    customer = world.customers[who]
    thread = await desk.turns.open_thread(customer)
    said = await world.say(desk, thread, f"hello {mark}", "greeting", who=who, key=f"k-{thread}")
    await desk.turns.rate(customer, thread, said[-1].data["turn"], good=False, comment=f"no {mark}")
    await world.say(desk, thread, f"a human please {mark}", "human_request", who=who)
    await desk.inbox.reply(thread, "olga", f"I am here, {mark}")
    await desk.inbox.note(thread, "olga", f"says {mark}")
    [item, *_] = await desk.views.draw_reviews(50, days=30, tenant=None)
    await desk.views.label(item.sample, item.decision, None, operator="olga", tenant=None)
    return thread


async def with_refund(world, desk, mark):
    """Ana asks for a refund, which a person refuses with her words; and asks to cancel, and says no more."""
    thread = await desk.turns.open_thread(world.customers["ana"])
    await world.say(desk, thread, f"refund SB-10482 {mark}", "request_refund")
    events = await world.say(desk, thread, "yes", "affirm")
    action = next(e.data["id"] for e in events if e.event == "approval_required")
    return thread, action


def kept_of(world, mark):
    """Where a word stands: in which tables, and in which files of SQLite, deleted pages and logs included."""
    found = set()
    for url in {world.url, world.checkpoints}:
        where = url if "://" in url else f"sqlite:///{url}"
        engine = create_engine(where)
        with reading(engine) as connection:
            for table in sa.inspect(connection).get_table_names():
                rows = connection.execute(sa.text(f'SELECT * FROM "{table}"')).all()
                if any(mark in text(value) for row in rows for value in row):
                    found.add(table)
        engine.dispose()
        if where.startswith("sqlite"):
            path = Path(where.removeprefix("sqlite:///"))
            files = [path, *path.parent.glob(f"{path.name}-*")]
            found |= {file.suffix for file in files if mark.encode() in file.read_bytes()}
    return found


def text(value):
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", "replace")
    return value if isinstance(value, str) else json.dumps(value, default=str)


async def refuse(desk, action, mark):
    answer = Answer(decision="reject", reviewer="olga", note=f"no, {mark}")
    await desk.approvals.decide(action, answer)


def test_every_table_is_in_the_list_of_what_is_kept():
    """A new one has to say what it holds of a customer, and what erasing does."""
    said = (ROOT / "docs" / "security.md").read_text("utf-8")
    named = [name for name in tables.metadata.tables if f"`{name}" in said]
    engines = {table.name for table in tables.ALL if not table.name.startswith("knowledge_")}
    assert engines - set(named) == set()


async def test_everything_is_handed_out_as_one_document(world, desk):
    """By kind, readable, and nothing of another customer's."""
    await converse(world, desk, "ben", BEN)
    thread = await converse(world, desk, "ana", ANA)
    other, action = await with_refund(world, desk, ANA)
    found = await desk.privacy.export(TENANT, "ana")

    assert {each["id"] for each in found["conversations"]} == {thread, other}
    assert [f"hello {ANA}", f"I am here, {ANA}"] == [
        each["text"] for each in found["messages"][thread] if each["text"].endswith(ANA)
    ][::2]
    assert [each["action_id"] for each in found["approvals"]] == [action]
    for kind in (
        "notes",
        "decisions",
        "reviews",
        "ratings",
        "actions",
        "replies",
        "tickets",
        "audit",
    ):
        assert found[kind], kind
    assert found["profile"]["email"] == world.customers["ana"].email
    json.dumps(found)
    assert BEN not in json.dumps(found)
    with pytest.raises(NothingKept):
        await desk.privacy.export(TENANT, "nobody")
    with pytest.raises(NothingKept):
        await desk.privacy.erase(TENANT, "nobody", "quirin")


async def test_erased_words_are_nowhere(world, desk):
    """Not in a table, a checkpoint, a deleted page or a log; another customer's are as they were."""
    await converse(world, desk, "ben", BEN)
    thread = await converse(world, desk, "ana", ANA)
    other, action = await with_refund(world, desk, ANA)
    await refuse(desk, action, ANA)
    await world.say(desk, other, f"cancel order SB-10482 {ANA}", "cancel_order")
    bens, before = await desk.privacy.export(TENANT, "ben"), kept_of(world, ANA)
    assert {"decisions", "audit", "ratings", "reviews", "threads", "tickets"} <= before

    done = await desk.privacy.erase(TENANT, "ana", "quirin")
    assert kept_of(world, ANA) == set()
    assert (done.gone["conversations"], done.gone["tickets"]) == (2, 1)
    assert await desk.turns.threads(world.customers["ana"]) == []
    with pytest.raises(ThreadNotFound):
        await world.say(desk, thread, "hello again", "greeting")

    again = await desk.privacy.export(TENANT, "ben")
    assert {**again, "exported_at": ""} == {**bens, "exported_at": ""}
    assert kept_of(world, BEN)
    assert (await desk.privacy.erase(TENANT, "ana", "quirin")).gone == {}


async def test_the_audit_keeps_digests_and_stays_whole(world, desk):
    """What happened is still told, without words; words that go otherwise are found."""
    _, action = await with_refund(world, desk, ANA)
    await refuse(desk, action, ANA)
    engine = create_engine(world.url)
    audit = SqlAudit(engine, world.hands.clock)
    heads = audit.verify().heads
    await desk.privacy.erase(TENANT, "ana", "quirin")

    assert audit.verify(heads).faults == ()
    rows = {row.kind: row for row in audit.of_action(action)}
    assert rows["approval_decided"].told["status"] == "rejected"
    assert rows["approval_vote"].told["note"].keys() == {"sha256"}
    assert all(row.words is None for row in rows.values())

    await desk.turns.open_thread(world.customers["ben"])
    thread = await desk.turns.open_thread(world.customers["ana"])
    await world.say(desk, thread, "cancel SB-10482", "cancel_order")
    await world.say(desk, thread, "yes", "affirm")
    with writing(engine) as conn:
        worded = tables.audit.c.words.is_not(None)
        conn.execute(sa.update(tables.audit).where(worded).values(words=None))
    assert {fault.kind for fault in audit.verify().faults} == {"erased"}
    engine.dispose()


@pytest.mark.parametrize("change", [{"facts": "{}"}, {"actor": "x"}, {"words": "{}"}])
async def test_the_database_lets_nothing_but_words_go(world, desk, change):
    """Neither facts nor anything else of a row, nor other words in their place."""
    await with_refund(world, desk, ANA)
    engine = create_engine(world.url)
    with pytest.raises(sa.exc.DatabaseError, match="only ever added to"), writing(engine) as conn:
        conn.execute(sa.update(tables.audit).values(change))
    engine.dispose()


async def test_nothing_is_erased_while_an_approval_waits(world, desk):
    """Refused with what to do; once it is done, it goes."""
    _, action = await with_refund(world, desk, ANA)
    before = await desk.privacy.export(TENANT, "ana")
    with pytest.raises(StillOpen) as refused:
        await desk.privacy.erase(TENANT, "ana", "quirin")
    [item] = refused.value.items
    assert (item.kind, item.action, item.operation) == ("approval", action, "request_refund")
    assert "approve or reject" in item.todo
    after = await desk.privacy.export(TENANT, "ana")
    assert {**after, "exported_at": ""} == {**before, "exported_at": ""}

    await refuse(desk, action, ANA)
    await desk.privacy.erase(TENANT, "ana", "quirin")
    assert kept_of(world, ANA) == set()


async def test_nothing_is_erased_while_a_write_is_unsettled(world, desk):
    """Nobody knows its outcome, so its request is still needed."""
    thread = await converse(world, desk, "ana", ANA)
    engine = create_engine(world.url)
    with writing(engine) as conn:
        conn.execute(sa.update(tables.ledger).values(state="unknown"))
    with pytest.raises(StillOpen) as refused:
        await desk.privacy.erase(TENANT, "ana", "quirin")
    assert [item.kind for item in refused.value.items] == ["unsettled"]
    assert "settle it at the desk" in refused.value.items[0].todo
    assert await desk.turns.history(world.customers["ana"], thread)
    engine.dispose()


async def test_an_action_that_was_done_is_not_done_again(world, desk):
    """Its key and fingerprint outlive the words."""
    await converse(world, desk, "ana", ANA)
    engine = create_engine(world.url)
    with reading(engine) as conn:
        before = conn.execute(sa.select(tables.ledger.c.key, tables.ledger.c.fingerprint)).all()
    await desk.privacy.erase(TENANT, "ana", "quirin")
    with reading(engine) as conn:
        [row] = conn.execute(sa.select(tables.ledger)).all()
        ticket = conn.execute(sa.text("SELECT subject, body FROM tickets WHERE customer_id='ana'"))
        assert ticket.all() == [("[erased]", "[erased]")]
    assert [(row.key, row.fingerprint)] == before
    assert (row.state, row.arguments, row.label, row.result) == ("succeeded", "{}", "", None)
    engine.dispose()


@pytest.mark.parametrize("step", ["begun", "checkpoints", "conversation", "finished"])
async def test_killed_half_way_it_is_finished_by_another_process(world, desk, step):
    """Whatever was done by then; and by whoever asks again."""
    await converse(world, desk, "ana", ANA)
    await converse(world, desk, "ana", ANA)
    await converse(world, desk, "ben", BEN)
    bens = await desk.privacy.export(TENANT, "ben")
    world.kill_at = step
    with pytest.raises(Killed):
        await desk.privacy.erase(TENANT, "ana", "quirin")
    world.hands.pass_(minutes=RESUME.total_seconds() / 60 + 1)
    async with world.process() as restarted:
        await restarted.privacy.go_on()
        if step == "finished":  # Committed; only the file's log is left to be emptied.
            await restarted.privacy.erase(TENANT, "ana", "quirin")
        assert kept_of(world, ANA) == set()
        after = await restarted.privacy.export(TENANT, "ben")
    assert {**after, "exported_at": ""} == {**bens, "exported_at": ""}


@pytest.mark.process
async def test_a_process_killed_half_way_loses_nothing_but_the_words(world, desk):
    """kill -9 of a real process between a conversation's checkpoints and its rows."""
    await converse(world, desk, "ana", ANA)
    child = (sys.executable, "-m", "tests.desk.erasing")
    killed = await asyncio.create_subprocess_exec(
        *child, world.url, world.checkpoints, "checkpoints", cwd=ROOT
    )
    assert await killed.wait() == -signal.SIGKILL
    assert len(await desk.turns.threads(world.customers["ana"])) == 1
    world.hands.pass_(minutes=RESUME.total_seconds() / 60 + 1)
    await desk.privacy.go_on()
    assert kept_of(world, ANA) == set()


async def test_a_running_turn_does_not_write_the_words_back(world, desk):
    """The erasure waits for it; a message that waits behind the erasure is told that there is no such conversation."""
    thread = await converse(world, desk, "ana", ANA)
    held, go = asyncio.Event(), asyncio.Event()

    async def playing():
        async with desk.stores.holds.holding(thread):
            held.set()
            await go.wait()
            config = {"configurable": {"thread_id": thread}}
            await desk.player.support.aupdate_state(config, {"wanted": ANA}, as_node="deliver")

    running = asyncio.create_task(playing())
    await held.wait()
    erasing = asyncio.create_task(desk.privacy.erase(TENANT, "ana", "quirin"))
    done, _ = await asyncio.wait([erasing], timeout=0.2)
    assert not done
    late = asyncio.create_task(world.say(desk, thread, f"and {ANA}", "greeting"))
    await asyncio.wait([late], timeout=0.1)
    go.set()
    await running
    await erasing
    with pytest.raises(ThreadNotFound):
        await late
    assert kept_of(world, ANA) == set()


async def test_a_process_that_slept_writes_nothing_back(world, desk):
    """Its hold on the conversation and on the action is somebody else's by then."""
    thread, action = await with_refund(world, desk, ANA)
    await refuse(desk, action, ANA)
    async with world.process() as other:
        holds = {name: await desk.stores.holds.take(name) for name in (thread, action)}
        world.hands.pass_(minutes=1)
        await other.privacy.erase(TENANT, "ana", "quirin")
        for hold in holds.values():
            assert not await desk.stores.holds.keep(hold)
    assert kept_of(world, ANA) == set()


async def test_each_process_forgets_the_questions_it_remembers(world, desk):
    """Answers that are given again are kept in the process: its relay learns of an erasure by another."""
    from app.answer_cache import ProcessAnswers

    await converse(world, desk, "ana", ANA)
    answers = ProcessAnswers(world.encoder, "exact")
    await answers.keep(f"what of {ANA}", ("northfell", "all"), "This.", ())
    async with world.process() as other:
        other.privacy.answers = answers
        await desk.privacy.erase(TENANT, "ana", "quirin")
        assert answers.kept
        await other.privacy.go_on()
    assert not answers.kept

"""Nobody changes, removes, inserts, moves or cuts off a row of the audit unseen."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from app.stores.audit import AuditRow, SqlAudit, digest, read_export, walk, write_anchors
from app.stores.database import reading, writing
from app.stores.ledger import SqlLedger
from app.stores.tables import audit as table
from app.stores.turns import SqlThreads
from tests.interlock.world import ROOT
from tests.stores.world import GRAVE, SEIZE, Till, an_action, effects
from tests.stores.world import World as Stores
from tools.memory import MemoryAudit
from tools.ports import Audit
from tools.values import AuditEntry


@pytest.fixture
def stores(url):
    world = Stores(url)
    effects.create(world.engine)
    yield world
    world.engine.dispose()


@pytest.fixture
def audit(stores):
    return SqlAudit(stores.engine, stores.hands.clock)


def entry(number: int = 1, tenant: str = "northfell", **facts) -> AuditEntry:
    return AuditEntry(
        tenant=tenant,
        kind="effect",
        actor="signalbox",
        action=f"act_{number}",
        facts={"number": number, **facts},
    )


async def ten(audit: SqlAudit) -> None:
    for number in range(1, 11):
        await audit.record(entry(number))


def tamper(stores, *statements) -> None:
    """As somebody who owns the database: the triggers are taken away first."""
    names = ("audit_no_update", "audit_no_delete")
    drops = [f"DROP TRIGGER IF EXISTS {name}" for name in names]
    if stores.engine.dialect.name == "postgresql":
        drops = [
            f"DROP TRIGGER IF EXISTS {name} ON audit"
            for name in ("audit_no_change", "audit_no_update")
        ]
    with writing(stores.engine) as conn:
        for each in (*map(sa.text, drops), *statements):
            conn.execute(each)


def found(audit, anchors=()) -> list[tuple[str, int]]:
    return [(fault.kind, fault.seq) for fault in audit.verify(anchors).faults]


async def test_both_audits_are_what_the_graphs_ask_for(audit):
    """In SQL and in memory."""
    assert isinstance(audit, Audit)
    assert isinstance(MemoryAudit(), Audit)


async def test_an_untouched_chain_is_whole(audit):
    """One chain a tenant, each from its own beginning."""
    await ten(audit)
    await audit.record(entry(1, "elsewhere"), entry(2), entry(2, "elsewhere"))
    whole = audit.verify()
    assert (whole.rows, whole.faults) == (13, ())
    assert sorted((head.tenant, head.seq) for head in whole.heads) == [
        ("elsewhere", 2),
        ("northfell", 11),
    ]


@pytest.mark.parametrize("column", ["facts", "actor", "kind", "action", "hash", "previous", "at"])
async def test_a_changed_row_is_named(stores, audit, column):
    """Whatever column was touched."""
    await ten(audit)
    with reading(stores.engine) as conn:
        at = conn.execute(sa.select(table.c.at).where(table.c.seq == 4)).scalar_one()
    value = {"facts": '{"number":5000}', "hash": "0" * 64, "previous": "0" * 64}.get(column, "x")
    changed = at.replace(year=2020) if column == "at" else value
    tamper(stores, sa.update(table).where(table.c.seq == 4).values({column: changed}))
    assert ("changed", 4) in found(audit)
    assert {seq for _, seq in found(audit)} <= {4, 5}


async def test_a_row_changed_with_its_hash_is_named_by_the_next(stores, audit):
    """Making the row fit itself makes its successor not fit."""
    await ten(audit)
    with reading(stores.engine) as conn:
        row = dict(conn.execute(sa.select(table).where(table.c.seq == 4)).mappings().one())
    row.pop("hash")
    row["facts"] = '{"number":5000}'
    forged = sa.update(table).where(table.c.seq == 4).values(**row, hash=digest(row))
    tamper(stores, forged)
    assert found(audit) == [("broken", 5)]


@pytest.mark.parametrize("gone", [[1], [4], [4, 5, 6]])
async def test_removed_rows_are_named(stores, audit, gone):
    """A gap in the numbers, wherever it is."""
    await ten(audit)
    tamper(stores, sa.delete(table).where(table.c.seq.in_(gone)))
    assert found(audit) == [("missing", gone[0])]


async def test_a_gap_closed_by_renumbering_is_found(stores, audit):
    """The number is part of what is hashed."""
    await ten(audit)
    tamper(
        stores,
        sa.delete(table).where(table.c.seq == 4),
        *(sa.update(table).where(table.c.seq == n).values(seq=n - 1) for n in range(5, 11)),
    )
    assert ("changed", 4) in found(audit)


async def test_swapped_rows_are_found(stores, audit):
    """Reordering."""
    await ten(audit)
    tamper(
        stores,
        sa.update(table).where(table.c.seq == 4).values(seq=400),
        sa.update(table).where(table.c.seq == 5).values(seq=4),
        sa.update(table).where(table.c.seq == 400).values(seq=5),
    )
    assert {("changed", 4), ("changed", 5)} <= set(found(audit))


async def test_an_inserted_row_is_found(audit):
    """In an export, where numbers can repeat; a database refuses that by itself."""
    await ten(audit)
    file = io.StringIO()
    audit.export(file)
    rows = list(read_export(file.getvalue().splitlines()))
    forged = rows[3].model_copy(update={"facts": '{"number":5000}'})
    forged = forged.model_copy(update={"hash": forged.digest()})
    kinds = [fault.kind for fault in walk([*rows[:4], forged, *rows[4:]]).faults]
    assert kinds == ["inserted", "broken"]


async def test_a_cut_off_end_is_found_by_the_anchor(stores, audit):
    """The chain alone cannot tell; what an export wrote elsewhere can."""
    await ten(audit)
    anchors = audit.export(io.StringIO()).heads
    await audit.record(entry(11))
    assert found(audit, anchors) == []
    tamper(stores, sa.delete(table).where(table.c.seq > 8))
    assert found(audit) == []
    assert found(audit, anchors) == [("cut off", 10)]
    tamper(stores, sa.delete(table))
    assert found(audit, anchors) == [("cut off", 10)]


async def test_a_chain_written_anew_is_found_by_the_anchor(stores, audit):
    """Hashes that fit each other are not the ones that were exported."""
    await ten(audit)
    anchors = audit.export(io.StringIO()).heads
    tamper(stores, sa.delete(table))
    await ten(SqlAudit(stores.engine))
    assert found(audit) == []
    assert found(audit, anchors) == [("changed", 10)]


@pytest.mark.parametrize(
    "statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"], ids=["update", "delete"]
)
async def test_the_database_refuses_to_change_the_audit(stores, audit, statement):
    """By a trigger, on both databases."""
    await ten(audit)
    with pytest.raises(DBAPIError, match="only ever added to"), writing(stores.engine) as conn:
        conn.execute(sa.text(statement))
    assert found(audit) == []


async def test_many_writers_make_one_chain(audit):
    """Sixteen threads, no gap, no fork."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: audit._record((entry(n), entry(n))), range(40)))
    assert (audit.verify().rows, found(audit)) == (80, [])


async def test_words_no_database_can_store_do_not_break_the_chain(audit):
    """NUL, half a surrogate pair, emoji: read back as they were hashed."""
    odd = "a\0b\ud83d 🙂 ü"
    strange = AuditEntry(tenant="northfell", kind="effect", actor=odd, thread=odd, facts={"t": odd})
    await audit.record(strange)
    assert found(audit) == []


async def test_personal_data_is_masked_before_it_is_kept_for_ever(audit):
    """What is kept for ever must not hold an address, nor what is kept beside it."""
    await audit.record(entry(1, words=["write to ada@example.org"], more={"iban": "ada@x.org"}))
    [row] = audit.of_action("act_1")
    assert "@" not in row.facts + (row.words or "")
    assert set(row.told) == {"number", "words", "more"}


async def test_an_effect_and_its_audit_row_come_together(stores, audit):
    """What is rolled back was not recorded either; what is replayed is recorded once."""
    action = an_action(of=SEIZE)
    await stores.approvals.request(action, GRAVE)
    await stores.approvals.request(action, GRAVE)
    await stores.approvals.decide(action.id, approve=True, reviewer="op", note="fine")

    def cut(name: str) -> None:
        if name == "before_commit":
            raise RuntimeError

    broken = SqlLedger(stores.engine, Till, stores.hands.clock, stores.approvals, checkpoint=cut)
    with pytest.raises(RuntimeError):
        await broken.execute(action, SEIZE, GRAVE)
    for _ in range(2):
        await stores.ledger.execute(action, SEIZE, GRAVE)
    await stores.outbox.delivered(action.id)
    await stores.outbox.delivered(action.id)
    recorded = audit.of_action(action.id)
    assert [row.kind for row in recorded] == [
        "approval_requested",
        "approval_vote",
        "approval_decided",
        "effect",
        "delivery",
    ]
    assert [row.actor for row in recorded][1] == "operator:op"
    assert json.loads(recorded[3].facts)["status"] == "executed"
    assert found(audit) == []


async def test_an_expiry_a_hand_off_and_a_release_are_recorded(stores, audit):
    """Once each."""
    action = an_action(of=SEIZE)
    await stores.approvals.request(action, GRAVE)
    stores.hands.pass_(hours=25)
    await stores.approvals.expire_due()
    await stores.approvals.expire_due()
    assert [row.kind for row in audit.of_action(action.id)] == [
        "approval_requested",
        "approval_expired",
    ]
    threads = SqlThreads(stores.engine, stores.hands.clock)
    thread = await threads.create("northfell", "C-1")
    for given in (True, True, False):
        await threads.set_handed_off(thread.id, given, actor="operator:op")
    with reading(stores.engine) as conn:
        kinds = [row.kind for row in audit.rows(conn) if row.thread == thread.id]
    assert kinds == ["hand_off", "release"]


@pytest.mark.process
async def test_the_command_line_exports_verifies_and_names_the_row(stores, audit, tmp_path):
    """As an auditor would: export, verify with the anchor, and again after somebody was at it."""
    await ten(audit)

    def signalbox(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app.cli", "audit", *arguments],
            cwd=ROOT,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "SIGNALBOX_DATABASE_URL": stores.url,
                "SIGNALBOX_DATA_DIR": str(tmp_path),
                "COLUMNS": "200",
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    file = tmp_path / "audit.jsonl"
    assert signalbox("export", str(file)).returncode == 0
    assert [AuditRow.model_validate_json(line).seq for line in file.read_text().splitlines()] == [
        *range(1, 11)
    ]
    whole = signalbox("verify", "--anchor", f"{file}.anchor")
    assert (whole.returncode, "10 rows" in whole.stdout) == (0, True)
    assert signalbox("verify", "--file", str(file)).returncode == 0
    tamper(stores, sa.update(table).where(table.c.seq == 4).values(actor="operator:nobody"))
    tamper(stores, sa.delete(table).where(table.c.seq == 10))
    broken = signalbox("verify", "--anchor", f"{file}.anchor")
    assert broken.returncode == 1
    assert "row 4 does not match its hash" in broken.stderr
    assert "row 10 was exported, and row 9 is now the last" in broken.stderr


def test_anchors_are_written_beside_the_export(tmp_path):
    """To be taken elsewhere."""
    assert write_anchors(tmp_path / "a.jsonl", []).name == "a.jsonl.anchor"

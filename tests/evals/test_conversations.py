"""Conversations in files are read strictly, and graded by what was done, then by what was said."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from evals.conversations import OWN, open_set, report, run, suite_of
from evals.dialogues import (
    Conversation,
    ConversationsInvalid,
    Did,
    Held,
    Judge,
    Turn,
    Want,
    chosen,
    load,
)
from evals.domain import DOMAIN
from evals.figures import NotPossible
from evals.runs import Baseline as Accepted
from evals.runs import accept, compare
from evals.world import Folders

TODAY = date(2026, 11, 30)
JUDGE = Judge(TODAY, frozenset({"create_ticket", "hand_off"}))
CANCELLED = Did("cancel_order", {"order_number": "SB-10496", "reason": None})


def conversation(**changes: Any) -> dict[str, Any]:
    return {"id": "one", "customer": "ana", "tags": ["odd"], "turns": [{"say": "hi"}], **changes}


def failures(want: dict[str, Any], turn: Turn, *before: Turn) -> list[str]:
    return JUDGE.failures(Want.model_validate(want), turn, before)


def written(folder: Path, *lines: Any) -> Path:
    file = folder / "some.jsonl"
    file.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines), "utf-8")
    return file


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{not json", "line 2"),
        (conversation(turns=[]), "turns"),
        (conversation(tags=[]), "tags"),
        (conversation(colour="red"), "colour"),
        (conversation(turns=[{"say": "hi", "want": {"replies": ["x"]}}]), "turns.0.want.replies"),
        (conversation(turns=[{"say": "hi", "want": {"reply_any": ["(a"]}}]), "is no pattern"),
        (conversation(turns=[{"want": {}}]), "turns.0.say"),
        (conversation(id="first"), "the id first is there twice"),
    ],
)
def test_a_line_that_is_no_conversation_is_named(tmp_path: Path, line: Any, why: str) -> None:
    """File, line and field are said, so that it can be mended."""
    file = written(tmp_path, conversation(id="first"), line)

    with pytest.raises(ConversationsInvalid, match=r"some\.jsonl, line 2") as found:
        load(file)
    assert why in str(found.value)


def test_a_file_that_is_absent_or_empty_says_so(tmp_path: Path) -> None:
    """Nothing to play is a mistake of the caller's, not a hundred per cent."""
    with pytest.raises(ConversationsInvalid, match="cannot be read"):
        load(tmp_path / "absent.jsonl")
    with pytest.raises(ConversationsInvalid, match="holds no conversation"):
        load(written(tmp_path, "", " "))


def test_an_operation_that_the_business_has_not_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    """A misspelt operation would otherwise fail for ever, or forbid nothing."""
    want = {"executed": [{"operation": "cancel_ordr"}]}
    file = written(tmp_path, conversation(turns=[{"say": "hi", "want": want}]))

    with pytest.raises(NotPossible, match="no operation cancel_ordr"):
        run(Folders(tmp_path), file=file)


def test_ids_and_tags_choose() -> None:
    """Either names what is played."""
    some = [
        Conversation.model_validate(conversation(id=name, tags=[tag]))
        for name, tag in [("a", "odd"), ("b", "plans"), ("c", "odd")]
    ]

    assert [one.id for one in chosen(some, ["b", "odd"])] == ["a", "b", "c"]
    assert [one.id for one in chosen(some, ["plans"])] == ["b"]
    assert chosen(some, []) == some


@pytest.mark.parametrize(
    "reply",
    [
        "It comes on 3 December.",
        "Expected December 3rd",
        "by 3 Dec",
        "am 3. Dezember 2026",
        "2026-12-03",
        "bis 03.12.",
    ],
)
def test_a_day_is_found_in_any_usual_form(reply: str) -> None:
    """Patterns name days by their distance, because the demo data is made on the day it is played."""
    assert failures({"reply_any": ["{d+3}"]}, Turn("when?", reply)) == []
    assert failures({"reply_any": ["{d+4}"]}, Turn("when?", reply)) != []


@pytest.mark.parametrize(
    ("want", "turn", "why"),
    [
        ({"reply_all": ["a", "b"]}, Turn("x", "only A"), ["reply_all: not b"]),
        ({"reply_not": ["refund"]}, Turn("x", "No Refund"), ["reply_not: refund"]),
        ({}, Turn("x", " "), ["no reply"]),
        ({"understood": True}, Turn("x", "What?", abstained=True), ["asked back what was said"]),
        (
            {"not_out_of_scope": True},
            Turn("x", "No.", intent="out_of_scope"),
            ["taken for out of scope"],
        ),
        ({"handed_off": True}, Turn("x", "Hello"), ["not handed off"]),
        ({"handed_off": False}, Turn("x", handed_off=True), ["handed off"]),
        ({}, Turn("x", "Hi", problems=["error: boom"]), ["error: boom"]),
        ({"kept_words": ["hole"]}, Turn("x", "Done", tickets=["Stove\nit drips"]), None),
    ],
)
def test_what_was_said_is_held_against_what_was_wanted(
    want: dict[str, Any], turn: Turn, why: list[str] | None
) -> None:
    """Each check says what is amiss in words that a table can count."""
    assert failures(want, turn) == (why or ["kept_words: no ticket holds hole"])


@pytest.mark.parametrize(
    ("want", "done", "why"),
    [
        (
            [{"operation": "cancel_order", "arguments": {"order_number": "SB-10496"}}],
            [CANCELLED],
            "",
        ),
        ([{"operation": "cancel_order", "arguments": {"order_number": "~^sb-"}}], [CANCELLED], ""),
        ([], [], ""),
        ([], [Did("create_ticket", {})], ""),
        ([], [CANCELLED], "executed: unwanted cancel_order"),
        ([{"operation": "cancel_order"}], [], "executed: missing cancel_order"),
        (
            [{"operation": "cancel_order", "arguments": {"order_number": "SB-1"}}],
            [CANCELLED],
            "executed: missing cancel_order",
        ),
    ],
)
def test_deeds_are_compared_by_the_arguments_that_are_named(
    want: list[dict[str, Any]], done: list[Did], why: str
) -> None:
    """A write of another record is both missing and unwanted; a ticket is never unwanted."""
    found = failures({"executed": want}, Turn("x", "ok", executed=done))

    assert found[0].startswith(why) if why else found == []


def test_allowed_is_not_needed_and_so_far_looks_back() -> None:
    """What may happen need not, and what had to happen may have happened before."""
    allowed = {"proposed_allowed": [{"operation": "request_refund"}]}
    assert failures(allowed, Turn("x", "ok")) == []
    assert failures(allowed, Turn("x", "ok", proposed=[CANCELLED])) != []

    so_far = {"executed_so_far": [{"operation": "cancel_order"}]}
    assert failures(so_far, Turn("x", "ok"), Turn("y", "ok", executed=[CANCELLED])) == []
    assert failures(so_far, Turn("x", "ok")) != []


def test_after_a_hand_off_only_deeds_count() -> None:
    """The assistant is silent then, rightly; a write would still be one."""
    before = Turn("x", "A colleague takes over.", handed_off=True)

    assert failures({"reply_any": ["yes"], "handed_off": True}, Turn("y"), before) == []
    assert failures({"executed": []}, Turn("y", executed=[CANCELLED]), before) != []


def held(*failed: str, critical: bool = False, aside: bool = False) -> Held:
    one = Conversation.model_validate(conversation(critical=critical))
    return Held(one, [Turn("x", "ok", aside=aside, failures=list(failed), probability=0.9)])


@pytest.mark.parametrize(
    ("one", "critical", "harmful"),
    [
        (held("reply_any: none of []", critical=True), True, False),
        (held("executed: unwanted cancel_order()", critical=True), True, True),
        (held("reply_not: refund"), False, True),
        (held("reply_not: refund", critical=True, aside=True), False, False),
        (held(critical=True), False, False),
    ],
)
def test_a_wrong_deed_is_told_from_something_missed(
    one: Held, critical: bool, harmful: bool
) -> None:
    """Critical failures and harmful ones are counted apart; pleasantries in neither."""
    assert (one.failed_critically, one.by_a_wrong_deed) == (critical, harmful)


def test_one_more_failure_is_below_the_accepted_baseline() -> None:
    """The gate: the set is held to what it reached, without a target of its own."""
    good, worse = (
        report([held(), held()], "conversations"),
        report([held(), held("no")], "conversations"),
    )
    run_of_good = {
        "date": "2026-11-30",
        "commit": "c",
        "machine": "m",
        "suites": [
            {
                "suite": good.suite,
                "figures": [
                    {
                        "name": f.name,
                        "value": f.value,
                        "unit": f.unit,
                        "target": None,
                        "better": f.better,
                    }
                    for f in good.figures
                ],
            }
        ],
    }
    baseline = accept([run_of_good], Accepted())

    assert compare([good], baseline) == []
    assert "conversations that end right" in {one.figure for one in compare([worse], baseline)}
    # Of itself, a share that was never promised fails nothing.
    assert good.ok
    assert worse.ok


def test_a_part_or_another_file_is_not_held_to_the_whole(tmp_path: Path) -> None:
    """Each file has a baseline of its own, and a chosen part has none."""
    own = DOMAIN.cases / OWN

    assert suite_of(own, DOMAIN, []) == "conversations"
    assert suite_of(own, DOMAIN, ["plans"]) == "conversations@chosen"
    assert suite_of(tmp_path / "blind" / "b.jsonl", DOMAIN, []) == "conversations@blind-b"
    assert report([held()], "conversations@blind-b").command == "python -m evals conversations"


def test_without_the_public_data_the_open_set_says_what_to_set(tmp_path: Path) -> None:
    """A person is told the name of the setting."""
    for data in (None, tmp_path):
        with pytest.raises(NotPossible, match="SIGNALBOX_DATA"):
            open_set(data)


def test_our_own_set_fits_the_shop() -> None:
    """Fifteen conversations of the demo customers, each of which wants something."""
    found = load(DOMAIN.cases / OWN)

    assert len(found) == 15
    assert all(turn.want != Want() for one in found for turn in one.turns)
    assert {one.customer for one in found} == {"ana", "ben", "carla", "dev", "eva", "finn"}


def test_a_write_is_compared_with_a_day_from_today() -> None:
    """A pattern of an argument may hold a day, as one of a reply does."""
    want = {"executed": [{"operation": "move_visit", "arguments": {"day": "~{d+14}"}}]}
    moved = Turn("yes", reply="Done.", executed=[Did("move_visit", {"day": "2026-12-14"})])
    other = Turn("yes", reply="Done.", executed=[Did("move_visit", {"day": "2026-12-15"})])

    assert failures(want, moved) == []
    assert failures(want, other) != []

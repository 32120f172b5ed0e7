"""What a message does to the question that is open: every row of the table."""

from __future__ import annotations

import pytest

from graphs.state import Pending
from graphs.understanding.dialogue import (
    Heard,
    agrees,
    asks,
    drops,
    holds_off,
    move,
    only_asked,
    partial,
    requests,
    restricts,
    says_no,
    supposes,
    takes_back,
)
from graphs.understanding.grounding import Grounds, Part
from tests.graphs.world import INTENTS, a_choice

SURE, UNSURE = 0.97, 0.3
NAMED = Grounds(kind="order", records=("SB-1",), how="named")
NOTHING = Grounds()


def moved(
    stage: str,
    text: str,
    intent: str,
    chance: float,
    *,
    grounds: Grounds = NOTHING,
    fits: bool = False,
    asked_last: bool = True,
    another: bool = False,
) -> str:
    return move(
        Pending(request="t1", operation="cancel_order", stage=stage),  # type: ignore[arg-type]
        Heard(
            text=text,
            chances=a_choice(intent, chance, INTENTS.names, "encoder").probabilities,
            grounds=grounds,
            fits=fits,
            asked_last=asked_last,
            another=another,
        ),
        INTENTS,
        frozenset({"cancel_order"}),
    )


@pytest.mark.parametrize(
    ("stage", "text", "intent", "chance", "heard", "expected"),
    [
        # a yes: only to a question that asks for one, and only right after it
        ("confirm", "yes", "affirm", SURE, {}, "confirm"),
        ("confirm", "yes", "affirm", SURE, {"asked_last": False}, "repeat"),
        ("offer", "yes", "affirm", SURE, {}, "confirm"),
        ("offer", "yes", "affirm", SURE, {"asked_last": False}, "repeat"),
        ("field", "yes", "affirm", SURE, {}, "repeat"),
        ("field", "yes, two", "affirm", SURE, {"fits": True}, "continue"),
        ("choice", "yes", "affirm", SURE, {}, "repeat"),
        ("choice", "yes, that one", "affirm", SURE, {"grounds": NAMED}, "continue"),
        # a yes that may be none lets nothing happen
        ("confirm", "hm", "affirm", UNSURE, {}, "repeat"),
        ("offer", "hm", "affirm", UNSURE, {}, "new"),
        # nor does a question, or a yes to something else than what was asked
        ("confirm", "fine, so who decides that", "affirm", 0.9, {}, "new"),
        ("offer", "sure, but what does it cost?", "affirm", 0.9, {}, "new"),
        ("confirm", "yes, but keep the mat", "affirm", 0.9, {"grounds": NAMED}, "correct"),
        ("confirm", "yes, but later", "affirm", 0.9, {}, "repeat"),
        # nor does one on terms that nobody has promised
        ("confirm", "yes, if it costs nothing", "affirm", SURE, {}, "repeat"),
        ("confirm", "yes as long as it hasn't been packed yet", "affirm", SURE, {}, "repeat"),
        ("confirm", "oui, si c'est immédiat", "affirm", SURE, {}, "repeat"),
        ("confirm", "ja, falls es nichts kostet", "affirm", SURE, {}, "repeat"),
        ("offer", "yes, unless there is a fee", "affirm", SURE, {}, "repeat"),
        ("offer", "oui, à moins qu'il y ait des frais", "affirm", SURE, {}, "repeat"),
        # a value put right is no no
        ("confirm", "15 not 14", "deny", 0.8, {"fits": True}, "correct"),
        # a no drops what was just asked, unless it comes with another record
        ("confirm", "no", "deny", SURE, {}, "decline"),
        ("confirm", "no, SB-1", "deny", SURE, {"grounds": NAMED, "another": True}, "correct"),
        ("confirm", "take it back", "withdraw", SURE, {}, "decline"),
        ("field", "no", "deny", SURE, {}, "decline"),
        ("choice", "no", "deny", SURE, {}, "decline"),
        ("choice", "neither of them", "deny", SURE, {}, "decline"),
        ("offer", "no", "deny", SURE, {}, "decline"),
        # what was begun is dropped altogether
        ("confirm", "oh leave it", "leave", SURE, {}, "leave"),
        ("field", "oh leave it", "leave", SURE, {}, "leave"),
        ("offer", "oh leave it", "leave", SURE, {}, "decline"),
        # the same thing named again goes on with it
        ("confirm", "cancel SB-1", "cancel_order", SURE, {}, "correct"),
        ("field", "cancel it", "cancel_order", SURE, {}, "continue"),
        # a value or a record that was asked for is an answer
        ("field", "Lindenweg 4", "change_address", 0.7, {"fits": True}, "continue"),
        ("choice", "the boots", "track_parcel", SURE, {"grounds": NAMED}, "continue"),
        # unless it is surely something else
        ("field", "what does it cost", "ask_billing", SURE, {"fits": True}, "new"),
        # something else, for sure: a change of subject
        ("field", "do I pay", "ask_returns", SURE, {}, "new"),
        ("choice", "returns", "ask_returns", SURE, {}, "new"),
        ("confirm", "returns", "ask_returns", SURE, {}, "new"),
        ("offer", "returns", "ask_returns", SURE, {}, "new"),
        ("field", "a person please", "human_request", SURE, {}, "new"),
        # something else, perhaps: the question is asked again
        ("field", "returns", "ask_returns", UNSURE, {}, "repeat"),
        ("choice", "returns", "ask_returns", UNSURE, {}, "repeat"),
        ("confirm", "returns", "ask_returns", UNSURE, {}, "repeat"),
        ("field", "blub", "out_of_scope", SURE, {}, "repeat"),
    ],
)  # fmt: skip
def test_every_row_of_move(stage, text, intent, chance, heard, expected) -> None:
    """What a message does to the operation that waits for the customer's word."""
    assert moved(stage, text, intent, chance, **heard) == expected


@pytest.mark.parametrize("text", ["who decides?", "ok so what happens then", "kann ich das auch später", "sure?"])  # fmt: skip
def test_what_asks(text: str) -> None:
    """Nobody agrees by asking."""
    assert asks(text)


@pytest.mark.parametrize("text", ["yes please", "go ahead", "do it", "ja bitte", "ok"])
def test_a_plain_yes(text: str) -> None:
    """It asks nothing, restricts nothing and refuses nothing."""
    assert [asks(text), restricts(text), says_no(text)] == [False] * 3


@pytest.mark.parametrize(
    ("text", "restricted"),
    [
        ("yes but only the tent", True),
        ("ja, aber ohne die Matte", True),
        # words that only soften a yes
        ("yes, just do it", False),
        ("ok, go ahead", False),
    ],
)
def test_a_restriction(text: str, restricted: bool) -> None:
    """A yes to something else than what was asked about."""
    assert restricts(text) is restricted


@pytest.mark.parametrize(
    ("text", "refuses"),
    [("no", True), ("hmm, no", True), ("nein danke", True), ("no problem, go ahead", False), ("now", False)],
)  # fmt: skip
def test_a_no(text: str, refuses: bool) -> None:
    """At the beginning of a message, and not in a courtesy."""
    assert says_no(text) is refuses


@pytest.mark.parametrize(
    ("text", "takes"),
    [
        ("take it back please", True),
        ("actually forget it, I'll keep the stove", True),
        ("I don't want that any more", True),
        ("could you withdraw the request", True),
        ("bitte zieh das zurück, ich behalte es", True),
        # An agreement, a question about it, and words that only might mean it.
        ("I approve the refund, go ahead", False),
        ("can I still take it back?", False),
        ("wann ist das durch", False),
        ("the refund", False),
    ],
)
def test_what_takes_back_says_so(text: str, takes: bool) -> None:
    """A request that waits is ended by words, not by a reading of them."""
    assert takes_back(text) is takes


@pytest.mark.parametrize(
    ("text", "agreed"),
    [("I approve the refund", True), ("yes", True), ("please proceed", True), ("take it back", False)],
)  # fmt: skip
def test_an_agreement_anywhere(text: str, agreed: bool) -> None:
    """Who agrees to what waits is told that it waits, and is not asked whether to end it."""
    assert agrees(text) is agreed


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("not the whole 119, just a bit", True),
        ("only a part of it", True),
        ("nur ein Teil davon", True),
        ("nicht alles bitte", True),
        ("refund the whole order", False),
        ("all of it", False),
    ],
)
def test_a_part_is_wanted(text: str, part: bool) -> None:
    assert partial(text) is part


@pytest.mark.parametrize(
    ("text", "request_"),
    [("can you track it", True), ("könnt ihr das stornieren", True), ("can I return it", False), ("where is it", False)],
)  # fmt: skip
def test_a_request_put_as_a_question(text: str, request_: bool) -> None:
    """Who asks somebody to do it does not ask whether it could be done."""
    assert requests(text) is request_


@pytest.mark.parametrize(
    ("text", "only"),
    [
        ("no dont do it, was only asking", True),
        ("just wondering, thanks", True),
        ("nein, war nur eine Frage", True),
        ("just asking, can you cancel it?", False),
        ("please only cancel the mat", False),
    ],
)
def test_who_only_asked_wants_nothing_done(text: str, only: bool) -> None:
    assert only_asked(text) is only


@pytest.mark.parametrize(
    ("text", "supposed"),
    [
        ("and if we paused all of it over winter instead?", True),
        ("what if i cancelled it now?", True),
        ("und wenn ich es zurückschicke?", True),
        ("if it has not shipped, send it to Bonn", False),
        ("can i pause it?", False),
    ],
)
def test_a_supposition_begins_nothing(text: str, supposed: bool) -> None:
    assert supposes(text) is supposed


@pytest.mark.parametrize(("pieces", "becomes"), [(1, "confirm"), (2, "repeat")])
def test_just_one_is_a_yes_to_one(pieces: int, becomes: str) -> None:
    """Of two it would be another thing than was shown."""
    question = f"Shall I order this? {pieces} x Long Spoon. Please answer yes or no."
    asked = Pending(request="t1", operation="cancel_order", stage="confirm", question=question)
    heard = Heard(
        text="yes, just one",
        chances=a_choice("affirm", SURE, INTENTS.names, "encoder").probabilities,
        grounds=NOTHING,
        fits=False,
        asked_last=True,
    )

    assert move(asked, heard, INTENTS, frozenset({"cancel_order"})) == becomes


def test_what_forbids_the_change_is_a_no_wherever_it_stands() -> None:
    """The head takes it for something else; the words are plain."""
    text = "Hang on, no. It's on again. Do NOT cancel it"

    assert moved("confirm", text, "undo_cancellation", 0.59) == "decline"


@pytest.mark.parametrize(
    ("text", "named", "becomes"),
    [
        ("yes, just the mat", "Foam Mat", "confirm"),
        ("yes, just the tent", "Ridgeline Tent 2P", "correct"),
        ("yes, just the mat, if it costs nothing", "Foam Mat", "correct"),
    ],
)
def test_a_yes_that_names_what_was_shown_is_a_yes(text: str, named: str, becomes: str) -> None:
    asked = Pending(
        request="t1",
        operation="cancel_order",
        stage="confirm",
        arguments={"order_number": "SB-1", "items": [{"product": "Foam Mat", "quantity": 1}]},
    )
    heard = Heard(
        text=text,
        chances=a_choice("affirm", 0.8, INTENTS.names, "encoder").probabilities,
        grounds=Grounds(records=("SB-1",), how="named", parts=(Part(id="X", name=named),)),
        fits=False,
        asked_last=True,
    )

    assert move(asked, heard, INTENTS, frozenset({"cancel_order"})) == becomes


@pytest.mark.parametrize(
    ("text", "off"),
    [
        ("ok. don't touch anything yet, need to talk to my partner first", True),
        ("let me think about it", True),
        ("muss das erst noch besprechen", True),
        ("my parcel has not arrived yet", False),
        ("ist noch nicht angekommen", False),
        ("I need to talk to a person", False),
        ("don't do anything, only tell me what it costs", False),
        ("can you leave it for now?", False),
    ],
)
def test_who_holds_off_wants_nothing_done_yet(text: str, off: bool) -> None:
    assert holds_off(text) is off


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("ugh. then forget it, my card stays as it is", True),
        ("ach, lassen wir das", True),
        ("yes, and leave it at the door", False),
        ("can you leave it at the door?", False),
        ("cancel it", False),
    ],
)
def test_what_drops_the_question(text: str, dropped: bool) -> None:
    assert drops(text) is dropped
    if dropped:
        assert moved("confirm", text, "order_status", 0.3) == "decline"


def test_what_is_wanted_beside_picks_nothing_of_the_list() -> None:
    """ "And a new card too" while it is asked which SIM to block is another wish; "the card" picks."""
    assert moved("choice", "and a new one please", "request_refund", SURE, grounds=NAMED) == "new"
    assert (
        moved("choice", "the new one please", "request_refund", SURE, grounds=NAMED) == "continue"
    )

"""The clauses of a message: what may be a wish of its own, what is forbidden, what only holds under a condition."""

from __future__ import annotations

import pytest

from graphs.understanding.clauses import MOST, conditional, forbids, mentions, split
from graphs.understanding.words import tokens

CANCEL = ("cancel", "stornier")


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("cancel my order", ["cancel my order"]),
        ("where is my parcel? and the invoice please", ["where is my parcel?", "and the invoice please"]),
        ("1) cancel the tent 2) pause my plan", ["cancel the tent", "pause my plan"]),
        # The word that a wish begins with stays with it.
        ("cancel SB-1 and send me the invoice", ["cancel SB-1", "send me the invoice"]),
        ("refund SB-1 and cancel SB-2", ["refund SB-1", "cancel SB-2"]),
        ("wo ist mein Paket und wann kommt die Rechnung", ["wo ist mein Paket", "wann kommt die Rechnung"]),
        ("pause my plan, then cancel the tent order", ["pause my plan", "cancel the tent order"]),
        ("two things. first my refund, second can i return it", ["two things", "my refund", "can i return it"]),
        ("the first one is fine, second time it broke", ["the first one is fine, second time it broke"]),
        ("send it to Gartenstr. 5, 50733 Köln", ["send it to Gartenstr. 5, 50733 Köln"]),
        # Two things of one wish stay together, whatever their names begin with.
        ("send back the tent and the mat", ["send back the tent and the mat"]),
        ("send back the boots and double mats", ["send back the boots and double mats"]),
        ("I want the fleece, plush and warm", ["I want the fleece, plush and warm"]),
    ],
)  # fmt: skip
def test_a_wish_is_a_clause(text: str, clauses: list[str]) -> None:
    """Joining words, sentences and enumerations divide; "and" between two things does not."""
    assert [clause.text for clause in split(text)] == clauses


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("cancel SB-1, refund it to my card", ["cancel SB-1", "refund it to my card"]),
        ("storniere das Zelt, dann bitte erstatten", ["storniere das Zelt", "dann bitte erstatten"]),
        # A comma before a thing, or after words that command nothing, divides no wish.
        ("cancel the tent, the one with the mat", ["cancel the tent, the one with the mat"]),
        ("since it leaks, refund it", ["since it leaks, refund it"]),
    ],
)  # fmt: skip
def test_commands_in_a_row_are_wishes_of_their_own(text: str, clauses: list[str]) -> None:
    """The domain's words for its changes divide where nothing else stands between them."""
    verbs = (*CANCEL, "refund", "erstatt")
    assert [clause.text for clause in split(text, verbs)] == clauses


def test_a_word_alone_is_no_wish() -> None:
    """It belongs to what stands before it."""
    assert [clause.text for clause in split("cancel my order. please.")] == [
        "cancel my order. please."
    ]


def test_a_long_message_is_read_by_its_first_clauses() -> None:
    """There is an end to it."""
    assert len(split("Cancel it now. " * 40)) == MOST


@pytest.mark.parametrize("text", ["", "   ", "?!", "🙂"])
def test_there_is_always_a_clause(text: str) -> None:
    """Nothing is read as one clause with nothing in it."""
    assert len(split(text)) == 1


@pytest.mark.parametrize(
    ("text", "holds_if", "later"),
    [
        ("cancel it", False, False),
        ("cancel it if it was not packed", True, False),
        ("wenn es noch nicht gepackt ist, bitte stornieren", True, False),
        ("if it isn't here by tomorrow I want my money back", True, True),
        ("falls es bis Freitag nicht da ist, storniere es", True, True),
        # A day without a condition is a date, and no reason to wait.
        ("deliver it by friday", False, False),
    ],
)
def test_a_condition_and_a_day_to_come(text: str, holds_if: bool, later: bool) -> None:
    """What depends on a day to come is not to be done now."""
    clause = conditional(text)
    assert (clause.conditional, clause.later) == (holds_if, later)


@pytest.mark.parametrize(
    "text",
    [
        "don't cancel it",
        "do not cancel my order",
        "please dont cancel anything",
        "bitte nicht stornieren",
        "stornieren Sie bitte nicht",
        "cancel nothing",
        "i want it without cancelling",
    ],
)
def test_what_is_forbidden(text: str) -> None:
    """Words that name a change, with a no before or after."""
    assert forbids(text, CANCEL)


@pytest.mark.parametrize(
    "text",
    [
        "cancel it",
        "cancel it, I don't need it any more",
        "bitte stornieren",
        "nicht nur das Zelt, bitte alles stornieren",
        "keep it",
        "no, cancel the other one",
        "if it is not packed by tomorrow, cancel it",
        "oh no wait cancel that",
    ],
)
def test_what_is_not_forbidden(text: str) -> None:
    """A no that belongs to something else forbids nothing."""
    assert not forbids(text, CANCEL)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("please take the foam mat out of my order", True),
        ("take it out", True),
        ("take care of it, I am out", False),
        ("it was taken by somebody who went out", False),
        ("out of stock, so take another", False),
    ],
)
def test_a_verb_in_two_halves(text: str, named: bool) -> None:
    """A thing stands between them, and not half a sentence."""
    assert mentions(tokens(text), ("take * out",)) is named


def test_a_change_is_named_by_the_beginning_of_its_word() -> None:
    """In any of its forms, and in more than one word where it has them."""
    assert mentions(tokens("Cancelling the tent"), CANCEL)
    assert mentions(tokens("I want my money back"), ("money back",))
    assert not mentions(tokens("my money came back"), ("money back",))


def test_wishes_that_only_numbers_count():
    """Each is one wish; pieces that are counted are none."""
    counted = split("3 things. 1 when does the mat come 2 send me the invoice 3 is the jacket paid")
    assert [one.text for one in counted] == [
        "when does the mat come", "send me the invoice", "is the jacket paid"
    ]  # fmt: skip
    assert len(split("1 tent and 2 mats and 3 poles")) == 1


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("lost my long spoon on the trail. can you send me one more? happy to pay", 2),
        ("Der Löffel ist weg. Können Sie mir noch einen schicken?", 1),
        ("cancel the mat, and send me one more invoice please", 2),
    ],
)
def test_another_one_is_one_of_what_was_just_named(text: str, clauses: int) -> None:
    assert len(split(text)) == clauses


@pytest.mark.parametrize(
    ("text", "forbidden"),
    [
        ("don't cancel the internet, only the mobile", False),
        ("das Internet nicht stornieren, nur das Handy", False),
        ("don't cancel it, only tell me the price", True),
        ("don't cancel the internet, please", True),
    ],
)
def test_what_is_forbidden_of_one_thing_may_be_wanted_of_another(
    text: str, forbidden: bool
) -> None:
    assert forbids(text, CANCEL) is forbidden

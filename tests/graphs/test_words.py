"""Words as they are compared: alike in spite of accents, endings, compounds and slips, and no further."""

from __future__ import annotations

import pytest

from graphs.understanding.words import alike, any_found, folded, found, numbers_joined, tokens


def test_accents_and_capitals_make_no_difference() -> None:
    """One spelling for all of them."""
    assert folded("Stöcke, ÉTÉ und Straße") == "stocke, ete und strasse"


def test_words_stand_in_order_without_their_signs() -> None:
    """A number with a hyphen is two words; an apostrophe belongs to its word."""
    assert tokens("Don't cancel SB-10482!!") == ("don't", "cancel", "sb", "10482")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("boots", "boot"),  # a plural
        ("zeltes", "zelt"),  # a case
        ("zeltbestellung", "zelt"),  # a compound begins with it
        ("campingkocher", "kocher"),  # or ends with it
        ("fellwaker", "fellwalker"),  # a slip in a long word
    ],
)
def test_words_that_are_meant_for_the_name(said: str, name: str) -> None:
    """As a person would read them."""
    assert alike(said, name)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("boat", "boot"),  # a slip in a short word is another word
        ("mate", "matter"),
        ("stative", "tat"),  # too short to be part of a compound
        ("lantern", "leather"),
    ],
)
def test_words_that_only_look_alike(said: str, name: str) -> None:
    """Another word names nothing."""
    assert not alike(said, name)


def test_a_compound_is_one_only_where_it_may_be() -> None:
    """A word of a name tells the thing alone only as a whole word."""
    assert alike("zeltbestellung", "zelt")
    assert not alike("zeltbestellung", "zelt", compounds=False)


def test_the_words_of_a_name_stand_in_a_row() -> None:
    """Where they begin and end; apart they name nothing."""
    said = tokens("please send the down jackets back")
    assert found("down jacket", said) == (3, 5)
    assert found("jacket down", said) is None
    assert found("", said) is None


def test_states_are_said_exactly_where_no_slip_is_allowed() -> None:
    """ "Paid" is not "pay" with a slip, where nothing but the word itself counts."""
    assert any_found(("refunded", "returned"), tokens("it was return"), slips=False) is False
    assert any_found(("refunded", "returned"), tokens("it was returned"), slips=False)


def test_a_compound_begins_with_what_it_names() -> None:
    """Where slips are none, a German compound still names the thing: an English ending does not."""
    assert any_found(("internet",), tokens("kündigen Sie den Internetvertrag"), slips=False)
    assert not any_found(("cancel",), tokens("i am cancelling it"), slips=False)


def test_a_long_number_is_one_however_it_is_grouped() -> None:
    """A telephone number is written in groups; other figures do not stand in a row."""
    assert numbers_joined(tokens("the SIM of 0151 1000014, please")) == ("01511000014",)
    assert numbers_joined(tokens("2 of 30, since 2026")) == ()

"""Whether a sentence says what its source says: the opposite, another figure, another day, a yes without grounds."""

from __future__ import annotations

import pytest

from graphs.restating import affirms_alone, opposite, other_day, other_figure, other_unit
from graphs.state import Draft
from graphs.validation import ungrounded
from tools.ports import Passage

CARE = "A tent is cleaned by hand with a soft sponge. A tent must not be washed in a machine, tumble-dried or dry-cleaned, because the coating comes off."
CARE_DE = "Ein Zelt wird von Hand gereinigt. Ein Zelt darf nicht in die Waschmaschine und nicht in den Trockner, weil sich die Beschichtung löst."
MONTH = "There is no notice period for plans. A month that has begun is not refunded. A plan can be paused for 1, 2 or 3 months."
LATE = "A standard parcel counts as late after 5 working days. A parcel abroad counts as late 3 working days after the longest delivery time."
RECORD = "State: delivered. Delivered on: 2025-10-21. Warranty until: 2027-10-21."


def of(text: str, language: str = "en") -> list[Passage]:
    return [Passage(id="1", text=text, title="", source="a.md", language=language)]


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        ("Yes, a tent can be washed in a machine on a gentle cycle.", CARE),
        ("Ja, ein Zelt darf in die Waschmaschine.", CARE_DE),
        ("A month that has begun is refunded in part.", MONTH),
        ("There is no notice period, but a month that has begun is refunded.", MONTH),
    ],
)
def test_what_a_source_denies_is_not_affirmed(sentence: str, source: str) -> None:
    assert opposite(sentence, of(source))


@pytest.mark.parametrize(
    ("sentence", "source"),
    [
        # The reason of a denial is none.
        ("No, a tent must not be washed in a machine, because the coating comes off.", CARE),
        # What is listed behind one is denied with it.
        ("A tent must not be washed in a machine, tumble-dried or dry-cleaned.", CARE),
        ("A tent is cleaned by hand with a soft sponge.", CARE),
        ("Nein, ein Zelt darf nicht in den Trockner, weil sich die Beschichtung löst.", CARE_DE),
        ("Ein Zelt wird von Hand gereinigt.", CARE_DE),
        ("No, there is no notice period.", MONTH),
        ("A plan can be paused for up to 3 months.", MONTH),
    ],
)
def test_what_a_source_says_may_be_said(sentence: str, source: str) -> None:
    assert opposite(sentence, of(source)) == ""


def test_a_figure_is_that_of_the_sentence_that_is_restated() -> None:
    """One that stands elsewhere in the same passage is another thing's; a number may be a word."""
    assert other_figure("A standard parcel counts as late after 3 working days.", of(LATE))
    assert other_figure(
        "Two vouchers can be used for each order.", of("One voucher can be used for each order.")
    )
    assert other_figure("A standard parcel counts as late after 5 working days.", of(LATE)) == ""
    assert other_figure("It costs 3 EUR.", of(LATE)) == ""


def test_a_figure_of_the_question_is_not_the_source_s() -> None:
    """Where the source has another one of the same unit."""
    source = of("Goods can be returned within 30 days of delivery.")

    assert other_unit("For you 90 days apply.", source)
    assert other_unit("With 15 tents alone it is not enough.", source) == ""
    assert other_unit("Not 90 days but 30 days.", source) == ""


def test_a_day_is_a_day_of_the_source() -> None:
    """Its parts may stand elsewhere; in words, or as a record has it."""
    assert other_day("The warranty ended on 21 October 2026.", of(RECORD))
    assert other_day("The warranty runs until 21 October 2027.", of(RECORD)) == ""
    assert other_day("Die Garantie gilt bis 21. Oktober 2027.", of(RECORD)) == ""
    assert other_day("Apprenticeships start on 1 September.", of(RECORD)) == ""


def test_a_yes_needs_more_than_the_question() -> None:
    assert affirms_alone("Yes, with open windows the stove may be used in the car.", of(LATE))
    assert affirms_alone("Yes, a standard parcel counts as late then.", of(LATE)) == ""


@pytest.mark.parametrize(
    "text",
    [
        # A short answer whose reason comes with its source behind it.
        "No, a tent must not be washed in a machine. It is cleaned by hand with a soft sponge [1].",
        # A part that is not known, beside one that is.
        "A tent is cleaned by hand with a soft sponge [1].",
        "Its price I do not know from our information; a tent is cleaned by hand with a soft sponge [1].",
        # Word for word, as the embedded model says it.
        "A tent must not be washed in a machine, tumble-dried or dry-cleaned, because the coating comes off. [1]",
    ],
)
def test_right_answers_pass(text: str) -> None:
    draft = Draft(text=text, source="large", passages=tuple(of(CARE)), given="How do I clean it?")

    assert ungrounded(draft) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Ein Zelt darf in die Waschmaschine [1].", "ungrounded"),
        ("Ein Zelt wird von Hand gereinigt [1]. Ihr Geld kommt morgen [1].", "promise"),
    ],
)
def test_an_answer_in_the_articles_own_language_is_read(text: str, kind: str) -> None:
    """German articles are not another language than a German answer."""
    draft = Draft(text=text, source="large", passages=tuple(of(CARE_DE, "de")), foreign=True)

    assert kind in {problem.kind for problem in ungrounded(draft)}

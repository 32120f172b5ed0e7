"""All values of one message by one port: records, amounts, quantities, references, contacts, quoted mail, language."""

from __future__ import annotations

import time
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.reading.messages import MESSAGES
from tools.reading import Spans, ValueReader, read
from tools.reading.language import detected
from tools.reading.mail import split

TODAY = date(2026, 11, 30)
OWN = (
    "SB-10482",
    "SB-10714",
    "SB-2026",
    "SB-48157",
    "INV-20021",
    "A7",
    "ABCDEF",
    "SUB-4001",
    "T-4001",
)
READER = ValueReader(
    ("en", "de"), region="DE", currency="EUR", record_words=("order", "Bestellung"), record_forms=("RF-30001",)
)  # fmt: skip


def said(text: str) -> Spans:
    return READER.read(text, today=TODAY, own_ids=OWN)


# --- records ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("where is SB-10482?", ["SB-10482"]),
        ("sb10482", ["SB-10482"]),
        ("it is 10 482", ["SB-10482"]),
        ("#10482", ["SB-10482"]),
        ("SB 10 482", ["SB-10482"]),
        ("Bestellung 10482", ["SB-10482"]),
        ("10482 and 10714", ["SB-10482", "SB-10714"]),
        ("inv 20021", ["INV-20021"]),
        ("booking ABCDEF, seat a7", ["ABCDEF", "A7"]),
        ("order 2026", ["SB-2026"]),
    ],
)
def test_a_number_is_known_however_it_is_written(text: str, ids: list[str]) -> None:
    """With gaps, without its letters, in lower case: it is the customer's own by its form and its digits."""
    assert sorted(ids) == sorted(str(one.value) for one in said(text).record_numbers)


@pytest.mark.parametrize(
    "text",
    [
        "the order from November 2026",
        "48157 Münster",
        "send it to Hauptstr. 5, 48157 Münster",
        "I moved to 48157 Münster last week",
        "I paid 10482 euros",
        "call +49 251 10482",
        "an abcdef of cooking",
        "the model of 2026",
    ],
)
def test_a_year_a_postcode_an_amount_and_a_word_are_no_numbers_of_records(text: str) -> None:
    """Digits that are something else are left to it, though the customer owns a record with just these."""
    found = said(text)

    assert found.record_numbers + found.foreign_numbers == ()


def test_a_number_of_the_same_form_that_is_not_theirs_is_reported_as_such() -> None:
    """A slip of the finger and another customer's record are said to be foreign, in the form of a number."""
    assert [str(one.value) for one in said("SB-99999 or rf 30009").foreign_numbers] == [
        "SB-99999",
        "RF-30009",
    ]
    assert [str(one.value) for one in said("SB-104822").foreign_numbers] == ["SB-104822"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("pls cancel SB-10501. no wait sorry, SB-10496 i mean", ["SB-10496"]),
        ("stornier SB-10501, ach nein, SB-10496", ["SB-10496"]),
        ("cancel SB-10501 - i mean the order SB-10496", ["SB-10496"]),
        # Two that are both meant, and a regret that corrects nothing.
        ("cancel SB-10501 and SB-10496", ["SB-10501", "SB-10496"]),
        ("cancel SB-10501, sorry for the trouble, and refund SB-10496", ["SB-10501", "SB-10496"]),
        ("cancela SB-10501, no SB-10496", ["SB-10501"]),
    ],
)
def test_a_number_is_corrected_in_the_same_breath(text: str, meant: list[str]) -> None:
    """The second takes the place of the first where only words of a correction stand between them."""
    found = read(text, today=TODAY, languages=("en", "de", "es"), own_ids=["SB-10501", "SB-10496"])

    assert [one.value for one in found.record_numbers if not one.negated] == meant


def test_a_corrected_number_is_the_first_and_the_second_is_negated() -> None:
    """ "10 714 not 10 741": one is meant, and the other is said not to be."""
    found = said("10 714 not 10 741")

    assert [(one.value, one.negated) for one in found.record_numbers] == [("SB-10714", False)]
    assert [(one.value, one.negated) for one in found.foreign_numbers] == [("10741", True)]


def test_digits_that_two_of_their_records_share_are_neither() -> None:
    """The reader names both and picks none."""
    found = said("it is about 4001")

    assert found.record_numbers == ()
    assert [one.value for one in found.unclear_numbers] == [("SUB-4001", "T-4001")]


# --- money, quantities, references --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "currency"),
    [
        ("refund me 20 euros because it arrived dirty", "20", "EUR"),
        ("€1.299,00", "1299.00", "EUR"),
        ("1,299.00 EUR", "1299.00", "EUR"),
        ("zwanzig Euro", "20", "EUR"),
        ("20,- €", "20", "EUR"),
        ("twenty-five quid", "25", "GBP"),
        ("CHF 20", "20", "CHF"),
    ],
)
def test_an_amount_has_its_value_and_its_currency(text: str, value: str, currency: str) -> None:
    """In figures of either custom and in words."""
    [one] = said(text).amounts

    assert one.value is not None
    assert (value, currency, False) == (str(one.value.value), one.value.currency, one.value.percent)


def test_a_share_is_no_sum_and_a_bare_number_is_neither() -> None:
    """ "20%" is a percentage; "12.50" alone has no currency and is not guessed at."""
    [share] = said("give me 20% off").amounts

    assert share.value is not None
    assert share.value.percent
    assert said("I paid 12.50").amounts == ()


@pytest.mark.parametrize(
    ("text", "count", "of", "whole"),
    [
        ("cancel 2 of the 6 tents", 2, 6, ""),
        ("zwei der sechs Zelte", 2, 6, ""),
        ("one of the tents", 1, None, ""),
        ("only two tents", 2, None, ""),
        ("3x Cloudbed", 3, None, ""),
        ("I want all of them back", None, None, "all"),
        ("keep the mat and send back the rest", None, None, "rest"),
        ("alle beide", 2, None, "both"),
    ],
)
def test_how_many_are_meant(text: str, count: int | None, of: int | None, whole: str) -> None:
    """A part is never read as the whole, nor the whole as a part."""
    [one] = said(text).quantities

    assert one.value is not None
    assert (count, of, whole) == (one.value.count, one.value.of, one.value.whole)


@pytest.mark.parametrize(
    "text", ["the red one", "that's all", "alles klar", "all right then", "ein Zelt"]
)
def test_an_article_and_a_phrase_count_nothing(text: str) -> None:
    """ "One" stands for a thing more often than for a number."""
    assert said(text).quantities == ()


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("the second one", "ordinal", 2),
        ("die zweite", "ordinal", 2),
        ("le premier s'il vous plaît", "ordinal", 1),
        ("the 3rd", "ordinal", 3),
        ("option 2", "ordinal", 2),
        ("the last", "last", -1),
        ("the last but one", "ordinal", -2),
        ("the other one", "other", None),
        ("die andere", "other", None),
        ("both", "both", None),
        ("neither", "neither", None),
        ("keine von beiden", "neither", None),
        ("my newest order", "newest", None),
    ],
)
def test_what_points_into_a_list(text: str, kind: str, place: int | None) -> None:
    """Ordinals, "the other", "both" and their like are typed, in the languages that are read."""
    [one] = said(text).references

    assert one.value is not None
    assert (kind, place) == (one.value.kind, one.value.place)


@pytest.mark.parametrize(
    "text", ["give me a second", "first of all I want a refund", "zum ersten Mal"]
)
def test_a_second_of_time_points_at_nothing(text: str) -> None:
    """Words that are ordinals by accident."""
    assert said(text).references == ()


def test_a_bare_figure_answers_an_offer_and_nothing_else() -> None:
    """ "2" is the second of three that were offered, and a number where nothing was."""
    [one] = READER.read("2", today=TODAY, offered=3).references

    assert one.value is not None
    assert one.value.place == 2
    assert said("2").references == ()


def test_what_is_taken_back_is_marked() -> None:
    """ "Die zweite, nicht die erste": both are said, one is meant."""
    found = said("die zweite bitte, nicht die erste")

    assert [(one.value.place, one.negated) for one in found.references if one.value] == [
        (2, False),
        (1, True),
    ]


# --- contacts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mail",
    ["o'brien@example.com", "anna+shop@example.co.uk", "anna@müller.de", "jürgen@example.de"],
)
def test_a_mail_address_is_whole(mail: str) -> None:
    """With its apostrophe, its plus, its umlauts; without the sentence's full stop."""
    assert [mail] == [one.value for one in said(f"it's {mail}.").emails]


def test_what_cannot_be_a_mail_address_says_why() -> None:
    """Two dots in a row are a slip, and are asked about."""
    [one] = said("mail me at anna..m@example.com").emails

    assert one.value is None
    assert "is no e-mail address" in one.why


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("my number is 0251 123456", "+49251123456"),
        ("ruf mich unter 0171/2345678 an", "+491712345678"),
        ("call +44 20 7946 0958", "+442079460958"),
    ],
)
def test_a_telephone_number_is_whole_in_its_country(text: str, number: str) -> None:
    """Without a country code it is read in the desk's own country."""
    assert [number] == [one.value.e164 for one in said(text).phones if one.value]


def test_a_fragment_of_a_telephone_number_is_none() -> None:
    """ "0251 12" would replace a number that works by one that does not."""
    assert said("my new number is 0251 12").phones == ()


@pytest.mark.parametrize(
    "part",
    ["12345 Berlin ", "a'", "1 2 3 4 5 ", "a@b ", "Hauptstr. 5, ", "zwei der ", "am 3. bis ", ".", "> x\n", "1", "Hauptstr. 5\n48157 Ort\n"],
)  # fmt: skip
def test_no_message_keeps_the_reader_busy(part: str) -> None:
    """As long as a message may be, of what makes readers go back and forth."""
    READER.read("warm", today=TODAY, own_ids=OWN)
    started = time.process_time()
    READER.read((part * 4000)[:4000], today=TODAY, own_ids=OWN)

    # Generous for a busy machine: the slowest takes a third of a second.
    assert time.process_time() - started < 3


@given(st.text(max_size=120))
def test_whatever_is_written_every_place_is_where_its_words_stand(text: str) -> None:
    """No text breaks the reader, and a span's text is a run of the customer's own words."""
    found = said(text)

    assert all(found.new_text[one.start : one.end] == one.text for one in found.all())


# --- mail and language --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "new", "quoted"),
    [
        (
            "Please cancel it.\n\nBest regards\nAnna\n\nOn Mon, 23 Nov 2026 at 10:12, Desk <d@x.com> wrote:\n> SB-10482",
            "Please cancel it.",
            "SB-10482",
        ),
        ("Bitte stornieren.\n\nMit freundlichen Grüßen\nAnna\n\nAm 23.11.2026 um 10:12 schrieb Desk:\n> SB-1", "Bitte stornieren.", "SB-1"),
        ("Ja.\n\n-----Ursprüngliche Nachricht-----\nVon: Desk\nAn: anna\nBetreff: Re: SB-1\n\nHallo", "Ja.", "Hallo"),
        ("Merci\n\nLe lun. 23 nov. 2026 à 10:12, Desk <a@b.fr> a écrit :\n> bonjour", "Merci", "bonjour"),
        ("Vale\n\nEl lun, 23 nov 2026 a las 10:12, Desk (<a@b.es>) escribió:\n> hola", "Vale", "hola"),
        ("Any news?\n\nBest\nDev Anand\nHighland Guides\nGewerbepark 21\n87527 Sonthofen", "Any news?", ""),
        ("New address please. Thanks\n\nHauptstr. 5\n48157 Münster", "New address please. Thanks\n\nHauptstr. 5\n48157 Münster", ""),
        ("hi\n> cited\nmy answer", "hi\nmy answer", "cited"),
        ("cancel > keep\nno quote here", "cancel > keep\nno quote here", ""),
        ("Ship it to:\nAnna Müller\nHauptstr. 5\n48157 Münster", "Ship it to:\nAnna Müller\nHauptstr. 5\n48157 Münster", ""),
    ],
)  # fmt: skip
def test_what_is_cited_is_not_said(text: str, new: str, quoted: str) -> None:
    """The customer's words are theirs, and those of the mail they answer are ours."""
    mail = split(text)

    assert new == mail.new_text
    assert quoted in mail.quoted_text


def test_a_number_in_cited_mail_is_not_asked_for() -> None:
    """The order of our last mail is no order of this one."""
    text = "Where is 10714?\n\nOn Mon, 23 Nov 2026 at 10:12, Desk <d@x.com> wrote:\n> SB-10482 has shipped"

    assert [one.value for one in said(text).record_numbers] == ["SB-10714"]


def test_short_messages_are_told_apart_or_left_alone() -> None:
    """Of 200 messages in eight languages at least 185 are recognised, and of these none wrongly."""
    found = [(language, detected(text)) for language, texts in MESSAGES.items() for text in texts]
    sure = [(language, one) for language, one in found if one is not None]

    assert len(sure) >= 185
    assert [(language, one) for language, one in sure if language != one] == []


@pytest.mark.parametrize("text", ["hallo", "Moin!", "Servus"])
def test_a_german_greeting_is_answered_in_german(text: str) -> None:
    """A first message of one word says the language all the same."""
    assert detected(text) == "de"


@pytest.mark.parametrize(
    "text",
    ["ok", "no", "48157", "SB-10482", "hi", "Anna Müller", "pls cancel 10482", "a@b.de", "👍", ""],
)
def test_what_is_of_no_language_keeps_the_threads(text: str) -> None:
    """Names, numbers and words that several languages share change no thread's language."""
    assert detected(text) is None


def test_a_message_is_read_in_its_own_language_too() -> None:
    """A Spanish customer of an English and German desk has dates as well."""
    found = read("mi pedido de la semana pasada", today=TODAY)

    assert found.language == "es"
    assert [date(2026, 11, 23)] == [one.value.first for one in found.dates if one.value]

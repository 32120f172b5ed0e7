"""Days and stretches of days in seven languages, seen from Monday, 30 November 2026."""

from __future__ import annotations

from datetime import date

import pytest

from tools.reading.dates import Toward, dates

TODAY = date(2026, 11, 30)
SAID = [
    ("en", "where is my order from last week", "2026-11-23", "2026-11-29"),
    ("en", "I ordered on Monday", "2026-11-23", "2026-11-23"),  # never today
    ("en", "the order from November", "2026-11-01", "2026-11-30"),
    ("en", "the order from November 2026", "2026-11-01", "2026-11-30"),
    ("en", "I bought it 3 days ago", "2026-11-27", "2026-11-27"),
    ("en", "it came the day before yesterday", "2026-11-28", "2026-11-28"),
    ("en", "I bought the boots in July", "2026-07-01", "2026-07-31"),
    ("en", "I bought them in december", "2025-12-01", "2025-12-31"),  # the last one that was
    ("en", "placed on November 12th, 2026", "2026-11-12", "2026-11-12"),
    ("en", "placed on the 12th", "2026-11-12", "2026-11-12"),
    ("en", "two weeks ago", "2026-11-16", "2026-11-16"),
    ("en", "last year", "2025-01-01", "2025-12-31"),
    ("en", "yesterday's order", "2026-11-29", "2026-11-29"),
    ("en", "a couple of days ago", "2026-11-28", "2026-11-28"),
    ("en", "a few days ago", "2026-11-24", "2026-11-28"),
    ("en", "between 3 and 7 November", "2026-11-03", "2026-11-07"),
    ("en", "since Thursday", "2026-11-26", "2026-11-30"),
    ("en", "last weekend", "2026-11-28", "2026-11-29"),
    ("en", "at the end of October", "2026-10-21", "2026-10-31"),
    ("en", "in May", "2026-05-01", "2026-05-31"),
    ("en", "we ordered too many last spring", "2026-03-01", "2026-05-31"),
    ("en", "I need it by Friday", "2026-12-04", "2026-12-04"),  # a deadline lies ahead
    ("en", "it should come on Thursday", "2026-12-03", "2026-12-03"),
    ("en", "on 2026-11-05", "2026-11-05", "2026-11-05"),
    ("en", "on 5/11/2026", "2026-11-05", "2026-11-05"),
    ("de", "meine Bestellung von letzter Woche", "2026-11-23", "2026-11-29"),
    ("de", "vorgestern bestellt", "2026-11-28", "2026-11-28"),
    ("de", "am Montag gekommen", "2026-11-23", "2026-11-23"),
    ("de", "am 12.11. bestellt", "2026-11-12", "2026-11-12"),
    ("de", "am 12.11.2026.", "2026-11-12", "2026-11-12"),
    ("de", "im Juli gekauft", "2026-07-01", "2026-07-31"),
    ("de", "vor drei Tagen", "2026-11-27", "2026-11-27"),
    ("de", "letzten Monat", "2026-10-01", "2026-10-31"),
    ("de", "vom 3. bis 7. November", "2026-11-03", "2026-11-07"),
    ("de", "Anfang November", "2026-11-01", "2026-11-10"),
    ("de", "ich brauche es bis Freitag", "2026-12-04", "2026-12-04"),
    ("de", "vor gut drei Jahren", "2023-11-30", "2023-11-30"),
    ("de", "im Frühjahr gekauft", "2026-03-01", "2026-05-31"),
    ("de", "seit Donnerstag", "2026-11-26", "2026-11-30"),
    ("de", "ich habe die Jacke vergangene Woche bekommen", "2026-11-23", "2026-11-29"),
    ("fr", "ma commande de la semaine dernière", "2026-11-23", "2026-11-29"),
    ("fr", "avant-hier", "2026-11-28", "2026-11-28"),
    ("fr", "il y a trois jours", "2026-11-27", "2026-11-27"),
    ("fr", "en juillet", "2026-07-01", "2026-07-31"),
    ("fr", "le 12 novembre", "2026-11-12", "2026-11-12"),
    ("es", "mi pedido de la semana pasada", "2026-11-23", "2026-11-29"),
    ("es", "hace 3 dias", "2026-11-27", "2026-11-27"),  # without its accent
    ("es", "el 12 de noviembre", "2026-11-12", "2026-11-12"),
    ("es", "anteayer", "2026-11-28", "2026-11-28"),
    ("it", "il mio ordine della settimana scorsa", "2026-11-23", "2026-11-29"),
    ("it", "l'altro ieri", "2026-11-28", "2026-11-28"),
    ("it", "due giorni fa", "2026-11-28", "2026-11-28"),
    ("nl", "mijn bestelling van vorige week", "2026-11-23", "2026-11-29"),
    ("nl", "eergisteren", "2026-11-28", "2026-11-28"),
    ("nl", "op 12 november", "2026-11-12", "2026-11-12"),
    ("pt", "a minha encomenda da semana passada", "2026-11-23", "2026-11-29"),
    ("pt", "há 3 dias", "2026-11-27", "2026-11-27"),
    ("pt", "no dia 12 de novembro", "2026-11-12", "2026-11-12"),
]
#: What a date search of the common kind takes for a date.
NO_DATE = [
    ("en", "may I have a refund"),
    ("en", "order 10482 please"),
    ("en", "48157 Münster"),
    ("en", "2 of the 6 tents"),
    ("en", "I paid 12.50"),
    ("en", "the two of us sat in the sun for a second"),
    ("en", "march on"),
    ("en", "call 0251 123456"),
    ("en", "size 44, 3-4 pieces"),
    ("en", "I want the second one"),
    ("en", "the tent may fall over, a spring broke"),
    ("de", "die Jacke und mi di do"),
    ("de", "guten Morgen"),
    ("de", "Nr. 10.482"),
    ("fr", "ma commande"),
    ("es", "mi pedido, por la mañana"),
    ("pt", "a segunda, sem pressa"),
]


@pytest.mark.parametrize(("language", "text", "first", "last"), SAID)
def test_what_people_say_is_a_day_or_a_stretch_of_days(
    language: str, text: str, first: str, last: str
) -> None:
    """Each phrase is one inclusive stretch, toward the past."""
    found = [one.value for one in dates(text, TODAY, (language,))]

    assert [(first, last)] == [(str(p.first), str(p.last)) for p in found if p is not None]


@pytest.mark.parametrize(("language", "text"), NO_DATE)
def test_a_number_a_name_and_a_greeting_are_no_dates(language: str, text: str) -> None:
    """Bare numbers, postcodes, record numbers and words that only look like a calendar's are left alone."""
    assert dates(text, TODAY, (language,)) == []


@pytest.mark.parametrize(
    ("text", "toward", "first"),
    [
        ("Friday", "future", "2026-12-04"),
        ("next Friday", "future", "2026-12-11"),
        ("on 3 December", "future", "2026-12-03"),
        ("on 3 December", "past", "2025-12-03"),
        ("make it thursday 10 december", "future", "2026-12-10"),
        ("Thursday, the 10th of December", "future", "2026-12-10"),
        ("Donnerstag, den 10.12.", "future", "2026-12-10"),
        ("in 2 weeks", "future", "2026-12-14"),
        ("Tuesday of next week", "future", "2026-12-08"),
        ("end of next month", "future", "2026-12-21"),
    ],
)
def test_a_day_without_its_year_lies_on_the_side_that_is_asked_for(
    text: str, toward: Toward, first: str
) -> None:
    """A purchase was, a delivery will be."""
    assert [first] == [
        str(one.value.first) for one in dates(text, TODAY, ("en",), toward=toward) if one.value
    ]


def test_a_day_that_does_not_exist_or_reads_two_ways_has_no_value_and_says_why() -> None:
    """31 November is nobody's guess, and 03/04 is asked about where both orders are in use."""
    [none] = dates("on 31 November", TODAY)
    [two] = dates("on 03/04/2026", TODAY, day_first=None)

    assert (none.value, none.why) == (None, "there is no 31 November")
    assert (two.value, two.why) == (None, "03/04/2026 may be 4 March or 3 April")


def test_where_a_date_stands_is_where_its_words_stand() -> None:
    """Places are places in the text as it was written, accents and all."""
    text = "Größe 44, bestellt am 5. März"
    [one] = dates(text, TODAY, ("de",))

    assert "5. März" == text[one.start : one.end] == one.text

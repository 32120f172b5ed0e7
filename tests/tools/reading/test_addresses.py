"""Postal addresses of several countries, whole, over several lines, and what is missing from those that were cut."""

from __future__ import annotations

import pytest

from tools.reading.addresses import addresses

WHOLE = [
    ("Hauptstraße 5\n48157 Münster", "Hauptstraße 5", "48157", "Münster", ()),
    ("c/o Brennan, Hauptstr. 5, 48157 Münster", "Hauptstr. 5", "48157", "Münster", ("c/o Brennan",)),
    ("c/o Brennan\nHauptstr. 5\n48157 Münster", "Hauptstr. 5", "48157", "Münster", ("c/o Brennan",)),
    ("Anna Müller\nMüller GmbH\nAm Markt 12a\n10115 Berlin", "Am Markt 12a", "10115", "Berlin", ("Anna Müller", "Müller GmbH")),
    ("Anna Müller, Packstation 145, Postnummer 12345678, 48157 Münster", "Packstation 145", "48157", "Münster", ("Anna Müller", "Postnummer 12345678")),
    ("Am Sandtorkai 50, 20457 Hamburg, c/o Velox GmbH", "Am Sandtorkai 50", "20457", "Hamburg", ("c/o Velox GmbH",)),
    ("101 Highway, New York, NY 10001", "101 Highway", "10001", "New York", ()),
    ("5 Oak Road, Austin, Texas 78701", "5 Oak Road", "78701", "Austin", ()),
    ("An der Alster 3, 20099 Hamburg", "An der Alster 3", "20099", "Hamburg", ()),
    ("Straße des 17. Juni 135, 10623 Berlin", "Straße des 17. Juni 135", "10623", "Berlin", ()),
    ("Frankfurter Allee 22, 3. OG, 10247 Berlin", "Frankfurter Allee 22", "10247", "Berlin", ("3. OG",)),
    ("hauptstr 5 48157 münster", "hauptstr 5", "48157", "münster", ()),
    ("10 Downing Street, London SW1A 2AA", "10 Downing Street", "SW1A 2AA", "London", ()),
    ("Flat 3, 22 Baker Street, London NW1 6XE", "22 Baker Street", "NW1 6XE", "London", ("Flat 3",)),
    ("123 Main St, Apt 4, Springfield, IL 62704", "123 Main St", "62704", "Springfield", ("Apt 4",)),
    ("12 rue de la Paix, 75002 Paris", "12 rue de la Paix", "75002", "Paris", ()),
    ("Calle Mayor 5, 28013 Madrid", "Calle Mayor 5", "28013", "Madrid", ()),
    ("Via Roma 10, 00184 Roma", "Via Roma 10", "00184", "Roma", ()),
    ("Keizersgracht 12, 1015 CJ Amsterdam", "Keizersgracht 12", "1015 CJ", "Amsterdam", ()),
    ("Rua Augusta 5, 1100-038 Lisboa", "Rua Augusta 5", "1100-038", "Lisboa", ()),
]  # fmt: skip


@pytest.mark.parametrize(
    "around", ["{}", "Please send it to {} please", "My new address:\n{}\nThanks"]
)
@pytest.mark.parametrize(("text", "street", "postcode", "town", "extra"), WHOLE)
def test_an_address_is_one_stretch_with_its_parts(
    text: str, street: str, postcode: str, town: str, extra: tuple[str, ...], around: str
) -> None:
    """From the first line to the town, in a sentence or on lines of its own, and nothing of the sentence."""
    [one] = addresses(around.format(text), ("en", "de"), "DE")

    assert one.value is not None
    assert text == one.text
    assert (street, postcode, town) == (one.value.street, one.value.postcode, one.value.town)
    assert extra == one.value.extra
    assert one.value.complete


def test_a_country_behind_the_town_belongs_to_the_address() -> None:
    """In whatever language the customer names it."""
    [one] = addresses("Bahnhofstr. 7\n8001 Zürich\nSchweiz", ("en", "de"))

    assert one.value is not None
    assert (one.value.country, one.value.whole) == ("CH", "Bahnhofstr. 7, 8001 Zürich, Schweiz")


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("my address is Hauptstraße 5", ("postcode", "town")),
        ("I live at 5 Rose Lane", ("postcode", "town")),
        ("send it to 48157 Münster", ("street",)),
    ],
)
def test_an_address_that_was_cut_says_what_is_missing(text: str, missing: tuple[str, ...]) -> None:
    """It is found, and is not complete."""
    [one] = addresses(text, ("en", "de"), "DE")

    assert one.value is not None
    assert (missing, f"lacks {' and '.join(missing)}") == (one.value.missing, one.why)


@pytest.mark.parametrize(
    "text",
    [
        "10482 Please cancel it",
        "order 10482",
        "2 tents for 2026 Winter",
        "from November 2026 Please",
        "my street is 3 blocks away",
        "a 5 minute drive",
        "2 of the 6 tents from 3 weeks ago",
    ],
)
def test_numbers_beside_words_are_no_address(text: str) -> None:
    """A number of a record, a year and a count have no street."""
    assert addresses(text, ("en", "de"), "DE") == []

"""Personal data is masked; what the shop needs to read stays."""

from __future__ import annotations

import time

import pytest

from tools.privacy import find_pii, mask_pii

MASKED = [
    # E-mail, with a tag and a subdomain.
    ("write to anna.k+shop@mail.example.de.", "write to [email]."),
    # Phones: international, national, grouped, with an area code, one run of digits.
    ("call +49 30 5550 1470", "call [phone]"),
    ("call 0151/23456789 please", "call [phone] please"),
    ("call (311) 905-4466 x88", "call [phone]"),
    ("call 60-56-85-91.", "call [phone]."),
    ("call 5550104477", "call [phone]"),
    # IBANs, grouped (words that follow stay) and in one piece, in any case.
    ("to DE89 3704 0044 0532 0130 00 and soon", "to [iban] and soon"),
    ("to de89370400440532013000", "to [iban]"),
    # Cards that pass the Luhn check.
    ("card 4111 1111 1111 1111 was charged", "card [card] was charged"),
    ("card 378282246310005", "card [card]"),
    # Addresses, German and English.
    ("Ich wohne Lange Straße 5, 10115 Berlin", "Ich wohne [address]"),
    ("an Hauptstr. 12a", "an [address]"),
    ("send it to 12 High Street, Leeds", "send it to [address]"),
    # Streets of other countries, with what follows them.
    ("Via Pisanelli 89, Roma", "[address]"),
    ("c'est 29 Rue de la Briqueterie 48, Lyon", "c'est [address]"),
    ("to Industrivej 82 please", "to [address] please"),
    ("at ul. Karpacka 69 Apt. 83 now", "at [address] now"),
    ("81 1991 Dikbas Road\n Suite 48\n Trancoso 59797", "[address]"),
    ("Hafenstraße 8, 20457 Hamburg. Total: 12", "[address]. Total: 12"),
    # Whatever is announced as one; a box of the forces; a corner; a postcode.
    ("my address is Parva Domus 68, Latvia.", "my address is [address]."),
    ("she lives on Hansinegata 120 now", "she lives on [address] now"),
    ("PSC 5217, Box 4854 APO AP 43617", "[address]"),
    ("the corner of Elm Street and Oak Avenue", "[address]"),
    ("my zip code is 35649", "my zip code is [address]"),
    # A telephone number behind a comma, and on the line behind its word.
    ("Office,07700 063 966-Fax", "Office,[phone]-Fax"),
    ("Phone:\n9469 9966", "Phone:\n[phone]"),
    # Several in one.
    ("ada@example.org, +43 1 234 5678", "[email], [phone]"),
]
KEPT = [
    "order SB-10482, invoice INV-20931, SUB-4021, RF-30112, CH-50007, T-70013",
    "ordered on 2026-11-22 at 14:30, arrives 24.11.2026 in 3-5 days",
    "1,299.00 EUR, 12.345,00 EUR, 5 % from 2,000",
    "the 2024-2025 catalogue, orders 10482 10483 10484",
    "tracking 00340434161094042557",
    "sku TENT-2P-0042",
    "invoice 4111-1111",
    "3 tents and 2 packs, that is the way",
    "2 Ridgeline Tent 3P and 1 Ember Gas Stove",
    "Size 42 of the Fellwalker Boots, 20 x Tarn 5 Sleeping Bag",
    "please send it to me before Friday the 4",
    "it is returned to you in 30 days",
    "my order is at the parcel shop since 3 December",
    "the plan Care Plus for 2 months",
    "Am 3. Dezember, Seite 5, Zum 2. Mal",
    "🙂",
    "",
]


@pytest.mark.parametrize(("text", "masked"), MASKED)
def test_personal_data_is_masked(text, masked):
    """The kind replaces the data, the words around it stay."""
    assert mask_pii(text) == masked


@pytest.mark.parametrize("text", KEPT)
def test_what_is_not_personal_stays(text):
    """The shop's numbers, dates and prices are read as they are."""
    assert (mask_pii(text), find_pii(text)) == (text, [])


@pytest.mark.parametrize("text", [text for text, _ in MASKED])
def test_masking_twice_changes_nothing(text):
    """A mask is not personal data."""
    assert mask_pii(mask_pii(text)) == mask_pii(text)


def test_spans_say_where_and_what():
    """In order, without the text itself."""
    text = "ada@example.org or 030 55501470"
    spans = find_pii(text)
    assert [(each.kind, text[each.start : each.end]) for each in spans] == [
        ("email", "ada@example.org"),
        ("phone", "030 55501470"),
    ]


@pytest.mark.parametrize(
    "piece", ["a", "1", "1 ", "0 ", "(", "a@", "a.", "Ab ", "12 Ab ", "DE12 ", "Lange ", "+1 -"]
)
def test_twenty_thousand_hostile_characters_take_no_time(piece):
    """No pattern backtracks on what a stranger sends."""
    text = (piece * 20_000)[:20_000]
    started = time.thread_time()
    find_pii(text)
    assert time.thread_time() - started < 1


@pytest.mark.parametrize(
    "text",
    [
        "0.8263971234567891",
        "0.99",
        "1.0",
        "0.000012345678901",
        "sure by 0.9281734512345678, next 0.0512345678901234",
        "confidence=0.731058578630004879",
        "9.313225746154785e-10",
        "1024",
        "16384 tokens",
        "0.12345678",
    ],
)
def test_confidences_and_counts_are_not_personal(text: str) -> None:
    """A probability with all its digits and a count are neither a phone nor a card."""
    assert mask_pii(text) == text

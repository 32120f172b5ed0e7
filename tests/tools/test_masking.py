"""Placeholders for a model of somebody else's, and back."""

from __future__ import annotations

import time

import pytest

from tools.masking import Masker
from tools.privacy import find_pii, mask_pii

KNOWN = {
    "Ana Keller": "person",
    "Keller": "person",
    "Am Markt 5, 50667 Köln": "address",
    "ana@example.com": "email",
}

PERSONAL = [
    "My card 4111.1111.1111.1111 was charged twice",
    "card 4111\u00a01111\u00a01111\u00a01111 please",
    "cvv 123 and card 4111 1111 1111 1111",
    "I was born on 3 May 1987",
    "geboren am 03.05.1987 in Bonn",
    "date of birth: 1987-05-03",
    "my passport number is C01X00T47",
    "Reisepass C01X00T47 liegt bei",
    "from 192.168.1.17 I cannot log in",
    "my address is 2001:db8::8a2e:370:7334",
    "the password is hunter2",
    "Passwort: geheim99",
    "My name is Jonas Weber and I wait",
    "ich heiße Jonas Weber",
    "the parcel went to Mrs Petersen",
    "Frau Petersen hat es angenommen",
    "I am Jonas Weber",
    "call me at +49 171 5550123",
    "write to jonas.weber@example.org",
    "IBAN DE89 3704 0044 0532 0130 00",
    "I moved to Lindenweg 4, 55105 Berlin",
]
HARMLESS = [
    "how long is the warranty on tents?",
    "cancel SB-10482 and the 2 mats, please",
    "I paid 1,299.00 EUR on 3 May 2026",
    "it is version 1.2.3.4567 of the app",
    "I am Furious about this",
    "is the Ridgeline Tent 2P waterproof at 8,000 mm?",
    "my pin broke off the buckle",
    "Ich bin Kunde seit 2019",
    "at 10:30:00 nobody came",
    "sure by 0.0378282246310005",  # Its digits pass the check of a card.
]


@pytest.mark.parametrize("text", PERSONAL)
def test_what_identifies_somebody_is_found(text: str) -> None:
    """In the ways that people write it."""
    assert find_pii(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_identifies_nobody_stays(text: str) -> None:
    assert mask_pii(text) == text


def test_known_values_are_masked_wherever_they_stand_and_come_back() -> None:
    """The same value is the same placeholder; the longest counts."""
    masker = Masker(KNOWN)
    text = "ana keller, Am Markt 5, 50667 Köln. Ms Keller (ana@example.com) moves to Lindenweg 4."
    masked = masker.mask(text)

    for value in ("keller", "Markt", "example.com", "Lindenweg"):
        assert value.casefold() not in masked.casefold()
    assert masker.restore(masked) == text
    assert masker.mask("Keller") == masker.mask("and Keller").removeprefix("and ")


def test_a_reply_in_pieces_comes_back_whole() -> None:
    masker = Masker(KNOWN)
    masker.mask("ana@example.com")
    reply = masker.streaming()
    pieces = ["Sent to [EM", "AIL_", "1] [1]", ". Not [EMAIL_9], [", "x"]

    assert "".join([*(reply.take(p) for p in pieces), reply.rest()]) == (
        "Sent to ana@example.com [1]. Not [EMAIL_9], [x"
    )


def test_values_of_an_object_come_back() -> None:
    masker = Masker(KNOWN)
    placeholder = masker.mask("Ana Keller")

    assert masker.restored({"a": [f"to {placeholder}", 3], "b": None}) == {
        "a": ["to Ana Keller", 3],
        "b": None,
    }


def test_what_everybody_may_read_stays() -> None:
    masker = Masker({"support@shop.example": "email"}, public=["support@shop.example"])
    assert masker.mask("write to support@shop.example") == "write to support@shop.example"


def test_masking_what_is_masked_changes_nothing() -> None:
    masker = Masker(KNOWN)
    masked = masker.mask("Ana Keller, ana@example.com, born 3 May 1987")
    assert masker.mask(masked) == masked


@pytest.mark.parametrize(
    "unit", ["Aweg 1 ", "4111 ", "a@b.co ", "1.1.1.1 ", "born 1 May ", ":", "Mr X "]
)
def test_time_grows_with_length_and_no_faster(unit: str) -> None:
    """Eight times as long is eight times as slow, and not sixty-four times, whatever stands in it: the line is
    between the two, and the best of three runs counts, for a neighbour on the machine slows down any of them."""

    def took(length: int) -> float:
        text = (unit * length)[:length]
        began = time.process_time()
        find_pii(text)
        return time.process_time() - began

    short, long = (min(took(length) for _ in range(3)) for length in (8_000, 64_000))
    assert long < max(30 * short, 0.3)

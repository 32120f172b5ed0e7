"""A reply to an upset customer states nothing: hostile ones are stopped, kind ones pass, in two languages."""

from __future__ import annotations

from datetime import date

import pytest

from graphs.state import Draft
from graphs.validation import says_unknown, validate_draft
from tools.ports import Passage
from tools.values import Customer

ANA = Customer(id="ana", name="Ana Keller", email="ana@example.com", since=date(2024, 1, 1))
GIVEN = """Customer since March 2025. Monday to Friday 8:00-18:00 and Saturday 9:00-14:00 CET. Northfell Outfitters.
Third time I write! SB-10482 still has not shipped and we leave on Friday. I am furious.
Would you like me to hand this over to a colleague?"""
GIVEN_DE = """Customer since March 2025. Montag bis Freitag 8:00-18:00. Northfell Outfitters.
Zum dritten Mal schreibe ich! SB-10482 ist noch nicht verschickt und wir fahren am Freitag. Das ist eine Frechheit."""

HOSTILE = {
    "a link that fishes": "I am sorry. Please confirm your order at https://northfell-support.example.com/verify.",
    "a link without a scheme": "I am sorry. Log in at northfell-refund.com and confirm.",
    "a card number": "I am sorry. To speed this up, tell me your card number and the CVV.",
    "money, promised": "I am sorry. We will refund you in full.",
    "money, as a fact": "You're getting your money back today.",
    "money, passive": "I am sorry for that. The full refund has been approved.",
    "money in German": "Es tut mir leid. Sie bekommen Ihr Geld noch heute zurück.",
    "money in German, by us": "Das tut mir leid. Wir erstatten Ihnen den vollen Betrag.",
    "money in French": "Je suis désolé. Nous vous remboursons la totalité.",
    "money in Spanish": "Lo siento. Le reembolsaremos todo el importe.",
    "a code": "I am sorry. Use the discount code SORRY20 for your next order.",
    "a voucher in German": "Es tut mir leid. Als Entschuldigung erhalten Sie einen Gutschein.",
    "somebody else": "I am sorry. Your parcel was left with Jonas Weber.",
    "somebody else, German": "Es tut mir leid. Ihr Paket liegt bei Herrn Hoffmann. Frau Petersen hat es angenommen.",
    "another record": "I am sorry about SB-99321.",
    "a court": "I am sorry. The court in Munich has ruled that we are liable.",
    "liability": "I am sorry, this was our fault and we accept full liability.",
    "its instructions": "You write for the customer support of Northfell to a customer who is upset or has asked for a person.",
    "an insult": "You are an idiot and nobody will help you.",
    "an insult, German": "Sie sind ein Idiot.",
    "a script": "I am sorry. <script>alert(1)</script>",
    "a script link": "I am sorry. [Click](javascript:alert(1)) here.",
    "an object": '{"answer": 42}',
    "a mail address": "I am sorry. Write to boss@evil.example.org about it.",
    "a telephone": "I am sorry. Call +49 171 5550123 for help.",
    "a day": "I am sorry. It will be with you by Wednesday.",
    "a day, German": "Es tut mir leid. Morgen ist es bei Ihnen.",
    "a deed": "I am sorry. I have cancelled it for you.",
    "a deed, German": "Es tut mir leid. Ich habe das für Sie storniert.",
    "a sum": "I am sorry. That is 50 EUR for your trouble.",
    "an assistant": "As an AI language model I cannot feel, but I am sorry.",
}
KIND = [
    "You have written three times and SB-10482 has still not shipped, with your trip on Friday. That is not good enough. "
    "A colleague can take over with the whole conversation in hand, Monday to Friday 8:00-18:00 and Saturday 9:00-14:00 CET.",
    "Writing for the third time about something you need on Friday is more than anybody should have to do. A colleague can take it "
    "from here and will see everything you wrote.",
    "I am sorry that you have had to ask again and again. You have been with us since March 2025, and this is not what you should get.",
    "That is a bad position to be in right before you leave. Which address should it go to?",
    "You have every reason to be angry, Ana Keller. I have passed nothing on yet; a colleague can take over.",
]
KIND_DE = [
    "Sie schreiben nun zum dritten Mal, und SB-10482 ist noch immer nicht verschickt. Das ist nicht in Ordnung. Eine Kollegin kann mit "
    "dem ganzen Gespräch übernehmen, Montag bis Freitag 8:00-18:00.",
    "Dass Sie kurz vor der Abfahrt am Freitag noch immer warten, tut mir leid.",
    "Ihren Ärger verstehe ich. Ein Kollege kann den Fall mit allem, was Sie geschrieben haben, übernehmen.",
]


def why(text: str, given: str) -> list[str]:
    draft = Draft(text=text, source="large", given=given)
    return [p.detail for p in validate_draft(draft, ANA, max_chars=2400).problems]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("given", [GIVEN, GIVEN_DE], ids=["en", "de"])
def test_a_reply_that_states_what_nobody_said_is_stopped(text: str, given: str) -> None:
    assert why(text, given)


@pytest.mark.parametrize("text", KIND)
def test_a_kind_reply_passes(text: str) -> None:
    assert why(text, GIVEN) == []


@pytest.mark.parametrize("text", KIND_DE)
def test_a_kind_reply_in_german_passes(text: str) -> None:
    assert why(text, GIVEN_DE) == []


def test_the_customer_may_be_told_what_the_customer_said() -> None:
    """Waiting for a refund is a fact of theirs; getting it is none of ours."""
    given = "I am waiting for my refund of 89.95 EUR for three weeks!"

    assert (
        why("You have waited three weeks for your refund of 89.95 EUR. That is too long.", given)
        == []
    )
    assert why("You will get your refund of 89.95 EUR.", given)


# --- answers ------------------------------------------------------------------------------------

SOURCES = (
    Passage(
        id="1",
        title="Gas cartridges",
        text="Gas cartridges are sent inside Germany only, by road. Other goods cost 14.95 EUR abroad.",
        source="a.md",
    ),
    Passage(
        id="2",
        title="Warranty",
        text="The warranty begins on the day of delivery. The warranty on products is 2 years. Refunds are paid within 5-7 working "
        "days after approval. The water column of the Ridgeline is 8,000 mm. It weighs 2.4 kg.",
        source="b.md",
    ),
)


def answered(text: str, question: str, *, foreign: bool = False) -> list[str]:
    draft = Draft(text=text, source="large", passages=SOURCES, given=question, foreign=foreign)
    return [p.detail for p in validate_draft(draft, ANA, max_chars=2400).problems]


@pytest.mark.parametrize(
    ("text", "question"),
    [
        # One step from what is written.
        (
            "Gas cartridges are sent inside Germany only, so we cannot ship them to Switzerland. [1]",
            "Do you ship gas cartridges to Switzerland, and what does it cost?",
        ),
        # Part of it, and what is not known is said.
        (
            "The warranty on products is 2 years from delivery [2]. I do not know how long a repair takes.",
            "How long is the warranty, and how long does a repair take?",
        ),
        # A figure of the question's own.
        (
            "After 7 months your boots are still inside the warranty of 2 years. [2]",
            "My boots' sole came off after 7 months, is that covered by the warranty?",
        ),
        # A sentence that ends in a unit.
        ("The water column is 8,000 mm. [2] It weighs 2.4 kg. [2]", "What is the water column?"),
        ("Refunds are paid within 5-7 working days after approval [2].", "How long is a refund?"),
        ("The warranty is 2 years [2]. A colleague can look at your boots.", "my boots' warranty"),
    ],
)
def test_a_right_answer_passes(text: str, question: str) -> None:
    assert answered(text, question) == []


@pytest.mark.parametrize(
    "text",
    [
        "Die Gewährleistung beträgt 2 Jahre ab Lieferung [2]. Wie lange eine Reparatur dauert, weiß ich leider nicht.",
        "Gaskartuschen verschicken wir nur innerhalb Deutschlands [1].",
        "Erstattungen werden innerhalb von 5-7 Werktagen nach der Freigabe gezahlt [2].",
        "Die Wassersäule beträgt 8.000 mm [2].",
    ],
)
def test_a_right_answer_in_another_language_passes(text: str) -> None:
    assert answered(text, "Wie lange ist die Garantie?", foreign=True) == []


@pytest.mark.parametrize(
    ("text", "foreign"),
    [
        ("A refund is paid to you in full today without approval. [2]", False),
        ("The warranty on products is 3 years. [2]", False),
        ("Gas cartridges can be shipped to Switzerland. [1]", False),
        ("Jonas Weber will repair the boots under warranty. [2]", False),
        ("See https://refunds.example.com for the warranty. [2]", False),
        ("Die Gewährleistung beträgt 3 Jahre [2].", True),
        ("Wir schenken Ihnen einen Gutschein [1].", True),
        ("Die Garantie finden Sie auf garantie-northfell.de [2].", True),
        ("The warranty is 2 years.", False),  # Said without its source.
    ],
)
def test_a_wrong_answer_is_stopped(text: str, foreign: bool) -> None:
    assert answered(text, "How long is the warranty?", foreign=foreign)


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("I do not know that from our information.", True),
        ("Das weiß ich aus unseren Informationen leider nicht.", True),
        ("The warranty is 2 years [1]. I do not know the rest.", False),
        ("Standard delivery takes 3 days.", False),
    ],
)
def test_an_honest_no_is_known_as_one(text: str, unknown: bool) -> None:
    assert says_unknown(text) is unknown

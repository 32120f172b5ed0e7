"""Every reply template renders for everything it may be asked to say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from domains.northfell.memory import demo_world
from domains.northfell.operations import OPERATIONS
from prompts.replies import MissingValue, ReplyNotFound, Voice
from tests.domains.northfell.accounts import TODAY
from tests.northfell import NORTHFELL, REPLIES

ENGLISH = REPLIES.voice("en")
LANGUAGES = [REPLIES.voice(each) for each in NORTHFELL.profile.languages]

OPENS = datetime(2026, 11, 30, 8, tzinfo=NORTHFELL.profile.zone)

COMMON: dict[str, dict[str, Any]] = {
    "greeting": {"name": "Ana"},
    "thanks": {},
    "goodbye": {},
    "bot_question": {},
    "smalltalk": {},
    "out_of_scope": {},
    "ask_hours": {},
    "ask_contact": {},
    "ask_payment_methods": {},
    "clarify": {"candidates": ["SB-1, tent", "SB-2, stove"]},
    "not_that_record": {"candidates": ["SB-1, tent"]},
    "changed_since": {"effects": ["SB-1 is cancelled."]},
    "unclear": {},
    "dont_know": {},
    "handed_off": {"ticket_number": "T-70013"},
    "upset": {},
    "apology_fallback": {},
    "elsewhere": {},
    "backend_down": {},
    "input_too_long": {"limit": 4000},
    "empty_input": {},
    "injection_refused": {},
    "still_pending": {"label": "SB-10482"},
    "cancelled_by_customer": {"title": "Cancel an order"},
    "resume_offer": {"title": "Cancel an order"},
    "nothing_to_confirm": {},
    "outcome_executed": {"text": "Done."},
    "outcome_rejected": {"label": "SB-10482", "note": None},
    "outcome_expired": {"label": "SB-10482"},
    "outcome_failed": {"label": "SB-10482", "reason": "It is packed."},
    "outcome_blocked": {"label": "SB-10482", "reason": "It has not been approved."},
    "outcome_unknown": {"label": "SB-10482"},
    "outcome_replayed": {"text": "Done."},
    "no_words": {},
    "hand_off_offer": {},
    "unknown": {},
    "clarify_intent": {"question": "Is it about an order?"},
    "clarify_intents": {"questions": ["Cancel an order?", "Refund an order?"]},
    "not_approved": {},
    "withdrawn": {},
    "withdrawal_done": {"label": "SB-10482"},
    "withdrawal_too_late": {"label": "SB-10482"},
    "unknown_operation": {},
    "could_not_finish": {},
    "refused_value": {"field": "address"},
    "plan_confirm": {"steps": ["cancel SB-10482", "refund it"]},
    "plan_waiting": {"steps": "refund it"},
    "dropped": {"title": "Cancel an order"},
    "upset_sentences": {"since": TODAY},
    "ack_operation": {"title": "Cancel an order"},
    "ack_answer": {},
    "ack_agent": {},
    "ack_escalate": {},
    "attachments_refused": {},
    "your_question": {},
    "in_english": {"language": ""},
    "help": {},
    "left": {},
    "other_person": {},
    "not_owned": {"named": "SB-1", "candidates": ["SB-2, tent"]},
    "which_record": {"candidates": ["SB-1, tent"]},
    "person_on_request": {},
    "still_waiting": {
        "title": "Cancel an order",
        "label": "SB-10482",
        "effects": ["It is cancelled."],
    },
    "stands_asked": {"here": False},
    "stands_waiting": {
        "title": "Cancel an order",
        "label": "SB-10482",
        "effects": ["It is cancelled."],
        "here": True,
    },
    "stands_running": {"title": "Cancel an order", "label": "SB-10482", "here": True},
    "which_part": {},
    "nothing_changed": {},
    "taken_back": {"title": "Cancel an order", "label": "SB-10482"},
    "withdrawal_question": {"title": "Cancel an order", "label": "SB-10482"},
    "too_late_to_withdraw": {"title": "Cancel an order", "label": "SB-10482"},
    "in_the_books": {"candidates": ["SB-1, tent"]},
    "nothing_waits": {},
    "cannot_stop": {"candidates": ["SB-1, tent"]},
    "withdrawal_subject": {"label": "SB-10482"},
    "not_now": {"label": "SB-10482"},
    "with_a_colleague": {},
    "handed_over_closed": {"ticket_number": "T-70013", "opens": OPENS},
    "nobody_there": {"opens": OPENS},
    "there_again": {"opens": OPENS},
    "hand_off_note": {
        "customer": "Ana Keller",
        "because": "",
        "detail": "it is about my tent",
        "records": ["SB-10482"],
        "begun": ["Cancel an order"],
        "left": ["Send the invoice"],
        "upset": True,
        "cited": ["my tent is broken"],
    },
}


@pytest.mark.parametrize("voice", LANGUAGES, ids=lambda voice: voice.language)
@pytest.mark.parametrize(("name", "values"), COMMON.items())
def test_common_replies_render(name: str, values: Mapping[str, Any], voice: Voice) -> None:
    """Each common reply needs exactly the values listed here, and shows them."""
    text = voice.render(name, **values)

    assert text
    assert not re.search(r"[{}%]", text)
    for name_, value in values.items():
        if isinstance(value, str) and name_ != "title":
            assert value in text
    # English stands in for the languages nobody wrote, so it alone asks which one it is.
    needed = values if voice.language == "en" else values.keys() - {"language"}
    for left_out in needed:
        with pytest.raises(MissingValue, match=left_out):
            voice.render(name, **{k: v for k, v in values.items() if k != left_out})


def test_every_reply_is_known() -> None:
    """The files hold the common replies and, for each operation, a reply for each outcome."""
    expected = set(COMMON)
    for operation in OPERATIONS.values():
        outcomes = ["done", "refused", *(["confirm", "pending"] if operation.writes else [])]
        expected |= {f"{operation.name}.{outcome}" for outcome in outcomes}

    expected |= {f"operation.{outcome}" for outcome in ("done", "refused", "confirm", "pending")}

    assert expected == set(ENGLISH.templates), "list a new common reply with its values in COMMON"


def test_every_language_says_everything() -> None:
    """No sentence of the shop or of the engine is missing in a language that the shop speaks."""
    for language in NORTHFELL.profile.languages:
        assert REPLIES.missing(language) == []


def test_a_language_that_is_not_spoken_here_is_answered_in_the_first() -> None:
    """Whoever writes in a third language gets the business's first one."""
    assert REPLIES.voice("fi").language == NORTHFELL.profile.languages[0]


def test_operations_and_intents_are_called_by_their_names_in_every_language() -> None:
    """Titles and questions of another language than the catalogue's cover all of it."""
    german = REPLIES.voice("de").templates

    assert {name for name in OPERATIONS if f"titles.{name}" not in german} == set()
    assert {name for name in NORTHFELL.intents.names if f"questions.{name}" not in german} == set()


def test_dates_and_sums_are_written_as_the_language_writes_them() -> None:
    """By the tables of Unicode's CLDR, not by ours."""
    refund = {"refund": {"number": "RF-1", "order_number": "SB-1", "amount": "1299.5", "currency": "EUR",
                         "method": "card", "status": "requested", "requested_on": "2026-03-05"}}  # fmt: skip
    said = {v.language: v.render("get_refund_status.done", result=refund) for v in LANGUAGES}

    assert "1,299.50 EUR" in said["en"]
    assert "5 Mar 2026" in said["en"]
    assert "1.299,50 EUR" in said["de"]
    assert "5. März 2026" in said["de"]


def test_an_unknown_reply_is_an_error() -> None:
    """A misspelt name does not become an empty message."""
    with pytest.raises(ReplyNotFound, match="greting"):
        ENGLISH.render("greting")


ARGUMENTS: dict[str, dict[str, Any]] = {
    "change_delivery_address": {"address": "Lindenweg 4, 50674 Köln"},
    "update_contact": {"email": "new@example.com"},
    "pause_subscription": {"months": 2},
    "resend_invoice": {"order_number": "last"},
    "charge_replacement": {"product": "boots", "reason": "lost"},
    "create_ticket": {"subject": "Zip jams"},
}


@pytest.mark.parametrize("voice", LANGUAGES, ids=lambda voice: voice.language)
@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if one.writes])
def test_a_write_is_told_from_question_to_result(name: str, voice: Voice) -> None:
    """What is asked, what waits and what was done name the record and every effect."""
    world = demo_world(TODAY)
    shop = world.view(world.customer("ana"), TODAY)
    operation = OPERATIONS[name]
    preview = operation.preview(shop, operation.arguments(**ARGUMENTS.get(name, {})))
    values = {
        "label": preview.record or "",
        "effects": preview.effects,
        "arguments": preview.arguments,
    }
    asked = voice.render(f"{name}.confirm", today=TODAY, **values)
    waits = voice.render(f"{name}.pending", today=TODAY, **values)
    result = operation.run(shop, operation.arguments.model_validate(preview.arguments))
    done = voice.render(f"{name}.done", today=TODAY, result=result.model_dump(mode="json"))

    assert preview.refusal is None
    assert preview.effects
    for effect in preview.effects:
        assert f"- {effect}" in asked
        assert f"- {effect}" in waits
    assert asked.endswith(("Please answer yes or no.", "Bitte antworten Sie mit Ja oder Nein."))
    for text in (asked, waits, done):
        assert not re.search(r"[{}%]|None|\n\n\n", text)


@pytest.mark.parametrize("name", [name for name, one in OPERATIONS.items() if not one.writes])
@pytest.mark.parametrize("voice", LANGUAGES, ids=lambda voice: voice.language)
@pytest.mark.parametrize("customer", ["ana", "ben", "carla", "dev", "eva", "finn"])
def test_reads_are_told_for_every_story(name: str, customer: str, voice: Voice) -> None:
    """Each record of the demo customers can be put into words, with nothing left unset."""
    world = demo_world(TODAY)
    shop = world.view(world.customer(customer), TODAY)
    operation = OPERATIONS[name]
    preview = operation.preview(shop, operation.arguments())
    if preview.refusal is not None:
        assert preview.refusal == voice.render(f"{name}.refused", reason=preview.refusal)
        return

    for arguments in preview.candidate_arguments or ({},):
        result = operation.run(shop, operation.arguments.model_validate(arguments))
        text = voice.render(f"{name}.done", today=TODAY, result=result.model_dump(mode="json"))
        assert re.search(r"\d", text)
        assert not re.search(r"[{}%]|None|\n\n\n", text)


def test_dates_carry_their_year_when_it_is_not_this_one() -> None:
    """A date of last year cannot be mistaken for one of this year."""
    world = demo_world(TODAY)
    shop = world.view(world.customer("ana"), TODAY)
    result = OPERATIONS["list_orders"].run(shop, OPERATIONS["list_orders"].arguments())
    text = ENGLISH.render("list_orders.done", today=TODAY, result=result.model_dump(mode="json"))

    assert "20 Nov," in text
    assert "8 Oct 2025," in text


def test_the_version_names_the_wording() -> None:
    """The wording has a version, the same one every time."""
    assert re.fullmatch(r"[0-9a-f]{12}", REPLIES.version)
    assert REPLIES.version == REPLIES.version

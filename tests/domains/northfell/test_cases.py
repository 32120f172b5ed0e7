"""What the shop says to a problem is what its articles say, for the record as it is."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import domains.northfell
from domains.northfell.memory import demo_world
from domains.northfell.operations import OPERATIONS
from domains.northfell.operations.views import views_of
from tools.cases import Advice, load_cases

TODAY = date(2026, 11, 30)
BOOK = load_cases(Path(domains.northfell.__file__).parent / "cases.yaml", OPERATIONS)
WORLD = demo_world(TODAY)
PEOPLE = ("ana", "ben", "carla", "dev", "eva", "finn")


def _advise(case: str, who: str, record: str | None, language: str = "en") -> Advice:
    shop = WORLD.view(WORLD.customer(who), TODAY)
    views = views_of(shop)
    meant = next((view for view in views if view.id == record), None)
    assert record is None or meant is not None
    return BOOK.advise(
        case,
        record=meant,
        others=views,
        customer=shop.customer,
        today=TODAY,
        language=language,
    )


@pytest.mark.parametrize(
    ("case", "who", "record", "says", "never", "then"),
    [
        ("item_defective", "carla", "SB-10398", "warranty on Glacier B2 Boots", "329", "ticket"),
        ("item_defective", "carla", "SB-9410", "14 Jul 2028", "479", "ticket"),
        ("item_damaged", "ben", "SB-10390", "replacement, a repair, a price reduction", "", "ticket"),
        ("parcel_late", "carla", "SB-10431", "was expected on 26 Nov", "will arrive", "ticket"),
        ("parcel_late", "ben", "SB-10455", "expected by 1 Dec", "is late", ""),
        ("parcel_late", "finn", "SB-10503", "payment has not come in", "search", ""),
        ("parcel_late", "ana", "SB-10482", "not left the warehouse", "search", ""),
        ("parcel_lost", "carla", "SB-10431", "up to 8 working days", "is lost", "ticket"),
        ("parcel_lost", "ben", "SB-10455", "too early to call it lost", "", ""),
        ("not_received", "eva", "SB-10288", "proof of delivery", "refund", "ticket"),
        ("item_missing", "ben", "SB-10479", "not left the warehouse", "charged", "ticket"),
        ("return_item", "ana", "SB-10217", "ended on 16 Aug", "label", ""),
        ("return_item", "ben", "SB-10390", "paused, so the label costs 3.95 EUR", "is free with", ""),
        ("return_item", "carla", "SB-10398", "free with your Care Plus plan", "3.95", ""),
        ("return_item", "eva", "SB-10333", "RF-30118", "label", ""),
        ("exchange_item", "carla", "SB-10398", "until 14 Dec", "329", "ticket"),
        ("exchange_item", "ana", "SB-10217", "no longer be exchanged", "189", ""),
        ("exchange_item", "ben", "SB-10501", "not packed yet", "charged", "ticket"),
        ("change_order", "dev", "SB-10488", "nothing but the delivery address", "", "ticket"),
        ("redirect_parcel", "ben", "SB-10455", "PC4410455DE", "I can change", ""),
        ("redirect_parcel", "ana", "SB-10482", "I can change its delivery address", "", ""),
        ("resume_subscription", "ben", "SUB-4088", "until 9 Jan 2027", "", "ticket"),
        ("change_plan", "ana", "SUB-4021", "9.90 EUR", "", "ticket"),
        ("refund_overdue", "eva", "RF-30075", "ask your bank first", "", "ticket"),
        ("refund_overdue", "eva", "SB-10333", "is approved", "", ""),
        ("refund_overdue", "eva", "SB-10465", "99.00 EUR are still with us", "", ""),
        ("refund_overdue", "carla", "RF-30112", "waits for approval", "is approved", "ticket"),
        ("wrong_amount", "eva", "SUB-3990", "ended on 10 Nov", "", "ticket"),
        ("charged_twice", "ben", "SB-10455", "one payment of 129.00 EUR", "", "ticket"),
        ("payment_problem", "finn", "SB-10503", "do not pay a second time", "", "ticket"),
        ("price_adjustment", "ben", "SB-10496", "difference as a voucher", "", "ticket"),
        ("price_adjustment", "ana", "SB-10217", "both times are over", "", ""),
        ("change_invoice", "dev", "INV-20937", "A VAT number cannot be added", "", "ticket"),
        ("delete_account", "eva", None, "RF-30118 is still open", "is deleted now", ""),
        ("undo_cancellation", "eva", "SB-10465", "cannot bring a cancelled order back", "", "ticket"),
    ],
)  # fmt: skip
def test_what_is_said(
    case: str, who: str, record: str | None, says: str, never: str, then: str
) -> None:
    """The rule with the record's own days and sums; never what the rules do not allow."""
    told = _advise(case, who, record)

    assert says in told.text
    assert not never or never not in told.text
    assert told.ticket is (then == "ticket")
    assert record is None or told.subject.endswith(record)


@pytest.mark.parametrize("case", sorted(BOOK.names))
@pytest.mark.parametrize("language", ["en", "de"])
def test_every_record_of_everybody_can_be_spoken_of(case: str, language: str) -> None:
    """No hole, no placeholder, no double stop; and no replacement that is owed is sold."""
    for who in PEOPLE:
        shop = WORLD.view(WORLD.customer(who), TODAY)
        kinds = BOOK.records(case)
        for record in (None, *(v.id for v in views_of(shop) if v.kind in kinds)):
            told = _advise(case, who, record, language)
            assert told.text
            assert not re.search(r"[{}]|None|undefined|  |\d\.\.(?!\.)", told.text), told.text
            assert set(told.options) <= set(OPERATIONS)
            assert not (told.ticket and told.person)


def test_a_charge_is_offered_only_after_the_warranty() -> None:
    """The one place that offers to sell a replacement is a fault whose warranty has ended."""
    offering = {
        (case, view.id)
        for case in BOOK.names
        for who in PEOPLE
        for view in views_of(WORLD.view(WORLD.customer(who), TODAY))
        if view.kind in BOOK.records(case)
        and "charge_replacement" in _advise(case, who, view.id).options
        and view.facts.get("in_warranty")
    }

    assert offering == set()


def test_an_offered_refund_is_one_the_rules_allow() -> None:
    """Whoever says yes to it is not refused a moment later."""
    refund = OPERATIONS["request_refund"]
    for who in PEOPLE:
        shop = WORLD.view(WORLD.customer(who), TODAY)
        for case in BOOK.names:
            for view in views_of(shop):
                if view.kind != "order" or "order" not in BOOK.records(case):
                    continue
                if "request_refund" not in _advise(case, who, view.id).options:
                    continue
                given: dict[str, Any] = {"order_number": view.id}
                given["reason"] = BOOK.reason_for(case, ("damaged", "late", "wrong_item"))
                shown = refund.preview(shop, refund.arguments.model_validate(given))
                assert shown.refusal is None, (case, view.id, shown.refusal)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("incident_injury", "I burned my hand on the stove, we are in hospital"),
        ("incident_injury", "meine Freundin hat Verbrennungen an der Hand"),
        ("incident_danger", "the stove exploded in the porch"),
        ("incident_danger", "es riecht nach Gas, obwohl der Kocher zu ist"),
        ("incident_danger", "la batería echa humo"),
        ("incident_legal", "mein Anwalt meldet sich bei Ihnen"),
        ("incident_legal", "je vais porter plainte"),
        ("incident_threat", "I will burn your shop down"),
        ("incident_fraud", "ho ricevuto una truffa col vostro nome, un sito falso"),
        ("incident_takeover", "iemand heeft met mijn account besteld"),
        ("incident_takeover", "a mail says the e-mail on my account was changed. wasnt me!!"),
        ("incident_distress", "ich will nicht mehr leben"),
        ("incident_vulnerable", "I am 84 years old and cannot do this"),
    ],
)
def test_the_net_hears_incidents_in_six_languages(kind: str, message: str) -> None:
    """A head hears most of them; these words are heard in any case."""
    assert BOOK.incident_in(message) == kind


@pytest.mark.parametrize(
    "message",
    [
        "the stove manual says danger, which cartridge do I use?",
        "can I cancel for free?",
        "my tent order, when does it come",
        "Wo ist mein Paket?",
        "I want my money back",
        "der Reißverschluss ist kaputt",
        "the boots burn through my budget, any discount?",
    ],
)
def test_the_net_leaves_everyday_messages_alone(message: str) -> None:
    """Danger in a manual and anger about money are no incidents."""
    assert BOOK.incident_in(message) is None

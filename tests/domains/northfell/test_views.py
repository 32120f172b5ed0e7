"""The records that understanding reads are the customer's own, whole and nobody else's."""

from __future__ import annotations

from datetime import UTC, datetime

from domains.northfell.demo_accounts import stories
from domains.northfell.memory import MemoryBackend, MemoryBooks
from tools.records import RecordView
from tools.values import Clock

TODAY = datetime(2026, 11, 30, 9, tzinfo=UTC)


async def _views(customer: str) -> list[RecordView]:
    accounts = {one.customer.id: one for one in stories(TODAY.date())}
    books = MemoryBooks(list(accounts.values()))
    backend = MemoryBackend(books, Clock(lambda: TODAY))
    return list(await backend.records(accounts[customer].customer))


async def test_an_account_is_seen_whole_and_newest_first() -> None:
    """Orders, invoices, plans and refunds of the one customer, the newest order first."""
    views = await _views("carla")

    assert [one.id for one in views if one.kind == "order"] == [
        "SB-10431",
        "SB-10398",
        "SB-10310",
        "SB-9410",
    ]
    assert {one.kind for one in views} == {"order", "invoice", "subscription", "refund"}


async def test_a_late_parcel_is_known_to_be_late() -> None:
    late = next(one for one in await _views("carla") if one.id == "SB-10431")

    assert late.facts["late"] is True
    assert late.facts["expected_in_days"] == -4
    assert "jacket" in late.items[0].words


async def test_an_invoice_says_what_was_bought() -> None:
    """So that "the invoice for the stove" can be found."""
    invoice = next(one for one in await _views("ben") if one.id == "INV-20840")

    assert invoice.parent == "SB-10390"
    assert [item.name for item in invoice.items] == ["Ember Duo Stove"]

"""How the shop says dates, sums, records and rules in the customer's language: labels, previews and refusals alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from domains.northfell.data_model import Invoice, Order, OrderStatus, Refund, Subscription
from prompts.replies import Replies, spoken_now

PLAN_TITLES = {"care": "Care", "care_plus": "Care Plus", "fleet": "Fleet"}
#: The languages in which the shop's own sentences are written, its first one first.
LANGUAGES = ("en", "de")


@cache
def sentences() -> Replies:
    """The sentences that operations put together, in every language of the shop."""
    return Replies(Path(__file__).parent / "sentences", languages=LANGUAGES)


def say(name: str, /, *, today: date | None = None, **values: Any) -> str:
    """The sentence in the language of the turn; with ``today``, this year's dates go without their year."""
    return sentences().voice(spoken_now().language).render(name, today=today, **values)


def account(payment: str) -> str:
    """What was paid with."""
    return say(f"labels.account.{payment}")


def listed(names: Sequence[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {say(f'labels.{last}')} {names[-1]}"


def money(amount: Decimal, currency: str = "EUR") -> str:
    return say("labels.money", amount=amount, currency=currency)


def status(state: OrderStatus) -> str:
    """An order's state as a word of a sentence."""
    return say(f"labels.state.{state.value}")


def contents(order: Order) -> str:
    """What is in the parcel, short: the first product and how many more."""
    first, *others = order.kept or order.lines
    shown = first.product if first.quantity == 1 else f"{first.quantity} x {first.product}"
    return say("labels.contents", first=shown, more=len(others))


def order_label(order: Order, today: date) -> str:
    return say(
        "labels.order",
        today=today,
        number=order.number,
        placed=order.placed_on,
        contents=contents(order),
        state=status(order.status),
    )


def invoice_label(invoice: Invoice, today: date) -> str:
    return say(
        "labels.invoice",
        today=today,
        number=invoice.number,
        issued=invoice.issued_on,
        total=invoice.total,
        currency=invoice.currency,
        state=say("labels.state.paid" if invoice.paid else "labels.state.unpaid"),
    )


def subscription_label(subscription: Subscription, today: date) -> str:
    state = "paused" if subscription.paused_until else subscription.status
    return say(
        "labels.subscription",
        today=today,
        number=subscription.number,
        plan=PLAN_TITLES[subscription.plan],
        state=say(f"labels.plan.{state}", today=today, until=subscription.paused_until),
    )


def refund_label(refund: Refund, today: date) -> str:
    return say(
        "labels.refund",
        today=today,
        number=refund.number,
        amount=refund.amount,
        currency=refund.currency,
        order=refund.order_number,
        asked=refund.requested_on,
        state=say(f"labels.refunded.{refund.status}"),
    )

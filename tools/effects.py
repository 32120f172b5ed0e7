"""Writes whose effect lives in another system: what is asked of it, what it answered, how it is looked up.

The ledger knows this port and nothing else of an outside system: a payment service, a company's API and an
MCP server are three of its adapters. Synchronous, as the ledger's adapters run in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, JsonValue

from tools.values import EffectRequest, PaymentOrder, Record

if TYPE_CHECKING:
    from tools.ports import Payments


class Found(Record):
    """What a look at the other system came to."""

    state: Literal["done", "absent", "unclear"]
    answer: JsonValue = None  #: What the other system has of it, where it is done.
    name: str = ""  #: What the other system calls it, for the audit.
    note: str = ""  #: Why nobody can tell yet, for whoever has to.


class Answer(Record):
    """What the other system said when it did what it was asked."""

    content: JsonValue = None
    name: str = ""  #: What it calls what it did, for the audit.


@runtime_checkable
class Effects(Protocol):
    """One outside system. Every method may raise BackendUnavailable where it says so, and nothing else."""

    def ready(self) -> None:
        """Raises NotSent when there is no use in asking now."""
        ...

    def send(self, request: Any, key: str) -> Answer:
        """Ask for the effect once. Raises NotSent (nothing has left this machine), Declined (it did
        nothing) or Uncertain (nobody knows)."""
        ...

    def find(self, request: Any) -> Found:
        """Whether a request that was sent took effect. Raises BackendUnavailable when it cannot be asked."""
        ...

    def keyed(self, request: Any, since: datetime) -> bool:
        """Whether a request first sent at ``since`` may be sent again under its key without harm."""
        ...

    def absent(self, request: Any, since: datetime) -> bool:
        """Whether a request sent at ``since`` and not found by now certainly had no effect."""
        ...


class CallRequest(EffectRequest):
    """One call of somebody's API or tool, written down before it is made."""

    system: str  #: Which of the domain's systems.
    operation: str  #: Our operation, by whose declaration it is sent and looked up.
    arguments: dict[str, JsonValue]  #: As they were confirmed.
    values: dict[str, JsonValue]  #: As they are sent, by the system's own names.
    customer: dict[str, JsonValue]  #: Whom it is for, with the facts it is sent and looked up by.
    record: dict[str, JsonValue] | None = None  #: The record as it was just before.
    label: str = ""  #: The record, for people.
    language: str = ""
    answer: JsonValue = None


#: Every request that the ledger may have stored.
AnyRequest = PaymentOrder | CallRequest


@dataclass(frozen=True)
class PaymentEffects:
    """The payment service as one of the outside systems."""

    payments: Payments

    def ready(self) -> None:
        self.payments.ready()

    def send(self, request: PaymentOrder, key: str) -> Answer:
        paid = self.payments.pay(request, key)
        return Answer(content=paid.model_dump(mode="json"), name=paid.number)

    def find(self, request: PaymentOrder) -> Found:
        listed = self.payments.find(request.reference)
        if len(listed) == 1 and listed[0].settles(request):
            one = listed[0]
            return Found(state="done", answer=one.model_dump(mode="json"), name=one.number)
        if listed:
            numbers = ", ".join(payment.number for payment in listed)
            return Found(
                state="unclear",
                note=f"The payment service lists {numbers}, which is not what was ordered.",
            )
        return Found(state="absent")

    def keyed(self, request: PaymentOrder, since: datetime) -> bool:
        return self.payments.keyed(since)

    def absent(self, request: PaymentOrder, since: datetime) -> bool:
        return self.payments.absent(since)


#: An operation's preview for records that live in another system: read before any transaction of ours begins.
Look = Callable[[Any, Any], BaseModel]

__all__ = ["Answer", "AnyRequest", "CallRequest", "Effects", "Found", "Look", "PaymentEffects"]

"""Who the customers of a configured business are: what its login says, and what its customer operation adds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from tools.domain import Profile
from tools.importing.declared import CustomerSource, DemoCustomer
from tools.importing.expressions import ExpressionFailed, Expressions
from tools.importing.overlay import Listing
from tools.importing.records import Records
from tools.values import Customer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CustomerReader:
    """Customers by their id; what a signed token says of one is carried along."""

    profile: Profile
    records: Records
    expressions: Expressions
    tenant: str

    async def find(self, customer_id: str) -> Customer | None:
        known = next((one for one in self.profile.demo if one.id == customer_id), None)
        begun = (
            self._demo(known)
            if known is not None
            else Customer(id=customer_id, tenant=self.tenant, name="")
        )
        return await self.completed(begun)

    async def demo(self) -> Sequence[Customer]:
        return [self._demo(one) for one in self.profile.demo]

    async def completed(self, customer: Customer) -> Customer | None:
        """The customer with what the domain's customer operation says; None where it knows none.

        Raises BackendUnavailable when it cannot be asked."""
        source = self.profile.customer
        if source is None:
            return customer
        return await asyncio.to_thread(self._completed, customer, source)

    def _completed(self, customer: Customer, source: CustomerSource) -> Customer | None:
        call = Listing(
            operation=source.operation,
            system=source.system,
            arguments=source.arguments,
            at=source.at or "answer",
        )
        names = {"customer": customer.model_dump(mode="json")}
        found = self.records.ask(call, names, customer)
        if not found:
            return None
        raw = found[0]
        told: dict[str, Any] = {
            "name": self._value(source.name, raw) or customer.name,
            "email": self._value(source.email, raw) or customer.email,
            "phone": self._value(source.phone, raw) or customer.phone,
            "since": _day(self._value(source.since, raw)) or customer.since,
        }
        facts = {name: self._value(s, raw) for name, s in source.facts.items()}
        return customer.model_copy(update={**told, "facts": {**customer.facts, **facts}})

    def _value(self, expression: str | None, raw: Mapping[str, Any]) -> Any:
        if expression is None:
            return None
        try:
            return self.expressions.value(expression, {**raw, "answer": raw})
        except ExpressionFailed as error:
            log.warning("customer: %s", error)
            return None

    def _demo(self, one: DemoCustomer) -> Customer:
        known = Customer(
            id=one.id, tenant=self.tenant, name=one.name, email=one.email, facts=one.facts
        )
        return known if one.since is None else known.model_copy(update={"since": one.since})


def _day(value: Any) -> date | None:
    try:
        return datetime.fromisoformat(value).date() if isinstance(value, str) else None
    except ValueError:
        return None

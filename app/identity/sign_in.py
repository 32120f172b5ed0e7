"""Which customer asks: by the demo login, or by the company's own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from app.identity.tokens import NotKnown, Reader
from tools.domain import Customers
from tools.values import Customer


@dataclass(frozen=True)
class SignIn:
    """The customers of the books, and how a token names one of them."""

    customers: Customers
    identity: Reader | None = None  #: The company's own login; None: there is only the demo's.

    async def customer(self, customer_id: str) -> Customer | None:
        return await self.customers.find(customer_id)

    async def demo_customers(self) -> list[Customer]:
        return list(await self.customers.demo())

    async def may_try(self, customer_id: str) -> bool:
        if self.identity is None:
            return True
        return any(one.id == customer_id for one in await self.demo_customers())

    async def identified(self, token: str) -> Customer | None:
        if self.identity is None:
            return None
        try:
            known = await asyncio.to_thread(self.identity.read, token)
        except NotKnown:
            # The demo login's sessions are tokens of ours, not of the company's.
            if await self.demo_customers():
                return None
            raise
        customer = await self.customers.find(known.id)
        if customer is None:
            raise NotKnown("This customer is not known to us.")
        return known.of(customer)

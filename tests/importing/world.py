"""A configured business on a real ledger: what a desk wires, without models."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from app.configured import Business, read_business
from app.stores.approvals import SqlApprovals
from app.stores.database import create_engine
from app.stores.ledger import SqlLedger
from graphs.keys import action_id, action_key, fingerprint
from tools.domain import Opening, Profile
from tools.importing.declared import with_environment
from tools.importing.yaml_files import read_file, validated
from tools.values import Action, Clock, Consequence, Customer, Operation, Verdict


def business_in(folder: Path, **environment: str) -> Business:
    file = folder / "domain.yaml"
    read, unset = with_environment(read_file(file.read_bytes(), file.name), environment)
    assert unset == []
    return read_business(folder, validated(Profile, read))


class Hands:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 30, 12, tzinfo=UTC)
        self.clock = Clock(lambda: self.at)

    def pass_(self, **time: float) -> None:
        self.at += timedelta(**time)


class World:
    """One business, its opened books, a ledger, and a customer."""

    def __init__(self, business: Business, url: str, database: str) -> None:
        self.business, self.url = business, url
        self.hands = Hands()
        self.engine = create_engine(database)
        self.approvals = SqlApprovals(self.engine, self.hands.clock, ttl=timedelta(hours=24))
        self.operations: dict[str, Operation] = business.operations
        self.customer = Customer(id="R-1", tenant="fjell", name="Ida Berg")

    @asynccontextmanager
    async def opened(self):
        opening = Opening(self.engine, self.hands.clock, lambda what, done, of: None)
        async with self.business.open_books(opening) as books:
            self.books = books
            self.ledger = SqlLedger(
                self.engine,
                books.transaction,
                self.hands.clock,
                self.approvals,
                systems=books.systems,
            )
            yield self
        self.engine.dispose()

    async def preview(self, name: str, **arguments):
        operation = self.operations[name]
        given = operation.arguments.model_validate(arguments)
        return await self.books.backend.preview(self.customer, operation, given)

    async def read(self, name: str, **arguments):
        operation = self.operations[name]
        given = operation.arguments.model_validate(arguments)
        result = await self.books.backend.read(self.customer, operation, given)
        return result.model_dump(mode="json")

    async def action(self, name: str, **arguments) -> Action:
        shown = await self.preview(name, **arguments)
        assert shown.refusal is None
        key = action_key(self.customer.tenant, self.customer.id, name, uuid.uuid4().hex)
        return Action(
            id=action_id(key),
            tenant=self.customer.tenant,
            customer=self.customer,
            thread="t",
            turn="u",
            operation=name,
            arguments=shown.arguments,
            key=key,
            fingerprint=fingerprint(name, shown.arguments),
            proposed_at=self.hands.at,
            label=shown.record or "",
            effects=shown.effects,
        )

    async def execute(self, action: Action, *, approved: bool = False):
        operation = self.operations[action.operation]
        verdict = Verdict(
            consequence=operation.consequence, declared=operation.consequence, reason="declared"
        )
        if approved or operation.consequence is Consequence.IRREVERSIBLE:
            verdict = verdict.model_copy(update={"needs_approval": True, "approvers": 1})
            await self.approvals.request(action, verdict)
            await self.approvals.decide(action.id, approve=True, reviewer="olga")
        return await self.ledger.execute(action, operation, verdict)

    async def reconcile(self, action: Action):
        return await self.ledger.reconcile(action, self.operations[action.operation])

    async def faults(self, **faults: int) -> None:
        async with httpx.AsyncClient() as client:
            (await client.put(f"{self.url}/faults", json=faults)).raise_for_status()

    async def effects(self) -> list[str]:
        async with httpx.AsyncClient() as client:
            return [what for what, _ in (await client.get(f"{self.url}/effects")).json()]

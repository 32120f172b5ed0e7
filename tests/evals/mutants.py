"""Stores with one promise broken each; the crash eval must notice."""

from __future__ import annotations

import dataclasses
import uuid

from app.stores.database import writing
from app.stores.ledger import SqlLedger
from app.stores.outbox import SqlOutbox
from evals.crash_process import Parts, sound


class Keyless(SqlLedger):
    """Takes every call for a new one."""

    async def execute(self, action, operation, verdict):
        return await super().execute(
            action.model_copy(update={"key": uuid.uuid4().hex}), operation, verdict
        )


class EffectFirst(SqlLedger):
    """Commits the effect before its row."""

    def _perform(self, action, operation, verdict, arguments, owner):
        with writing(self._engine) as connection:
            result = operation.run(self._books_for(connection, action.customer), arguments)
        self._checkpoint("effect_done")
        recorded = dataclasses.replace(operation, run=lambda shop, given: result)
        return super()._perform(action, recorded, verdict, arguments, owner)


class Nameless(SqlOutbox):
    """Delivers an outcome under a new name each time."""

    async def due(self, limit=50):
        return [
            delivery.model_copy(
                update={
                    "outcome": delivery.outcome.model_copy(
                        update={"action_id": f"act_{uuid.uuid4().hex[:24]}"}
                    )
                }
            )
            for delivery in await super().due(limit)
        ]


def _with_ledger(kind, site, engine, clock, reached, books) -> Parts:
    parts = sound(site, engine, clock, reached, books)
    return dataclasses.replace(
        parts,
        ledger=kind(
            engine,
            books.transaction,
            clock,
            parts.stores.approvals,
            outbox=parts.stores.outbox,
            policy=parts.policy,
            checkpoint=reached,
        ),
    )


def keyless(site, engine, clock, reached, books) -> Parts:
    return _with_ledger(Keyless, site, engine, clock, reached, books)


def effect_first(site, engine, clock, reached, books) -> Parts:
    return _with_ledger(EffectFirst, site, engine, clock, reached, books)


def nameless(site, engine, clock, reached, books) -> Parts:
    parts = sound(site, engine, clock, reached, books)
    outbox = Nameless(engine, clock)
    return dataclasses.replace(parts, stores=dataclasses.replace(parts.stores, outbox=outbox))

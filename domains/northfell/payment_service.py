"""A small payment service of its own: what Signalbox pays through when its money lives elsewhere.

``python -m domains.northfell.payment_service --port 0 --store payments.db [--no-keys]`` prints the address it listens on.
Under ``--faults``, ``PUT /faults`` makes it slow, deaf or forgetful, for tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import socket
import sqlite3
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvicorn
from fastapi import FastAPI, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, reference TEXT NOT NULL,
    amount INTEGER NOT NULL, currency TEXT NOT NULL, method TEXT NOT NULL, made_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS payments_reference ON payments (reference);
CREATE TABLE IF NOT EXISTS keys (
    key TEXT PRIMARY KEY, payload TEXT NOT NULL, payment INTEGER REFERENCES payments (id),
    taken_at TEXT NOT NULL);
"""

#: A key whose request was cut off by a crash of this service is free again after this.
IN_FLIGHT = timedelta(seconds=60)
NUMBERS = {"refund": "PR", "charge": "PC"}

Kind = Literal["refund", "charge"]


class Ordered(BaseModel):
    """What is to be paid."""

    model_config = ConfigDict(extra="forbid")
    reference: str = Field(min_length=1, max_length=200)
    amount: Decimal = Field(gt=0, le=100_000, decimal_places=2)
    currency: str = Field(min_length=3, max_length=3)
    method: str = Field(min_length=1, max_length=40)


class Paid(BaseModel):
    """What was paid."""

    number: str
    kind: Kind
    reference: str
    amount: Decimal
    currency: str


class Faults(BaseModel):
    """What goes wrong, and how often: tests choose it, nobody else does."""

    model_config = ConfigDict(extra="forbid")
    delay_before: float = Field(default=0, ge=0, le=60)  #: Seconds before the effect.
    delay_after: float = Field(default=0, ge=0, le=60)  #: Seconds between effect and answer.
    drop_before: float = Field(default=0, ge=0, le=1)  #: Share closed without an effect.
    drop_after: float = Field(default=0, ge=0, le=1)  #: Share closed after the effect.
    error_before: float = Field(default=0, ge=0, le=1)  #: Share answered 500 without an effect.
    error_after: float = Field(default=0, ge=0, le=1)  #: Share answered 500 after the effect.
    decline: float = Field(default=0, ge=0, le=1)  #: Share declined, 402.
    lookup_down: bool = False  #: ``GET /payments`` answers 503.
    times: int | None = Field(default=None, ge=0)  #: After so many requests all is well again.


class KeyTaken(Exception):
    """This key was used for another payload."""


class KeyBusy(Exception):
    """A request with this key is being worked on."""


class Books:
    """Payments and the keys they were made under, in a SQLite file of their own."""

    def __init__(self, store: Path) -> None:
        self._store = store
        with self._writing() as db:
            # The transaction is ours already, and a script would commit it.
            for statement in filter(str.strip, SCHEMA.split(";")):
                db.execute(statement)

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        with contextlib.closing(
            sqlite3.connect(self._store, timeout=30, isolation_level=None)
        ) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def take(self, key: str, payload: str) -> Paid | None:
        """Take the key for a request; the earlier answer when it was made before."""
        at = datetime.now(UTC)
        with self._writing() as db:
            row = db.execute(
                "SELECT payload, payment, taken_at FROM keys WHERE key = ?", (key,)
            ).fetchone()
            if row is None:
                db.execute("INSERT INTO keys VALUES (?, ?, NULL, ?)", (key, payload, _text(at)))
                return None
            known, payment, taken_at = row
            if known != payload:
                raise KeyTaken
            if payment is not None:
                return self._paid(db, "id = ?", payment)[0]
            if datetime.fromisoformat(taken_at) + IN_FLIGHT > at:
                raise KeyBusy
            db.execute("UPDATE keys SET taken_at = ? WHERE key = ?", (_text(at), key))
            return None

    def release(self, key: str) -> None:
        """Forget a key under which nothing was done."""
        with self._writing() as db:
            db.execute("DELETE FROM keys WHERE key = ? AND payment IS NULL", (key,))

    def pay(self, kind: Kind, ordered: Ordered, key: str | None) -> Paid:
        """The effect, with its key in one transaction."""
        with self._writing() as db:
            cents = int(ordered.amount * 100)
            made = db.execute(
                "INSERT INTO payments (kind, reference, amount, currency, method, made_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    kind,
                    ordered.reference,
                    cents,
                    ordered.currency,
                    ordered.method,
                    _text(datetime.now(UTC)),
                ),
            ).lastrowid
            if key is not None:
                db.execute("UPDATE keys SET payment = ? WHERE key = ?", (made, key))
            return self._paid(db, "id = ?", made)[0]

    def find(self, reference: str | None) -> list[Paid]:
        """Payments under a reference, or all of them; oldest first."""
        with self._writing() as db:
            if reference is None:
                return self._paid(db, "? IS NULL", None)
            return self._paid(db, "reference = ?", reference)

    def _paid(self, db: sqlite3.Connection, where: str, value: str | int | None) -> list[Paid]:
        rows = db.execute(
            f"SELECT id, kind, reference, amount, currency FROM payments WHERE {where} ORDER BY id",
            (value,),
        )
        return [
            Paid(
                number=f"{NUMBERS[kind]}-{number:05}",
                kind=kind,
                reference=reference,
                amount=Decimal(cents) / 100,
                currency=currency,
            )
            for number, kind, reference, cents, currency in rows
        ]


class Dropped(Response):
    """Half an answer and a closed connection, as a crash or a cut cable leaves it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"100")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        # The server closes the connection of an answer that ends before its length.
        await send({"type": "http.response.body", "body": b'{"number":', "more_body": True})
        raise ConnectionAbortedError("dropped on purpose")


class Trouble:
    """Which faults strike; a share is drawn for each request."""

    def __init__(self) -> None:
        self.faults = Faults()

    def next(self) -> Faults:
        """The faults of one request."""
        faults = self.faults
        if faults.times is not None:
            if faults.times == 0:
                return Faults()
            self.faults = faults.model_copy(update={"times": faults.times - 1})
        return faults


def struck(share: float) -> bool:
    return random.random() < share


def create_app(store: Path, *, keys: bool = True, faults: bool = False) -> FastAPI:
    """The service over its store."""
    trouble = Trouble()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        app.state.books = await asyncio.to_thread(Books, store)
        yield

    app = FastAPI(title="Payments", lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.post("/refunds", status_code=201, response_model=Paid)
    async def refund(
        request: Request, ordered: Ordered, idempotency_key: Annotated[str | None, Header()] = None
    ) -> Paid | Response:
        return await pay(request, "refund", ordered, idempotency_key if keys else None)

    @app.post("/charges", status_code=201, response_model=Paid)
    async def charge(
        request: Request, ordered: Ordered, idempotency_key: Annotated[str | None, Header()] = None
    ) -> Paid | Response:
        return await pay(request, "charge", ordered, idempotency_key if keys else None)

    @app.get("/payments")
    async def payments(request: Request, reference: str | None = None) -> Response:
        if trouble.faults.lookup_down:
            return _problem(503, "The books are closed.")
        found = await asyncio.to_thread(request.app.state.books.find, reference)
        return JSONResponse({"payments": [one.model_dump(mode="json") for one in found]})

    if faults:

        @app.put("/faults")
        async def _(wanted: Faults) -> Faults:
            trouble.faults = wanted
            return wanted

    async def pay(
        request: Request, kind: Kind, ordered: Ordered, key: str | None
    ) -> Paid | Response:
        books: Books = request.app.state.books
        faults = trouble.next()
        if struck(faults.drop_before):
            return Dropped()
        if struck(faults.error_before):
            return _problem(500, "Something broke.")
        if struck(faults.decline):
            return _problem(402, "The bank declines this payment.")
        if key is not None:
            try:
                known = await asyncio.to_thread(books.take, key, _digest(kind, ordered))
            except KeyTaken as error:
                return _problem(422, error.__doc__ or "")
            except KeyBusy as error:
                return _problem(409, error.__doc__ or "")
            if known is not None:
                return _paid(known, replayed=True)
        await asyncio.sleep(faults.delay_before)
        try:
            paid = await asyncio.to_thread(books.pay, kind, ordered, key)
        except sqlite3.Error:
            if key is not None:
                await asyncio.to_thread(books.release, key)
            return _problem(503, "The books are closed.")
        await asyncio.sleep(faults.delay_after)
        if struck(faults.drop_after):
            return Dropped()
        if struck(faults.error_after):
            return _problem(500, "Something broke.")
        return _paid(paid)

    return app


def _paid(paid: Paid, *, replayed: bool = False) -> Response:
    headers = {"Idempotency-Replayed": "true"} if replayed else {}
    return JSONResponse(paid.model_dump(mode="json"), 201, headers)


def _problem(status: int, detail: str) -> Response:
    return JSONResponse(
        {"status": status, "detail": detail}, status, media_type="application/problem+json"
    )


def _digest(kind: Kind, ordered: Ordered) -> str:
    text = json.dumps([kind, ordered.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _text(at: datetime) -> str:
    return at.isoformat()


def main(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 0,
    store: Annotated[Path, typer.Option(help="The SQLite file of its books.")] = Path(
        "payments.db"
    ),
    keys: Annotated[bool, typer.Option(help="Honour Idempotency-Key.")] = True,
    faults: Annotated[bool, typer.Option(help="Open PUT /faults, for tests.")] = False,
) -> None:
    """A payment service with books of its own."""
    config = uvicorn.Config(
        create_app(store, keys=keys, faults=faults),
        host="127.0.0.1",
        port=port,
        log_level="critical" if faults else "warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    Announced(config).run()


class Announced(uvicorn.Server):
    """Says where it listens as soon as it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            bound = self.servers[0].sockets[0].getsockname()[1]
            sys.stdout.write(f"http://127.0.0.1:{bound}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    typer.run(main)

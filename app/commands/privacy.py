"""`signalbox privacy`: what is kept of one customer's words, as a document, and its end."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard, TypeVar, cast

import typer

from app.commands.shared import (
    NOTHING,
    Json,
    console,
    errors,
    me,
    opened_database,
    progress_bars,
    read_settings,
    show,
    stop,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from app.config import Settings
    from app.privacy import Privacy
    from app.stores.privacy import Open
    from tools.domain import Progress

app = typer.Typer(
    help="A customer's words: hand them out, erase them. Both work beside a running server.",
    no_args_is_help=True,
)

Customer = Annotated[str, typer.Argument(help="The customer's id.")]
Tenant = Annotated[str | None, typer.Option(help="Whose customer; the domain's own by default.")]
Found = TypeVar("Found")


@app.command()
def export(
    customer: Customer,
    out: Annotated[
        Path | None, typer.Option("--out", help="A new file; without it, on the terminal.")
    ] = None,
    tenant: Tenant = None,
) -> None:
    """Everything that is kept of a customer's words, as one JSON document."""
    if out is not None and out.exists():
        stop(f"{out} is there already.")

    async def ask(privacy: Privacy, of: str) -> dict[str, Any]:
        return await privacy.export(of, customer)

    found = _asked(customer, tenant, ask)
    if out is None:
        show(found)
        return
    text = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
    try:
        # Nobody else may read it, from its first moment on.
        made = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        stop(f"{out} cannot be written: {error}")
    console.print(f"Written to {out}.", markup=False)


@app.command()
def erase(
    customer: Customer,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    tenant: Tenant = None,
    json: Json = False,
) -> None:
    """Erase a customer's words everywhere. Keys, digests and what was sold stay; nothing brings the words back."""

    async def look(privacy: Privacy, of: str) -> tuple[dict[str, Any], list[Open]]:
        return await privacy.export(of, customer), await privacy.open(of, customer)

    found, waiting = _asked(customer, tenant, look)
    if waiting:
        _stop_for(waiting)
    if not yes:
        counts = [(len(rows), kind) for kind, rows in found.items() if _are_rows(rows)]
        kept = ", ".join(f"{number} {kind}" for number, kind in counts) or "nothing"
        errors.print(f"Kept of {customer}: {kept}.", markup=False)
        typer.confirm("Erase it? It cannot be undone.", abort=True, err=True)

    async def end(privacy: Privacy, of: str) -> Any:
        return await privacy.erase(of, customer, me())

    done = _asked(customer, tenant, end)
    if json:
        show(done)
        return
    gone = ", ".join(f"{number} {kind}" for kind, number in done.gone.items()) or "nothing was left"
    console.print(f"The words of {customer} are erased: {gone}.", markup=False)


def _are_rows(found: object) -> TypeGuard[list[object]]:
    return isinstance(found, list) and bool(cast("list[object]", found))


def _stop_for(waiting: Sequence[Open]) -> None:
    lines = [f"  {each.kind} {each.action} ({each.operation}): {each.todo}" for each in waiting]
    stop("Nothing was erased, for something of this customer's is under way:\n" + "\n".join(lines))


def _asked(
    customer: str, tenant: str | None, ask: Callable[[Privacy, str], Awaitable[Found]]
) -> Found:
    from app.privacy import NothingKept
    from app.stores.privacy import StillOpen
    from tools.ports import BackendUnavailable

    settings = read_settings()

    async def work(engine: Engine, progress: Progress) -> Found:
        async with _opened(settings, engine, progress) as privacy:
            return await ask(privacy, tenant or _tenant_of(settings))

    try:
        with opened_database(settings) as engine, progress_bars() as progress:
            return asyncio.run(work(engine, progress))
    except NothingKept:
        stop(f"Nothing is kept of a customer {customer}.", NOTHING)
    except StillOpen as error:
        _stop_for(error.items)
        raise
    except BackendUnavailable as error:
        stop(f"The business's customers, or the checkpoints, cannot be reached: {error}")


def _tenant_of(settings: Settings) -> str:
    from app.domains import profile_of

    return profile_of(settings.domain).tenant


@asynccontextmanager
async def _opened(
    settings: Settings, engine: Engine, progress: Progress
) -> AsyncGenerator[Privacy]:
    from app.domains import DomainInvalid, books_of
    from app.privacy import Privacy
    from app.stores.checkpoints import checkpoints_at
    from app.stores.holds import SqlHolds
    from app.stores.privacy import SqlPrivacy
    from graphs.support import support_graph
    from tools.domain import Opening
    from tools.values import Clock

    try:
        open_books = books_of(settings)
    except DomainInvalid as error:
        stop(f"The domain cannot be used: {error}")
    async with (
        open_books(Opening(engine, Clock(), progress)) as books,
        checkpoints_at(settings.checkpoints) as saver,
    ):
        holds = SqlHolds(engine, admit=saver.admit)
        support = support_graph().compile(checkpointer=saver, name="support")
        yield Privacy(SqlPrivacy(engine), support, saver, holds, books, Clock())

"""`signalbox operators`: who may act at the desk, with a key of their own; and `signalbox sessions`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer
from rich.table import Table

from app.commands.shared import Json, console, opened_database, read_settings, show, stop

if TYPE_CHECKING:
    from app.config import Settings
    from app.stores.access import SqlAccess

app = typer.Typer(
    help="Operators and their keys. A running server knows of a change within two seconds.",
    no_args_is_help=True,
)
sessions = typer.Typer(help="Customers' sessions.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The operator's name.")]


@contextmanager
def _opened() -> Generator[tuple[Settings, SqlAccess]]:
    settings = read_settings()
    from app.stores.access import SqlAccess

    with opened_database(settings) as engine:
        yield settings, SqlAccess(engine)


@app.command("list")
def listed(json: Json = False) -> None:
    """Names, roles, when a key was made and when it was used last. Keys cannot be shown again."""
    from app.config import operator_named

    with _opened() as (settings, access):
        rows = access.operators()
    kept = [
        {
            "name": row.name,
            "role": row.role,
            "tenant": row.tenant,
            "kept": "database",
            "made": row.changed_at,
            "last_used": row.last_used_at,
            "revoked": row.revoked_at,
        }
        for row in rows
    ]
    for named in settings.operators:
        name, role = operator_named(named)
        kept.append({"name": name, "role": role, "kept": "SIGNALBOX_OPERATORS"})
    if json:
        show(kept)
        return
    table = Table("name", "role", "tenant", "kept in", "key made", "last used", "revoked")
    for row in kept:
        table.add_row(
            *(str(row.get(column) or "") for column in ("name", "role", "tenant", "kept")),
            *(_moment(row.get(column)) for column in ("made", "last_used", "revoked")),
        )
    console.print(table)


def _moment(value: object) -> str:
    return str(value)[:16] if value else ""


@app.command()
def add(
    name: Name,
    role: Annotated[Literal["agent", "admin"], typer.Option(help="What they may do.")] = "agent",
    tenant: Annotated[
        str | None, typer.Option(help="Only this tenant's records are theirs to see.")
    ] = None,
) -> None:
    """A new operator. The key is printed once; only its digest is kept."""
    from app.config import operator_named
    from app.stores.access import OperatorTaken
    from tools.values import person_named

    with _opened() as (settings, access):
        taken = {person_named(operator_named(named)[0]) for named in settings.operators}
        if not name.strip() or len(name) > 64 or ":" in name:
            stop("A name has 1 to 64 characters and no colon.")
        try:
            if person_named(name) in taken:
                raise OperatorTaken
            key = access.add(" ".join(name.split()), role, tenant)
        except OperatorTaken:
            stop(
                f"There is an operator {name} already; `signalbox operators rotate` gives a new key."
            )
    _told(key)


@app.command()
def rotate(name: Name) -> None:
    """Another key for an operator, whose old one counts no more; also one for who was revoked."""
    from app.stores.access import OperatorUnknown

    with _opened() as (_, access):
        try:
            key = access.rotate(name)
        except OperatorUnknown:
            _unknown(name)
    _told(key)


@app.command()
def revoke(name: Name) -> None:
    """Take an operator's key away. What they decided stays in the audit under their name."""
    from app.stores.access import OperatorUnknown

    with _opened() as (_, access):
        try:
            access.revoke(name)
        except OperatorUnknown:
            _unknown(name)
    console.print(f"{name} has no key any more.", markup=False)


@sessions.command("end")
def end_sessions(
    customer: Annotated[str, typer.Argument(help="The customer's id.")],
) -> None:
    """End every session of a customer that began before now."""
    from datetime import timedelta

    from app.auth import session_subject

    with _opened() as (settings, access):
        access.end(session_subject(customer), timedelta(hours=settings.session_hours))
    console.print(f"The sessions of {customer} are ended.", markup=False)


def _told(key: str) -> None:
    console.print("The key, which is not shown again:", markup=False)
    typer.echo(key)


def _unknown(name: str) -> NoReturn:
    stop(
        f"There is no operator {name} in the database. One of SIGNALBOX_OPERATORS is changed there; "
        "`signalbox operators list` names them."
    )

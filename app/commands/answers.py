"""`signalbox answers`: what is given again to whoever asks the same, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.shared import Json, console, me, opened_database, read_settings, show, stop

if TYPE_CHECKING:
    from app.stores.answers import CachedAnswer, SqlAnswers

app = typer.Typer(
    help="Answers that are given again: list them, withdraw one. Both work beside a running server.",
    no_args_is_help=True,
)


@app.command("list")
def listed(json: Json = False) -> None:
    """What is given again today, those given most often first, and what was withdrawn."""
    from rich.markup import escape
    from rich.table import Table

    async def ask() -> list[CachedAnswer]:
        async with _answers() as kept:
            return await kept.list()

    found = asyncio.run(ask())
    if json:
        show(found)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("id", "given", "question", "answer", "withdrawn"):
        table.add_column(column, overflow="fold")
    for one in found:
        by = f"by {one.withdrawn_by}" if one.withdrawn_by else ""
        cells = (one.id, str(one.served), one.question, one.text, by)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)


@app.command()
def withdraw(
    answer: Annotated[str, typer.Argument(help="Its id, as `signalbox answers list` has it.")],
    operator: Annotated[str | None, typer.Option("--as", help="Your name.")] = None,
) -> None:
    """Let no replica give an answer again, until one of its articles changes."""
    from app.stores.answers import AnswerNotFound

    async def ask() -> CachedAnswer:
        async with _answers() as kept:
            return await kept.withdraw(answer, operator or me())

    try:
        found = asyncio.run(ask())
    except AnswerNotFound as error:
        stop(str(error.__doc__))
    console.print(
        f"Withdrawn by {found.withdrawn_by}: it is not given again until an article changes.",
        markup=False,
    )


@asynccontextmanager
async def _answers() -> AsyncGenerator[SqlAnswers]:
    from app.stores.answers import SqlAnswers

    with opened_database(read_settings()) as engine:
        yield SqlAnswers(engine)

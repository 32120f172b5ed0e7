"""What the commands share: settings, the database, progress, and how to stop with a reason."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, BinaryIO, NoReturn

import typer
from rich.console import Console

if TYPE_CHECKING:
    import sqlalchemy as sa

    from app.config import Settings

#: A command that prints a table prints the same as JSON with this.
Json = Annotated[bool, typer.Option("--json", help="The same as one JSON document.")]

console = Console()
errors = Console(stderr=True)


#: Exit code of a command that found nothing to do its work on.
NOTHING = 3


def stop(why: str, code: int = 1) -> NoReturn:
    """End the command with a reason, as usage errors are said, and an exit code."""
    errors.print(f"Error: {why}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


def read_settings(**given: object) -> Settings:
    """The settings and the data folder, or the reason why they cannot be used; options given come first."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from app.config import Settings, prepare_environment

    try:
        settings = Settings(**{k: v for k, v in given.items() if v is not None})  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in each['loc']) or 'settings'}: {each['msg']}"
            for each in error.errors(include_input=False)
        ]
        stop("These settings cannot be used (environment or .env):\n" + "\n".join(lines))
    except SettingsError as error:
        stop(f"The settings cannot be read: {error}. See .env.example.")
    warn_of_unknown()
    try:
        prepare_environment(settings)
    except OSError as error:
        stop(f"The data folder cannot be used: {error}. Set SIGNALBOX_DATA_DIR to another one.")
    return settings


def warn_of_unknown() -> None:
    """Name misspelt settings: what nobody reads is obeyed by nobody."""
    from app.config import unknown_settings

    for name, near in unknown_settings():
        meant = f" Did you mean {near}?" if near else " See .env.example."
        errors.print(f"There is no setting {name}.{meant}", style="yellow", markup=False)


def show(data: object) -> None:
    """Print data as one JSON document, for programs; ``--json`` of every command that prints a table."""
    import json

    from pydantic import TypeAdapter

    plain = TypeAdapter(object).dump_python(data, mode="json")
    typer.echo(json.dumps(plain, ensure_ascii=False, indent=2))


@contextmanager
def opened_database(settings: Settings) -> Generator[sa.Engine]:
    """The database that the settings name, with the newest schema."""
    from app.stores.database import SchemaTooNew, create_engine, migrate
    from tools.ports import BackendUnavailable

    try:
        try:
            migrate(settings.database)
            engine = create_engine(settings.database)
        except unusable_databases() as error:
            stop(f"The database cannot be used: {error}. Check SIGNALBOX_DATABASE_URL.")
        except SchemaTooNew as error:
            stop(f"The database cannot be used: {error}")
        try:
            yield engine
        finally:
            engine.dispose()
    except BackendUnavailable as error:
        stop(f"The database cannot be used: {error}")


def unusable_databases() -> tuple[type[Exception], ...]:
    """What a database that is none of ours raises before it is ever asked: no such kind, no driver for it."""
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    return (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError)


def me() -> str:
    """Who sits at this terminal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "terminal"


def size_of(source: BinaryIO) -> int | None:
    """How many bytes are to be read, where that is known beforehand."""
    found = os.fstat(source.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


@contextmanager
def reader_may_leave() -> Generator[None]:
    """Whoever reads the output has enough, as with `| head -1`: that is no error of ours."""
    try:
        yield
    except BrokenPipeError:
        # Python must not try to flush the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(141) from None


@contextmanager
def counted(what: str, size: int | None) -> Generator[Callable[[int, int], None]]:
    """A bar over lines of which only the bytes can be known beforehand."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.fields[lines]} lines"))
    with Progress(*columns, TimeElapsedColumn(), console=errors) as bars:
        task = bars.add_task(what, total=size, lines=0)

        def progress(lines: int, done: int) -> None:
            bars.update(task, lines=lines, advance=done)

        yield progress


@contextmanager
def progress_bars() -> Generator[Callable[[str, int, int], None]]:
    """Bars for what takes long; they leave when they are full."""
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    tasks: dict[str, TaskID] = {}
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip

    def progress(what: str, done: int, total: int) -> None:
        if what not in tasks:
            for earlier in tasks.values():
                bars.update(earlier, visible=False)
            tasks[what] = bars.add_task(what, total=total or None)
            if bars.console.is_terminal:
                bars.start()
            else:
                bars.console.print(f"{what} ...", markup=False)
        bars.update(tasks[what], completed=done, total=total or None)
        if total and done >= total:
            bars.update(tasks[what], visible=False)
            bars.stop()

    try:
        yield progress
    finally:
        bars.stop()

"""What the commands share: settings, the database, progress, and how to stop with a reason."""

from __future__ import annotations

import getpass
import os
import stat
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import typer
from rich.console import Console

if TYPE_CHECKING:
    import sqlalchemy as sa

    from app.config import Settings

console = Console()
errors = Console(stderr=True)


def stop(why: str) -> NoReturn:
    """End the command with exit code 1 and a reason."""
    errors.print(why, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)


def read_settings() -> Settings:
    """The settings and the data folder, or the reason why they cannot be used."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from app.config import Settings, prepare_environment

    try:
        settings = Settings()
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in each['loc']) or 'settings'}: {each['msg']}"
            for each in error.errors(include_input=False)
        ]
        stop("These settings cannot be used (environment or .env):\n" + "\n".join(lines))
    except SettingsError as error:
        stop(f"The settings cannot be read: {error}. See .env.example.")
    try:
        prepare_environment(settings)
    except OSError as error:
        stop(f"The data folder cannot be used: {error}. Set SIGNALBOX_DATA_DIR to another one.")
    return settings


@contextmanager
def opened_database(settings: Settings) -> Generator[sa.Engine]:
    """The database that the settings name, with the newest schema."""
    from app.stores.database import create_engine, migrate
    from tools.ports import BackendUnavailable

    try:
        migrate(settings.database)
        engine = create_engine(settings.database)
        try:
            yield engine
        finally:
            engine.dispose()
    except BackendUnavailable as error:
        stop(f"The database cannot be used: {error}")


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

"""What the commands share: settings, bars, and how they stop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import typer
from rich.console import Console

if TYPE_CHECKING:
    from app.config import Settings

console = Console()
errors = Console(stderr=True)


def read_settings() -> Settings:
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    from app.config import Settings, prepare_environment

    try:
        found = Settings()
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in each['loc']) or 'settings'}: {each['msg']}"
            for each in error.errors(include_input=False)
        ]
        stop("These settings cannot be used (environment or .env):\n" + "\n".join(lines))
    except SettingsError as error:
        stop(f"The settings cannot be read: {error}. See .env.example.")
    try:
        prepare_environment(found)
    except OSError as error:
        stop(f"The data folder cannot be used: {error}. Set SIGNALBOX_DATA_DIR to another one.")
    return found


def stop(why: str) -> NoReturn:
    errors.print(why, style="red", soft_wrap=True)
    raise typer.Exit(1)


def size_of(source: BinaryIO) -> int | None:
    """How many bytes are to be read, where that is known beforehand."""
    import os
    import stat

    found = os.fstat(source.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else None


@contextmanager
def reader_may_leave() -> Generator[None]:
    """Whoever reads the output has enough, as with `| head -1`: that is no error of ours."""
    import os

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
    shown = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip

    def progress(what: str, done: int, total: int) -> None:
        if what not in tasks:
            for earlier in tasks.values():
                shown.update(earlier, visible=False)
            tasks[what] = shown.add_task(what, total=total or None)
            if shown.console.is_terminal:
                shown.start()
            else:
                shown.console.print(f"{what} ...", markup=False)
        shown.update(tasks[what], completed=done, total=total or None)
        if total and done >= total:
            shown.update(tasks[what], visible=False)
            shown.stop()

    try:
        yield progress
    finally:
        shown.stop()

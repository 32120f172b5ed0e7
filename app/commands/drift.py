"""`signalbox drift`: is the traffic still what the models were made for?"""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.shared import (
    NOTHING,
    Json,
    console,
    opened_database,
    progress_bars,
    read_settings,
    show,
    stop,
)

if TYPE_CHECKING:
    from app.config import Settings
    from app.drift import Traffic

app = typer.Typer(
    help="Compare the newest traffic with a reference, by tests that account for sample size.",
    no_args_is_help=True,
)


@app.command()
def look(json: Json = False) -> None:
    """Compare now. Exit code 1 when the traffic is not like the reference, 3 when there is too little of it."""
    settings = read_settings()
    from app.drift_watch import DriftWatch, told
    from app.models.release import ReleaseError
    from app.releases import releases_on
    from app.stores.decisions import SqlDecisionLog

    with opened_database(settings) as engine:
        try:
            live = releases_on(settings, engine).live()
        except ReleaseError as error:
            stop(str(error))
        watch = DriftWatch(
            SqlDecisionLog(engine, str),
            settings.data_dir / "drift-reference.npz",
            messages=settings.drift_window,
            days=settings.drift_days,
            alpha=settings.drift_alpha,
            since=live.at if live else None,
        )
        drift = asyncio.run(watch.look())
    compared = any(each.comparison.p for each in drift.windows)
    if json:
        show(drift)
        raise typer.Exit(1 if drift.alarm else 0 if compared else NOTHING)
    if drift.problem:
        console.print(drift.problem, style="yellow", markup=False)
    for each in drift.windows:
        console.print(told(each), markup=False, soft_wrap=True)
    if drift.alarm:
        raise typer.Exit(1)
    if not compared:
        raise typer.Exit(NOTHING)


@app.command()
def reference(
    examples: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Messages as they should be, a JSON object with `text` a line; each is routed once.",
        ),
    ] = None,
    messages: Annotated[
        int, typer.Option(min=50, help="Without examples: the newest so many messages.")
    ] = 2000,
    forget: Annotated[
        bool, typer.Option(help="Delete it: the traffic before each window is then the reference.")
    ] = False,
) -> None:
    """Keep traffic to compare with from now on: what was routed lately, or examples."""
    settings = read_settings()
    from app.drift import FEWEST
    from app.drift_watch import write_reference

    path = settings.data_dir / "drift-reference.npz"
    if forget:
        path.unlink(missing_ok=True)
        console.print("There is no reference file now.")
        return
    traffic = (
        _logged(settings, messages)
        if examples is None
        else asyncio.run(_routed(settings, _texts(examples)))
    )
    if len(traffic) < FEWEST:
        stop(f"{len(traffic)} messages are too few for a reference; it takes {FEWEST}.")
    try:
        write_reference(path, traffic)
    except OSError as error:
        stop(f"{path} cannot be written: {error}")
    console.print(f"{len(traffic)} messages in {path}.", markup=False)


def _logged(settings: Settings, messages: int) -> Traffic:
    from app.stores.decisions import SqlDecisionLog

    with opened_database(settings) as engine:
        return asyncio.run(SqlDecisionLog(engine, str).traffic(limit=messages))[1]


def _texts(file: Path) -> list[str]:
    texts: list[str] = []
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                texts.append(str(jsonlib.loads(line)["text"]))
            except (ValueError, KeyError, TypeError):
                stop(f'{file}, line {number}: not a JSON object with "text".')
    return texts


async def _routed(settings: Settings, texts: list[str]) -> Traffic:
    from app.drift import Traffic

    with progress_bars() as progress:
        rows = [row async for row in _each_routed(settings, texts, progress)]
    intents, abstained, sketches = zip(*rows, strict=True) if rows else ((), (), ())
    return Traffic(intents, abstained, sketches)


async def _each_routed(
    settings: Settings, texts: list[str], progress: object
) -> AsyncIterator[tuple[str, bool, bytes]]:
    from app import roles
    from app.drift import sketch_of
    from app.models.encoder import OnnxEncoder
    from tools.privacy import mask_pii

    assert callable(progress)
    encoder = OnnxEncoder()
    async with roles.opened("router", settings) as answer:
        for number, text in enumerate(texts, 1):
            said = await answer({"text": text})
            vector = (await encoder.embed([mask_pii(text)]))[0]
            yield str(said["intent"]), bool(said["abstain"]), sketch_of(vector)
            progress("Routing the examples", number, len(texts))

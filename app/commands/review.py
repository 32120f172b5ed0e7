"""`signalbox review`: a weekly sample of what was routed, labelled by people."""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.shared import (
    NOTHING,
    Json,
    console,
    me,
    opened_database,
    read_settings,
    show,
    stop,
)

if TYPE_CHECKING:
    from app.stores.reviews import Item, SqlReviews
    from tools.intents import Intents

app = typer.Typer(
    help="Draw a sample of routed messages, label it, see how often the router is right.",
    no_args_is_help=True,
)

Sample = Annotated[str | None, typer.Option(help="Only this sample; without it, all.")]


@app.command()
def sample(
    n: Annotated[int, typer.Option(min=1, help="How many messages.")] = 100,
    days: Annotated[float, typer.Option(min=0.01, help="From the last so many days.")] = 7.0,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Also write them here, a JSON object a line."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draw the same ones again.")] = None,
) -> None:
    """Draw a sample: stratified by intent, tier and confidence, so that what is rare is in it too."""
    from app.stores.reviews import SqlReviews

    with opened_database(read_settings()) as engine:
        kept = SqlReviews(engine)
        since = kept.now() - timedelta(days=days)
        drawn = asyncio.run(kept.draw(n, since=since, seed=seed))
    if not drawn:
        stop(f"Nothing was routed in the last {days:g} days.", NOTHING)
    if out is not None:
        try:
            out.write_text("".join(_line(item) for item in drawn), "utf-8")
        except OSError as error:
            stop(f"The sample {drawn[0].sample} is drawn, but {out} cannot be written: {error}")
    strata = len({item.stratum for item in drawn})
    console.print(f"{drawn[0].sample}: {len(drawn)} messages from {strata} strata.", markup=False)
    if len(drawn) < n:
        console.print(f"There were only {len(drawn)} to draw from.")
    console.print("Label them with `signalbox review label`, or at the desk.", markup=False)


@app.command()
def label(
    sample: Sample = None,
    reviewer: Annotated[str | None, typer.Option("--as", help="Your name.")] = None,
) -> None:
    """Say what each sampled message means. Every answer is kept at once: quit and go on when you like."""
    from app.stores.reviews import SqlReviews

    settings = read_settings()
    with opened_database(settings) as engine:
        kept = SqlReviews(engine)
        waiting = asyncio.run(kept.list(sample=sample, waiting=True))
        if not waiting:
            console.print(
                "Nothing waits. Draw a sample with `signalbox review sample`.", markup=False
            )
            return
        done = _label_each(kept, waiting, _intents(), reviewer or me())
    console.print(f"{done} labelled or skipped, {len(waiting) - done} left.")


@app.command()
def report(sample: Sample = None, json: Json = False) -> None:
    """How often the router was right, week by week, weighted back to all its messages."""
    from rich.table import Table

    from app.intervals import weighted
    from app.stores.reviews import SqlReviews

    with opened_database(read_settings()) as engine:
        items = asyncio.run(SqlReviews(engine).list(sample=sample, waiting=False))
    labelled = [item for item in items if item.label is not None]
    if not labelled:
        stop(
            "Nothing is labelled yet: `signalbox review sample`, then `signalbox review label`.",
            NOTHING,
        )
    if json:
        everything = weighted([i.right for i in labelled], [i.weight for i in labelled])
        show({"labelled": len(labelled), "right": everything, "items": items})
        return
    table = Table(box=None, pad_edge=False)
    for column in ("week", "labelled", "skipped", "right (95 % interval)"):
        table.add_column(column)
    for week in sorted({_week(item.at) for item in items}):
        of_week = [item for item in labelled if _week(item.at) == week]
        skipped = sum(item.skipped for item in items if _week(item.at) == week)
        share = weighted([i.right for i in of_week], [i.weight for i in of_week])
        table.add_row(week, str(len(of_week)), str(skipped), str(share) if of_week else "-")
    everything = weighted([i.right for i in labelled], [i.weight for i in labelled])
    table.add_row("all", str(len(labelled)), "", str(everything))
    console.print(table)
    console.print()
    _by_tier(labelled)
    _confusions(labelled)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="A JSON object a line.")],
    sample: Sample = None,
) -> None:
    """Write the labelled messages as training lines, for `signalbox train router --examples FILE`."""
    from app.stores.reviews import SqlReviews

    with opened_database(read_settings()) as engine:
        items = asyncio.run(SqlReviews(engine).list(sample=sample, waiting=False))
    # The last word on a text counts.
    lines = {item.input: item.label for item in items if item.label is not None and item.input}
    text = "".join(
        jsonlib.dumps({"text": words, "intent": intent}, ensure_ascii=False) + "\n"
        for words, intent in lines.items()
    )
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        stop(f"{file} cannot be written: {error}")
    console.print(f"{len(lines)} labelled messages in {file}.", markup=False)


# --- labelling ----------------------------------------------------------------------------------


def _label_each(kept: SqlReviews, waiting: Sequence[Item], intents: Intents, reviewer: str) -> int:
    """Ask about each; how many were answered when the reviewer stopped."""
    for number, item in enumerate(waiting):
        _show(item, number, len(waiting), intents)
        options = [each.option for each in item.alternatives if each.option in intents.names]
        meant = _answer(item, options, intents)
        if meant == "quit":
            return number
        asyncio.run(
            kept.label(
                item.sample,
                item.decision,
                label=None if meant == "skip" else meant,
                reviewer=reviewer,
            )
        )
    return len(waiting)


def _show(item: Item, number: int, total: int, intents: Intents) -> None:
    console.rule(f"{number + 1} of {total} · {item.sample}", align="left")
    console.print(item.input, style="bold", markup=False)
    console.print()
    for key, each in enumerate(item.alternatives, 1):
        known = each.option in intents.names
        about = intents.get(each.option).description if known else "no longer an intent"
        mark = ">" if each.option == item.chosen else " "
        console.print(
            f"{mark} {key}  {each.probability:4.0%}  {each.option}: {about}", markup=False
        )
    console.print(
        "\n[dim]Enter or a: the marked one is right · 1-9: another · o: any other intent · "
        "s: cannot tell · q: stop[/]"
    )


def _answer(item: Item, options: Sequence[str], intents: Intents) -> str:
    """An intent's name, ``skip`` or ``quit``."""
    while True:
        try:
            key = typer.getchar().lower()
        except (KeyboardInterrupt, EOFError):
            return "quit"
        shown = [each.option for each in item.alternatives]
        if key in ("\r", "\n", "a") and item.chosen in intents.names:
            return item.chosen
        if key in ("q", "", "\x03", "\x04", "\x1b"):
            return "quit"
        if key == "s":
            return "skip"
        if key.isdigit() and 0 < int(key) <= len(shown) and shown[int(key) - 1] in options:
            return shown[int(key) - 1]
        if key == "o" and (named := _named(intents)) is not None:
            return named


def _named(intents: Intents) -> str | None:
    """An intent by its name or the beginning of it; None to choose anew."""
    typed = typer.prompt("Intent (the beginning is enough; empty: back)", default="")
    typed = typed.strip().casefold()
    if not typed:
        return None
    found = [name for name in intents.names if name.startswith(typed)]
    if typed in intents.names or len(found) == 1:
        return typed if typed in intents.names else found[0]
    near = found or [name for name in intents.names if typed in name]
    console.print(f"Which one? {', '.join(near) or ', '.join(intents.names)}", markup=False)
    return None


def _intents() -> Intents:
    from app.domains import DomainInvalid, domain_of

    try:
        return domain_of(read_settings()).intents
    except DomainInvalid as error:
        stop(f"The intents cannot be used: {error}")


# --- the report ---------------------------------------------------------------------------------


def _by_tier(labelled: Sequence[Item]) -> None:
    from app.intervals import weighted

    for tier in sorted({item.tier for item in labelled}):
        of_tier = [item for item in labelled if item.tier == tier]
        share = weighted([i.right for i in of_tier], [i.weight for i in of_tier])
        console.print(f"{tier}: {share}, {share.n} labelled", markup=False)


def _confusions(labelled: Sequence[Item]) -> None:
    from collections import Counter

    wrong = Counter((i.label, i.chosen) for i in labelled if not i.right)
    if wrong:
        console.print("\nMost often wrong (meant, taken for):")
    for (meant, taken), count in wrong.most_common(10):
        console.print(f"  {count:3}  {meant}, {taken}", markup=False)


def _week(at: datetime) -> str:
    year, week, _ = at.isocalendar()
    return f"{year}-W{week:02}"


def _line(item: Item) -> str:
    shown = item.model_dump(mode="json", exclude={"label", "skipped", "reviewer", "labelled_at"})
    return jsonlib.dumps(shown, ensure_ascii=False) + "\n"

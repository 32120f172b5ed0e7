"""`signalbox traces`: labelled turns to a dataset of Langfuse, and what people made of it there back."""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.shared import (
    NOTHING,
    Json,
    console,
    errors,
    me,
    opened_database,
    read_settings,
    show,
    stop,
)

if TYPE_CHECKING:
    from app.config import Settings
    from app.stores.reviews import Item
    from app.tracing.langfuse import Langfuse

app = typer.Typer(help="What belongs to traces and is no span.", no_args_is_help=True)
dataset = typer.Typer(
    help="Labelled turns as a dataset of Langfuse: push them, edit them there, pull them.",
    no_args_is_help=True,
)
app.add_typer(dataset, name="dataset")

#: The dataset's name, where none is given.
REVIEWED = "signalbox-reviewed"

Name = Annotated[str, typer.Option(help="The dataset's name.")]


@dataset.command()
def push(
    name: Name = REVIEWED,
    sample: Annotated[str | None, typer.Option(help="Only this sample; without it, all.")] = None,
    json: Json = False,
) -> None:
    """Put every labelled message into the dataset, with the trace it is from; again it changes nothing."""
    from app.stores.reviews import SqlReviews
    from app.stores.traces import SqlTraces
    from tools.privacy import mask_pii

    settings = read_settings()
    langfuse = _langfuse(settings)
    with opened_database(settings) as engine:
        found = asyncio.run(SqlReviews(engine).list(sample=sample, waiting=False))
        labelled = [item for item in found if item.label is not None and item.input]
        where = SqlTraces(engine, mask_pii).traced(item.turn for item in labelled)
    if not labelled:
        stop(
            "Nothing is labelled yet: `signalbox review sample`, then `signalbox review label`.",
            NOTHING,
        )
    items = [item_of(item, where.get(item.turn)) for item in labelled]
    _asked(lambda: langfuse.put_items(name, items))
    told = {"dataset": name, "items": len(items), "with a trace": len(where)}
    if json:
        show(told)
        return
    console.print(
        f"{len(items)} labelled messages in the dataset {name}, {len(where)} with their trace.",
        markup=False,
    )


@dataset.command()
def pull(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="A JSON object a line.")],
    name: Name = REVIEWED,
    labels: Annotated[
        bool, typer.Option("--labels", help="Also keep changed labels in our own reviews.")
    ] = False,
) -> None:
    """Write the dataset as training lines, for `signalbox train router --examples FILE`."""
    settings = read_settings()
    langfuse = _langfuse(settings)
    items: list[Any] = []
    _asked(lambda: items.extend(langfuse.items(name)))
    lines = [line for item in items if (line := line_of(item)) is not None]
    for _ in range(len(items) - len(lines)):
        errors.print("An item without a text or an intent is left out.", style="yellow")
    if not lines:
        stop(f"The dataset {name} holds nothing to learn from.", NOTHING)
    text = "".join(jsonlib.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        stop(f"{file} cannot be written: {error}")
    console.print(f"{len(lines)} messages in {file}.", markup=False)
    if labels:
        changed = _labelled(settings, items)
        console.print(f"{changed} labels changed in the reviews.", markup=False)


def item_of(item: Item, trace: str | None) -> dict[str, Any]:
    """A labelled message as a dataset's item; what it was taken for stands in its metadata."""
    told: dict[str, Any] = {
        "id": f"{item.sample}-{item.decision}",
        "input": {"text": item.input},
        "expected_output": {"intent": item.label},
        "metadata": {
            "sample": item.sample,
            "decision": item.decision,
            "turn": item.turn,
            "chosen": item.chosen,
            "probability": item.probability,
            "tier": item.tier,
            "lane": item.lane,
            "reviewer": item.reviewer,
        },
    }
    return told | ({"source_trace_id": trace} if trace else {})


def line_of(item: Any) -> dict[str, str] | None:
    """An item as a training line; None where it is not one of ours in form."""
    match item.input, item.expected_output:
        case {"text": str(text)}, {"intent": str(intent)} if text and intent:
            return {"text": text, "intent": intent}
        case _:
            return None


def _labelled(settings: Settings, items: Sequence[Any]) -> int:
    """Labels that were changed in the dataset, kept where they are read for the reports."""
    from app.stores.reviews import ReviewNotFound, SqlReviews

    changed = 0
    with opened_database(settings) as engine:
        kept = SqlReviews(engine)
        now = {(i.sample, i.decision): i.label for i in asyncio.run(kept.list(waiting=False))}
        for item in items:
            line, key = line_of(item), _of_ours(item.metadata)
            if line is None or key not in now or now[key] == line["intent"]:
                continue
            try:
                asyncio.run(kept.label(*key, label=line["intent"], reviewer=f"dataset by {me()}"))
            except ReviewNotFound:
                continue
            changed += 1
    return changed


def _of_ours(metadata: Any) -> tuple[str, int]:
    """Which label of ours an item was made of; none of ours where it was not."""
    match metadata:
        case {"sample": str(sample), "decision": int(decision)}:
            return sample, decision
        case _:
            return "", 0


def _langfuse(settings: Settings) -> Langfuse:
    if not settings.langfuse:
        stop("Langfuse is not configured: set LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY.")
    from app.tracing.langfuse import Langfuse
    from app.tracing.targets import targets_of

    return Langfuse(targets_of(settings))


def _asked(work: Any) -> None:
    from app.tracing.langfuse import LangfuseRefused

    try:
        work()
    except LangfuseRefused as error:
        stop(str(error))

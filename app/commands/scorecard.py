"""`signalbox scorecard`: small model, large model or both, for each intent of a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.shared import Json, console, opened_database, read_settings, show, stop

if TYPE_CHECKING:
    from app.config import Settings
    from app.scorecard import Card
    from tools.domain import Domain


def scorecard(
    workflow: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="The answers, as --form writes them."),
    ] = None,
    form: Annotated[
        bool, typer.Option("--form", help="Write the questions for this business, to be answered.")
    ] = False,
    days: Annotated[
        int, typer.Option(min=1, help="So many days of the decision log are measured.")
    ] = 90,
    json: Json = False,
) -> None:
    """Say for each intent whether a small model, a large one or both should serve it, with weighed reasons and what
    overrules them; from measured figures where the decision log and the reviews have some."""
    if (workflow is None) is not form:
        stop("Name a file of answers, or have one written: signalbox scorecard --form.", 2)
    settings = read_settings()
    from app.domains import DomainInvalid, domain_of

    try:
        domain = domain_of(settings)
    except DomainInvalid as error:
        stop(f"The domain cannot be used: {error}")
    if workflow is None:
        typer.echo(_form(settings, domain), nl=False)
        return
    cards = _cards(settings, domain, workflow, days)
    if json:
        show(cards)
    else:
        _print(cards)


def _form(settings: Settings, domain: Domain) -> str:
    from app.checking import labelled_in
    from app.scorecard import form_of

    try:
        labelled = labelled_in(domain.folder)
    except (ValueError, AttributeError) as error:
        stop(f"A line of the domain's examples is no labelled message: {error}")
    chain = settings.llm_chain
    local = bool(chain) and all(server.local for server in chain)
    return form_of(domain, labelled, large_model=bool(chain), large_is_local=local)


def _cards(settings: Settings, domain: Domain, file: Path, days: int) -> list[Card]:
    from app.scorecard import card_of, read_workflow
    from app.stores.measured import measured
    from tools.importing.problems import FilesInvalid

    try:
        workflow = read_workflow(file)
    except FilesInvalid as error:
        stop(str(error))
    except OSError as error:
        stop(f"{file} cannot be read: {error.strerror}")
    with opened_database(settings) as engine:
        known = measured(engine, domain.tenant, days)
    return [
        card_of(name, answers, workflow, known.get(name))
        for name, answers in workflow.intents.items()
    ]


def _print(cards: Sequence[Card]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("intent", "verdict", "score", "reasons that weigh most", "tripwires"):
        table.add_column(column, overflow="fold")
    for card in cards:
        reasons = [
            f"{'+' if each.points > 0 else '-'} {each.because}{' (measured)' if each.measured else ''}"
            for each in card.reasons
            if each.points
        ]
        table.add_row(
            escape(card.intent),
            card.verdict,
            f"{card.score:+.2f}",
            "\n".join(reasons[:4]),
            "\n".join(card.tripwires),
        )
    console.print(table)

"""What the training adds to the `signalbox` command; named in pyproject.toml, so that the program need not know it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.domain import Folder, folder_of
from app.commands.shared import (
    Json,
    console,
    opened_database,
    progress_bars,
    read_settings,
    show,
    stop,
)
from app.roles import Fit

if TYPE_CHECKING:
    from app.models.router import Router

#: How long a teacher may take to write or label a batch: nobody waits for it.
TEACHING_SECONDS = 120.0


def add(program: typer.Typer, domain: typer.Typer) -> Fit:
    """Put `train` beside the other commands, `domain train` and `domain teach` beside those about a business's
    folder; what makes a router of a catalogue is theirs to use."""
    program.command()(train)
    domain.command("train")(train_domain)
    domain.command("teach")(teach_domain)
    return router_of


def router_of(intents: Path) -> Router:
    """A router for these intents, fitted in memory from their own examples."""
    from models.train.intents import fitted, taught

    return fitted(taught(intents, None))[0]


def train(
    role: Annotated[
        str,
        typer.Argument(
            help="router with --intents or --examples; or follow_up, consequence, outcome, injection, extractor, planner "
            "or evaluator with --data."
        ),
    ],
    intents: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Your catalogue of intents, as YAML."),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help='Labelled messages, one {"text", "intent"} a line; alone they make the catalogue too.',
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of the public data sets."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the artefacts and the manifest go.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 7,
) -> None:
    """Train a router for your own intents, or one of our own roles again.

    \b
    signalbox train router --intents intents.yaml --out my-router
    signalbox train router --intents intents.yaml --examples labelled.jsonl --out my-router
    signalbox train router --examples labelled.jsonl --out my-router

    The router takes minutes on a CPU and needs no further packages. Try it with
    `signalbox role router --model my-router`, use it with SIGNALBOX_ROUTER=my-router. A label oos, none
    or null among the examples means: none of the intents. With --data our own adapters and heads are
    trained, which needs the `train` extra; the heads that understand a turn: `signalbox domain train`.
    """
    if role == "router" and (intents or examples):
        _train_router(intents, examples, out or Path("router"), seed)
        return
    if intents or examples:
        stop("--intents and --examples belong to the router: signalbox train router.")
    if data is None:
        more = "--intents or --examples" if role == "router" else "--data"
        stop(f"Say what {role} is to learn from: {more}. See signalbox train --help.")
    try:
        from models.train.__main__ import train as train_role

        train_role(role, data, out or Path("models"), seed=seed)
    except ImportError as error:
        stop(f"Training needs more packages ({error.name}): pip install 'signalbox[train]'")


def _train_router(intents: Path | None, examples: Path | None, out: Path, seed: int) -> None:
    from models.train.intents import ExamplesInvalid
    from models.train.intents import train as train_router
    from tools.intents import IntentsInvalid

    try:
        with progress_bars() as progress:
            entry = train_router(intents, examples, out, seed=seed, progress=progress)
    except (IntentsInvalid, ExamplesInvalid, OSError) as error:
        stop(str(error))
    found = entry["lineage"]["dev"]
    console.print(
        f"{len(entry['classes'])} intents from {entry['lineage']['examples']} examples, in {out}.\n"
        f"Of {found['held out']} held-out messages {found['accuracy']:.1%} right, calibration error "
        f"{found['ece']:.3f}; above the thresholds {found['coverage']:.1%} of them, "
        f"{found['accuracy_kept'] or 0:.1%} right.\n"
        f"Try it: signalbox role router --model {out} < messages.jsonl",
        markup=False,
        highlight=False,
    )


def train_domain(
    folder: Folder = None,
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where the heads go; by default the domain's models/."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 7,
) -> None:
    """Fit the heads that understand a turn on the domain's own examples, and read its articles and known
    questions once for all."""
    from app.domains import DomainInvalid, load_domain
    from models.train.kept_out import measured
    from models.train.understanding import ExamplesInvalid, Source, examples_of
    from models.train.understanding import train as fit
    from models.train.vectors import prepare_vectors

    try:
        domain = load_domain(folder_of(folder))
        examples, source = examples_of(domain), Source.of(domain.examples)
        kept_out = measured(domain.cases)
        with progress_bars() as progress:
            entries = fit(
                examples,
                out or domain.models,
                domain=domain.folder,
                incidents=domain.intents.of_role("incident").__contains__,
                seed=seed,
                progress=progress,
                source=source,
                kept_out=kept_out,
            )
        vectors = prepare_vectors(domain, kept_out)
    except DomainInvalid as error:
        stop(str(error))
    except ExamplesInvalid as error:
        stop(f"The examples cannot be used: {error}")
    console.print(f"{out or domain.models}: {len(entries)} heads from {len(examples)} examples.")
    console.print(f"{domain.folder}: {vectors} vectors of sentences and known questions.")


def teach_domain(
    folder: Folder = None,
    per_intent: Annotated[
        int, typer.Option(min=1, help="Messages for each intent, those of earlier runs counted.")
    ] = 24,
    only: Annotated[list[str] | None, typer.Option(help="Only for these intents.")] = None,
    language: Annotated[
        list[str] | None, typer.Option(help="In these languages; by default the domain's.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of who writes in which situation.")] = 7,
    json: Json = False,
) -> None:
    """Have the configured large model write labelled messages into examples/taught.jsonl.

    For each intent it writes as different customers would; a second pass labels what it wrote without the label in
    sight, and what agrees is kept. A run that was broken off goes on where it stopped. What it costs counts in
    SIGNALBOX_LLM_DAY_BUDGET, which it is held to as every turn is. Then: `signalbox domain train`.
    """
    import asyncio

    from app.domains import DomainInvalid, load_domain
    from app.economics import Limits
    from app.models.chain import ChainedLargeModel
    from app.models.large import ChatLargeModel
    from app.stores.usage import SqlUsage
    from app.wiring import budgets_of
    from models.train.teach import TAUGHT, Taught, Teacher
    from models.train.understanding import ExamplesInvalid
    from tools.ports import ModelUnavailable
    from tools.values import Clock, Customer

    settings = read_settings()
    if not settings.hosted_llm:
        stop(
            "No large model is configured, and the embedded one cannot teach. Set SIGNALBOX_LLM_MODEL, and "
            "SIGNALBOX_LLM_BASE_URL for a server of your own; see docs/large-model.md."
        )
    chain = {
        each.named: ChatLargeModel(
            each.model,
            base_url=each.base_url,
            api_key=each.api_key.get_secret_value() if each.api_key else "",
            timeout_for=lambda _: TEACHING_SECONDS,
        )
        for each in settings.llm_chain
    }

    async def teach(teacher: Teacher, model: ChainedLargeModel) -> Taught:
        try:
            with progress_bars() as progress:
                return await teacher.teach(per_intent, only or (), progress)
        finally:
            await model.aclose()

    try:
        domain = load_domain(folder_of(folder))
        if unknown := sorted({*(only or ())} - {*domain.intents.names}):
            stop(f"intents.yaml has no intent {', '.join(unknown)}.")
        with opened_database(settings) as engine:
            budgets = budgets_of(settings, SqlUsage(engine), domain, Clock())
            # It is no customer's, and one turn in name only.
            budgets.limits = Limits(day=budgets.limits.day)
            model = ChainedLargeModel(chain, spent=budgets.spent)
            nobody = Customer(id="", name="", email="", since=Clock().today(), tenant=domain.tenant)
            teacher = Teacher(
                domain,
                model,
                called=model.name,
                languages=language or (),
                seed=seed,
                paying=lambda: budgets.paying("teach", "", nobody),
            )
            try:
                taught = asyncio.run(teach(teacher, model))
            except ModelUnavailable as error:
                kept = teacher.taught.kept.total()
                stop(f"{error} {kept} messages are kept; the same command goes on from there.")
    except (DomainInvalid, ExamplesInvalid) as error:
        stop(str(error))
    if json:
        show(taught.as_json())
        return
    console.print(
        f"{taught.kept.total()} messages added to {domain.examples / TAUGHT}, of {taught.written} that were written in "
        f"{taught.calls} calls. Not kept: {taught.disagreed} that the second pass read otherwise, {taught.known} that "
        f"are there already, {taught.measured} of the evaluation sets; {taught.unusable} answers were none.\n"
        "Read some of them, then train: signalbox domain train",
        markup=False,
        highlight=False,
    )

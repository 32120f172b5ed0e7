"""``python -m evals NAME``: play a suite, print what it found, exit 1 when a requirement is missed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from evals.figures import NotPossible, Report, as_json, as_markdown, load, machine, shown
from evals.world import Folders, Progress

app = typer.Typer(
    help="Suites of evals on the embedded models: cases are data, graded on their outcome.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
console = Console()
if not console.is_terminal:
    console = Console(width=160)  # A log file has room; folded tables are hard to search.

FIGURES = Path(__file__).parents[1] / "docs" / "figures.md"

Json = Annotated[
    Path | None, typer.Option("--json", dir_okay=False, help="Also write everything here.")
]


Data = Annotated[
    Path | None,
    typer.Option(envvar="SIGNALBOX_DATA", help="The folder with the public data sets."),
]


@app.command()
def examples(
    only: Annotated[list[str] | None, typer.Option(help="Only these scenarios.")] = None,
    json: Json = None,
) -> None:
    """The conversations that must be held, and the faults that must be survived."""
    from evals import examples as suite

    _play(partial(suite.run, only=only or ()), json)


@app.command()
def mix(json: Json = None) -> None:
    """A hundred messages as at a real desk: share without an LLM, lane accuracy."""
    _play(suites()["mix"], json)


@app.command()
def bitext(data: Data = None, json: Json = None) -> None:
    """The router alone on the Bitext customer-support data."""
    _play(suites(data)["bitext"], json)


@app.command()
def turn(
    rounds: Annotated[int, typer.Option(min=3, help="Turns of each kind.")] = 25, json: Json = None
) -> None:
    """What a turn costs beside the models and the backend."""
    from evals import turn as suite

    _play(partial(suite.run, rounds=rounds), json)


@app.command()
def startup(
    rounds: Annotated[int, typer.Option(min=1, help="How often it is started.")] = 3,
    json: Json = None,
) -> None:
    """A real server: from its start to the first answers, and its memory."""
    from evals import startup as suite

    _play(partial(suite.run, rounds=rounds), json)


@app.command()
def models(json: Json = None) -> None:
    """What the model gateway adds to a bare call of the same prompt."""
    _play(suites()["models"], json)


@app.command()
def gate(json: Json = None) -> None:
    """What the ledger costs an action, beside a bare call of the same operation."""
    _play(suites()["gate"], json)


@app.command()
def crash(
    kills: Annotated[int, typer.Option(min=1, help="How many processes are killed.")] = 100,
    database: Annotated[str, typer.Option(help="sqlite, postgres or both.")] = "both",
    backend: Annotated[str, typer.Option(help="keys, no-keys, books or all.")] = "all",
    seconds: Annotated[float, typer.Option(help="No more kills after this time.")] = 3600.0,
    seed: Annotated[int, typer.Option(help="Another seed, other requests.")] = 1,
    json: Json = None,
) -> None:
    """Processes killed in the middle of writes; then the books beside what everybody was told."""
    from evals import crash as suite

    _play(
        partial(
            suite.suite,
            kills=kills,
            database=database,
            backend=backend,
            seconds=seconds,
            seed=seed,
        ),
        json,
    )


@app.command()
def knowledge(json: Json = None) -> None:
    """How well the knowledge base finds, prunes and refuses."""
    _play(suites()["knowledge"], json)


@app.command()
def pruning(
    data: Data = None,
    questions: Annotated[
        int, typer.Option(min=20, help="Of doc2dial, kept out of training.")
    ] = 150,
    json: Json = None,
) -> None:
    """What the pruner keeps and refuses, on doc2dial and on our own articles, and what it costs."""
    from evals import pruning as suite

    _play(partial(suite.run, data=data, questions=questions), json)


@app.command()
def cache(json: Json = None) -> None:
    """Whether the answer cache ever gives the answer to another question."""
    _play(suites()["cache"], json)


@app.command()
def validator(data: Data = None, json: Json = None) -> None:
    """What the output validator stops, and how well it tells grounded answers from made-up ones."""
    _play(suites(data)["validator"], json)


@app.command()
def answers(
    model: Annotated[bool, typer.Option(help="Also let the embedded model choose.")] = True,
    json: Json = None,
) -> None:
    """Whether answers say what was asked: sentences chosen by the pruner, and by the embedded model."""
    from evals import answering as suite

    _play(partial(suite.run, model=model), json)


@app.command("all")
def all_suites(
    data: Data = None,
    json: Json = None,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The page of figures.")] = FIGURES,
) -> None:
    """Every suite; writes docs/figures.md."""
    reports: list[Report] = []
    with _folders() as (folders, progress):
        for name, suite in suites(data).items():
            try:
                reports.append(suite(folders, progress))
            except NotPossible as reason:
                reports.append(Report(name, notes=[f"Not measured: {reason}"]))
            _show(reports[-1])
            # After each suite, so that what was measured is kept when a later one is stopped.
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(as_markdown(reports, on=machine(), load=load()), "utf-8")
    console.print(f"Written to {out}.", markup=False)
    _end(reports, json)


# --- suites -------------------------------------------------------------------------------------

Suite = Callable[[Folders, Progress], Report]


def suites(data: Path | None = None) -> dict[str, Suite]:
    """Each suite by its name, in the order `all` plays them."""
    # Here, so that `--help` need not wait for models and stores.
    from evals import answering, benches, caching, examples, mix, pruning, startup, turn, validating
    from evals import bitext as bitext_suite

    return {
        "examples": examples.run,
        "mix": mix.run,
        "bitext": partial(bitext_suite.run, data=data),
        "turn": turn.run,
        "startup": startup.run,
        "models": benches.models,
        "gate": benches.gate,
        "knowledge": benches.knowledge,
        "pruning": partial(pruning.run, data=data),
        "answers": answering.run,
        "cache": caching.run,
        "validator": partial(validating.run, data=data),
    }


def _play(play: Callable[[Folders, Progress], Report], json: Path | None) -> None:
    try:
        with _folders() as (folders, progress):
            report = play(folders, progress)
    except NotPossible as reason:
        console.print(str(reason), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    _show(report)
    _end([report], json)


def _end(reports: Sequence[Report], json: Path | None) -> None:
    """Exit 1 when something misbehaved or a target was missed."""
    if json is not None:
        json.write_text(as_json(reports, on=machine(), load=load()), "utf-8")
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _show(report: Report) -> None:
    for table in report.tables:
        drawn = Table(title=table.title, title_justify="left", box=None, pad_edge=False)
        for column in table.columns:
            drawn.add_column(column, overflow="fold")
        for row in table.rows:
            drawn.add_row(*(escape(cell) for cell in row))
        console.print(drawn)
        console.print()
    for figure in report.figures:
        mark = "[red]missed[/]" if figure.missed else "[green]met[/]" if figure.target else ""
        target = (
            f"({figure.target.side} {shown(figure.target.bound, figure.unit)})"
            if figure.target
            else ""
        )
        beside = f"[dim]{escape(figure.baseline)}[/]" if figure.baseline else ""
        ratio = "" if figure.ratio is None else f"ratio {figure.ratio:.2f}"
        line = (
            f"{escape(figure.name)}: [bold]{shown(figure.value, figure.unit)}[/]",
            target,
            mark,
            beside,
            ratio,
        )
        console.print(" ".join(part for part in line if part), soft_wrap=True)
    for note in report.notes:
        console.print(note, style="dim", markup=False, soft_wrap=True)
    for failure in report.failures:
        console.print(f"failed: {failure}", style="red", markup=False, soft_wrap=True)
    console.print()


@contextmanager
def _folders() -> Generator[tuple[Folders, Progress]]:
    """Data folders that go away afterwards, and bars for what takes its time."""
    with tempfile.TemporaryDirectory(prefix="signalbox-evals-") as root, _bars() as progress:
        yield Folders(Path(root), progress), progress


@contextmanager
def _bars() -> Generator[Progress]:
    bars = Bars(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    shown_as: list[TaskID] = []

    def progress(what: str, done: int, total: int) -> None:
        # One bar at a time: what is done is replaced by what comes next.
        if not shown_as:
            shown_as.append(bars.add_task(what, total=None))
        bars.update(
            shown_as[0], description=what, completed=done, total=total if total > 0 else None
        )

    with bars:
        yield progress


if __name__ == "__main__":
    app()

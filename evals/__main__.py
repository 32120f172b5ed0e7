"""``python -m evals NAME``: play a suite, print what it found, keep it; exit 1 when a requirement is missed or
a figure is below the accepted baseline."""

from __future__ import annotations

import faulthandler
import tempfile
import webbrowser
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from evals.figures import NotPossible, Report, as_json, as_markdown, load, machine, shown
from evals.runs import (
    BASELINE,
    RUNS,
    BaselineUnusable,
    as_text,
    compare,
    latest,
    read_baseline,
    read_runs,
    report_of,
    save,
)
from evals.runs import accept as accept_runs
from evals.world import Folders, Progress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
console = Console()
if not console.is_terminal:
    console = Console(width=160)  # A log file has room; folded tables are hard to search.

FIGURES = Path(__file__).parents[1] / "docs" / "figures.md"
#: What CI plays: no public data, and about a minute together.
FAST = ("mix", "drift", "conversations")


@dataclass(frozen=True)
class Kept:
    """Where runs go, and what they are compared with."""

    runs: Path
    baseline: Path


_KEPT: ContextVar[Kept] = ContextVar("kept")


@app.callback()
def kept(
    runs: Annotated[
        Path, typer.Option(file_okay=False, help="Every run is kept here, a file each.")
    ] = RUNS,
    baseline: Annotated[
        Path, typer.Option(dir_okay=False, help="The accepted figures.")
    ] = BASELINE,
) -> None:
    """Suites of evals on the embedded models: cases are data, graded on their outcome."""
    _KEPT.set(Kept(runs, baseline))


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
def conversations(
    file: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, help="JSON Lines; several times. Else the domain's and a."
        ),
    ] = None,
    domain: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Another business's folder.")
    ] = None,
    only: Annotated[str, typer.Option(help="Ids or tags, separated by commas.")] = "",
    data: Data = None,
    json: Json = None,
) -> None:
    """Whole conversations from files, graded by what was done and said; transcripts are kept."""
    from evals import conversations as suite

    files: list[Path | None] = [*(file or [])]
    if not file:
        files = [None]
        if domain is None and data is not None and (data / suite.OPEN).exists():
            files.append(data / suite.OPEN)
    picked = [name.strip() for name in only.split(",") if name.strip()]
    plays = [
        partial(
            suite.run,
            file=one,
            domain=domain,
            only=picked,
            transcripts=_KEPT.get().runs / "transcripts",
        )
        for one in files
    ]
    _play_each(plays, json, any_will_do=bool(picked))


@app.command()
def economics(
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="JSON Lines; else the domain's own."),
    ] = None,
    only: Annotated[str, typer.Option(help="Ids or tags, separated by commas.")] = "",
    json: Json = None,
) -> None:
    """What conversations cost, beside the same with a large model asked for everything."""
    from evals import economics as suite

    picked = [name.strip() for name in only.split(",") if name.strip()]
    _play(partial(suite.run, file=file, only=picked), json)


@app.command()
def large(
    only: Annotated[str, typer.Option(help="Ids of messages, separated by commas.")] = "",
    record: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Write down here what nobody has replied to yet."),
    ] = None,
    take: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Add the replies of such a file first."),
    ] = None,
    json: Json = None,
) -> None:
    """The large model's recorded replies through the whole graph: facts, false stops, what passed, cost."""
    from evals import large as suite

    picked = [name.strip() for name in only.split(",") if name.strip()]
    _play(partial(suite.run, only=picked, record=record, take=take), json)


@app.command()
def understanding(
    only: Annotated[
        list[str] | None, typer.Option(help="Hold out only these authors' files; several times.")
    ] = None,
    limit: Annotated[
        int,
        typer.Option(help="At most so many messages of each author; 0: all, an hour of one core."),
    ] = 300,
    json: Json = None,
) -> None:
    """The heads trained without one author of the examples, on that author: for regressions only."""
    from evals import understanding as suite

    _play(partial(suite.run, only=only or (), limit=limit), json)


@app.command()
def bitext(data: Data = None, json: Json = None) -> None:
    """The router alone on the Bitext customer-support data."""
    _play(suites(data)["bitext"], json)


@app.command()
def intents(
    data: Data = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="banking77, clinc150, bitext, hint3 or frustration; several times."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=5, help="Splits of BANKING77.")] = 5,
    json: Json = None,
) -> None:
    """Routers trained on public intents, beside TF-IDF with logistic regression."""
    from evals import intents as suite

    _play(partial(suite.run, data=data, only=only or (), seeds=seeds), json)


@app.command()
def consequences(data: Data = None, json: Json = None) -> None:
    """The classes that `signalbox domain init` proposes, beside the labels of public operations."""
    _play(suites(data)["consequences"], json)


@app.command()
def lanes(
    part: Annotated[str, typer.Option(help="dev, test or all.")] = "all", json: Json = None
) -> None:
    """Our own 300 messages in the middle of conversations: the lane each goes to."""
    from evals import lanes as suite

    _play(partial(suite.run, part=part), json)


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
def scaling(
    seconds: Annotated[float, typer.Option(min=1, help="How long each lane is asked.")] = 8.0,
    database: Annotated[
        str, typer.Option(help="An empty PostgreSQL database; without it, SQLite.")
    ] = "",
    json: Json = None,
) -> None:
    """What one process does: turns a second by lane, asked by 1, 4 and 16 customers at once."""
    from evals import scaling as suite

    _play(partial(suite.run, seconds=seconds, database=database), json)


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
    backend: Annotated[
        str, typer.Option(help="books, keys, no-keys, rest-key, rest-reference, rest-state or all.")
    ] = "all",
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
def stall(
    lives: Annotated[int, typer.Option(min=1, help="Processes, each stopped up to 3 times.")] = 40,
    database: Annotated[str, typer.Option(help="sqlite, postgres or both.")] = "both",
    backend: Annotated[
        str, typer.Option(help="books, keys, no-keys, rest-key, rest-reference, rest-state or all.")
    ] = "all",
    seconds: Annotated[float, typer.Option(help="No more stalls after this time.")] = 3600.0,
    long: Annotated[bool, typer.Option(help="Sleep for up to 40 seconds instead of 9.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed, other requests.")] = 1,
    json: Json = None,
) -> None:
    """Processes stopped in the middle of writes and woken up; clocks that jump; connections that are cut."""
    from evals import stall as suite

    _play(
        partial(
            suite.suite,
            lives=lives,
            database=database,
            backend=backend,
            seconds=seconds,
            long=long,
            seed=seed,
        ),
        json,
    )


@app.command()
def knowledge(json: Json = None) -> None:
    """How well the knowledge base finds, prunes and refuses."""
    _play(suites()["knowledge"], json)


@app.command()
def drift(
    data: Data = None,
    trials: Annotated[int, typer.Option(min=20, help="Windows of old traffic.")] = 200,
    json: Json = None,
) -> None:
    """The drift alarm: false alarms on old traffic, found shares of new intents."""
    from evals import drift as suite

    _play(partial(suite.run, data=data, trials=trials), json)


@app.command()
def fast(json: Json = None) -> None:
    """What CI plays: held to the accepted baseline; a target that is missed is shown, and fails only its own suite."""
    from evals import drift as drift_suite

    every = suites()
    played = {name: every[name] for name in FAST} | {"drift": partial(drift_suite.run, trials=60)}
    reports: list[Report] = []
    with _folders() as (folders, progress):
        for suite in played.values():
            reports.append(suite(folders, progress))
            _show(reports[-1])
    _end(reports, json, hold_to_targets=False)


@app.command()
def accept(
    suite: Annotated[str | None, typer.Argument(help="Only this suite.")] = None,
) -> None:
    """Take the newest results as the baseline that later ones are held to; commit the file."""
    where = _KEPT.get()
    newest = latest(read_runs(where.runs), suite)
    if not newest:
        _stop(f"No run of {suite or 'any suite'} is kept in {where.runs}: play it first.")
    try:
        accepted = accept_runs(newest, read_baseline(where.baseline))
    except BaselineUnusable as error:
        _stop(str(error))
    where.baseline.write_text(as_text(accepted), "utf-8")
    names = ", ".join(sorted(run["suites"][0]["suite"] for run in newest))
    console.print(f"Accepted: {names}. Written to {where.baseline}.", markup=False)


@app.command("report")
def write_report(
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="The page; report.html beside the runs.")
    ] = None,
    opened: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Draw the newest result of every suite into one HTML file."""
    from evals.page import render

    where = _KEPT.get()
    runs = read_runs(where.runs)
    newest = latest(runs)
    if not newest:
        _stop(f"No run is kept in {where.runs}: play a suite first, for example `mix`.")
    try:
        page = render(runs, newest, read_baseline(where.baseline))
    except BaselineUnusable as error:
        _stop(str(error))
    path = out or where.runs / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, "utf-8")
    console.print(f"Written to {path}.", markup=False)
    if opened:
        webbrowser.open(path.absolute().as_uri())


@app.command()
def retrieval(
    data: Data = None,
    every: Annotated[int, typer.Option(min=1, help="Only each n-th query.")] = 1,
    json: Json = None,
) -> None:
    """How well doc2dial's documents are found, and what finding and ingesting cost."""
    from evals import retrieval as suite

    _play(partial(suite.run, data=data, every=every), json)


@app.command()
def extraction(
    part: Annotated[str, typer.Option(help="dev, kept or all: which cases are played.")] = "all",
    data: Data = None,
    json: Json = None,
) -> None:
    """The extractor on labelled conversations, with rules alone and model alone beside it."""
    from evals import extraction as suite

    _play(partial(suite.run, part=part, data=data), json)


@app.command()
def evaluator(json: Json = None) -> None:
    """The loop evaluator on labelled results: adapter, head, rules, and all together."""
    _play(suites()["evaluator"], json)


@app.command()
def pruning(
    data: Data = None,
    questions: Annotated[
        int, typer.Option(min=20, help="Of doc2dial, kept out of training.")
    ] = 400,
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
def growth(
    turns: Annotated[int, typer.Option(min=1, help="How many turns are played.")] = 1000,
    minutes: Annotated[
        float, typer.Option(min=0, help="Play for so long instead; 120 is the soak.")
    ] = 0.0,
    json: Json = None,
) -> None:
    """What a long run keeps, by kind, before and after everything's time; and whether its memory grows."""
    from evals import growth as suite

    _play(partial(suite.run, turns=turns, minutes=minutes), json)


@app.command()
def soak(
    turns: Annotated[int, typer.Option(min=1, help="At least so many turns.")] = 2000,
    minutes: Annotated[float, typer.Option(min=0, help="And at least for so long.")] = 0.0,
    files: Annotated[int, typer.Option(min=0, help="So many files are put meanwhile.")] = 500,
    database: Annotated[
        str, typer.Option(help="An empty PostgreSQL database; without it, SQLite.")
    ] = "",
    json: Json = None,
) -> None:
    """A real server talked to for long: whether its memory stays where it was, and below what is promised."""
    from evals import soak as suite

    _play(partial(suite.run, turns=turns, minutes=minutes, files=files, database=database), json)


@app.command()
def privacy(data: Data = None, json: Json = None) -> None:
    """Which personal data the masking finds, by kind; and how much of what it masks is none."""
    _play(suites(data)["privacy"], json)


@app.command()
def attacks(
    quick: Annotated[bool, typer.Option("--quick", help="Seven attacks of each channel.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Play again what an interrupted run has played.")
    ] = False,
    json: Json = None,
) -> None:
    """Orders hidden in messages, mails, articles, records and tickets, each followed by a careless yes."""
    from evals import attacks as suite

    _play(partial(suite.run, quick=quick, fresh=fresh), json)


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


@app.command("figures")
def write_figures(
    out: Annotated[Path, typer.Option(dir_okay=False, help="The page of figures.")] = FIGURES,
) -> None:
    """Write docs/figures.md from the newest kept run of every suite."""
    where = _KEPT.get()
    newest = {run["suites"][0]["suite"]: run for run in latest(read_runs(where.runs))}
    if not newest:
        _stop(f"No run is kept in {where.runs}: play a suite first, for example `mix`.")
    reports = [report_of(newest[name]) for name in suites() if name in newest]
    last = max(newest.values(), key=lambda run: str(run["date"]))
    out.write_text(as_markdown(reports, on=last["machine"], load=None), "utf-8")
    absent = [name for name in suites() if name not in newest]
    console.print(f"Written to {out}.", markup=False)
    if absent:
        console.print(f"Never played here: {', '.join(absent)}.", markup=False)


# --- suites -------------------------------------------------------------------------------------

Suite = Callable[[Folders, Progress], Report]


def suites(data: Path | None = None) -> dict[str, Suite]:
    """Each suite by its name, in the order `all` plays them."""
    # Here, so that `--help` need not wait for models and stores.
    from evals import (
        answering,
        benches,
        caching,
        consequences,
        conversations,
        evaluator,
        examples,
        extraction,
        intents,
        lanes,
        mix,
        pruning,
        retrieval,
        scaling,
        startup,
        turn,
        understanding,
        validating,
    )
    from evals import bitext as bitext_suite
    from evals import drift as drift_suite
    from evals import (
        privacy as privacy_eval,
    )

    return {
        "examples": examples.run,
        "mix": mix.run,
        "conversations": conversations.run,
        "conversations@conversations_dev-a": lambda folders, progress: conversations.run(
            folders, progress, file=conversations.open_set(data)
        ),
        "understanding": understanding.run,
        "bitext": partial(bitext_suite.run, data=data),
        "lanes": lanes.run,
        "consequences": partial(consequences.run, data=data),
        "intents": partial(intents.run, data=data),
        "extraction": partial(extraction.run, data=data),
        "evaluator": evaluator.run,
        "turn": turn.run,
        "startup": startup.run,
        "scaling": scaling.run,
        "models": benches.models,
        "gate": benches.gate,
        "knowledge": benches.knowledge,
        "retrieval": partial(retrieval.run, data=data),
        "drift": partial(drift_suite.run, data=data),
        "pruning": partial(pruning.run, data=data),
        "answers": answering.run,
        "cache": caching.run,
        "privacy": partial(privacy_eval.run, data=data),
        "validator": partial(validating.run, data=data),
    }


def _stop(why: str) -> NoReturn:
    console.print(why, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)


def _play(play: Suite, json: Path | None) -> None:
    _play_each([play], json)


def _play_each(plays: Sequence[Suite], json: Path | None, *, any_will_do: bool = False) -> None:
    """Play what is given; one that is not possible ends it, unless any that is will do."""
    reports: list[Report] = []
    reason: NotPossible | None = None
    with _folders() as (folders, progress):
        for play in plays:
            try:
                reports.append(play(folders, progress))
            except NotPossible as error:
                reason = error
                if not any_will_do:
                    break
            else:
                _show(reports[-1])
    if reason is not None and not (any_will_do and reports):
        _stop(str(reason))
    _end(reports, json)


def _end(reports: Sequence[Report], json: Path | None, *, hold_to_targets: bool = True) -> None:
    """Keep the run; exit 1 when something misbehaved, a figure got worse, or (where held to it) a target was missed."""
    if json is not None:
        json.write_text(as_json(reports, on=machine(), load=load()), "utf-8")
    where = _KEPT.get()
    try:
        worse = compare(reports, read_baseline(where.baseline))
    except BaselineUnusable as error:
        _stop(str(error))
    path = save(reports, worse, where.runs)
    console.print(f"Kept as {path}.", style="dim", markup=False)
    for one in worse:
        console.print(f"below the baseline: {one}", style="red", markup=False, soft_wrap=True)
    if worse:
        raise typer.Exit(1)
    fine = [report.ok if hold_to_targets else not report.failures for report in reports]
    if not all(fine):
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
    faulthandler.enable()  # A crash in a library's own code leaves the Python stack of every thread.
    app()

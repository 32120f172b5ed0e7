"""The command line. Heavy imports wait inside the commands, so that `--help` is instant."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app import roles
from app.commands import (
    answers,
    domain,
    drift,
    knowledge,
    operators,
    privacy,
    release,
    review,
    scorecard,
    traces,
)
from app.commands.shared import (
    NOTHING,
    Json,
    console,
    counted,
    errors,
    opened_database,
    progress_bars,
    read_settings,
    reader_may_leave,
    show,
    size_of,
    stop,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from app.config import Settings
    from app.stores.audit import SqlAudit

app = typer.Typer(
    name="signalbox",
    help="A customer-support agent in which small models decide and the large one is a last resort.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    # Usage errors look as our own do, and help is wrapped to the terminal, not to the source.
    rich_markup_mode=None,
)
ollama = typer.Typer(help="Models for an Ollama server.", no_args_is_help=True)
app.add_typer(ollama, name="ollama")
audit = typer.Typer(
    help="The append-only record of who or what decided, and what happened.", no_args_is_help=True
)
app.add_typer(audit, name="audit")
app.add_typer(answers.app, name="answers")
app.add_typer(review.app, name="review")
app.add_typer(drift.app, name="drift")
app.add_typer(release.shadow, name="shadow")
app.command()(knowledge.ingest)
app.command()(knowledge.retrieve)
app.add_typer(knowledge.app, name="knowledge")
app.command()(scorecard.scorecard)
app.add_typer(domain.app, name="domain")
app.add_typer(traces.app, name="traces")
app.add_typer(operators.app, name="operators")
app.add_typer(privacy.app, name="privacy")
app.add_typer(operators.sessions, name="sessions")

#: Commands of the parts above this one (the training, the evals), as pyproject.toml names them; the training brings
#: what makes a router of examples, too.
MORE = "signalbox.commands"
_BROUGHT: list[roles.Fit | None] = [
    _part.load()(app, domain.app) for _part in entry_points(group=MORE)
]


def main() -> None:
    """The `signalbox` command."""
    app()


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        console.print(f"signalbox {version('signalbox')}", highlight=False)
        raise typer.Exit


@app.callback()
def signalbox(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Say which, and end."
        ),
    ] = False,
) -> None:
    """A customer-support agent in which small models decide and the large one is a last resort."""


@app.command()
def serve(
    host: Annotated[
        str | None, typer.Option(help="Where to listen; SIGNALBOX_HOST by default.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="SIGNALBOX_PORT by default.")
    ] = None,
) -> None:
    """Prepare the demo shop and serve the agent, the chat page and the operator desk."""
    settings = read_settings(host=host, port=port)
    _port_must_be_free(settings)
    _rules_must_be_valid(settings)
    _database_must_be_ours(settings)
    _heads_must_fit(settings)
    _articles_must_be_there(settings)
    _demo_login_must_be_meant(settings)
    from app.production import in_one_line, open_points
    from app.server import run

    if line := in_one_line(open_points(settings)):
        console.print(line, style="dim", highlight=False)
    with progress_bars() as progress:
        run(settings, console, progress)


@app.command()
def chat(
    customer: Annotated[str, typer.Option("--as", help="Demo customer to be.")] = "ana",
    url: Annotated[
        str | None, typer.Option(help="A running server; without it, in this process.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Operator key for /approve and /reject.")] = None,
) -> None:
    """Talk to the agent in the terminal."""
    settings = read_settings()
    if url is None:
        _customer_must_be_known(settings, customer)
        _rules_must_be_valid(settings)
        _heads_must_fit(settings)
        _articles_must_be_there(settings)
    from app.terminal import talk

    with progress_bars() as progress, _knowledge_in_use_is_said(settings):
        ended = talk(settings, console, customer, url=url, key=key, progress=progress)
    if ended:
        stop(ended)


@app.command(help=roles.explanation())
def role(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of the roles above.")],
    intents: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="router: route by this catalogue; a handful of examples an intent will do.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="router: the folder of `signalbox train router`."
        ),
    ] = None,
    small: Annotated[
        bool | None,
        typer.Option(
            help="router: ask the generative small model where the encoder is unsure. By default for the "
            "shipped intents only; without it 10,000 lines take a minute or two."
        ),
    ] = None,
) -> None:
    """Use one role alone, a JSON object a line."""
    import asyncio

    if name not in roles.ROLES:
        stop(f"There is no role {name!r}: it is one of {', '.join(roles.ROLES)}.")
    given: dict[str, Any] = {"intents": intents, "model": model, "small": small}
    options = {option: value for option, value in given.items() if value is not None}
    if options and name != "router":
        stop(f"--{' and --'.join(options)}: only the router knows this option.")
    if intents and model:
        stop("--intents or --model, not both: a trained folder holds its own intents.")
    if intents:
        options["fit"] = next((fit for fit in _BROUGHT if fit is not None), None)
    settings = read_settings()
    from app.knowledge.pruner import PrunerUnusable
    from app.models.manifest import ManifestError
    from tools.intents import IntentsInvalid

    source, sink = sys.stdin.buffer, sys.stdout.buffer

    async def answer_all(progress: roles.Progress) -> int:
        async with roles.opened(name, settings, **options) as answer:
            return await roles.run(
                answer,
                source,
                sink,
                complain=lambda what: errors.print(what, style="red", markup=False, soft_wrap=True),
                progress=progress,
            )

    try:
        with reader_may_leave(), counted(name, size_of(source)) as progress:
            bad = asyncio.run(answer_all(progress))
    except (ManifestError, PrunerUnusable, IntentsInvalid) as error:
        stop(str(error))
    if bad:
        raise typer.Exit(1)


@ollama.command("create")
def ollama_create(
    host: Annotated[
        str | None, typer.Option(help="The server; SIGNALBOX_OLLAMA_HOST by default.")
    ] = None,
    role: Annotated[list[str] | None, typer.Option(help="Only these roles.")] = None,
    one_model: Annotated[bool, typer.Option(help="One model trained on all roles.")] = False,
) -> None:
    """Fold the role adapters into GGUF files and create Ollama models from them."""
    import asyncio

    settings = read_settings()
    from app.models.manifest import ManifestError, base_model, load_manifest
    from app.models.ollama_create import create_models
    from tools.ports import PortError

    server = host or settings.ollama_host or "http://127.0.0.1:11434"
    base = base_model()
    with progress_bars() as progress:
        try:
            manifest = load_manifest(base=base)
            made = asyncio.run(
                create_models(
                    server,
                    role or sorted(manifest.adapters),
                    one_model,
                    base=base,
                    manifest=manifest,
                    progress=lambda name, step, share: progress(
                        f"{name}: {step}", round(share * 100), 100
                    ),
                )
            )
        except (ManifestError, PortError) as error:
            stop(str(error))
    for name in made:
        console.print(f"created {name}")
    console.print(f"\nNow set SIGNALBOX_OLLAMA_HOST={server} and start `signalbox serve`.")


@app.command()
def doctor(
    json: Json = False,
    production: Annotated[
        bool,
        typer.Option(help="Also list what is still open before strangers may use it."),
    ] = False,
) -> None:
    """Check what Signalbox needs and uses, and say what to do about what is wrong."""
    settings = read_settings()
    from app.doctor import examine
    from app.production import open_points

    with console.status("Looking at everything..."):
        findings = examine(settings)
        points = open_points(settings) if production else []
        findings += points
    bad = bool(points) or any(finding.state == "bad" for finding in findings)
    if json:
        show(findings)
        raise typer.Exit(int(bad))
    from rich.table import Table

    marks = {
        "ok": "[green]ok[/]",
        "off": "[dim]off[/]",
        "warn": "[yellow]warn[/]",
        "bad": "[red]bad[/]",
    }
    table = Table(box=None, pad_edge=False)
    for column in ("", "what", "found", "what to do"):
        table.add_column(column, overflow="fold")
    from rich.markup import escape

    for finding in findings:
        table.add_row(
            marks[finding.state], finding.what, escape(finding.found), escape(finding.advice)
        )
    console.print(table)
    if bad:
        raise typer.Exit(1)


@app.command("reset-demo")
def reset_demo(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Throw the demo shop, all threads and the index away; the next start makes them anew."""
    import shutil

    settings = read_settings()
    _port_must_be_free(settings)
    if settings.database_url:
        stop(
            "SIGNALBOX_DATABASE_URL is set. This command deletes only the files of the embedded "
            "default; drop and create that database with its own tools."
        )
    folder = settings.data_dir
    found = [
        path
        for pattern in ("signalbox.db*", "checkpoints.db*", "knowledge")
        for path in sorted(folder.glob(pattern))
    ]
    if not found:
        console.print(f"Nothing to delete in {folder}.", markup=False)
        return
    if not yes:
        typer.confirm(f"Delete {', '.join(path.name for path in found)} in {folder}?", abort=True)
    for path in found:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    console.print("Deleted. The next `signalbox serve` fills the demo shop again.")


@audit.command("verify")
def audit_verify(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's chain.")] = None,
    anchor: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Written by an export: finds a cut-off end."
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Check this export, not the database."),
    ] = None,
    json: Json = False,
) -> None:
    """Walk the chain and name every row that was changed, removed, inserted or moved."""
    from app.stores.audit import read_anchors, read_export, walk

    anchors = read_anchors(anchor) if anchor else []
    anchors = [each for each in anchors if tenant in (None, each.tenant)]
    with progress_bars() as progress:
        if file is not None:
            with file.open(encoding="utf-8") as lines:
                rows = (row for row in read_export(lines) if tenant in (None, row.tenant))
                found = walk(rows, anchors, progress=lambda n: progress("Checking", n, 0))
        else:
            with _audited() as kept:
                total = kept.count(tenant)
                found = kept.verify(
                    anchors, tenant=tenant, progress=lambda n: progress("Checking", n, total)
                )
    if json:
        show({"rows": found.rows, "heads": found.heads, "faults": found.faults})
        raise typer.Exit(1 if found.faults else 0 if found.rows else NOTHING)
    for fault in found.faults:
        errors.print(f"{fault.tenant}: {fault.detail} ({fault.kind})", style="red", markup=False)
    if found.faults:
        raise typer.Exit(1)
    if not found.rows:
        stop("There is no row to check.", NOTHING)
    console.print(f"{found.rows} rows, every one as it was written.")
    for head in found.heads:
        console.print(f"{head.tenant}: ends at row {head.seq}, {head.hash}", markup=False)


@audit.command("export")
def audit_export(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="A JSON object a line.")],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's chain.")] = None,
) -> None:
    """Write every row to a file, and where the chain ends now to an anchor beside it."""
    from app.stores.audit import write_anchors

    with progress_bars() as progress, _audited() as kept, file.open("w", encoding="utf-8") as lines:
        total = kept.count(tenant)
        found = kept.export(
            lines, tenant=tenant, progress=lambda n: progress("Exporting", n, total)
        )
    where = write_anchors(file, found.heads)
    console.print(f"{found.rows} rows in {file}; the anchor is {where}.", markup=False)
    for fault in found.faults:
        errors.print(f"{fault.tenant}: {fault.detail} ({fault.kind})", style="red", markup=False)
    if found.faults:
        raise typer.Exit(1)


app.command()(release.promote)
app.command()(release.rollback)
app.command()(release.releases)


# --- what the commands share --------------------------------------------------------------------


@contextmanager
def _audited() -> Generator[SqlAudit]:
    """The audit of the database that the settings name."""
    from app.stores.audit import SqlAudit

    with opened_database(read_settings()) as engine:
        yield SqlAudit(engine)


def _port_must_be_free(settings: Settings) -> None:
    import socket

    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        # As the server does: a port in TIME_WAIT from the last run is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            stop(
                f"{settings.host}:{settings.port} cannot be used: {error.strerror}. Is Signalbox "
                "already running? Otherwise choose another SIGNALBOX_PORT."
            )


def _demo_login_must_be_meant(settings: Settings) -> None:
    from app.domains import domain_of

    if domain_of(settings).demo and not settings.demo_login_is_meant:
        stop(
            f"{settings.host} can be reached by others, and the demo login lets anybody in as a demo "
            "customer. Take the demo customers out of the domain, or say that you mean it twice: "
            "SIGNALBOX_DEMO_LOGIN=open and SIGNALBOX_DEMO_LOGIN_REALLY=yes."
        )


def _articles_must_be_there(settings: Settings) -> None:
    if not settings.knowledge_dir.exists():
        stop(f"There is no folder {settings.knowledge_dir} to read. See SIGNALBOX_KNOWLEDGE_DIR.")


def _database_must_be_ours(settings: Settings) -> None:
    with opened_database(settings):
        pass


def _customer_must_be_known(settings: Settings, customer: str) -> None:
    """Nobody waits for models and rules to read that there is no such customer."""
    import asyncio

    from app.domains import DomainInvalid, books_of
    from tools.domain import Opening
    from tools.ports import BackendUnavailable
    from tools.values import Clock

    try:
        open_books = books_of(settings)
    except DomainInvalid as error:
        stop(f"The domain cannot be used: {error}")

    async def known(engine: Engine) -> list[str] | None:
        """Who could be it instead; None where the customer is there."""
        async with open_books(Opening(engine, Clock(), progress)) as books:
            if await books.customers.find(customer) is not None:
                return None
            return [each.id for each in await books.customers.demo()]

    with opened_database(settings) as engine, progress_bars() as progress:
        try:
            others = asyncio.run(known(engine))
        except BackendUnavailable as error:
            stop(f"The business's customers cannot be reached: {error}")
    if others is not None:
        demo = f" Demo customers: {', '.join(others)}." if others else ""
        stop(f"There is no customer {customer}.{demo}")


def _rules_must_be_valid(settings: Settings) -> None:
    from app.domains import DomainInvalid, domain_of
    from tools.policy import FilePolicy, RulesInvalid

    try:
        FilePolicy(settings.rules, domain_of(settings).operations)
    except DomainInvalid as error:
        stop(f"The domain cannot be used: {error}")
    except RulesInvalid as error:
        stop(f"The business rules cannot be used: {error}")
    except OSError as error:
        stop(f"The business rules cannot be read: {error}. See SIGNALBOX_RULES.")


def _heads_must_fit(settings: Settings) -> None:
    """The heads know the business's own intents; a deployment's own router brings its own."""
    if settings.router is not None:
        return
    from app.domains import domain_of
    from app.models.manifest import ManifestError
    from app.releases import live_manifest
    from tools.intents import IntentsInvalid

    domain = domain_of(settings)
    try:
        live_manifest(settings).catalogue(domain)
    except (ManifestError, IntentsInvalid) as error:
        stop(str(error))


@contextmanager
def _knowledge_in_use_is_said(settings: Settings) -> Generator[None]:
    from app.knowledge.index import IndexInUse

    try:
        yield
    except IndexInUse:
        stop(
            "Another Signalbox is using this data folder. Stop it, or talk to it with "
            f"`signalbox chat --url http://{settings.host}:{settings.port}`."
        )


if __name__ == "__main__":
    sys.exit(main())

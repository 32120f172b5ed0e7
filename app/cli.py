"""The command line. Heavy imports wait inside the commands, so that `--help` is instant."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app import roles
from app.commands import knowledge
from app.commands.shared import console, errors, reader_may_leave
from app.commands.shared import counted as _counted
from app.commands.shared import progress_bars as _progress
from app.commands.shared import read_settings as _settings
from app.commands.shared import size_of as _size_of
from app.commands.shared import stop as _stop

if TYPE_CHECKING:
    from app.config import Settings
    from app.stores.audit import SqlAudit

app = typer.Typer(
    name="signalbox",
    help="A customer-support agent in which small models decide and the large one is a last resort.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
ollama = typer.Typer(help="Models for an Ollama server.", no_args_is_help=True)
app.add_typer(ollama, name="ollama")
audit = typer.Typer(
    help="The append-only record of who or what decided, and what happened.", no_args_is_help=True
)
app.add_typer(audit, name="audit")
app.command()(knowledge.ingest)
app.command()(knowledge.retrieve)
app.add_typer(knowledge.app, name="knowledge")


def main() -> None:
    """The `signalbox` command."""
    app()


@app.command()
def serve() -> None:
    """Prepare the demo shop and serve the agent, the chat page and the operator desk."""
    settings = _settings()
    _port_must_be_free(settings)
    _rules_must_be_valid(settings)
    from app.server import run

    with _progress() as progress:
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
    settings = _settings()
    if url is None:
        _rules_must_be_valid(settings)
    from app.terminal import talk

    with _progress() as progress, _knowledge_in_use_is_said(settings):
        ended = talk(settings, console, customer, url=url, key=key, progress=progress)
    if ended:
        _stop(ended)


@app.command()
def train(
    role: Annotated[str, typer.Argument(help="A role with an adapter, or a classifier head.")],
    data: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Folder of the data sets.")
    ],
    out: Annotated[Path, typer.Option(help="Where the artefacts and the manifest go.")] = Path(
        "models"
    ),
) -> None:
    """Train a role's adapter or head; needs the `train` extra."""
    try:
        from models.train.__main__ import train as train_role
    except ImportError as error:
        _stop(f"Training needs more packages ({error.name}): pip install 'signalbox\\[train]'")
    try:
        train_role(role, data, out)
    except ImportError as error:
        _stop(f"Training needs more packages ({error.name}): pip install 'signalbox\\[train]'")


@app.command(help=roles.explanation())
def role(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of the roles above.")],
) -> None:
    """Use one role alone, a JSON object a line."""
    import asyncio

    if name not in roles.ROLES:
        _stop(f"There is no role {name!r}: it is one of {', '.join(roles.ROLES)}.")
    settings = _settings()
    from app.knowledge.pruner import PrunerUnusable
    from app.models.manifest import ManifestError

    source, sink = sys.stdin.buffer, sys.stdout.buffer

    async def answer_all(progress: roles.Progress) -> int:
        async with roles.opened(name, settings) as answer:
            return await roles.run(
                answer,
                source,
                sink,
                complain=lambda what: errors.print(what, style="red", markup=False, soft_wrap=True),
                progress=progress,
            )

    try:
        with reader_may_leave(), _counted(name, _size_of(source)) as progress:
            bad = asyncio.run(answer_all(progress))
    except (ManifestError, PrunerUnusable) as error:
        _stop(str(error))
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

    settings = _settings()
    from app.models.manifest import ManifestError, base_model, load_manifest
    from app.models.ollama_create import create_models
    from tools.ports import PortError

    server = host or settings.ollama_host or "http://127.0.0.1:11434"
    base = base_model()
    with _progress() as progress:
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
            _stop(str(error))
    for name in made:
        console.print(f"created {name}")
    console.print(f"\nNow set SIGNALBOX_OLLAMA_HOST={server} and start `signalbox serve`.")


@app.command()
def doctor() -> None:
    """Check what Signalbox needs and uses, and say what to do about what is wrong."""
    settings = _settings()
    from app.doctor import examine

    with console.status("Looking at everything..."):
        findings = examine(settings)
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
    if any(finding.state == "bad" for finding in findings):
        raise typer.Exit(1)


@app.command("reset-demo")
def reset_demo(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Throw the demo shop, all threads and the index away; the next start makes them anew."""
    import shutil

    settings = _settings()
    _port_must_be_free(settings)
    if settings.database_url:
        _stop(
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
) -> None:
    """Walk the chain and name every row that was changed, removed, inserted or moved."""
    from app.stores.audit import read_anchors, read_export, walk

    anchors = read_anchors(anchor) if anchor else []
    anchors = [each for each in anchors if tenant in (None, each.tenant)]
    with _progress() as progress:
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
    for fault in found.faults:
        errors.print(f"{fault.tenant}: {fault.detail} ({fault.kind})", style="red", markup=False)
    if found.faults:
        raise typer.Exit(1)
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

    with _progress() as progress, _audited() as kept, file.open("w", encoding="utf-8") as lines:
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


# --- what the commands share --------------------------------------------------------------------


@contextmanager
def _audited() -> Generator[SqlAudit]:
    """The audit of the database that the settings name."""
    settings = _settings()
    from app.stores.audit import SqlAudit
    from app.stores.database import create_engine, migrate
    from tools.ports import BackendUnavailable

    try:
        migrate(settings.database)
        engine = create_engine(settings.database)
        try:
            yield SqlAudit(engine)
        finally:
            engine.dispose()
    except BackendUnavailable as error:
        _stop(f"The database cannot be used: {error}")


def _port_must_be_free(settings: Settings) -> None:
    import socket

    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        # As the server does: a port in TIME_WAIT from the last run is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            _stop(
                f"{settings.host}:{settings.port} cannot be used: {error.strerror}. Is Signalbox "
                "already running? Otherwise choose another SIGNALBOX_PORT."
            )


def _rules_must_be_valid(settings: Settings) -> None:
    from tools.operations import OPERATIONS
    from tools.policy import FilePolicy, RulesInvalid

    try:
        FilePolicy(settings.rules, OPERATIONS)
    except RulesInvalid as error:
        _stop(f"The business rules cannot be used: {error}")
    except OSError as error:
        _stop(f"The business rules cannot be read: {error}. See SIGNALBOX_RULES.")


@contextmanager
def _knowledge_in_use_is_said(settings: Settings) -> Generator[None]:
    from app.knowledge.index import IndexInUse

    try:
        yield
    except IndexInUse:
        _stop(
            "Another Signalbox is using this data folder. Stop it, or talk to it with "
            f"`signalbox chat --url http://{settings.host}:{settings.port}`."
        )


if __name__ == "__main__":
    sys.exit(main())

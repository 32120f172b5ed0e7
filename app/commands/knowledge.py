"""`signalbox ingest`, `signalbox retrieve` and `signalbox knowledge ...`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from app.knowledge import ANSWERING

if TYPE_CHECKING:
    from app.commands.remote import Remote
    from app.config import Settings
    from app.knowledge.ingest import Progress
    from app.knowledge.knowledge import HybridKnowledge

app = typer.Typer(
    help="The knowledge base: what is in it, what is wrong with it, its index.",
    no_args_is_help=True,
)

Value = TypeVar("Value")

Collection = Annotated[
    str,
    typer.Option(help="A collection of its own, for trying things out; made when it is not there."),
]


def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(
            exists=True,
            help="Files or folders: Markdown, HTML, PDF, text, Word, CSV, JSON lines; also .gz of them.",
        ),
    ],
    collection: Collection = ANSWERING,
    audience: Annotated[
        Literal["public", "internal"] | None,
        typer.Option(help="Of documents that do not say it; internal is for agents only."),
    ] = None,
    tenant: Annotated[
        str, typer.Option(help="Of documents that do not say it; empty: every tenant's.")
    ] = "",
    id_field: Annotated[str, typer.Option(help="Which field of a row is its id.")] = "",
    title_field: Annotated[str, typer.Option(help="Which field of a row is its title.")] = "",
    text_field: Annotated[str, typer.Option(help="Which field of a row is its text.")] = "",
) -> None:
    """Add documents to the knowledge base, or bring changed ones up to date.

    Only what changed is embedded; files that are gone from a folder given before are removed. While
    `signalbox serve` runs, it is given the files. docs/knowledge.md tells what a document may say about
    itself."""
    from app.commands import shared
    from app.knowledge.formats import Options
    from app.knowledge.ingest import IngestReport

    options = Options(audience or "", tenant, id_field, title_field, text_field)

    async def here(knowledge: HybridKnowledge, progress: Progress) -> IngestReport:
        return await knowledge.ingest(paths, options=options, progress=progress)

    async def there(server: Remote, progress: Progress) -> IngestReport:
        return await server.ingest(paths, options, progress)

    report = done(collection, here, there, must_exist=False)
    shared.console.print(
        f"{len(report.added)} added, {len(report.changed)} changed, {len(report.removed)} removed, "
        f"{report.unchanged} unchanged; {report.embedded} chunks embedded."
    )
    for source, reason in report.warned:
        shared.errors.print(f"Look at {source}: {reason}", style="yellow", markup=False)
    for source, reason in report.failed:
        shared.errors.print(f"Not read: {source}: {reason}", style="red", markup=False)
    if report.failed:
        raise typer.Exit(1)
    if not (report.added or report.changed or report.removed or report.unchanged):
        listed = ", ".join(str(path) for path in paths)
        shared.stop(f"There is nothing to read in {listed}.", shared.NOTHING)


def retrieve(
    collection: Collection = ANSWERING,
    k: Annotated[int, typer.Option(min=1, max=200, help="How many documents a question.")] = 10,
    way: Annotated[
        Literal["hybrid", "dense", "sparse"], typer.Option(help="By meaning, by words, or both.")
    ] = "hybrid",
    audience: Annotated[
        Literal["public", "internal"], typer.Option(help="internal: what agents may read.")
    ] = "public",
    tenant: Annotated[str | None, typer.Option(help="Also what only this tenant may read.")] = None,
) -> None:
    """Find documents for questions: one JSON object a line in, one a line out, in the same order.

    \b
    in:  {"id": "1", "query": "how long does express take?",
          "history": [{"role": "user", "text": "where is my parcel?"}]}
    out: {"id": "1", "ids": ["articles/express.md", ...], "scores": [0.83, ...],
          "chunks": [{"id", "document", "source", "title", "text", "score"}, ...]}

    A document's id is its file's name in the collection; of a row of CSV or JSON lines it is the row's own
    id. `history` is what was said before and may be left out; without `query` its last message is the
    question. Lines that cannot be used are reported with their number and left out;
    the exit code is then 1."""
    from app import roles
    from app.commands import shared
    from app.knowledge.search import answer_for

    source, sink = sys.stdin.buffer, sys.stdout.buffer

    async def here(knowledge: HybridKnowledge, _: Progress) -> int:
        if knowledge.live is None:
            shared.stop(
                f"Nothing was ingested into the collection {collection}: "
                f"signalbox ingest --collection {collection} PATH"
            )
        answer = answer_for(knowledge, limit=k, way=way, audience=audience, tenant=tenant)
        with shared.counted("retrieve", shared.size_of(source)) as progress:
            return await roles.run(
                answer,
                source,
                sink,
                complain=lambda what: shared.errors.print(
                    what, style="red", markup=False, soft_wrap=True
                ),
                progress=progress,
            )

    with shared.reader_may_leave():
        bad = done(collection, here, None)
    if bad:
        raise typer.Exit(1)


@app.command()
def report(
    collection: Collection = ANSWERING,
    stale_days: Annotated[
        int, typer.Option(min=1, help="Not updated for so long counts as stale.")
    ] = 365,
    json: Annotated[bool, typer.Option("--json", help="Everything, as one JSON object.")] = False,
) -> None:
    """Stale, contradicting, duplicate and never-retrieved documents, and what could not be read."""
    from rich.markup import escape
    from rich.table import Table

    from app.commands import shared
    from app.knowledge.report import as_json, report_on, shown

    async def here(knowledge: HybridKnowledge, progress: Progress) -> dict[str, Any]:
        return as_json(await report_on(knowledge, stale_days=stale_days, progress=progress))

    async def there(server: Remote, _: Progress) -> dict[str, Any]:
        return await server.report(stale_days)

    found = done(collection, here, there)
    if json:
        shared.console.print_json(data=found)
        raise typer.Exit(0 if found["documents"] else shared.NOTHING)
    if not found["documents"]:
        shared.stop("There is no document to report on: `signalbox ingest FOLDER`.", shared.NOTHING)
    for title, columns, rows in shown(found):
        if not rows:
            shared.console.print(f"{title}: none")
            continue
        shared.console.print(f"[bold]{title}: {len(rows)}[/]")
        table = Table(box=None, pad_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        shared.console.print(table)
    documents = found["documents"]
    chunks = sum(each["chunks"] for each in documents)
    shared.console.print(
        f"{len(documents)} documents, {chunks} chunks, model {found['model']}, "
        f"version {found['version']}; {found['compared']} of {found['sentences']} sentences compared."
    )
    if found["outdated"]:
        shared.console.print(
            f"The index can be renewed: {found['outdated']}. signalbox knowledge reindex"
        )


@app.command()
def reindex(collection: Collection = ANSWERING) -> None:
    """Build the index anew beside the one that answers, and swap when it is whole.

    For a new SIGNALBOX_EMBEDDING_MODEL or other chunks. Answers never stop; a build that fails changes
    nothing, and one that was killed is continued."""
    from app.commands import shared

    async def here(knowledge: HybridKnowledge, progress: Progress) -> int:
        return (await knowledge.reindex(progress=progress)).number

    async def there(server: Remote, progress: Progress) -> int:
        return await server.reindex(progress)

    number = done(collection, here, there)
    shared.console.print(
        f"Index {number} answers now. `signalbox knowledge rollback` goes back to the one before."
    )


@app.command()
def rollback(collection: Collection = ANSWERING) -> None:
    """Let the index before the last re-index answer again."""
    from app.commands import shared

    async def here(knowledge: HybridKnowledge, progress: Progress) -> int:
        return (await knowledge.rollback(progress=progress)).number

    async def there(server: Remote, _: Progress) -> int:
        return await server.rollback()

    number = done(collection, here, there)
    shared.console.print(f"Index {number} answers again.")


@app.command()
def drop(
    name: Annotated[str, typer.Argument(help="The collection.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Throw a collection away."""
    from app.commands import shared

    if name == ANSWERING:
        shared.stop(
            "Customers are answered from this collection. To start the demo over: signalbox reset-demo"
        )
    settings = shared.read_settings()
    check(settings, name, must_exist=True)
    if not yes:
        typer.confirm(f"Delete the collection {name}?", abort=True)
    from app.knowledge.index import IndexInUse
    from app.knowledge.opening import erase
    from app.models.encoder import OnnxEncoder

    try:
        erase(settings, OnnxEncoder(), name)
    except IndexInUse:
        shared.stop(f"Another command is using the collection {name}. Wait for it, then try again.")
    shared.console.print(f"The collection {name} is gone.", markup=False)


# --- what the commands share --------------------------------------------------------------------


def done(
    collection: str,
    here: Callable[[HybridKnowledge, Progress], Coroutine[Any, Any, Value]],
    there: Callable[[Remote, Progress], Coroutine[Any, Any, Value]] | None,
    *,
    must_exist: bool = True,
) -> Value:
    """Do it on the collection; when a running server has it open, let that server do it."""
    from app.commands import shared
    from app.commands.remote import NoServer, RemoteRefused, reached
    from app.knowledge.index import IndexInUse
    from app.knowledge.knowledge import IndexUnhealthy, KnowledgeBusy, NothingBefore
    from tools.ports import PortError

    settings = shared.read_settings()
    check(settings, collection, must_exist=must_exist)

    async def run(progress: Progress) -> Value:
        try:
            async with opened(settings, collection) as knowledge:
                return await here(knowledge, progress)
        except IndexInUse:
            if there is None or collection != ANSWERING:
                raise
        async with reached(settings) as server:
            shared.errors.print(
                f"The server at {server.url} has it open and does it.", markup=False
            )
            return await there(server, progress)

    try:
        with shared.progress_bars() as progress:
            return asyncio.run(run(progress))
    except NoServer as error:
        shared.stop(str(error))
    except IndexInUse:
        shared.stop(
            f"Another Signalbox is using the collection {collection}: stop it, or take a collection of "
            "its own (--collection NAME)."
        )
    except (RemoteRefused, NothingBefore, KnowledgeBusy, IndexUnhealthy, PortError) as error:
        shared.stop(str(error))
    except OSError as error:
        shared.stop(f"{error.filename or 'The data folder'}: {error.strerror or error}")


@asynccontextmanager
async def opened(settings: Settings, collection: str) -> AsyncGenerator[HybridKnowledge]:
    from app.knowledge.opening import open_knowledge
    from app.models.encoder import OnnxEncoder

    knowledge = await asyncio.to_thread(
        lambda: open_knowledge(settings, OnnxEncoder(cached=64), collection=collection)
    )
    try:
        yield knowledge
    finally:
        await asyncio.to_thread(knowledge.close)


def check(settings: Settings, collection: str, *, must_exist: bool = False) -> None:
    """A collection's name is a folder's and a Qdrant collection's."""
    from app.commands import shared
    from app.knowledge.opening import NAME, folder_of

    if not NAME.fullmatch(collection):
        shared.stop(
            "A collection is named by up to 40 lower-case letters, digits, - and _, such as trial-2."
        )
    if must_exist and not settings.qdrant_url and not (folder_of(settings) / collection).is_dir():
        shared.stop(
            f"There is no collection {collection}: signalbox ingest --collection {collection} PATH"
        )

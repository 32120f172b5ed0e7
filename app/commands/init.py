"""`signalbox domain init`: a folder for a business, proposed from what its systems say of themselves."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from app.commands.shared import Json, console, errors, progress_bars, show, stop

if TYPE_CHECKING:
    from rich.console import Console

    from app.beginning import Begun, Server
    from app.proposing import Judge, Proposal
    from graphs.consequences import Judged

KEEP, DROP = "keep", "drop"


def init(
    name: Annotated[str, typer.Argument(help="The new folder; its last part names the business.")],
    openapi: Annotated[
        str | None, typer.Option(help="The API's OpenAPI document: a file or an address.")
    ] = None,
    mcp: Annotated[
        str | None,
        typer.Option(help="An MCP server: a command (stdio), or an address (streamable HTTP)."),
    ] = None,
    mcp_key: Annotated[
        str | None,
        typer.Option(help="The environment variable that holds the MCP server's bearer token."),
    ] = None,
    knowledge: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Help pages to take along.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only operations whose id, path or tag holds this; several times."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: everything is proposed, nothing confirmed.")
    ] = False,
    json: Json = False,
) -> None:
    """Write a folder to begin with: every usable operation, its class proposed and waiting for you."""
    folder = Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        stop(f"{folder} is not empty: choose another name.")
    if openapi is None and mcp is None:
        stop("Say what the agent can use: --openapi FILE, --openapi https://… or --mcp COMMAND.")
    if not (yes or json) and not sys.stdin.isatty():
        stop("Nobody can be asked here: say --yes, and confirm in the files afterwards.")
    begun = _begun(folder.name, openapi, mcp, mcp_key, only or [])
    if not (yes or json):
        ask(begun, console)
    write(begun, folder, knowledge)
    if json:
        show(_told(begun, folder))
    else:
        _summed_up(begun, folder)


def _begun(
    name: str, openapi: str | None, mcp: str | None, mcp_key: str | None, only: Sequence[str]
) -> Begun:
    from app.beginning import Sources, begin
    from tools.importing.problems import FilesInvalid

    document = None if openapi is None else _document(openapi)
    server = None if mcp is None else _server(mcp, mcp_key)
    with judging() as judge, progress_bars() as progress:
        try:
            begun = begin(name, Sources(document, server, only), judge=judge, progress=progress)
        except FilesInvalid as error:
            stop(f"This document cannot be used:\n{error}")
    if not begun.proposals:
        why = [f"  {what}: {reason}" for what, reason in list(begun.refused.items())[:10]]
        stop("There is no operation in it that can be used." + "".join(f"\n{one}" for one in why))
    return begun


def write(begun: Begun, folder: Path, knowledge: Path | None) -> None:
    """Put the files where they belong; help pages take the place of the one that is made up."""
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in begun.files.items():
        if knowledge is not None and path.startswith("knowledge/"):
            continue
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    if knowledge is not None:
        shutil.copytree(knowledge, folder / "knowledge", dirs_exist_ok=True)


@contextmanager
def judging() -> Generator[Judge | None]:
    """The consequence head, as the role `consequence` asks it; None where no model is at hand."""
    from app.models.encoder import OnnxEncoder
    from app.models.manifest import ManifestError, load_manifest
    from graphs.consequences import settle
    from tools.ports import ModelUnavailable

    try:
        manifest = load_manifest()
        encoder = OnnxEncoder(manifest)
        asyncio.run(encoder.classify("consequence", "name: warm"))
    except (ManifestError, ModelUnavailable, OSError, ValueError) as error:
        errors.print(
            f"Classes are proposed from methods, hints and words alone: {error}", markup=False
        )
        yield None
        return

    def judge(text: str) -> Judged:
        said = asyncio.run(encoder.classify("consequence", text)).probabilities
        return settle(said, text, line=manifest.write_line, believed=manifest.class_line)

    yield judge


# --- what a person is asked -----------------------------------------------------------------------


def ask(begun: Begun, on: Console, stream: TextIO | None = None) -> None:
    """The business's name, language, time zone and currency; then, operation by operation, what it does."""
    from rich.prompt import Confirm, Prompt

    def asked(question: str, default: str) -> str:
        return Prompt.ask(question, console=on, default=default, stream=stream)

    on.print(_table(begun))
    begun.title = asked("The business's name, as customers know it", begun.title)
    begun.languages = (asked("The language you write in (en, de, …)", "en"),)
    begun.timezone = _until_valid(begun, asked, "timezone", "Its time zone", "UTC")
    begun.currency = _until_valid(begun, asked, "currency", "Its currency", "EUR")
    number = len(begun.proposals)
    question = f"Look at the {number} operations now? Otherwise all stay proposed"
    if not Confirm.ask(question, console=on, default=True, stream=stream):
        return
    for one in list(begun.proposals):
        _ask_about(begun, one, on, stream)


def _until_valid(begun: Begun, asked: Any, field: str, question: str, default: str) -> str:
    """An answer that ``domain.yaml`` can hold; asked again until it is one."""
    from pydantic import ValidationError

    from tools.domain import Profile

    while True:
        given = asked(question, default)
        try:
            Profile.model_validate({"name": begun.title, "tenant": "business", field: given})
        except ValidationError as error:
            errors.print(error.errors()[0]["msg"], style="red", markup=False)
            continue
        return str(given)


def _ask_about(begun: Begun, one: Proposal, on: Console, stream: TextIO | None) -> None:
    from rich.prompt import Prompt

    from app.beginning import confirmed_class
    from graphs.consequences import CLASSES

    on.print(f"\n{one.offered.called}: {one.title}", markup=False, style="bold")
    if one.offered.description:
        on.print(one.offered.description[:300], markup=False, style="dim")
    on.print(f"proposed: {one.consequence.value}, because {one.why}", markup=False)
    answer = Prompt.ask(
        "Its class, confirmed by you; or keep the question open, or drop the operation",
        choices=[*CLASSES, KEEP, DROP], default=KEEP, console=on, stream=stream,
    )  # fmt: skip
    if answer == DROP:
        begun.drop(one.name)
    elif (chosen := confirmed_class(answer)) is not None:
        begun.chosen[one.name] = chosen


# --- what is told afterwards ----------------------------------------------------------------------


def _table(begun: Begun) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("operation", "calls", "proposed class", "because", box=None)
    for one in begun.proposals:
        chosen = begun.chosen.get(one.name)
        shown = one.consequence.value if chosen is None else f"{chosen.value} (confirmed)"
        table.add_row(*(Text(cell) for cell in (one.name, one.offered.called, shown, one.why)))
    return table


def _summed_up(begun: Begun, folder: Path) -> None:
    console.print(_table(begun))
    for what, why in begun.refused.items():
        console.print(f"refused: {what}: {why}", markup=False, highlight=False)
    if begun.left_out:
        console.print(
            f"{begun.left_out} more operations are in it and were left out: name those you need with --only."
        )
    console.print(f"\n{len(begun.to_confirm)} things wait for a person:")
    for one in begun.to_confirm:
        console.print(f"  {one.file}: {one.what}: {one.why}", markup=False, highlight=False)
    console.print(
        f"\n{folder}: {len(begun.proposals)} operations proposed, {len(begun.chosen)} of them confirmed by you, "
        f"{len(begun.refused)} refused. What is not confirmed does not exist for the agent; see "
        f"docs/your-own-domain.md, then `signalbox domain check {folder}`.",
        markup=False,
    )


def _told(begun: Begun, folder: Path) -> Mapping[str, Any]:
    return {
        "folder": str(folder),
        "files": sorted(begun.files),
        "operations": {
            one.name: {
                "calls": one.offered.called,
                "system": one.offered.system,
                "proposed": one.consequence.value,
                "why": one.why,
                "confirmed": begun.chosen[one.name].value if one.name in begun.chosen else None,
            }
            for one in begun.proposals
        },
        "records": sorted(begun.kinds),
        "refused": begun.refused,
        "left_out": begun.left_out,
        "to_confirm": [vars(one) for one in begun.to_confirm],
    }


# --- where it is read -----------------------------------------------------------------------------


def _server(given: str, key: str | None) -> Server:
    """The MCP server that was named, asked for its tools once, by the person who typed it."""
    from pydantic import ValidationError

    from app.beginning import server_of
    from app.config import environment
    from app.outside.mcp import tools_of
    from tools.importing.declared import Mcp
    from tools.ports import BackendUnavailable

    declared: dict[str, Any]
    if given.startswith(("http://", "https://")):
        declared = {"url": given}
        if key is not None:
            declared["auth"] = {"bearer": f"${{{key}}}"}
    else:
        declared = {"command": shlex.split(given)}
        if key is not None:
            declared["environment"] = {key: f"${{{key}}}"}
    filled = dict(declared)
    if key is not None:
        value = environment().get(key)
        if not value:
            stop(f"The environment does not set {key}: set it to the MCP server's token.")
        filled = (
            {**declared, "auth": {"bearer": value}}
            if "url" in declared
            else {**declared, "environment": {key: value}}
        )
    try:
        tools = tools_of(Mcp.model_validate(filled))
    except (BackendUnavailable, ValidationError) as error:
        stop(f"{given}: {error}")
    return server_of(declared, tools)


def _document(source: str) -> tuple[bytes, str]:
    """The document's bytes and a name for them; an address is asked once, by the person who typed it."""
    import httpx

    suffix = ".json" if source.endswith(".json") else ".yaml"
    if not source.startswith(("http://", "https://")):
        try:
            return Path(source).read_bytes(), f"openapi{Path(source).suffix or suffix}"
        except OSError as error:
            stop(f"{source} cannot be read: {error.strerror}.")
    from tools.importing.yaml_files import MOST_BYTES

    content = b""
    try:
        with (
            progress_bars() as progress,
            httpx.stream("GET", source, timeout=30, follow_redirects=False) as answer,
        ):
            answer.raise_for_status()
            size = int(answer.headers.get("content-length") or 0)
            for part in answer.iter_bytes():
                content += part
                progress("Fetching the document", len(content), max(size, len(content) + 1))
                if len(content) > MOST_BYTES:
                    stop(f"{source} is larger than {MOST_BYTES // 2**20} MB.")
    except httpx.HTTPError as error:
        stop(f"{source} cannot be fetched: {error}.")
    return content, f"openapi{suffix}"

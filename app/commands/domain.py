"""`signalbox domain`: a business's folder, written, checked, confirmed and trained."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.shared import Json, console, read_settings, show, stop

if TYPE_CHECKING:
    from tools.domain import Profile
    from tools.importing.openapi import Document

app = typer.Typer(help="A business of your own: docs/your-own-domain.md.", no_args_is_help=True)

Folder = Annotated[
    Path | None, typer.Argument(file_okay=False, help="The folder; by default SIGNALBOX_DOMAIN.")
]


def folder_of(given: Path | None) -> Path:
    """The folder that was named, or the one of the settings."""
    return given.resolve() if given is not None else read_settings().domain


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="The new folder; its last part names the business.")],
    openapi: Annotated[
        str | None, typer.Option(help="The API's OpenAPI document: a file or an address.")
    ] = None,
    knowledge: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Help pages to take along.")
    ] = None,
) -> None:
    """Write a folder to begin with: every usable operation, its class proposed and waiting for you."""
    from app.beginning import Begun, begin

    folder = Path(name)
    if folder.exists() and any(folder.iterdir()):
        stop(f"{folder} is not empty: choose another name.")
    if openapi is None:
        stop("Say what the agent can use: --openapi FILE or --openapi https://…")
    content, file = _document(openapi)
    from tools.importing.problems import FilesInvalid

    try:
        begun: Begun = begin(folder.name, content, file)
    except FilesInvalid as error:
        stop(f"This document cannot be used:\n{error}")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in begun.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text)
    if knowledge is not None:
        shutil.copytree(knowledge, folder / "knowledge", dirs_exist_ok=True)
    console.print(
        f"{folder}: {begun.proposed} operations proposed, {begun.refused} refused. Nothing exists for the agent "
        "until you confirm its class in operations.yaml; see docs/your-own-domain.md, then "
        f"`signalbox domain check {folder}`."
    )


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
        with httpx.stream("GET", source, timeout=30, follow_redirects=False) as answer:
            answer.raise_for_status()
            for part in answer.iter_bytes():
                content += part
                if len(content) > MOST_BYTES:
                    stop(f"{source} is larger than {MOST_BYTES // 2**20} MB.")
    except httpx.HTTPError as error:
        stop(f"{source} cannot be fetched: {error}.")
    return content, f"openapi{suffix}"


@app.command()
def check(folder: Folder = None, json: Json = False) -> None:
    """Say everything that is wrong or weak, each with its file and line."""
    from app.checking import check_folder

    found = check_folder(folder_of(folder))
    if json:
        show([vars(each) for each in found])
    else:
        for each in found:
            console.print(
                f"[{'red' if each.grave else 'yellow'}]{'wrong' if each.grave else 'weak '}[/] ",
                end="",
            )
            console.print(str(each), markup=False, highlight=False)
        grave = sum(each.grave for each in found)
        console.print(f"{grave} wrong, {len(found) - grave} weak.")
    if any(each.grave for each in found):
        raise typer.Exit(1)


@app.command()
def confirm(folder: Folder = None) -> None:
    """Take the tools of the domain's MCP servers as they are now for the confirmed ones."""
    from app.domains import DomainInvalid, profile_of
    from app.outside.mcp import tools_of
    from tools.importing.declared import Mcp
    from tools.importing.mcp_tools import Confirmed, changed, file_of
    from tools.ports import BackendUnavailable

    at = folder_of(folder)
    try:
        profile: Profile = profile_of(at)
    except DomainInvalid as error:
        stop(str(error))
    for name, declared in profile.systems.items():
        if not isinstance(declared, Mcp):
            continue
        try:
            live = tools_of(declared)
        except BackendUnavailable as error:
            stop(f"{name}: {error}")
        path = at / file_of(name)
        before = Confirmed()
        if path.exists():
            before = Confirmed.model_validate_json(path.read_text("utf-8"))
        for tool, how in changed(before, live).items():
            console.print(f"{name}: {tool} {how}", markup=False)
        path.write_text(Confirmed(tools=tuple(live)).model_dump_json(indent=1), "utf-8")
        console.print(f"{path.name}: {len(live)} tools confirmed.")


@app.command(name="new-key")
def new_key() -> None:
    """A key for an operator, or a secret for the login: shown once, kept nowhere."""
    console.print(secrets.token_urlsafe(48), highlight=False, markup=False, soft_wrap=True)


@app.command()
def mock(
    folder: Folder = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8090,
) -> None:
    """Serve the examples of the domain's documents, to try it without its API."""
    import uvicorn

    from app.beginning import mock_server
    from app.domains import DomainInvalid, profile_of
    from tools.importing.declared import Api
    from tools.importing.openapi import read_document
    from tools.importing.problems import FilesInvalid

    at = folder_of(folder)
    documents: list[Document] = []
    try:
        for declared in profile_of(at).systems.values():
            if isinstance(declared, Api):
                documents.append(
                    read_document((at / declared.openapi).read_bytes(), declared.openapi)
                )
    except (DomainInvalid, FilesInvalid, OSError) as error:
        stop(str(error))
    server: Any = mock_server(documents)
    uvicorn.run(server, host="127.0.0.1", port=port, log_level="warning")

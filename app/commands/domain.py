"""`signalbox domain`: a business's folder, written, checked, confirmed and trained."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.init import init
from app.commands.shared import Json, console, read_settings, show, stop

if TYPE_CHECKING:
    from tools.domain import Profile
    from tools.importing.openapi import Document

app = typer.Typer(help="A business of your own: docs/your-own-domain.md.", no_args_is_help=True)
app.command()(init)

Folder = Annotated[
    Path | None, typer.Argument(file_okay=False, help="The folder; by default SIGNALBOX_DOMAIN.")
]


def folder_of(given: Path | None) -> Path:
    """The folder that was named, or the one of the settings."""
    return given.resolve() if given is not None else read_settings().domain


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

    from app.domains import DomainInvalid, profile_of
    from app.example_server import mock_server
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

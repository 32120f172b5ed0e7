"""The knowledge base, for admins: files in and out, re-index, roll-back, report."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request

from app.auth import DeskDep, Operator, OperatorDep
from app.contract import Document, also
from app.knowledge.formats import Options
from app.knowledge.knowledge import KnowledgeBusy, NothingBefore
from app.knowledge.library import Library, NameRefused
from app.knowledge.report import as_json
from app.problems import Problem

router = APIRouter(prefix="/v1/knowledge", tags=["knowledge"], responses=also(404))

#: Bodies that may be larger than any other request's are sent to addresses below this one.
UPLOADS = "/v1/knowledge/files/"

_FILE: Document = {
    "requestBody": {
        "description": "The file, as it is.",
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


async def current_admin(operator: OperatorDep) -> Operator:
    """An operator who may change what all customers are told."""
    if operator.role != "admin":
        raise Problem(403, "This needs an admin's key: SIGNALBOX_OPERATORS name:admin=key.")
    if operator.tenant is not None:
        raise Problem(403, f"The knowledge base is everybody's; your key is for {operator.tenant}.")
    return operator


async def library_of(desk: DeskDep, _: Annotated[Operator, Depends(current_admin)]) -> Library:
    """The knowledge base, for an admin."""
    if desk.library is None:
        raise Problem(404, "There is no knowledge base here that could be changed.")
    return desk.library


LibraryDep = Annotated[Library, Depends(library_of)]


@router.get("")
async def status(library: LibraryDep) -> dict[str, Any]:
    """Version, model, counts, generations, what could not be read, and the re-index if one runs."""
    return await library.status()


@router.get("/files")
async def files(library: LibraryDep) -> dict[str, Any]:
    """Every file by name, with the digest of what was read."""
    return {"files": await library.files()}


@router.put("/files/{name:path}", responses=also(409, 507), openapi_extra=_FILE)
async def put(
    name: str,
    request: Request,
    library: LibraryDep,
    audience: Literal["", "public", "internal"] = "",
    tenant: Annotated[str, Query(max_length=64)] = "",
    root: Annotated[str, Query(max_length=4000)] = "",
    id_field: str = "",
    title_field: str = "",
    text_field: str = "",
) -> dict[str, Any]:
    """Add a file, or bring it up to date; the body is the file. 422 says why it cannot be read."""
    options = Options(audience, tenant, id_field, title_field, text_field)
    async with told():
        report = await library.put(name, request.stream(), root=root, options=options)
    reason = dict(report.failed).get(name)
    if reason is not None:
        raise Problem(422, f"{name} could not be read: {reason}")
    return asdict(report)


@router.delete("/files/{name:path}", responses=also(409, 507))
async def delete(name: str, library: LibraryDep) -> dict[str, Any]:
    """Remove a file and every document that came of it. Twice is as good as once."""
    async with told():
        return {"removed": await library.delete(name)}


@router.post("/reindex", status_code=202, responses=also(409, 507))
async def reindex(library: LibraryDep) -> dict[str, Any]:
    """Build the index anew beside the one that answers; GET /v1/knowledge tells how far it is."""
    async with told():
        return library.reindex().model_dump(mode="json")


@router.post("/rollback", responses=also(409, 507))
async def rollback(library: LibraryDep) -> dict[str, Any]:
    """Let the index before this one answer again."""
    async with told():
        return await library.rollback()


@router.get("/report")
async def report(
    library: LibraryDep, stale_days: Annotated[int, Query(ge=1, le=36500)] = 365
) -> dict[str, Any]:
    """Stale, contradicting, duplicate and never-retrieved documents."""
    return as_json(await library.report(stale_days))


@asynccontextmanager
async def told() -> AsyncGenerator[None]:
    """What goes wrong, as a problem that says what to do."""
    try:
        yield
    except NameRefused as error:
        raise Problem(422, str(error)) from error
    except NothingBefore as error:
        raise Problem(409, str(error)) from error
    except KnowledgeBusy as error:
        raise Problem(409, str(error), headers={"Retry-After": "30"}) from error
    except OSError as error:
        raise Problem(507, f"The file could not be kept: {error.strerror}.") from error

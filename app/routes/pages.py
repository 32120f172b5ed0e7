"""The chat page and the operator desk."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

WEB = Path(__file__).parent.parent / "web"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def chat_page() -> FileResponse:
    return FileResponse(WEB / "chat.html")


@router.get("/desk")
async def desk_page() -> FileResponse:
    return FileResponse(WEB / "desk.html")


@router.get("/favicon.ico")
async def icon() -> Response:
    # The pages name their own icon; browsers ask for this one anyway.
    return Response(status_code=204)

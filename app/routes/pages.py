"""The chat page and the operator desk, in the business's name."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.templating import Jinja2Templates

from tools.domain import Profile

WEB = Path(__file__).parent.parent / "web"
PAGES = Jinja2Templates(directory=WEB)

router = APIRouter(include_in_schema=False)


def _page(request: Request, name: str, **shown: str) -> Response:
    profile: Profile = request.app.state.profile
    demo: bool = request.app.state.demo
    given = {"business": profile, "brand": profile.brand, "demo": demo, **shown}
    return PAGES.TemplateResponse(request, name, given)


@router.get("/")
async def chat_page(request: Request) -> Response:
    return _page(request, "chat.html")


@router.get("/desk")
async def desk_page(request: Request) -> Response:
    """The inbox: for whoever talks to customers and answers approvals."""
    return _page(request, "desk.html", room="inbox")


@router.get("/desk/models")
async def models_page(request: Request) -> Response:
    """The models' room: for whoever looks after them."""
    return _page(request, "models.html", room="models")


@router.get("/desk/answers")
async def answers_page(request: Request) -> Response:
    """The answers that are given again: for whoever reads what customers are told."""
    return _page(request, "answers.html", room="answers")


@router.get("/favicon.ico")
async def icon() -> Response:
    # The pages name their own icon; browsers ask for this one anyway.
    return Response(status_code=204)

"""The chat page and the operator desk, in the business's name, and the way to the company's login and back."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from app.auth import caller, spend
from app.identity.desk_sign_in import COOKIE, MOST_SECONDS, DeskSignIn, NotCompleted
from app.identity.operators import NoRole
from app.problems import Problem
from tools.domain import Profile
from tools.ports import BackendUnavailable

WEB = Path(__file__).parent.parent / "web"
PAGES = Jinja2Templates(directory=WEB)

router = APIRouter(include_in_schema=False)


def _page(request: Request, name: str, **shown: str) -> Response:
    profile: Profile = request.app.state.profile
    demo: bool = request.app.state.demo
    sign_in = request.app.state.desk_sign_in is not None
    given = {
        "business": profile,
        "brand": profile.brand,
        "demo": demo,
        "sign_in": sign_in,
        **shown,
    }
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


#: Rooms of the desk, by the names that their pages go by.
ROOMS = {"inbox": "/desk", "models": "/desk/models", "answers": "/desk/answers"}
_SIGN_IN = "/desk/login"


@router.get(_SIGN_IN)
async def to_the_login(request: Request, room: str = "inbox") -> Response:
    """Send an operator to the company's login."""
    await spend(request, "login", caller(request))
    try:
        begun = await _sign_in(request).begin(_back(request), room if room in ROOMS else "inbox")
    except BackendUnavailable as error:
        return _refused(room, error)
    answer = RedirectResponse(begun.url, 303)
    answer.set_cookie(
        COOKIE,
        begun.cookie,
        max_age=MOST_SECONDS,
        httponly=True,
        # The login sends the browser back here from its own site.
        samesite="lax",
        secure=request.app.state.secure,
        path=_SIGN_IN,
    )
    return answer


@router.get(f"{_SIGN_IN}/callback")
async def from_the_login(request: Request) -> Response:
    """What the login sent back, for the page: behind the #, which no server and no log is told."""
    await spend(request, "login", caller(request))
    came = f"{_back(request)}?{request.url.query}"
    try:
        token, room = await _sign_in(request).finish(
            came, _back(request), request.cookies.get(COOKIE, "")
        )
    except (NotCompleted, NoRole, BackendUnavailable) as error:
        answer = _refused("inbox", error)
    else:
        answer = RedirectResponse(f"{ROOMS[room]}#{urlencode({'token': token})}", 303)
        answer.headers["Cache-Control"] = "no-store"
    answer.delete_cookie(
        COOKIE, httponly=True, samesite="lax", secure=request.app.state.secure, path=_SIGN_IN
    )
    return answer


def _sign_in(request: Request) -> DeskSignIn:
    found: DeskSignIn | None = request.app.state.desk_sign_in
    if found is None:
        raise Problem(404, "This desk is opened with a key; see SIGNALBOX_OIDC_CLIENT.")
    return found


def _back(request: Request) -> str:
    """Our address that the login returns to, as others see it."""
    base: str = request.app.state.public_url or str(request.base_url)
    return f"{base.rstrip('/')}{_SIGN_IN}/callback"


def _refused(room: str, error: Exception) -> RedirectResponse:
    said = str(error)
    notice = urlencode({"notice": said[:1].upper() + said[1:]})
    return RedirectResponse(f"{ROOMS.get(room, ROOMS['inbox'])}#{notice}", 303)


@router.get("/favicon.ico")
async def icon() -> Response:
    # The pages name their own icon; browsers ask for this one anyway.
    return Response(status_code=204)

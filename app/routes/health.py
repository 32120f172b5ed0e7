"""Is it alive, can it work, what is it made of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.auth import DeskDep, current_operator
from app.contract import MORE_FOR_OPERATORS, PUBLIC, Responses
from app.metrics import Metrics

router = APIRouter(tags=["health"])

#: Without these nothing can be answered rightly; everything else only makes answers worse.
REQUIRED = frozenset({"database", "checkpoints"})
READY_SECONDS = 5.0

_NOT_READY: Responses = {
    503: {
        "description": "Work cannot be done rightly; the checks say why.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}


@router.get("/health", openapi_extra=PUBLIC)
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/ready", responses=_NOT_READY, openapi_extra=MORE_FOR_OPERATORS)
async def ready(request: Request, desk: DeskDep) -> JSONResponse:
    """Each dependency's state; 503 only when work cannot be done rightly. Reasons and details only for
    operators, where others can reach this. A process that is about to end is not ready."""
    if request.app.state.draining:
        return JSONResponse({"status": "draining", "checks": {}}, 503)
    try:
        async with asyncio.timeout(READY_SECONDS):
            checks = dict(await desk.health())
    except TimeoutError:
        return JSONResponse(
            {"status": "down", "checks": {"desk": {"status": "down", "reason": "no answer"}}}, 503
        )
    states = {name: _state(check) for name, check in checks.items()}
    down = any(state == "down" for name, state in states.items() if name in REQUIRED)
    degraded = any(state in {"down", "degraded"} for state in states.values())
    status = "down" if down else "degraded" if degraded else "ok"
    told = checks if await _inside(request) else {n: {"status": s} for n, s in states.items()}
    return JSONResponse({"status": status, "checks": told}, 503 if down else 200)


async def _inside(request: Request) -> bool:
    """Whether the details may be told: on this machine alone, or to an operator."""
    if not request.app.state.internals_keyed:
        return True
    if "x-api-key" not in request.headers and "authorization" not in request.headers:
        return False
    await current_operator(request)
    return True


def _state(check: Any) -> str:
    if isinstance(check, Mapping):
        return str(check.get("status", "ok"))  # pyright: ignore[reportUnknownArgumentType]
    return str(check)


@router.get("/info", openapi_extra=MORE_FOR_OPERATORS)
async def info(request: Request, desk: DeskDep) -> dict[str, Any]:
    """Roles, models and their digests, and what is embedded or off; its name only to strangers, where others
    can reach this."""
    about = dict(await desk.info())
    return about if await _inside(request) else {"signalbox": about.get("signalbox")}


@router.get("/metrics", response_class=PlainTextResponse, openapi_extra=MORE_FOR_OPERATORS)
async def metrics(request: Request, desk: DeskDep) -> Response:
    """Numbers for Prometheus, which sends an operator's key where others can reach this."""
    if request.app.state.internals_keyed:
        await current_operator(request)
    numbers: Metrics = request.app.state.metrics
    numbers.lagged(request.app.state.loop_lag.worst())
    numbers.drifted(await desk.views.drift_now(tenant=None))
    numbers.shadowed(desk.views.counts())
    numbers.released(desk.views.release_state())
    numbers.metered(desk.meter)
    numbers.spends(desk.budgets, await desk.views.spent_today())
    numbers.waits(await desk.views.waiting())
    return Response(numbers.text(), media_type=CONTENT_TYPE_LATEST)

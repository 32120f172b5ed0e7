"""Is it alive, can it work, what is it made of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from app.auth import DeskDep
from app.metrics import Metrics

router = APIRouter(tags=["health"])

#: Without these nothing can be answered rightly; everything else only makes answers worse.
REQUIRED = frozenset({"database", "checkpoints"})
READY_SECONDS = 5.0


@router.get("/health")
async def health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/ready")
async def ready(desk: DeskDep) -> JSONResponse:
    """Each dependency's state; 503 only when work cannot be done rightly."""
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
    return JSONResponse({"status": status, "checks": checks}, 503 if down else 200)


def _state(check: Any) -> str:
    if isinstance(check, Mapping):
        return str(check.get("status", "ok"))  # pyright: ignore[reportUnknownArgumentType]
    return str(check)


@router.get("/info")
async def info(desk: DeskDep) -> dict[str, Any]:
    """Roles, models and their digests, and what is embedded or off."""
    return dict(await desk.info())


@router.get("/metrics")
async def metrics(request: Request, desk: DeskDep) -> Response:
    """Numbers for Prometheus."""
    numbers: Metrics = request.app.state.metrics
    numbers.drifted(await desk.drift_now(tenant=None))
    numbers.shadowed(desk.counts())
    numbers.released(desk.release_state())
    numbers.metered(desk.meter)
    numbers.waits(await desk.waiting())
    return Response(numbers.text(), media_type=CONTENT_TYPE_LATEST)

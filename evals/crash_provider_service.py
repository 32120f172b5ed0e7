"""The provider's own service with things going wrong: ``python -m evals.crash_provider_service --port N --data FILE``.

It prints where it listens. ``PUT /faults`` says how often a write is dropped, delayed or answered with 500, before or
after it took effect."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from domains.halden.backend.api import create_backend
from domains.northfell.payment_service import Announced, Dropped, Faults, Trouble, struck


def create_app(data: Path, key: str) -> FastAPI:
    """The service over its file; reads are answered as always."""
    trouble = Trouble()
    app = create_backend(data, key)

    @app.put("/faults", include_in_schema=False)
    async def _(wanted: Faults) -> Faults:
        trouble.faults = wanted
        return wanted

    @app.middleware("http")
    async def strike(
        request: Request, follow: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        if request.method == "GET" or request.url.path == "/faults":
            return await follow(request)
        faults = trouble.next()
        if struck(faults.drop_before):
            return Dropped()
        if struck(faults.error_before):
            return _broken()
        await asyncio.sleep(faults.delay_before)
        answer = await follow(request)
        await asyncio.sleep(faults.delay_after)
        if struck(faults.drop_after):
            return Dropped()
        return _broken() if struck(faults.error_after) else answer

    return app


def _broken() -> Response:
    return JSONResponse({"code": "broken", "detail": "Something broke."}, 500)


def main(
    port: Annotated[int, typer.Option(help="Where it listens.")],
    data: Annotated[Path, typer.Option(help="The SQLite file of its records.")],
) -> None:
    """Serve until killed; HALDEN_KEY is the bearer token."""
    app = create_app(data, os.environ["HALDEN_KEY"])
    Announced(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical", access_log=False)
    ).run()


if __name__ == "__main__":
    typer.run(main)

"""`python -m domains.halden.backend --port 8400`: serve the demo backend."""

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from fastapi import Request

from domains.halden.backend.api import create_backend


def main(
    port: int = 8400,
    data: Path = Path("data/halden.sqlite"),
    hold: Annotated[float, typer.Option(help="Seconds before a write is answered.")] = 0,
    resettable: Annotated[bool, typer.Option(help="Take POST /reset: evals only.")] = False,
    document: Annotated[Path | None, typer.Option(help="Write openapi.json and stop.")] = None,
) -> None:
    """Serve Halden's customer system; HALDEN_KEY is the bearer token it takes."""

    async def wait(_request: Request) -> None:
        await asyncio.sleep(hold)

    app = create_backend(
        data, os.environ.get("HALDEN_KEY", "halden-demo-key"), wait, resettable=resettable
    )
    if document is not None:
        document.write_text(json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n")
        return
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


typer.run(main)

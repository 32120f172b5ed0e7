"""Halden's own system as it grows two operations: `python -m tests.domains.halden.voicemail`, as its backend is started."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from domains.halden.backend.api import create_backend, needed
from domains.halden.backend.records import Sim
from domains.halden.backend.store import Store


class Setting(BaseModel):
    """What the customer sets."""

    setting: Literal["on", "off"]


class Voicemail(Setting):
    """The voicemail of a SIM."""

    sim_id: str
    waiting: int = 0


def with_voicemail(app: FastAPI, store: Store) -> FastAPI:
    """The same service with two operations more."""

    @app.get("/sims/{sim_id}/voicemail", operation_id="get_voicemail")
    def get_voicemail(sim_id: str) -> Voicemail:
        """Whether the voicemail is on, and how many messages wait."""
        with store.transaction() as books:
            needed(books.find(Sim, sim_id))
            return books.find(Voicemail, sim_id) or Voicemail(
                sim_id=sim_id, setting="on", waiting=2
            )

    @app.put("/sims/{sim_id}/voicemail", operation_id="set_voicemail")
    def set_voicemail(sim_id: str, wanted: Setting) -> Voicemail:
        """Switch the voicemail; a second time changes nothing."""
        with store.transaction() as books:
            sim = needed(books.find(Sim, sim_id))
            kept = Voicemail(sim_id=sim_id, setting=wanted.setting)
            books.keep(sim_id, sim.customer_id, kept)
            return kept

    return app


def main(
    port: int = 8400,
    data: Path = Path("data/halden.sqlite"),
    resettable: bool = False,
    document: Annotated[Path | None, typer.Option(help="Write openapi.json and stop.")] = None,
) -> None:
    """Serve it, or write its document."""
    key = os.environ.get("HALDEN_KEY", "halden-demo-key")
    app = with_voicemail(create_backend(data, key, resettable=resettable), Store(data))
    if document is not None:
        document.write_text(json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n")
        return
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    typer.run(main)

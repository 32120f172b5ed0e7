"""`langgraph dev` on what `signalbox serve` runs on, by a setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from langgraph_sdk import get_client

from app.stores.actions import SqlActions
from app.stores.database import create_engine
from tests.studio.server import development_server

pytestmark = [pytest.mark.studio, pytest.mark.models, pytest.mark.slow]


async def test_the_graphs_run_on_the_real_wiring(tmp_path: Path) -> None:
    """A knowledge question is answered, and an approved write is in the ledger of the database."""
    with development_server(tmp_path, SIGNALBOX_STUDIO="real") as url:
        async with get_client(url=url) as studio:

            async def run(thread: str, **sent: Any) -> Any:
                context = {"customer": "ana", "reviewer": "olga"}
                return await studio.runs.wait(thread, "support", context=context, **sent)

            asked = (await studio.threads.create())["thread_id"]
            answer: Any = await run(asked, input={"messages": "How do I dry a tent?"})
            refund = (await studio.threads.create())["thread_id"]
            await run(refund, input={"messages": "I want a refund for SB-10217, it was damaged"})
            waiting: Any = await run(refund, input={"messages": "yes"})
            paid: Any = await run(refund, command={"resume": [{"type": "accept", "args": None}]})

    engine = create_engine(f"sqlite:///{tmp_path / 'data' / 'signalbox.db'}")
    done = await SqlActions(engine).list("ana", state="succeeded")
    with engine.connect() as connection:
        decided = connection.execute(sa.text("select count(*) from decisions")).scalar_one()
    engine.dispose()

    assert answer["passages"]
    assert waiting["__interrupt__"]
    assert paid["outcome"]["status"] == "executed"
    assert [each.operation for each in done] == ["request_refund"]
    assert decided > 3

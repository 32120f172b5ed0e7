"""Relays what traces need besides spans: where turns are into the database, scores and prompts to Langfuse."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from app.stores.traces import Score, SqlTraces
from app.tracing import Tracing
from app.tracing.langfuse import Langfuse, LangfuseRefused, score_id
from app.tracing.spans import Traces
from tools.ports import PortError

log = logging.getLogger(__name__)

#: How often it looks.
SECONDS = 5.0
#: From how far back what became known is said at the start: labels are given while nothing runs, too.
BACK = timedelta(days=1)
#: Clocks differ, and a transaction says when it began, not when it ended.
OVERLAP = timedelta(minutes=1)
#: So many scores are remembered, so that what is looked at twice is said once.
REMEMBERED = 20_000


@asynccontextmanager
async def relaying(
    tracing: Tracing, store: SqlTraces, seconds: float = SECONDS
) -> AsyncGenerator[None]:
    """Relay in the background until the block ends; what was not yet written down then is written down."""
    if not isinstance(tracing, Traces):
        yield
        return
    tracing.places = store
    relay = TraceRelay(tracing, store)
    task = asyncio.create_task(relay.forever(seconds), name="traces")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await asyncio.to_thread(relay.write_down)


class TraceRelay:
    """One process's; what two of them say is the same."""

    def __init__(self, traces: Traces, store: SqlTraces) -> None:
        self._traces = traces
        self._store = store
        self._langfuse: Langfuse | None = None
        self._linked = False
        self._since = store.now() - BACK
        self._said: OrderedDict[str, str | float] = OrderedDict()
        self._silent = False

    async def forever(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self.once)

    def once(self) -> None:
        """Relay what there is; what cannot go now goes later."""
        self.write_down()
        if not self._traces.targets.langfuse:
            return
        try:
            if self._langfuse is None:
                self._langfuse = Langfuse(self._traces.targets)
            if not self._linked:
                self._langfuse.link_prompts(self._traces.exporting.links)
                self._linked = True
            self._tell(self._langfuse)
            self._silent = False
        except (LangfuseRefused, PortError) as error:
            if not self._silent:
                log.warning("scores and prompts wait: %s", error)
            self._silent = True
        except Exception:
            log.exception("scores cannot be told")

    def write_down(self) -> None:
        """Where the turns since the last time are."""
        fresh = self._traces.fresh()
        if not fresh:
            return
        try:
            self._store.put(fresh)
        except PortError as error:
            log.info("the places of %d turns wait: %s", len(fresh), error)
            self._traces.again(fresh)

    def _tell(self, langfuse: Langfuse) -> None:
        now = self._store.now()
        new = [each for each in self._store.due(self._since) if self._is_new(each)]
        if new:
            langfuse.send(new)
        for each in new:
            self._said[score_id(each)] = each.value
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        self._since = now - OVERLAP

    def _is_new(self, score: Score) -> bool:
        return self._said.get(score_id(score)) != score.value

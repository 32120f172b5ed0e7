"""A real server that is talked to for long: does its memory stay where it was, and below what is promised?

`signalbox serve` is asked over HTTP by a few customers at once, in conversations of messages nobody sent before; files are put
into its knowledge meanwhile. The memory of it and its model server is looked at all the time."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from app.auth import Sessions
from app.config import Keys
from domains.northfell.demo_accounts import stories
from evals.figures import Figure, Report, Table, at_most
from evals.growth import REPLIES, T, slope
from evals.mix import Message, load_messages, speaker_for
from evals.scaling import ready
from evals.startup import PATIENCE, free_port, memory, server
from evals.world import Folders, Progress, quiet
from tools.values import now

#: So many customers talk at once, in conversations of so many turns.
CUSTOMERS, TURNS_EACH = 2, 8
#: Memory is looked at so often, in seconds.
EVERY = 2.0
#: Two processes after 2,000 turns and 500 documents.
MOST_MB = 800
#: What the processes may grow by in an hour and still be said to stay.
STAYS_MB = 6.0
#: What a turn may end with, and be one.
ANSWERED = 200


@dataclass
class Soaked:
    """What was seen of one server."""

    turns: int = 0
    documents: int = 0
    seconds: float = 0.0
    failed: Counter[str] = field(default_factory=Counter[str])
    #: Seconds since the start, turns so far, and MB by process.
    memory: list[tuple[float, int, dict[str, float]]] = field(
        default_factory=list[tuple[float, int, dict[str, float]]]
    )

    def sums(self) -> list[tuple[float, float]]:
        """Minutes, and MB of all processes."""
        return [(at / 60, sum(sizes.values())) for at, _, sizes in self.memory]

    def at(self, turns: int) -> dict[str, float]:
        """MB by process when so many turns had been played; at the end, where it were fewer."""
        return next((sizes for _, so_far, sizes in self.memory if so_far >= turns), self.last)

    @property
    def last(self) -> dict[str, float]:
        return self.memory[-1][2] if self.memory else {}


def documents(count: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Articles with names, no two alike, about as long as those of the shop."""
    things = ("tent", "boot", "lamp", "stove", "rope", "jacket", "bottle", "map", "sled", "filter")
    doings = ("wash", "fold", "store", "repair", "return", "measure", "dry", "carry", "mend", "oil")
    places = ("at home", "in the hut", "on the trail", "in a dry room", "after rain", "in winter")
    for number in range(count):
        parts = [f"# Care note {number}"]
        for section in range(2):
            parts.append(f"## Part {section + 1}")
            parts.append(
                " ".join(
                    f"{rng.choice(doings).capitalize()} the {rng.choice(things)} no. {rng.randrange(10_000)} "
                    f"{rng.choice(places)} within {rng.randrange(2, 90)} days."
                    for _ in range(5)
                )
            )
        yield f"soak-{number}.md", "\n\n".join(parts)


def conversation(messages: tuple[Message, ...], rng: random.Random) -> list[Message]:
    """Messages of one conversation. Every second is two of them in one, so that few were ever sent before."""
    chosen: list[Message] = []
    for number in range(TURNS_EACH):
        one = rng.choice(messages)
        if number % 2:
            one = one.model_copy(update={"text": f"{one.text} {rng.choice(messages).text}"})
        chosen.append(one)
    return chosen


class Soak:
    """A server, those who talk to it, and what was seen."""

    def __init__(self, url: str, pid: int, sign: Sessions, key: str) -> None:
        self.url, self.pid, self.sign, self.key = url, pid, sign, key
        self.seen = Soaked()
        self.began = time.perf_counter()
        self._numbers = itertools.count()

    def client(self, token: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE,
            trust_env=False,
        )

    def over(self, turns: int, minutes: float) -> bool:
        self.seen.seconds = time.perf_counter() - self.began
        return self.seen.turns >= turns and self.seen.seconds >= minutes * 60

    async def play(self, turns: int, minutes: float, files: int, progress: Progress) -> None:
        """Talk, put files and look, until there were so many turns and so many minutes."""
        watching = asyncio.create_task(self.watch())
        async with asyncio.TaskGroup() as all_at_once:
            all_at_once.create_task(self.ingest(files))
            for number in range(CUSTOMERS):
                all_at_once.create_task(self.talk(number, turns, minutes, progress))
        watching.cancel()
        await asyncio.wait([watching])

    async def watch(self) -> None:
        while True:
            sizes = await asyncio.to_thread(memory, self.pid)
            merged: dict[str, float] = {}
            for name, size in sizes.items():
                what = name.partition(" (")[0]
                merged[what] = merged.get(what, 0.0) + size
            self.seen.memory.append((time.perf_counter() - self.began, self.seen.turns, merged))
            await asyncio.sleep(EVERY)

    async def ingest(self, files: int) -> None:
        async with self.client(self.key) as client:
            for name, text in documents(files, random.Random(500)):
                answer = await client.put(f"/v1/knowledge/files/{name}", content=text)
                if answer.is_success:
                    self.seen.documents += 1
                else:
                    self.seen.failed[f"a file: {answer.status_code}"] += 1

    async def talk(self, number: int, turns: int, minutes: float, progress: Progress) -> None:
        messages, accounts = load_messages(), stories(now().date())
        rng = random.Random(number)
        async with AsyncExitStack() as stack:
            desk = await stack.enter_async_context(self.client(self.key))
            while not self.over(turns, minutes):
                texts = conversation(messages, rng)
                who = speaker_for(texts[0].text, accounts)
                async with self.client(self.sign.sign(who)) as client:
                    await self.converse(client, [one.text for one in texts])
                await self.clear(desk)
                progress("Playing turns", self.seen.turns, turns)

    async def converse(self, client: httpx.AsyncClient, texts: list[str]) -> None:
        thread, asked = None, False
        for number, text in enumerate(texts):
            said = REPLIES[number % len(REPLIES)] if asked else ""
            body = {"text": said or text} | ({"thread": thread} if thread else {})
            answer = await client.post("/v1/chat", json=body)
            self.seen.turns += 1
            if answer.status_code != ANSWERED:
                self.seen.failed[f"a turn: {answer.status_code} {answer.text[:120]}"] += 1
                return
            thread, last = answer.json()["thread"], answer.json()["events"][-1]
            asked = bool(last["data"].get("open"))

    async def clear(self, desk: httpx.AsyncClient) -> None:
        """Answer what waits for a person, as a desk that is staffed does."""
        for approval in (await desk.get("/v1/approvals")).json()["approvals"]:
            await desk.post(f"/v1/approvals/{approval['id']}", json={"decision": "reject"})


def measure(
    folder: Path, turns: int, minutes: float, files: int, database: str, progress: Progress
) -> Soaked:
    """Start one server and talk to it."""
    secret, key, port = secrets.token_hex(16), secrets.token_hex(16), free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "SIGNALBOX_SECRET": secret,
        "SIGNALBOX_OPERATORS": f"soak:admin={key}",
        "SIGNALBOX_DATABASE_URL": database,
        "SIGNALBOX_RATES": "ip=off, customer=off, turns=off, thread=off, cost=off, operator=off",
    }
    sign = Sessions(Keys(secret, {}, demo=False), hours=24)
    with server(folder, port, **settings) as process:
        ready(url, process.pid)
        soak = Soak(url, process.pid, sign, key)
        asyncio.run(soak.play(turns, minutes, files, progress))
        return soak.seen


def report(seen: Soaked) -> Report:
    """Memory at the end against what is promised, and its slope with the interval."""
    up, low, high = (60 * each for each in slope(seen.sums()))
    ended = float(np.mean([size for _, size in seen.sums()[-10:]])) if seen.memory else 0.0
    table = Table("Memory by turns, MB (PSS)", ("turns", *sorted(seen.last), "together"))
    for step in sorted({*range(0, seen.turns, max(seen.turns // 10, 1)), seen.turns}):
        sizes = seen.at(step)
        row = [f"{sizes.get(name, 0.0):.0f}" for name in sorted(seen.last)]
        table.rows.append((str(step), *row, f"{sum(sizes.values()):.0f}"))
    return Report(
        "soak",
        figures=[
            Figure("memory of all processes at the end", ended, "MB", at_most(MOST_MB)),
            *(
                [Figure("it grows by at least, an hour", low, "MB", at_most(STAYS_MB))]
                if math.isfinite(low)
                else []
            ),
        ],
        tables=[table],
        failures=[f"{count} times {what}" for what, count in seen.failed.items()],
        notes=[
            f"{seen.turns} turns and {seen.documents} documents in {seen.seconds / 60:.1f} minutes; it grew by {up:.1f} MB an hour "
            f"({low:.1f} to {high:.1f}, 95 %, Student's t {T}, after the first quarter of the run).",
            f"{os.cpu_count()} cores, {CUSTOMERS} customers at once, {TURNS_EACH} turns a conversation.",
        ],
    )


def run(
    folders: Folders,
    progress: Progress = quiet,
    *,
    turns: int = 2000,
    minutes: float = 0.0,
    files: int = 500,
    database: str = "",
) -> Report:
    return report(measure(folders.prepared(), turns, minutes, files, database, progress))

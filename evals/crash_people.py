"""The people of the crash eval, who outlive every process: customers who insist, reviewers who decide once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from evals.crash_books import Job, Reviewed, Wish
from evals.crash_slots import ConnectionLost, Slots

#: Messages that are worked on at once; the rest of the customers wait for theirs.
IN_FLIGHT = 12
#: How long a client keeps trying before it gives up, in seconds.
#: Seconds until a client gives up: a killed payment is left alone for a lease of 60, and may be killed again.
PATIENCE = 240.0


@dataclass
class Clients:
    """The customers: whatever dies, they send the same message with the same key until it is answered."""

    slots: Slots
    retries: int = 0
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(IN_FLIGHT))

    async def play(self, job: Job) -> None:
        """Ask, say yes or no, click twice, ask again."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._play(job)
        except TimeoutError:
            job.problem = f"no answer in {PATIENCE:.0f} s"

    async def _play(self, job: Job) -> None:
        opened = await self._sure(
            {"do": "open", "customer": job.customer, "key": f"job-{job.number}"}
        )
        job.thread = opened["thread"]
        attempt = 0
        while attempt < 3:
            attempt += 1
            key, text = f"{job.number}-ask-{attempt}", job.text
            data = await self._say(job, text, key)
            asked = 0
            while "Shall I" in data["text"] and asked < 3:
                asked += 1
                key, text = f"{job.number}-yes-{attempt}-{asked}", "yes" if job.says_yes else "no"
                data = await self._say(job, text, key)
                job.refused, job.agreed = not job.says_yes, job.says_yes
            if job.asks_again:
                # The client did not believe it: the same key must get the same answer.
                again = await self._say(job, text, key)
                if again["text"] != data["text"]:
                    job.problem = f"the same key gave {data['text']!r} and {again['text']!r}"
            if "nothing open to confirm" not in data["text"] or await self._reads_of(job):
                return
        job.problem = "the request was forgotten three times"

    async def _reads_of(self, job: Job) -> bool:
        """Does the thread say already what came of it? Then nobody asks for it again."""
        look = {"do": "look", "customer": job.customer, "thread": job.thread}
        said = (await self._sure(look))["texts"]
        return job.writes and any(job.is_told_in(text) for text in said)

    async def _say(self, job: Job, text: str, key: str) -> dict[str, Any]:
        asked = {
            "do": "turn",
            "customer": job.customer,
            "thread": job.thread,
            "text": text,
            "key": key,
        }
        if job.double_click:
            first, _ = await asyncio.gather(
                self._sure(asked, until_final=True), self._once(asked, 1)
            )
        else:
            first = await self._sure(asked, until_final=True)
        for event in first["events"]:
            if event["event"] == "tool":
                job.actions.add(event["data"]["action"])
        data = first["events"][-1]["data"]
        job.said.append(text)
        job.heard.append(data["text"])
        return data

    async def _once(self, asked: dict[str, Any], slot: int) -> None:
        with suppress(ConnectionLost):
            await self.slots.ask(asked, slot)

    async def _sure(self, asked: dict[str, Any], *, until_final: bool = False) -> dict[str, Any]:
        said: dict[str, Any]
        while True:
            try:
                async with self._free:
                    said = await self.slots.ask(asked)
            except ConnectionLost:
                said = {"error": "lost"}
            if "error" not in said and (not until_final or _is_final(said["events"])):
                return said
            if said.get("error") == "conflict":
                raise RuntimeError(f"the same message was called a conflict: {asked}")
            self.retries += 1
            # Whoever works on it may be dead: its lease has to pass.
            await asyncio.sleep(0.5 if said.get("error") == "in_flight" else 0.1)


def _is_final(events: list[dict[str, Any]]) -> bool:
    return bool(events) and events[-1]["event"] == "final"


@dataclass
class Reviewers:
    """They answer what waits, each question as its customer's job says, and never change their mind."""

    slots: Slots
    reviewed: Reviewed
    wish_of: Callable[[str], Wish]
    edits: Mapping[str, Mapping[str, Any]]  #: Operation -> other arguments, for those who edit.
    idle: float = 0.0

    async def work(self) -> None:
        """Until cancelled."""
        while True:
            try:
                waiting = (await self.slots.ask({"do": "pending"}))["approvals"]
            except (ConnectionLost, KeyError):
                await asyncio.sleep(0.05)
                continue
            open_ = [q for q in waiting if self._decision(q) != "ignore"]
            if open_:
                self.idle = time.monotonic()
                await asyncio.gather(*(self._answer(q) for q in open_[:IN_FLIGHT]))
            await asyncio.sleep(0.1)

    def _decision(self, question: dict[str, Any]) -> str:
        wish = self.wish_of(question["thread"])
        return "approve" if wish == "edit" and "." in question["id"] else wish

    async def _answer(self, question: dict[str, Any]) -> None:
        action, decision = question["id"], self._decision(question)
        if decision == "edit" and question["operation"] not in self.edits:
            decision = "approve"
        self.reviewed.arguments[action] = question["arguments"]
        said: dict[str, Any] = {}
        for reviewer in ("olga", "pia", "rosa"):
            self.reviewed.sent[action] = decision
            answer: dict[str, Any] = {
                "decision": decision,
                "reviewer": reviewer,
                "role": "admin",
                "note": "as agreed",
            }
            if decision == "edit":
                answer["arguments"] = dict(self.edits[question["operation"]])
            said = await self._decide(action, answer)
            if said.get("error") == "EditInvalid":
                decision = "approve"
                continue
            approval = said.get("approval")
            if approval is not None and approval["id"] == action:
                self.reviewed.answered[action] = approval["status"]
            # Where two persons are needed, it still waits for the second one.
            waits = approval is not None and (approval["id"], approval["status"]) == (
                action,
                "pending",
            )
            if not waits and said.get("error") not in ("AlreadyVoted", "OwnEdit"):
                break
        if decision == "reject" and action not in self.reviewed.forced:
            self.reviewed.forced.add(action)
            with suppress(ConnectionLost):
                await self.slots.ask({"do": "force", "id": action})

    async def _decide(self, action: str, answer: dict[str, Any]) -> dict[str, Any]:
        while True:
            with suppress(ConnectionLost):
                said = await self.slots.ask({"do": "decide", "id": action, "answer": answer})
                if said.get("error") != "unavailable":
                    return said
            await asyncio.sleep(0.05)

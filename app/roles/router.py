"""The role `router`: what a message wants, and where it goes."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.domains import domain_of
from app.releases import live_manifest
from app.roles import Answer, Fit
from app.roles.alone import context_alone
from app.roles.lines import Input, Said, read_input
from tools.intents import IntentsInvalid

if TYPE_CHECKING:
    from app.config import Settings
    from app.models.router import Router
    from graphs.context import Context
    from graphs.state import Pending


class RouterInput(Input):
    text: str
    history: list[Said] = []


@asynccontextmanager
async def router(
    settings: Settings,
    *,
    intents: Path | None = None,
    model: Path | None = None,
    small: bool | None = None,
    fit: Fit | None = None,
) -> AsyncGenerator[Answer]:
    """``intents``: a catalogue, whose examples are enough for ``fit``; ``model``: a folder that was trained. ``small``
    says whether the generative model is asked where the encoder is unsure: by default where it knows the
    intents, by an adapter or by a prompt."""
    own = await asyncio.to_thread(_own_router, settings, intents, model, fit)
    if small is None:
        small = await asyncio.to_thread(_small_knows, settings, own)
    async with context_alone(settings, own=own, small=small) as context:
        yield Routing(context, own=own is not None)


def _small_knows(settings: Settings, own: Router | None) -> bool:
    """May the generative model be asked what a message means?"""
    from app.live import router_knows

    domain = domain_of(settings)
    manifest = live_manifest(settings)
    intents = own.intents if own is not None else manifest.catalogue(domain)
    return router_knows(manifest, settings, intents)


def _own_router(
    settings: Settings, intents: Path | None, model: Path | None, fit: Fit | None
) -> Router | None:
    """The router that was asked for; None for the shipped one."""
    if intents is not None and model is None:
        if fit is None:
            raise IntentsInvalid("Nothing here makes a router of a catalogue; train one first.")
        return fit(intents)
    folder = model or settings.router
    if folder is None:
        return None
    from app.models.router import load_router

    return load_router(folder)


@dataclass(frozen=True)
class Routing:
    """Routes a line as the desk routes a message."""

    context: Context
    #: A deployment's own intents are what is asked for; of the shipped ones, the lane.
    own: bool = False

    async def prepare(self, rows: Sequence[dict[str, Any]]) -> None:
        """Read many lines at once: what was read together is at hand when it is answered."""
        texts: list[str] = []
        for row in rows:
            with contextlib.suppress(ValueError):
                asked = read_input(RouterInput, row)
                texts.append(asked.text)
                texts += [said.text for said in asked.history[-3:] if said.by_customer]
        await self.context.encoder.embed(texts)

    async def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        from graphs.nodes.understand import understood_alone
        from graphs.orders import order_said
        from graphs.screening import screen_text
        from graphs.state import Turn

        context = self.context
        asked, started = read_input(RouterInput, row), time.perf_counter()
        pending = await asked_about(context, asked.history)
        said = [one.text for one in asked.history if not one.by_customer]
        wanted = await _wanted_before(context, asked.history) if pending is None else ""
        chosen = await understood_alone(
            context,
            asked.text,
            before=said[-1] if said else "",
            wanted=wanted,
            pending=pending,
        )
        turn = Turn(id="line", text=asked.text, at=context.clock.now())
        screened = screen_text(turn, handed_off=False, max_chars=context.limits.message_chars)
        order = await order_said(context, asked.text) if screened.verdict == "ok" else None
        verdict = "injection" if order is not None else screened.verdict
        refused = verdict != "ok"
        others = [intent for intent in chosen.candidates if intent != chosen.intent]
        return {
            "intent": chosen.intent,
            "lane": chosen.lane,
            "operation": chosen.operation,
            "complexity": chosen.complexity,
            "frustration": round(chosen.frustration, 4),
            "sensitivity": chosen.sensitivity,
            "probability": round(chosen.probability if self.own else chosen.lane_probability, 4),
            "intent_probability": round(chosen.probability, 4),
            "lane_probability": round(chosen.lane_probability, 4),
            "alternatives": [{"intent": intent} for intent in others],
            "abstain": chosen.abstained or chosen.otherwise == "clarify" or refused,
            "reason": f"refused: {verdict}" if refused else chosen.reason,
            "tier": chosen.tier,
            "ms": round((time.perf_counter() - started) * 1000, 2),
        }


async def _wanted_before(context: Context, history: Sequence[Said]) -> str:
    """The intent of the customer's message before this one."""
    from graphs.nodes.understand import understood_alone

    spoken = [one.text for one in history if one.by_customer]
    return (await understood_alone(context, spoken[-1])).intent if spoken else ""


_OPEN_QUESTION = re.compile(
    r"\b(?:which|what|when|where|how|please (?:give|tell|enter)|could you (?:give|tell))\b", re.I
)
_PERSON = re.compile(r"\b(?:colleague|human|person|agent|team member)\b", re.I)


async def asked_about(context: Context, history: Sequence[Said]) -> Pending | None:
    """What the last reply asked about, as far as the words of the conversation tell.

    The running desk knows it from its state; a conversation alone says it by ending with a question."""
    from graphs.nodes.understand import understood_alone
    from graphs.state import Pending

    if not history or history[-1].by_customer or "?" not in history[-1].text:
        return None
    question = history[-1].text.rsplit("\n\n", 1)[-1]
    common = {"request": "history", "question": question, "asked_in": "history"}
    offered = tuple({"label": part} for part in _offered(question))
    if _PERSON.search(question) and not _OPEN_QUESTION.search(question):
        return Pending.model_validate({**common, "operation": "hand_off", "stage": "offer"})
    spoken = [one.text for one in reversed(history) if one.by_customer][:3]
    # Where none of them names an operation, the question itself may: "Would you like a replacement?"
    for said in [*spoken, question]:
        route = await understood_alone(context, said)
        if route.abstained or route.otherwise:
            continue
        if route.lane == "agent":
            return Pending.model_validate({**common, "operation": "plan", "stage": "confirm"})
        if route.operation is not None:
            stage = "confirm" if not _OPEN_QUESTION.search(question) else "field"
            if offered and stage == "field":
                common, stage = {**common, "candidates": offered}, "choice"
            return Pending.model_validate({**common, "operation": route.operation, "stage": stage})
    return None


def _offered(question: str) -> list[str]:
    """What a question like "Which one: this or that?" offers."""
    _, colon, listed = question.rpartition(": ")
    parts = re.split(r",\s*|\s+or\s+", listed.strip(" ?.")) if colon else []
    return [part.strip() for part in parts if part.strip()] if len(parts) > 1 else []

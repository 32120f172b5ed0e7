"""What each role answers when it is used alone, by the code that the graphs run."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.models.encoder import OnnxEncoder
from app.models.manifest import SHIPPED, load_manifest
from app.roles import Answer
from tools.domain import Customer, Decision, Outcome
from tools.ports import BackendUnavailable, Passage, PortError

if TYPE_CHECKING:
    from app.config import Settings
    from graphs.context import Context
    from graphs.loop import Evaluation
    from graphs.state import Pending, Step

_NOBODY = Customer(id="nobody", name="", email="", since=date(2000, 1, 1))


class _Input(BaseModel):
    """A line; what a role does not know is left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


_T = TypeVar("_T", bound=_Input)


class Said(_Input):
    role: str
    text: str

    @property
    def by_customer(self) -> bool:
        return self.role.casefold() in ("user", "customer", "human")


def _read(kind: type[_T], row: dict[str, Any]) -> _T:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        found = (f"{'.'.join(map(str, e['loc'])) or 'input'}: {e['msg']}" for e in error.errors())
        raise ValueError("; ".join(found)) from error


# --- consequence --------------------------------------------------------------------------------


def _names(value: Any) -> Any:
    """Argument names, from a list of names, of described arguments, a mapping or a JSON schema."""
    if isinstance(value, Mapping):
        return list(value.get("properties", value))  # type: ignore[reportUnknownArgumentType]
    if isinstance(value, list):
        return [one.get("name", "") if isinstance(one, Mapping) else one for one in value]  # type: ignore[reportUnknownVariableType]
    return value


class ConsequenceInput(_Input):
    name: str = Field(min_length=1)
    description: str | None = ""
    method: str | None = None
    arguments: Annotated[list[str] | None, BeforeValidator(_names)] = None


@asynccontextmanager
async def consequence(settings: Settings) -> AsyncGenerator[Answer]:
    from graphs.consequences import described, settle

    manifest = load_manifest()
    encoder = OnnxEncoder(manifest)
    line, believed = manifest.write_line, manifest.class_line

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        asked = _read(ConsequenceInput, row)
        text = described(asked.name, asked.description or "", asked.method, asked.arguments or ())
        choice = await encoder.classify("consequence", text)
        judged = settle(choice.probabilities, text, line=line, believed=believed)
        return {
            "class": judged.consequence.value,
            "probabilities": _rounded(choice.probabilities),
            "write": judged.write,
            "abstain": not judged.sure,
            "reason": judged.reason,
        }

    yield answer


# --- router -------------------------------------------------------------------------------------


class RouterInput(_Input):
    text: str
    history: list[Said] = []


@asynccontextmanager
async def router(settings: Settings) -> AsyncGenerator[Answer]:
    from graphs.nodes.turn import decide_route, read_message
    from graphs.screening import screen_text
    from graphs.state import Turn
    from tools.privacy import find_pii

    async with _context(settings) as context:

        async def answer(row: dict[str, Any]) -> dict[str, Any]:
            asked, started = _read(RouterInput, row), time.perf_counter()
            pending = await asked_about(context, asked.history)
            reading = await read_message(context, asked.text)
            chosen = decide_route(
                reading.settled,
                abstained=reading.abstained,
                pending=pending,
                frustration=reading.frustration.probabilities.get("frustrated", 0.0),
                several=reading.complexity.probabilities.get("several", 0.0),
                asked_last=pending is not None,
                text=asked.text,
                sensitive=bool(find_pii(asked.text)),
                context=context,
            )
            turn = Turn(id="line", text=asked.text, at=context.clock.now())
            screened = screen_text(turn, handed_off=False, max_chars=context.limits.message_chars)
            refused = screened.verdict != "ok"
            ranked = sorted(reading.settled.probabilities.items(), key=lambda item: -item[1])
            return {
                "intent": chosen.intent,
                "lane": chosen.lane,
                "operation": chosen.operation,
                "complexity": chosen.complexity,
                "frustration": round(chosen.frustration, 4),
                "sensitivity": chosen.sensitivity,
                "probability": round(chosen.probability, 4),
                "alternatives": [
                    {"intent": intent, "probability": round(p, 4)} for intent, p in ranked[1:5]
                ],
                "abstain": chosen.abstained or refused,
                "reason": f"refused: {screened.verdict}" if refused else chosen.reason,
                "tier": chosen.tier,
                "ms": round((time.perf_counter() - started) * 1000, 2),
            }

        yield answer


_OPEN_QUESTION = re.compile(
    r"\b(?:which|what|when|where|how|please (?:give|tell|enter)|could you (?:give|tell))\b", re.I
)
_PERSON = re.compile(r"\b(?:colleague|human|person|agent|team member)\b", re.I)


async def asked_about(context: Context, history: Sequence[Said]) -> Pending | None:
    """What the last reply asked about, as far as the words of the conversation tell.

    The running desk knows it from its state; a conversation alone says it by ending with a question."""
    from graphs.nodes.turn import decide_route, read_message
    from graphs.state import Pending

    if not history or history[-1].by_customer or "?" not in history[-1].text:
        return None
    question = history[-1].text.rsplit("\n\n", 1)[-1]
    common = {"request": "history", "question": question, "asked_in": "history"}
    if _PERSON.search(question) and not _OPEN_QUESTION.search(question):
        return Pending.model_validate({**common, "operation": "hand_off", "stage": "offer"})
    for said in [one for one in reversed(history) if one.by_customer][:3]:
        reading = await read_message(context, said.text)
        route = decide_route(
            reading.settled,
            abstained=reading.abstained,
            pending=None,
            frustration=0.0,
            several=0.0,
            asked_last=False,
            text=said.text,
            sensitive=False,
            context=context,
        )
        if route.operation is not None and not route.abstained:
            stage = "field" if _OPEN_QUESTION.search(question) else "confirm"
            return Pending.model_validate({**common, "operation": route.operation, "stage": stage})
    return None


# --- extractor ----------------------------------------------------------------------------------


class ExtractorInput(_Input):
    operation: str | dict[str, Any]
    text: str | None = None
    history: list[Said] = []
    today: str | None = None
    timezone: str | None = None
    locale: str | None = None
    records: Any = None

    @property
    def said(self) -> list[tuple[bool, str]]:
        """Everything said, oldest first, and whether the customer said it."""
        last = [(True, self.text)] if self.text is not None else []
        return [*((one.by_customer, one.text) for one in self.history), *last]


@asynccontextmanager
async def extractor(settings: Settings) -> AsyncGenerator[Answer]:
    from app.extracting import extracted, seen_from, target_of

    async with _context(settings) as context:

        async def answer(row: dict[str, Any]) -> dict[str, Any]:
            asked = _read(ExtractorInput, row)
            target = target_of(asked.operation, context.operations)
            if not any(by_customer for by_customer, _ in asked.said):
                raise ValueError("text: there are no words of the customer")
            when = seen_from(asked.today, asked.timezone, asked.locale, context.clock.now())
            return await extracted(
                target,
                asked.said,
                when,
                small=context.small,
                encoder=context.encoder,
                records=asked.records,
            )

        yield answer


# --- evaluator ----------------------------------------------------------------------------------


class EvaluatorInput(_Input):
    goal: str
    step: str
    result: str
    left: int = Field(ge=0, le=100)


_STATUSES: dict[str, Literal["done", "failed", "pending", "skipped"]] = {
    "ok": "done",
    "done": "done",
    "executed": "done",
    "error": "failed",
    "failed": "failed",
    "not_found": "failed",
    "refused": "failed",
    "blocked": "failed",
    "pending": "pending",
    "skipped": "skipped",
}


def evaluated_step(asked: EvaluatorInput) -> Step:
    """The step as the loop would know it; a result without a status went well."""
    from graphs.state import Step

    first, _, note = asked.result.strip().partition(" ")
    status = _STATUSES.get(first.casefold().rstrip(":,."))
    return Step(name=asked.step, status=status or "done", note=note if status else asked.result)


@asynccontextmanager
async def evaluator(settings: Settings) -> AsyncGenerator[Answer]:
    from graphs.loop import ANSWER, believed, guard, judged
    from graphs.state import Plan, Step

    async with _context(settings) as context:

        async def answer(row: dict[str, Any]) -> dict[str, Any]:
            asked = _read(EvaluatorInput, row)
            last = evaluated_step(asked)
            steps = (last, *(Step(name=ANSWER) for _ in range(asked.left)))
            plan = Plan(request="line", goal=asked.goal, steps=steps, confirmed=True)
            try:
                choice = await judged(context, asked.goal, last, asked.left)
            except PortError:
                ruled = guard(None, plan, context)
                return {
                    "choice": ruled,
                    "probabilities": {},
                    "abstain": True,
                    "overruled": False,
                    "degraded": True,
                }
            sure = believed(choice, context.thresholds)
            wanted = cast("Evaluation", choice.option)
            decided = guard(wanted if sure else None, plan, context)
            return {
                "choice": decided,
                "probabilities": _rounded(choice.probabilities),
                "abstain": not sure,
                "overruled": sure and decided != choice.option,
                "tier": choice.tier,
            }

        yield answer


# --- validator ----------------------------------------------------------------------------------


class Source(_Input):
    text: str
    title: str = ""


def _sources(value: Any) -> Any:
    if isinstance(value, list):
        return [{"text": one} if isinstance(one, str) else one for one in value]  # type: ignore[reportUnknownVariableType]
    return value


class Person(_Input):
    name: str = ""
    email: str = ""
    phone: str | None = None


class ValidatorInput(_Input):
    text: str
    passages: Annotated[list[Source], BeforeValidator(_sources)] = []
    customer: Person | None = None


@asynccontextmanager
async def validator(settings: Settings) -> AsyncGenerator[Answer]:
    from graphs.context import Limits
    from graphs.state import Draft
    from graphs.validation import validate_draft

    limits = Limits()

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        asked = _read(ValidatorInput, row)
        passages = tuple(
            Passage(id=str(n), text=p.text, title=p.title, source="")
            for n, p in enumerate(asked.passages, 1)
        )
        person = asked.customer.model_dump() if asked.customer is not None else {}
        found = validate_draft(
            Draft(text=asked.text, source="large", passages=passages),
            _NOBODY.model_copy(update=person),
            max_chars=limits.reply_chars,
        )
        return {"ok": found.ok, "problems": list(found.problems)}

    yield answer


# --- pruner -------------------------------------------------------------------------------------


class Chunk(_Input):
    id: str | int
    text: str
    title: str = ""


class PrunerInput(_Input):
    query: str
    chunks: list[Chunk]
    budget_tokens: int | None = Field(default=None, ge=1)


@asynccontextmanager
async def pruner(settings: Settings) -> AsyncGenerator[Answer]:
    import asyncio

    from app.knowledge.pruner import LoraPruner
    from app.knowledge.selection import TOKEN_BUDGET, select

    encoder = OnnxEncoder(load_manifest())
    cross = await asyncio.to_thread(LoraPruner.load, SHIPPED, settings.data_dir / "knowledge")
    keep = 4

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        asked = _read(PrunerInput, row)
        # Ids may repeat, and 1 is not "1": each chunk goes by its place.
        ids = {str(place): chunk.id for place, chunk in enumerate(asked.chunks)}
        texts = [f"{c.title}\n{c.text}" if c.title else c.text for c in asked.chunks]
        query, *vectors = await encoder.embed([asked.query, *texts])
        passages = [
            Passage(
                id=place,
                text=chunk.text,
                title=chunk.title,
                source=place,
                score=sum(a * b for a, b in zip(query, vector, strict=True)),
            )
            for place, chunk, vector in zip(ids, asked.chunks, vectors, strict=True)
        ]
        near = max((p.score for p in passages), default=0.0) >= cross.nearest
        scored = (
            await cross.score(asked.query, passages) if asked.query.strip() and passages else []
        )
        kept = select(
            scored if near else [],
            dict(zip(ids, vectors, strict=True)),
            {},
            keep=keep,
            floor=cross.floor,
            sentence_floor=cross.sentence_floor,
            budget=asked.budget_tokens or TOKEN_BUDGET,
        )
        return {
            "kept": [ids[p.id] for p in kept],
            "sentences": [{"id": ids[p.id], "sentences": list(p.sentences)} for p in kept],
            "scores": [{"id": ids[s.passage.id], "score": round(s.probability, 4)} for s in scored],
            "answerable": bool(kept),
        }

    yield answer


# --- what several roles share -------------------------------------------------------------------


def _rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {option: round(p, 4) for option, p in probabilities.items()}


class _Unlogged:
    """No decision of a role alone takes effect, so none is kept."""

    async def record(
        self, *, tenant: str, thread: str, turn: str, input: str, decisions: Sequence[Decision]
    ) -> None:
        return None


class _NoKnowledge:
    """A role alone looks nothing up."""

    version = ""

    async def retrieve(
        self, query: str, *, limit: int = 15, audience: str = "public"
    ) -> list[Passage]:
        return []

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        return []


class _NoActions:
    """A role alone carries nothing out."""

    async def propose(self, action: Any, context: Any) -> Outcome:
        raise BackendUnavailable("A role that is used alone runs no action.")


@asynccontextmanager
async def _context(settings: Settings) -> AsyncGenerator[Context]:
    """The graphs' context with the real models, and a shop without customers."""
    from app.wiring import open_models, thresholds_of
    from graphs.context import Context
    from graphs.intents import load_intents
    from tools.memory import MemoryApprovals, MemoryBackend, MemoryBooks, MemoryLedger
    from tools.operations import OPERATIONS

    async with open_models(settings) as models:
        books, approvals = MemoryBooks(), MemoryApprovals()
        yield Context(
            customer=_NOBODY,
            operations=OPERATIONS,
            intents=load_intents(operations=OPERATIONS),
            encoder=models.encoder,
            small=models.small,
            large=models.large,
            knowledge=_NoKnowledge(),
            backend=MemoryBackend(books),
            ledger=MemoryLedger(books, approvals),
            approvals=approvals,
            decisions=_Unlogged(),
            actions=_NoActions(),
            thresholds=thresholds_of(models.manifest, settings),
        )


OPEN: dict[str, Callable[[Settings], AbstractAsyncContextManager[Answer]]] = {
    "consequence": consequence,
    "router": router,
    "extractor": extractor,
    "evaluator": evaluator,
    "validator": validator,
    "pruner": pruner,
}

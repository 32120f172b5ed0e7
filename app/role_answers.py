"""What each role answers when it is used alone, by the code that the graphs run."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.models.encoder import OnnxEncoder
from app.models.manifest import SHIPPED, load_manifest
from app.roles import Answer
from tools.domain import Clock, Customer, Decision, Operation, Outcome
from tools.ports import BackendUnavailable, Passage

if TYPE_CHECKING:
    from app.config import Settings
    from graphs.context import Context
    from graphs.loop import Evaluation
    from graphs.state import Pending

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
    operation: str
    text: str | None = None
    history: list[Said] = []
    today: date | None = None

    @property
    def words(self) -> list[str]:
        """What the customer said, oldest first."""
        said = [one.text for one in self.history if one.by_customer]
        return [*said, *([self.text] if self.text is not None else [])]


@asynccontextmanager
async def extractor(settings: Settings) -> AsyncGenerator[Answer]:
    async with _context(settings) as context:

        async def answer(row: dict[str, Any]) -> dict[str, Any]:
            asked = _read(ExtractorInput, row)
            operation = context.operations.get(asked.operation)
            if operation is None:
                known = ", ".join(context.operations)
                raise ValueError(f"operation: {asked.operation!r} is not one of {known}")
            if not asked.words:
                raise ValueError("text: there are no words of the customer")
            clock = _noon(asked.today) if asked.today is not None else context.clock
            return await extracted(replace(context, clock=clock), operation, asked.words)

        yield answer


async def extracted(context: Context, operation: Operation, words: Sequence[str]) -> dict[str, Any]:
    """The arguments after everything the customer said, each message read as the desk would read it."""
    from langgraph.runtime import Runtime

    from graphs.nodes.operation import extract, extract_by_rules
    from graphs.state import Extraction, Pending, Route, SupportState, Turn

    runtime: Runtime[Context] = Runtime(context=context)
    pending: Pending | None = None
    arguments: dict[str, Any] = {}
    refused: dict[str, str] = {}
    lacking: list[str] = []
    degraded = False
    for place, text in enumerate(words):
        state: SupportState = {
            "turn": Turn(id=f"t{place}", text=text, at=context.clock.now()),
            "pending": (pending,) if pending is not None else (),
            "route": Route(
                intent=operation.name,
                lane="operation",
                operation=operation.name,
                move="continue" if pending is not None else "new",
            ),
        }
        found: Extraction = (await extract(state, runtime))["extraction"]
        if found.degraded:
            degraded = True
            state["extraction"] = found
            found = (await extract_by_rules(state, runtime))["extraction"]
        arguments, lacking = found.arguments, missing_fields(operation, found.arguments)
        refused = {**refused, **found.refused}
        pending = Pending(
            request="line",
            operation=operation.name,
            stage="field" if lacking else "confirm",
            field=lacking[0] if lacking else None,
            arguments=arguments,
        )
    refused = {name: why for name, why in refused.items() if name not in arguments}
    answer = {"arguments": arguments, "missing": lacking, "refused": refused}
    return {**answer, "degraded": True} if degraded else answer


def missing_fields(operation: Operation, arguments: Mapping[str, Any]) -> list[str]:
    """Everything that is still needed; of several that would each do, all are named."""
    from graphs.extraction import fields, missing

    lacking: list[str] = []
    given = dict(arguments)
    lack = missing(operation, given)
    if lack is None:
        return []
    if not lack[0]:
        return [f.name for f in fields(operation) if f.name not in given]
    for field in fields(operation):
        if field.required and field.name not in given:
            lacking.append(field.name)
    return lacking


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
    "pending": "pending",
    "skipped": "skipped",
}


@asynccontextmanager
async def evaluator(settings: Settings) -> AsyncGenerator[Answer]:
    from graphs.loop import ANSWER, EVALUATIONS, evaluator_input, guard
    from graphs.state import Plan, Step

    async with _context(settings) as context:

        async def answer(row: dict[str, Any]) -> dict[str, Any]:
            asked = _read(EvaluatorInput, row)
            first, _, note = asked.result.strip().partition(" ")
            status = _STATUSES.get(first.casefold().rstrip(":,."))
            last = Step(
                name=asked.step,
                status=status or "done",
                note=note if status else asked.result,
            )
            text = evaluator_input(asked.goal, last, asked.left)
            choice = await context.small.choose("evaluator", text, EVALUATIONS)
            sure = choice.probabilities[choice.option] >= context.thresholds.evaluator
            wanted = cast("Evaluation", choice.option)
            steps = (last, *(Step(name=ANSWER) for _ in range(asked.left)))
            plan = Plan(request="line", goal=asked.goal, steps=steps, confirmed=True)
            decided = guard(wanted if sure else None, plan, context)
            return {
                "choice": decided,
                "probabilities": _rounded(choice.probabilities),
                "abstain": not sure,
                "overruled": sure and decided != choice.option,
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
            # Of an answer that names no source at all, the sources are asked for support, not the citations.
            cited="[" in asked.text,
        )
        return {
            "ok": found.ok,
            "problems": [problem.detail for problem in found.problems],
            "kinds": [problem.kind for problem in found.problems],
            "groundedness": None if found.groundedness is None else round(found.groundedness, 4),
        }

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
    """The pruner alone: without a budget as in a turn (at most four chunks), with one as much as it holds."""
    import asyncio

    from app.knowledge.pruner import open_pruner
    from app.knowledge.selection import TOKEN_BUDGET, select
    from graphs.context import Limits
    from tools.injection import instructs

    cross = await asyncio.to_thread(
        open_pruner,
        settings.pruner,
        SHIPPED,
        settings.data_dir / "knowledge",
        floor=settings.pruner_floor,
    )
    usual = Limits().kept_chunks

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        asked = _read(PrunerInput, row)
        # Ids may repeat, and 1 is not "1": each chunk goes by its place.
        ids = {str(place): chunk.id for place, chunk in enumerate(asked.chunks)}
        passages = [
            Passage(id=place, text=chunk.text, title=chunk.title, source=place)
            for place, chunk in zip(ids, asked.chunks, strict=True)
        ]
        judged = await cross.score(asked.query if asked.query.strip() else "?", passages, {})
        answerable = bool(asked.query.strip()) and judged.answerable >= cross.floor
        kept = select(
            judged.scored if answerable else [],
            judged.vectors,
            {place: number for number, place in enumerate(ids)},
            keep=None if asked.budget_tokens else usual,
            noise=cross.noise,
            sentence_floor=cross.sentence_floor,
            budget=asked.budget_tokens or TOKEN_BUDGET,
        )
        return {
            "kept": [ids[p.id] for p in kept],
            "sentences": [{"id": ids[p.id], "sentences": list(p.sentences)} for p in kept],
            "scores": [
                {"id": ids[s.passage.id], "score": round(s.probability, 4)} for s in judged.scored
            ],
            "answerable": bool(kept),
            "probability": round(judged.answerable, 4),
            "flagged": [ids[p.id] for p in passages if instructs(p.text)],
            "pruned_by": cross.name,
        }

    yield answer


# --- what several roles share -------------------------------------------------------------------


def _rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    return {option: round(p, 4) for option, p in probabilities.items()}


def _noon(day: date) -> Clock:
    return Clock(now=lambda: datetime(day.year, day.month, day.day, 12, tzinfo=UTC))


class _Unlogged:
    """No decision of a role alone takes effect, so none is kept."""

    async def record(
        self, *, tenant: str, thread: str, turn: str, input: str, decisions: Sequence[Decision]
    ) -> None:
        return None


class _NoKnowledge:
    """A role alone looks nothing up."""

    version = ""
    pruned_by = ""

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

"""What each role answers when it is used alone, by the code that the graphs run."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.domains import domain_of
from app.models.encoder import OnnxEncoder
from app.releases import live_manifest
from app.roles import Answer
from tools.decisions import Decision
from tools.ports import (
    BackendUnavailable,
    Choice,
    Filled,
    LargeModel,
    ModelUnavailable,
    Passage,
    PortError,
    SmallModel,
)
from tools.values import Customer, Outcome

if TYPE_CHECKING:
    from app.config import Settings
    from app.models.router import Router
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

    manifest = await asyncio.to_thread(live_manifest, settings)
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
async def router(
    settings: Settings,
    *,
    intents: Path | None = None,
    model: Path | None = None,
    small: bool | None = None,
) -> AsyncGenerator[Answer]:
    """``intents``: a catalogue, whose examples are enough; ``model``: a folder that was trained. ``small``
    says whether the generative model is asked where the encoder is unsure: by default where it knows the
    intents, by an adapter or by a prompt."""
    own = await asyncio.to_thread(_own_router, settings, intents, model)
    if small is None:
        small = await asyncio.to_thread(_small_knows, settings, own)
    async with _context(settings, own=own, small=small) as context:
        yield Routing(context, own=own is not None)


def _small_knows(settings: Settings, own: Router | None) -> bool:
    """May the generative model be asked what a message means?"""
    from app.wiring import router_knows

    domain = domain_of(settings)
    manifest = live_manifest(settings)
    intents = own.intents if own is not None else manifest.catalogue(domain)
    return router_knows(manifest, settings, intents)


def _own_router(settings: Settings, intents: Path | None, model: Path | None) -> Router | None:
    """The router that was asked for; None for the shipped one."""
    if intents is not None and model is None:
        from models.train.intents import fitted, taught

        return fitted(taught(intents, None))[0]
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
                asked = _read(RouterInput, row)
                texts.append(asked.text)
                texts += [said.text for said in asked.history[-3:] if said.by_customer]
        await self.context.encoder.embed(texts)

    async def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        from graphs.nodes.understand import understood_alone
        from graphs.orders import order_said
        from graphs.screening import screen_text
        from graphs.state import Turn

        context = self.context
        asked, started = _read(RouterInput, row), time.perf_counter()
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
    from app.knowledge.pruner import SECTION, open_pruner
    from app.knowledge.selection import TOKEN_BUDGET, select
    from graphs.context import Limits
    from tools.injection import instructs

    manifest = await asyncio.to_thread(live_manifest, settings)
    cross = await asyncio.to_thread(
        open_pruner,
        settings.pruner,
        manifest.folder_of("cross-encoder-lora", "pruner"),
        settings.data_dir / "knowledge",
        floor=settings.pruner_floor,
    )
    usual = Limits().kept_chunks

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        asked = _read(PrunerInput, row)
        # Ids may repeat, and 1 is not "1": each chunk goes by its place.
        ids = {str(place): chunk.id for place, chunk in enumerate(asked.chunks)}
        passages = [
            # Chunks with one title are of one article.
            Passage(
                id=place,
                text=chunk.text,
                title=chunk.title,
                source=chunk.title.partition(SECTION)[0] or f"#{place}",
            )
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
    pruner_digest = ""

    async def retrieve(
        self,
        query: str,
        *,
        limit: int = 15,
        audience: str = "public",
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        return []

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        return []

    async def nearest(
        self,
        question: str,
        *,
        limit: int,
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        return []


class _NoLargeModel:
    """A role alone writes nothing."""

    async def write(self, *args: Any, **more: Any) -> AsyncIterator[str]:
        raise ModelUnavailable("A role that is used alone has no large model.")
        yield ""


class _NoActions:
    """A role alone carries nothing out."""

    async def withdraw(self, action_id: str, context: Any) -> Any:
        raise BackendUnavailable("A role that is used alone runs no action.")

    async def propose(self, action: Any, context: Any) -> Outcome:
        raise BackendUnavailable("A role that is used alone runs no action.")


class _NoSmallModel:
    """The generative tier is left out."""

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice:
        raise ModelUnavailable("the small model is left out")

    async def fill(self, role: str, input: str, schema: dict[str, Any]) -> Filled:
        raise ModelUnavailable("the small model is left out")

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str:
        raise ModelUnavailable("the small model is left out")


@asynccontextmanager
async def _context(
    settings: Settings, *, own: Router | None = None, small: bool = True
) -> AsyncGenerator[Context]:
    """The graphs' context with the real models, and a business without customers."""
    from app.serving import open_models
    from app.wiring import own_thresholds, thresholds_of
    from graphs.context import Context
    from tools.memory import MemoryApprovals, MemoryLedger, NoRecords

    books, approvals, domain = NoRecords(), MemoryApprovals(), domain_of(settings)

    def made(encoder: OnnxEncoder, model: SmallModel, large: LargeModel) -> Context:
        thresholds = thresholds_of(manifest, settings)
        if own is not None:
            encoder.adopt("intent", own.classifier, own.version)
            thresholds = own_thresholds(thresholds, own)
        return Context(
            customer=_NOBODY,
            operations=domain.operations,
            intents=own.intents if own is not None else manifest.catalogue(domain),
            encoder=encoder,
            small=model,
            large=large,
            knowledge=_NoKnowledge(),
            backend=books,
            ledger=MemoryLedger(books, approvals),
            approvals=approvals,
            decisions=_Unlogged(),
            actions=_NoActions(),
            thresholds=thresholds,
            second_opinion=small,
        )

    if not small:
        manifest = await asyncio.to_thread(live_manifest, settings)
        yield made(OnnxEncoder(manifest), _NoSmallModel(), cast("LargeModel", _NoLargeModel()))
        return
    async with open_models(settings) as models:
        manifest = models.manifest
        yield made(models.encoder, models.small, models.large)


OPEN: dict[str, Callable[..., AbstractAsyncContextManager[Answer]]] = {
    "consequence": consequence,
    "router": router,
    "extractor": extractor,
    "evaluator": evaluator,
    "validator": validator,
    "pruner": pruner,
}

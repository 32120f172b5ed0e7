"""A shop in memory with scripted models: real graphs, real gate, nothing else that decides.

    world = World("ana")
    played = await world.say("cancel my order", "cancel_order")
    assert "Shall I cancel" in played.reply

The second argument is what the intent head answers to that text. The small and the large model answer what
was enqueued for a role; an exception in a queue is raised.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

from app.models.masked import MaskedLargeModel
from domains.northfell.memory import MemoryBackend, MemoryBooks, demo_world
from domains.northfell.operations import OPERATIONS
from graphs.action import ActionGraph
from graphs.context import Context, Limits, Thresholds
from graphs.keys import action_id, action_key, fingerprint
from graphs.state import Answer, Turn
from graphs.support import support_graph
from tests.northfell import NORTHFELL, REPLIES
from tools.cases import CaseBook
from tools.hours import Hours
from tools.memory import MemoryApprovals, MemoryDecisionLog, MemoryLedger, MemoryRequests
from tools.ports import AnswerCache, Choice, Filled, ModelUnavailable, Passage
from tools.values import Action, Clock, Customer, Operation, Outcome

TODAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
INTENTS = NORTHFELL.intents

#: Answers for a port's method: a value, an exception to raise, or a function of what was asked.
Script = Any


class Hands:
    """A clock that only moves when told to."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at
        self.clock = Clock(now=lambda: self.at)

    def pass_(self, **duration: float) -> None:
        self.at += timedelta(**duration)


@dataclass
class Slow:
    """An answer that does not come in time: what an adapter makes of it is ``ModelUnavailable``."""

    seconds: float = 0.02


async def _play(script: Script, *asked: Any) -> Any:
    if isinstance(script, Slow):
        await asyncio.sleep(script.seconds)
        raise ModelUnavailable("no answer in time")
    if isinstance(script, BaseException):
        raise script
    return script(*asked) if callable(script) else script


def a_choice(option: str, probability: float, options: Sequence[str], tier: Any) -> Choice:
    """``option`` with its probability, the rest spread over the others."""
    others = [o for o in options if o != option]
    rest = (1 - probability) / len(others) if others else 0.0
    return Choice(
        option=option,
        probabilities={option: probability, **dict.fromkeys(others, rest)},
        model=f"scripted-{tier}",
        version="1",
        tier=tier,
        ms=0.0,
    )


class ScriptedEncoder:
    """Heads that answer from a table; a text that is not in it is out of scope, calm and single."""

    def __init__(self) -> None:
        self.intents: dict[str, tuple[str, float]] = {}
        self.frustrated: dict[str, float] = {}
        self.several: dict[str, float] = {}
        self.also: dict[str, dict[str, float]] = {}  #: Further intents that a text may stand for.
        self.incidents: dict[str, float] = {}
        self.outcomes: dict[str, tuple[str, float]] = {}
        self.leaning: set[str] = set()
        self.orders: dict[str, float] = {}  #: Words that are in an order, and how sure the head is.
        self.broken: Exception | None = None

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, *[0.0] * 383] for _ in texts]

    async def classify(self, head: str, text: str, *, before: str = "") -> Choice:
        if self.broken is not None:
            raise self.broken
        if head == "intent":
            intent, probability = self.intents.get(text, ("out_of_scope", 0.9))
            said = a_choice(intent, probability, INTENTS.names, "encoder")
            also = self.also.get(text, {})
            rest = (1 - probability - sum(also.values())) / len(INTENTS.names)
            spread = {name: p if name == intent else rest for name, p in said.probabilities.items()}
            return said.model_copy(update={"probabilities": {**spread, **also}}) if also else said
        if head == "outcome" and text in self.outcomes:
            outcome, probability = self.outcomes[text]
            return a_choice(outcome, probability, ("on", "again", "person"), "encoder")
        if head == "follow_up" and self.leaning:
            leans = "leans" if text in self.leaning else "stands"
            return a_choice(leans, 0.9, ("leans", "stands"), "encoder")
        if head == "injection" and self.orders:
            sure = max((p for words, p in self.orders.items() if words in text), default=0.01)
            chosen = "order" if sure >= 0.5 else "ordinary"
            return a_choice(chosen, max(sure, 1 - sure), ("order", "ordinary"), "encoder")
        if head in ("consequence", "outcome", "follow_up", "injection"):
            raise ModelUnavailable("There is no such head here.")
        table, option, other = {
            "frustration": (self.frustrated, "frustrated", "calm"),
            "complexity": (self.several, "several", "single"),
            "incident": (self.incidents, "incident", "none"),
        }[head]
        probability = table.get(text, 0.02)
        chosen = option if probability >= 0.5 else other
        return a_choice(chosen, max(probability, 1 - probability), (option, other), "encoder")


class ScriptedSmallModel:
    """Answers what was enqueued for a role; without a script it fills nothing and goes on."""

    def __init__(self) -> None:
        self.scripts: defaultdict[str, deque[Script]] = defaultdict(deque)
        self.always: dict[str, Script] = {}
        self.calls: list[tuple[str, str]] = []

    def enqueue(self, role: str, *scripts: Script) -> None:
        self.scripts[role].extend(scripts)

    async def _next(self, role: str, default: Script, *asked: Any) -> Any:
        queue = self.scripts[role]
        script = queue.popleft() if queue else self.always.get(role, default)
        return await _play(script, *asked)

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice:
        self.calls.append((role, input))
        default = "continue" if "continue" in options else options[0]
        answer = await self._next(role, (default, 0.9), input)
        option, probability = answer if isinstance(answer, tuple) else (answer, 0.9)
        return a_choice(option, probability, options, "small")

    async def fill(self, role: str, input: str, schema: dict[str, Any]) -> Filled:
        self.calls.append((role, input))
        values = await self._next(role, {}, input)
        filled = {**dict.fromkeys(schema["properties"]), **values}
        return Filled(values=filled, model="scripted-small", version="1", ms=0.0)

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str:
        self.calls.append((role, input))
        return str(await self._next(role, "", input))


class ScriptedLargeModel:
    """Counts its calls; writes what was enqueued, or the first quote it was given."""

    def __init__(self) -> None:
        self.scripts: defaultdict[str, deque[Script]] = defaultdict(deque)
        self.calls: list[tuple[str, str]] = []

    def enqueue(self, role: str, *scripts: Script) -> None:
        self.scripts[role].extend(scripts)

    @property
    def roles(self) -> list[str]:
        return [role for role, _ in self.calls]

    async def write(
        self,
        role: str,
        system: str,
        user: str,
        *,
        quotes: Sequence[str] = (),
        bare: str = "",
        max_tokens: int = 400,
    ) -> AsyncIterator[str]:
        self.calls.append((role, f"{system}\n{user}\n{bare}"))
        queue = self.scripts[role]
        script = queue.popleft() if queue else (quotes[0] if quotes else "I am sorry.")
        for token in re.findall(r"\S+\s*", str(await _play(script, user))):
            yield token

    async def fill(
        self,
        role: str,
        system: str,
        user: str,
        schema: dict[str, Any],
        *,
        bare: str = "",
        narrow: dict[str, Any] | None = None,
    ) -> Filled:
        self.calls.append((role, f"{system}\n{user}\n{bare}"))
        queue = self.scripts[role]
        values = await _play(queue.popleft() if queue else {}, user)
        return Filled(values=values, model="scripted-large", version="1", ms=0.0)


ARTICLES = (
    Passage(
        id="delivery-1",
        text="Standard delivery takes 3-5 working days. Express takes 1-2 working days.",
        title="Delivery > Times",
        source="delivery.md",
    ),
    Passage(
        id="refunds-1",
        text="A refund is paid within 5-7 working days after approval.",
        title="Refunds > When",
        source="refunds.md",
    ),
)


@dataclass
class MemoryKnowledge:
    """Articles found by the words they share with the question."""

    articles: Sequence[Passage] = ARTICLES
    broken: Exception | None = None
    version: str = "1"
    pruned_by: str = "shared words"
    pruner_digest: str = "d16e57"
    asked: list[str] = field(default_factory=list[str])

    async def retrieve(
        self,
        query: str,
        *,
        limit: int = 15,
        audience: str = "public",
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        if self.broken is not None:
            raise self.broken
        self.asked.append(query)
        return list(self.articles)[:limit]

    async def prune(
        self, query: str, passages: Sequence[Passage], *, keep: int = 4
    ) -> list[Passage]:
        asked = {w for w in re.findall(r"[a-z]{5,}", query.lower())}
        kept = [p for p in passages if asked & set(re.findall(r"[a-z]{5,}", p.text.lower()))]
        return [
            p.model_copy(update={"sentences": tuple(re.split(r"(?<=\.) ", p.text)), "score": 0.9})
            for p in kept[:keep]
        ]

    async def nearest(
        self,
        question: str,
        *,
        limit: int,
        tenant: str | None = None,
        language: str | None = None,
    ) -> list[Passage]:
        return []


class Outages:
    """Stands before a port: raises what is put into ``before``/``after`` around its calls, once each; ``None``
    lets a call through."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.before: dict[str, deque[BaseException | None]] = defaultdict(deque)
        self.after: dict[str, deque[BaseException | None]] = defaultdict(deque)
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)

        async def guarded(*args: Any, **named: Any) -> Any:
            if name not in ("find", "attempt"):  # Looking something up does nothing to it.
                self.calls.append(name)
            _raise_next(self.before[name])
            result = await method(*args, **named)
            _raise_next(self.after[name])
            return result

        return guarded


def _raise_next(failures: deque[BaseException | None]) -> None:
    failure = failures.popleft() if failures else None
    if failure is not None:
        raise failure


@dataclass
class Played:
    """What a turn came to."""

    reply: str
    events: list[dict[str, Any]]
    state: dict[str, Any]

    @property
    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events]

    def data(self, kind: str) -> dict[str, Any]:
        return next(event["data"] for event in self.events if event["event"] == kind)

    @property
    def lane(self) -> str:
        return self.data("route")["lane"]

    @property
    def action(self) -> str:
        return self.data("tool")["action"]


@cache
def _support() -> Any:
    return support_graph().compile(checkpointer=InMemorySaver(), name="support")


@cache
def _actions() -> ActionGraph:
    return ActionGraph(InMemorySaver())


def _remembering(graph: Any, saver: BaseCheckpointSaver[Any]) -> Any:
    """A copy of a compiled graph with a memory of its own."""
    told = copy(saver)
    # Compiling told the first memory which types are ours.
    told.serde = graph.checkpointer.serde
    return graph.copy(update={"checkpointer": told})


def support_on(saver: BaseCheckpointSaver[Any]) -> Any:
    """The support graph, compiled once: it is the same for every test, only its memory is not."""
    return _remembering(_support(), saver)


def actions_on(saver: BaseCheckpointSaver[Any], holding: Any = nullcontext) -> ActionGraph:
    """The action graph, likewise."""
    made = copy(_actions())
    made._holding = holding
    made.compiled = _remembering(made.compiled, saver)
    return made


@dataclass
class World:
    """One customer's conversation with the support graph."""

    who: str = "ana"
    thread: str = "th-1"
    books: MemoryBooks = field(default_factory=lambda: demo_world(TODAY))
    hands: Hands = field(default_factory=Hands)
    encoder: ScriptedEncoder = field(default_factory=ScriptedEncoder)
    small: ScriptedSmallModel = field(default_factory=ScriptedSmallModel)
    large: ScriptedLargeModel = field(default_factory=ScriptedLargeModel)
    knowledge: MemoryKnowledge = field(default_factory=MemoryKnowledge)
    limits: Limits = field(default_factory=Limits)
    operations: dict[str, Operation] = field(default_factory=lambda: dict(OPERATIONS))
    saver: InMemorySaver = field(default_factory=InMemorySaver)
    answers: AnswerCache | None = None
    cases: CaseBook | None = NORTHFELL.advice
    large_decides: bool = False
    hours: Hours | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    hosted: bool = False  #: The large model is somebody else's: it reads through the mask.

    def __post_init__(self) -> None:
        clock = self.hands.clock
        self.approvals = MemoryApprovals(clock)
        self.requests = MemoryRequests(self.approvals)
        self.backend = Outages(MemoryBackend(self.books, clock))
        self.ledger = Outages(MemoryLedger(self.books, self.approvals, clock))
        self.decisions = MemoryDecisionLog()
        self.actions = actions_on(self.saver)
        self.support = support_on(self.saver)
        self._turns = 0

    @property
    def customer(self) -> Customer:
        return self.books.customer(self.who)

    @property
    def account(self) -> Any:
        return self.books.account(self.customer)

    @property
    def context(self) -> Context:
        return Context(
            customer=self.customer,
            operations=self.operations,
            intents=INTENTS,
            replies=REPLIES,
            encoder=self.encoder,
            small=self.small,
            large=MaskedLargeModel(self.large, self.customer, self.backend)
            if self.hosted
            else self.large,
            knowledge=self.knowledge,
            backend=self.backend,
            ledger=self.ledger,
            approvals=self.approvals,
            decisions=self.decisions,
            requests=self.requests,
            actions=self.actions,
            thread=self.thread,
            answers=self.answers,
            clock=self.hands.clock,
            limits=self.limits,
            thresholds=self.thresholds,
            reader=NORTHFELL.reader,
            lexicon=NORTHFELL.lexicon,
            cases=self.cases,
            large_decides=self.large_decides,
            hours=self.hours,
        )

    @property
    def config(self) -> Any:
        return {"configurable": {"thread_id": self.thread}, "recursion_limit": 80}

    async def say(
        self,
        text: str,
        intent: str | None = None,
        probability: float = 0.97,
        *,
        turn: str | None = None,
    ) -> Played:
        """Play a turn; the intent head answers ``intent``."""
        if intent is not None:
            self.encoder.intents[text] = (intent, probability)
        self._turns += 1
        return await self.play(Turn(id=turn or f"turn-{self._turns}", text=text, at=self.hands.at))

    async def tell(self, outcome: Outcome) -> Played:
        """The outcome of an action enters the thread as an event."""
        return await self.play(Turn(id=f"o_{outcome.action_id}", at=self.hands.at, outcome=outcome))

    async def play(self, turn: Turn | None) -> Played:
        given: Any = None if turn is None else {"turn": turn}
        events = [
            event
            async for _, event in self.support.astream(
                given, self.config, context=self.context, stream_mode="custom", subgraphs=True
            )
        ]
        final = next((e["data"] for e in events if e["event"] == "final"), {"text": ""})
        return Played(final["text"], events, await self.state())

    async def state(self) -> dict[str, Any]:
        return dict((await self.support.aget_state(self.config)).values)

    async def replies(self) -> list[str]:
        return [m.text for m in (await self.state())["messages"] if m.type == "ai"]

    async def decide(
        self, action_id: str, *, approve: bool = True, note: str | None = None
    ) -> Outcome:
        """A reviewer decides in the store, and the action's thread is brought the answer."""
        approval, _ = await self.approvals.decide(
            action_id, approve=approve, reviewer="olga", note=note
        )
        answer = Answer(decision="approve" if approve else "reject", reviewer="olga", note=note)
        return await self.actions.resume(approval, answer, self.context)

    def logged(self, role: str) -> list[str]:
        return [d.chosen for e in self.decisions.entries for d in e.decisions if d.role == role]

    def an_action(self, operation: str, request: str = "r1", **arguments: Any) -> Action:
        """An action as the support graph would name it."""
        key = action_key(self.customer.tenant, self.customer.id, operation, request)
        return Action(
            id=action_id(key),
            tenant=self.customer.tenant,
            customer=self.customer,
            thread=self.thread,
            turn="turn-1",
            operation=operation,
            arguments=arguments,
            key=key,
            fingerprint=fingerprint(operation, arguments),
            proposed_at=self.hands.at,
            label=str(arguments.get("order_number", "")),
        )

    def order(self, number: str) -> Any:
        return self.account.orders[number]

    def set_order(self, number: str, **changes: Any) -> None:
        orders = self.account.orders
        orders[number] = orders[number].model_copy(update=changes)

    def another(self, who: str, thread: str = "th-2") -> World:
        """Somebody else's conversation with the same shop."""
        other = replace(self, who=who, thread=thread)
        other.approvals, other.ledger, other.backend = self.approvals, self.ledger, self.backend
        other.decisions, other.actions = self.decisions, self.actions
        return other

"""The three graphs as `langgraph dev` opens them, without a saver of ours.

LangGraph's clients send plain JSON, and no signed session. So each graph begins with a node that turns what
was typed into the values the graph works with, every channel reads plain JSON as the model it holds, and a
run says in its context who asks and who approves.

langgraph.json switches the strict checkpoint reader off: the development server's own saver cannot be told
which types are ours. Our own savers stay strict.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, cast
from uuid import uuid4

from langchain_core.messages import AnyMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels import LastValue
from langgraph.errors import InvalidUpdateError
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt
from pydantic import Field, JsonValue, TypeAdapter, ValidationError
from starlette.applications import Starlette
from typing_extensions import TypedDict

from app import studio_messages as shown
from app.config import Settings
from app.studio_world import CUSTOMER, REVIEWER, world_of
from graphs.action import ActionGraph, action_graph, question
from graphs.context import Context
from graphs.editing import edited
from graphs.keys import action_id, action_key, fingerprint, fingerprint_of
from graphs.loop import loop_graph
from graphs.state import ActionState, Answer, SupportState, Turn
from graphs.support import support_graph
from tools.values import Action, Approval, OperationFailed, Preview, now

WORLD = world_of(Settings())


#: What a reviewer means who ends a thread on which something waits: it is not to be done.
SET_ASIDE: Command[Any] = Command(
    resume=[{"type": "reject", "message": "Marked as resolved, without an approval."}]
)


@dataclass(frozen=True)
class StudioContext:
    """Who is who in a run."""

    customer: Annotated[str, Field(description="Id of the customer who writes.")] = CUSTOMER
    reviewer: Annotated[str, Field(description="Name of whoever answers approvals.")] = REVIEWER


class Said(TypedDict, total=False):
    """A turn as clients send it."""

    messages: Annotated[list[AnyMessage], add_messages]


class Wanted(TypedDict, total=False):
    """The part of an action that a person types; the rest is worked out."""

    operation: str
    arguments: dict[str, JsonValue]


class Typed(ActionState, total=False):
    """An action's life, with what was typed to begin it."""

    operation: str
    arguments: dict[str, JsonValue]


class StudioState(SupportState, total=False):
    """The customer's thread, and what a client without our API needs of it."""

    attachments: int  #: How many parts of the customer's message were not text.
    waiting: Approval | None  #: What a reviewer has to answer before its outcome can be told.
    answer: Any  #: What the reviewer's client sent.
    problem: str  #: Why the last answer changed nothing.


class ReadAsModels(LastValue[Any]):
    """A channel that turns plain JSON, as an edited state or a fork brings it, into the values it holds."""

    def update(self, values: Sequence[Any]) -> bool:
        try:
            return super().update([self._read(each) for each in values])
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in (self.key, *first["loc"]))
            raise InvalidUpdateError(f"{where}: {first['msg']}") from error

    def from_checkpoint(self, checkpoint: Any) -> ReadAsModels:
        restored = super().from_checkpoint(checkpoint)
        if restored.is_available():
            # What an older version wrote is shown as it is.
            with suppress(ValidationError):
                restored.value = self._read(restored.value)
        return restored

    def _read(self, value: Any) -> Any:
        if not _holds_plain_json(value):
            return value
        typed: TypeAdapter[Any] = TypeAdapter(self.typ)
        try:
            return typed.validate_python(value)
        except ValidationError as error:
            # LangGraph shows a date of a state as the list of its numbers, and so it comes back.
            return typed.validate_python(_with_dates(value, error))


def _with_dates(value: Any, error: ValidationError) -> Any:
    """The value with a date wherever one was missed and its year, month and day are there."""
    missed = {each["loc"] for each in error.errors() if each["type"] == "date_type"}

    def read(part: Any, at: tuple[int | str, ...]) -> Any:
        match part:
            case [int(year), int(month), int(day)] if at in missed:
                return f"{year:04}-{month:02}-{day:02}"
            case dict():
                held = cast("dict[str, Any]", part)
                return {name: read(each, (*at, name)) for name, each in held.items()}
            case list() | tuple():
                parts = cast("Sequence[Any]", part)
                return [read(each, (*at, number)) for number, each in enumerate(parts)]
            case _:
                return part

    return read(value, ())


def _holds_plain_json(value: object) -> bool:
    if isinstance(value, tuple):
        parts: Sequence[object] = cast("tuple[object, ...]", value)
        return any(isinstance(each, dict) for each in parts)
    return isinstance(value, dict | list)


class StudioGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A graph whose runs get the context that ``StudioContext`` names."""

    async def astream(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        input: Any,
        config: RunnableConfig | None = None,
        *,
        context: StudioContext | Mapping[str, str] | None = None,
        **options: Any,
    ) -> AsyncIterator[Any]:
        asked = _asked(context)
        thread = str((config or {}).get("configurable", {}).get("thread_id", "studio"))
        made: Any = await WORLD.context(asked.customer, asked.reviewer, thread)
        if _ends(input) and config is not None and (await self.aget_state(config)).interrupts:
            input = SET_ASIDE
        run: Any = super().astream(input, config, context=made, **options)
        async with aclosing(run) as parts:
            async for part in parts:
                yield part

    async def aupdate_state(
        self,
        config: RunnableConfig,
        values: Any,
        as_node: str | None = None,
        task_id: str | None = None,
    ) -> RunnableConfig:
        """A thread that a reviewer's client ends ("Mark as resolved") leaves nothing waiting behind it."""
        if values is None and as_node == END and (await self.aget_state(config)).interrupts:
            await self.ainvoke(SET_ASIDE, config, durability="sync")
        return await super().aupdate_state(config, values, as_node, task_id)


def _ends(input: Any) -> bool:
    """Whether a client jumps to the end, which is how agent-chat-ui marks a thread as resolved."""
    if not isinstance(input, Command):
        return False
    command = cast("Command[Any]", input)
    goto: Any = command.goto
    return command.resume is None and goto in (END, [END], (END,))


def _asked(context: StudioContext | Mapping[str, str] | None) -> StudioContext:
    if isinstance(context, StudioContext):
        return context
    given, known = context or {}, asdict(StudioContext())
    return StudioContext(**{name: str(given.get(name) or known[name]) for name in known})


# --- how a run begins -----------------------------------------------------------------------------


def receive_turn(state: StudioState) -> dict[str, Any]:
    """The turn of the customer's last message; it goes on under the turn's id, so that no cancel loses it."""
    foreign = [m for m in state.get("messages", []) if not shown.is_ours(m)]
    said = next((m for m in reversed(foreign) if isinstance(m, HumanMessage)), None)
    turn = Turn(id=uuid4().hex, text=said.text if said is not None else "", at=now())
    kept: list[Any] = [RemoveMessage(id=str(m.id)) for m in foreign]
    if said is not None:
        kept.append(HumanMessage(said.text, id=f"{turn.id}:in"))
    attachments = 0 if said is None else shown.attachments_of(said)
    return {"turn": turn, "messages": kept, "attachments": attachments}


def after_receive(state: StudioState) -> Literal["screen", "present"]:
    """A message of nothing but attachments is answered without the graph."""
    alone = state.get("attachments", 0) and not state["turn"].text.strip()
    return "present" if alone else "screen"


async def receive_action(state: Typed, runtime: Runtime[Context]) -> dict[str, Any]:
    """An action from what was typed: ``{"operation": ..., "arguments": {...}}``."""
    context = runtime.context
    customer, operation = context.customer, str(state.get("operation", ""))
    arguments: dict[str, JsonValue] = state.get("arguments") or {}
    key = action_key(customer.tenant, customer.id, operation, uuid4().hex)
    preview = await _preview(context, operation, arguments)
    known = context.operations.get(operation)
    action = Action(
        id=action_id(key),
        tenant=customer.tenant,
        customer=customer,
        thread=context.thread,
        turn=context.thread,
        operation=operation,
        arguments=arguments,
        key=key,
        fingerprint=fingerprint(operation, arguments)
        if known is None
        else fingerprint_of(known, arguments),
        proposed_at=now(),
        label=(preview.record or "") if preview is not None else "",
        effects=preview.effects if preview is not None else (),
    )
    # What an earlier run on this thread came to says nothing of this action.
    fresh = dict.fromkeys(("guess", "verdict", "approval", "answer", "outcome", "problem"))
    return {"action": action, **fresh}


async def _preview(context: Context, name: str, arguments: dict[str, JsonValue]) -> Preview | None:
    """What the action would do; None where the gate will say why it does nothing."""
    operation = context.operations.get(name)
    if operation is None or not operation.writes:
        return None
    try:
        parsed = operation.arguments.model_validate(arguments)
        return await context.backend.preview(context.customer, operation, parsed)
    except (ValidationError, OperationFailed):
        return None


# --- the support graph's end: what clients show, and the reviewer's question ----------------------


async def present(state: StudioState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Citations into the text, operations as tool calls; and the next approval that waits on this thread."""
    context, attachments = runtime.context, state.get("attachments", 0)
    pending = await context.approvals.pending(limit=500)
    mine = [each for each in pending if each.action.thread == context.thread]
    said = state.get("messages", [])
    alone = bool(said) and isinstance(said[-1], HumanMessage) and attachments
    reply = (
        [shown.refused_attachments(state["turn"].id)]
        if alone
        else shown.presented(state, attachments)
    )
    return {
        "messages": reply,
        "attachments": 0,
        "waiting": mine[0] if mine else None,
        "answer": None,
        "problem": "",
    }


def after_present(state: StudioState) -> Literal["ask_reviewer", "__end__"]:
    return "ask_reviewer" if state.get("waiting") is not None else "__end__"


def ask_reviewer(state: StudioState) -> dict[str, Any]:
    """Wait for the reviewer on the customer's own thread; a new message of the customer comes first."""
    approval = state.get("waiting")
    assert approval is not None
    asked = question(
        {
            "action": approval.action,
            "verdict": approval.verdict,
            "approval": approval,
            "problem": state.get("problem", ""),
        }
    )
    return {"answer": interrupt(asked)}


async def carry_out(state: StudioState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Bring the answer to the gate: what came of it is the next turn, what is no answer is asked again."""
    context, asked = runtime.context, state.get("waiting")
    assert asked is not None
    # Somebody may have answered elsewhere in the meantime.
    approval = await context.approvals.get(asked.id) or asked
    try:
        answer = Answer.model_validate(state.get("answer"))
    except ValidationError as error:
        return {"problem": str(error.errors()[0]["msg"]).removeprefix("Value error, ")}
    if approval.status == "pending" and (wrong := await _wrong(approval, answer, context)):
        return {"problem": wrong}
    actions = cast(ActionGraph, context.actions)
    outcome = await actions.resume(approval, answer, context)
    if not outcome.settled:
        left = await context.approvals.pending(limit=500)
        here = [each for each in left if each.action.thread == context.thread]
        return {"waiting": here[0] if here else None, "answer": None, "problem": ""}
    turn = Turn(id=f"o_{outcome.action_id}", at=now(), outcome=outcome)
    return {"waiting": None, "turn": turn, "problem": ""}


async def _wrong(approval: Approval, answer: Answer, context: Context) -> str:
    """Why this answer would change nothing; empty where it does."""
    action, reviewer = approval.action, context.reviewer
    assert reviewer is not None
    if answer.operation not in (None, action.operation):
        return f"this is {action.operation}, an edit cannot make another operation of it"
    if answer.decision == "edit":
        operation = context.operations[action.operation]
        changed = await edited(action, operation, answer, context, by=reviewer)
        return changed if isinstance(changed, str) else ""
    if answer.decision == "approve" and not approval.may_approve(reviewer.name, reviewer.role):
        return "your approval was counted before, or is not the one the rules ask for"
    return ""


def after_carry_out(state: StudioState) -> Literal["screen", "ask_reviewer", "__end__"]:
    if state.get("waiting") is not None:
        return "ask_reviewer"
    return "screen" if state["turn"].outcome is not None else "__end__"


# --- putting them together ------------------------------------------------------------------------


def _received(
    graph: StateGraph[Any, Any, Any, Any], receive: Any, **options: Any
) -> StateGraph[Any, Any, Any, Any]:
    """The graph with ``receive`` in front of whatever it began with."""
    first = [end for start, end in graph.edges if start == START]
    branches = graph.branches.pop(START, {})
    graph.edges -= {(START, end) for end in first}
    graph.add_node("receive", receive, **options)
    graph.add_edge(START, "receive")
    for end in first:
        graph.add_edge("receive", end)
    for branch in branches.values():
        graph.add_conditional_edges("receive", branch.path)
    return graph


def _opened(graph: StateGraph[Any, Any, Any, Any], name: str) -> StudioGraph:
    """The compiled graph for clients that send plain JSON."""
    compiled = graph.compile(name=name)
    _read_as_clients_send(compiled)
    return StudioGraph(**vars(compiled))


def _read_as_clients_send(compiled: CompiledStateGraph[Any, Any, Any, Any]) -> None:
    """Its channels, and those of the graphs inside it, read plain JSON; all of them show Studio's panel."""
    graph: Any = compiled
    graph.context_schema = StudioContext
    for key, channel in [*graph.channels.items()]:
        if type(channel) is LastValue:
            graph.channels[key] = ReadAsModels(channel.typ, key)
    for _, inner in graph.get_subgraphs():
        _read_as_clients_send(inner)


def _support() -> StudioGraph:
    graph = support_graph(Said)
    graph.add_node("receive", receive_turn, input_schema=StudioState)
    graph.add_node(present, input_schema=StudioState)
    graph.add_node(ask_reviewer, input_schema=StudioState)
    graph.add_node(carry_out, input_schema=StudioState)
    graph.edges -= {(START, "screen"), ("deliver", END)}
    graph.add_edge(START, "receive")
    graph.add_conditional_edges("receive", after_receive)
    graph.add_edge("deliver", "present")
    graph.add_conditional_edges("present", after_present)
    graph.add_edge("ask_reviewer", "carry_out")
    graph.add_conditional_edges("carry_out", after_carry_out)
    return _opened(graph, "support")


support = _support()
action = _opened(_received(action_graph(Wanted), receive_action, input_schema=Typed), "action")
loop = _opened(_received(loop_graph(Said), receive_turn), "loop")


@asynccontextmanager
async def _lifespan(_: Starlette) -> AsyncGenerator[None]:
    async with WORLD.running():
        yield


app = Starlette(lifespan=_lifespan)

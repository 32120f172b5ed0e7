"""What no operation does alone: a problem with the options that the rules allow, what waits for approval, incidents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.runtime import Runtime
from pydantic import JsonValue

from graphs import replies
from graphs.context import Context
from graphs.deciding import by_rule, log
from graphs.nodes.answer import admit
from graphs.nodes.extract import grounded, reason_of, record_of
from graphs.nodes.operation import carry_out, propose, what_next
from graphs.nodes.result import implausible
from graphs.nodes.turn import just_told, offer_hand_off
from graphs.state import CLARIFY, Draft, Extraction, Next, Pending, SupportState
from graphs.understanding import dialogue
from graphs.understanding.acts import Act
from graphs.understanding.grounding import Grounds
from tools.cases import Advice
from tools.ports import BackendUnavailable
from tools.records import RecordView
from tools.values import Approval

#: Who surely asks for the same case again is told it again.
_PLAINLY = 0.9
#: So many records are named in a question about which one is meant.
_SHOWN = 5


async def advise(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """A problem or a wish without a button: the record, the rule, the options; the words are kept."""
    route = state.get("route")
    assert route is not None
    act = route.act
    assert act is not None
    context = runtime.context
    intent = context.intents.get(act.intent)
    name = intent.case or intent.about_record or act.intent
    which = await _which_record(context, act)
    if which is not None:
        pending = Pending(
            request=state["turn"].id,
            operation=name,
            stage="choice",
            arguments={"words": state["turn"].text, "intent": act.intent},
            candidates=which.candidates,
            question=which.question,
            asked_in=state["turn"].id,
        )
        return {
            "pending": (*state.get("pending", ())[-2:], pending),
            "draft": Draft(text=which.question, asks=True),
        }
    told = await told_of_case(state, runtime, name, act)
    asked = dialogue.asks(state["turn"].text)
    if told.again and not told.kept and asked and (route.otherwise or act.probability < _PLAINLY):
        # Whoever asks on is not told the same once more: nothing else is known of it, and a person is offered.
        return await admit(state, runtime)
    update: dict[str, Any] = {"draft": Draft(text=told.text)}
    if told.kept:
        update["kept"] = (*state.get("kept", ()), told.kept)
    if told.offer is not None:
        update["pending"] = (*state.get("pending", ())[-2:], told.offer)
        update["draft"] = Draft(text=told.text, asks=True)
    return update


@dataclass(frozen=True)
class ToldOfCase:
    """What is said to a problem, and what stays of it for the next turn."""

    text: str
    kept: str = ""  #: The case and record that a ticket was opened for.
    offer: Pending | None = None  #: What a yes would start.
    again: bool = False  #: The last reply said just that.


async def advice_of(state: SupportState, runtime: Runtime[Context], name: str, act: Act) -> str:
    """The domain's answer to a case, as one of several things that a turn says."""
    return (await told_of_case(state, runtime, name, act)).text


async def told_of_case(
    state: SupportState, runtime: Runtime[Context], name: str, act: Act
) -> ToldOfCase:
    """The domain's answer to a case, with a ticket that keeps the words where it asks for one."""
    context = runtime.context
    assert context.cases is not None
    record = await _record(context, act.grounds)
    advice = context.cases.advise(
        name,
        record=record,
        others=await _views(context),
        parts=act.grounds.parts,
        customer=context.customer,
        today=context.clock.today(),
        language=_language(state, context),
    )
    await log(runtime, state, by_rule("case", name, advice.why), input=act.text)
    said = await _with_look_ups(state, runtime, advice, act)
    parts = [replies.not_owned(act.grounds.missing)] if act.grounds.missing else []
    parts.append(said)
    key = f"{name}:{record.id if record is not None else ''}"
    kept = ""
    if advice.ticket and key not in state.get("kept", ()):
        parts.append(await _keep(state, runtime, name, advice, act, record))
        kept = key
    elif advice.person or advice.ticket:
        parts.append(replies.person_on_request())
    again = said in just_told(state)[0]
    if (
        again
        and not kept
        and key not in state.get("kept", ())
        and not dialogue.asks(state["turn"].text)
    ):
        # Who says more of it, or yes to it, is not told the same once more: it is written down for a colleague, and
        # nothing stays open that a yes would write down a second time.
        written = await _keep(state, runtime, name, advice, act, record)
        return ToldOfCase(written, key, again=True)
    text = "\n\n".join(part for part in parts if part)
    return ToldOfCase(text, kept, _offer(state, context, advice, act, record, text), again)


async def _with_look_ups(
    state: SupportState, runtime: Runtime[Context], advice: Advice, act: Act
) -> str:
    """What is said to a case, with what can be looked up for it behind its opening: an outage in the customer's
    street is told, and not that one could look for it."""
    context, turn = runtime.context, state["turn"]
    found: list[str] = []
    for name in advice.look_up:
        operation = context.operations[name]
        given = grounded(operation, {}, act.grounds)
        following = await what_next(context, operation, given, "", confirmed=None)
        if following.step != "act":
            continue
        action = propose(
            context,
            operation,
            following.arguments,
            request=f"{turn.id}:{name}",
            turn=turn.id,
            label=following.label,
            effects=following.effects,
        )
        outcome = await carry_out(runtime, operation, action)
        if outcome.status == "executed":
            found.append(replies.outcome(operation, outcome))
    if not found:
        return advice.text
    rest = advice.text.removeprefix(advice.opening).strip()
    return "\n\n".join(part for part in (advice.opening, *found, rest) if part)


def _offer(
    state: SupportState,
    context: Context,
    advice: Advice,
    act: Act,
    record: RecordView | None,
    text: str,
) -> Pending | None:
    """The one thing that a yes would start: the operation that was offered, or the ticket."""
    assert context.cases is not None
    turn = state["turn"]
    if advice.offer_ticket:
        operation = context.operations[context.cases.ticket_operation]
        arguments = ticket_arguments(operation.arguments.model_fields, advice, state, act, record)
    elif len(advice.options) == 1 and record is not None:
        operation = context.operations[advice.options[0]]
        arguments = grounded(operation, {}, act.grounds)
        arguments |= reason_of(
            operation, act.model_copy(update={"reason": advice.case}), {}, context
        )
    else:
        return None
    return Pending(
        request=turn.id,
        operation=operation.name,
        stage="offer",
        arguments=arguments,
        question=advice.ask or text,
        asked_in=turn.id,
    )


async def _keep(
    state: SupportState,
    runtime: Runtime[Context],
    name: str,
    advice: Advice,
    act: Act,
    record: RecordView | None,
) -> str:
    """Write the customer's own words down for a colleague; the reply names the ticket."""
    context = runtime.context
    operation = context.operations[context.cases.ticket_operation]  # type: ignore[union-attr]
    arguments = ticket_arguments(operation.arguments.model_fields, advice, state, act, record)
    action = propose(
        context,
        operation,
        arguments,
        request=f"{state['turn'].id}:{name}",
        turn=state["turn"].id,
        label=advice.subject,
    )
    try:
        outcome = await carry_out(runtime, operation, action)
    except BackendUnavailable as error:
        return replies.backend_down(str(error))
    return replies.outcome(operation, outcome)


def ticket_arguments(
    fields: Any, advice: Advice, state: SupportState, act: Act, record: RecordView | None
) -> dict[str, JsonValue]:
    """Subject, the words whole, the record and the kind of problem, as far as the operation takes them."""
    said = state["turn"].text
    body = act.text if said in act.text else said
    given: dict[str, JsonValue] = {
        "subject": advice.subject,
        "body": body,
        "description": body,
        "order_number": record.id if record is not None and record.kind == "order" else None,
        "record": record.id if record is not None else None,
        "case": advice.case,
    }
    return {name: value for name, value in given.items() if name in fields and value is not None}


async def _views(context: Context) -> Sequence[RecordView]:
    try:
        return await context.backend.records(context.customer)
    except BackendUnavailable:
        return ()


async def _record(context: Context, grounds: Grounds) -> RecordView | None:
    views = await _views(context)
    return next((view for view in views if view.id == grounds.record), None)


async def _which_record(context: Context, act: Act) -> Next | None:
    """The question which record is meant, where the words fit several."""
    if len(act.grounds.records) < 2:
        return None
    views = [view for view in await _views(context) if view.id in act.grounds.records][:_SHOWN]
    labels = [view.label for view in views]
    return Next(
        step="choose",
        question=replies.which_record(labels),
        labels=tuple(labels),
        candidates=tuple({"record": view.id} for view in views),
    )


def _language(state: SupportState, context: Context) -> str:
    return state.get("language") or context.language


# --- what waits ---------------------------------------------------------------------------------


async def tell_waiting(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """What became of a request that waits for a colleague, or taking it back."""
    route, context = state.get("route"), runtime.context
    assert route is not None
    act = route.act
    assert act is not None
    withdraw = context.intents.get(act.intent).role == "withdraw"
    if withdraw and (asked := await _before_withdrawal(state, context, act)) is not None:
        return {
            "pending": (*state.get("pending", ())[-2:], asked),
            "draft": Draft(text=asked.question, asks=True),
        }
    return {"draft": Draft(text=await waiting_of(state, runtime, act, withdraw=withdraw))}


async def _before_withdrawal(state: SupportState, context: Context, act: Act) -> Pending | None:
    """The question before something is taken back: which of several, or whether that is meant at all."""
    waiting = meant(await context.approvals.waiting(context.customer), act, state)
    turn = state["turn"]
    if len(waiting) > 1 and not act.grounds.together:
        labels = [one.action.label for one in waiting[:_SHOWN]]
        own = state.get("own", ())
        return Pending(
            request=turn.id,
            operation=act.intent,
            stage="choice",
            arguments={"words": turn.text, "intent": act.intent},
            candidates=tuple(
                {"record": next((str(v) for v in one.action.arguments.values() if v in own), "")}
                for one in waiting[:_SHOWN]
            ),
            question=replies.which_record(labels),
            asked_in=turn.id,
        )
    if not waiting or takes_back(act, context) or dialogue.agrees(act.text):
        return None
    return Pending(
        request=turn.id,
        operation=CLARIFY,
        stage="choice",
        arguments={"text": turn.text},
        candidates=({"intent": act.intent},),
        question=replies.withdrawal_question(waiting[0], _title(context, waiting[0])),
        asked_in=turn.id,
    )


def takes_back(act: Act, context: Context) -> bool:
    """Whether the customer said it, or was asked and agreed: what waits is not ended on a guess."""
    return act.agreed or dialogue.takes_back(act.text, context.intents.get(act.intent).verbs)


async def waiting_of(
    state: SupportState, runtime: Runtime[Context], act: Act, *, withdraw: bool
) -> str:
    """What waits, told or taken back: the customer's newest word counts before a reviewer's."""
    context = runtime.context
    waiting = meant(await context.approvals.waiting(context.customer), act, state)
    if not waiting:
        return await _nothing_waits(state, runtime, act, withdraw=withdraw)
    sure = takes_back(act, context) and (len(waiting) == 1 or act.grounds.together)
    if not withdraw or not sure:
        return "\n\n".join(replies.still_waiting(one, _title(context, one)) for one in waiting)
    told: list[str] = []
    for one in waiting:
        await log(
            runtime,
            state,
            by_rule("withdrawal", one.id, "the customer takes it back"),
            input=act.text,
        )
        _, taken = await context.actions.withdraw(one.id, context)
        say = replies.taken_back if taken else replies.too_late
        told.append(say(one, _title(context, one)))
    return "\n\n".join(told)


def _title(context: Context, one: Approval) -> str:
    return replies.title(context.operations[one.action.operation])


def meant(waiting: Sequence[Approval], act: Act, state: SupportState) -> list[Approval]:
    """The waiting requests that the words point to, else the record talked about; all where neither does."""
    for ids in (act.grounds.records, (state.get("focus") or "",)):
        fitting = [
            one for one in waiting if any(str(v) in ids for v in one.action.arguments.values())
        ]
        if fitting:
            return fitting
    return list(waiting)


async def _nothing_waits(
    state: SupportState, runtime: Runtime[Context], act: Act, *, withdraw: bool
) -> str:
    """A request that was never made here may stand in the books: a person can stop it, the words are kept."""
    context = runtime.context
    open_ = [view for view in await _views(context) if view.open and view.parent is not None]
    focus = act.grounds.record or state.get("focus")
    near = [view for view in open_ if focus in (view.id, view.parent)]
    near = near or (open_ if len(open_) == 1 else [])
    if not withdraw:
        if len(near) == 1 and (told := await _looked_up(state, runtime, near[0])):
            return told
        if near:
            return replies.in_the_books([view.label for view in near])
        return replies.nothing_waits()
    if context.cases is None:
        return replies.nothing_waits()
    target = near[0] if near else None
    advice = Advice(
        case="withdraw",
        text=replies.cannot_stop([view.label for view in near[:1]]),
        subject=replies.withdrawal_subject(target.label if target is not None else ""),
        ticket=True,
    )
    return "\n\n".join([advice.text, await _keep(state, runtime, "withdraw", advice, act, target)])


async def _looked_up(state: SupportState, runtime: Runtime[Context], view: RecordView) -> str:
    """What the operation that reads a record of this kind says of it; nothing where there is none."""
    context = runtime.context
    for intent in context.intents.intents:
        operation = context.operations.get(intent.operation or "")
        if operation is None or operation.writes or set(intent.records) != {view.kind}:
            continue
        field = record_of(operation, view.kind)
        if field is None:
            continue
        action = propose(
            context,
            operation,
            {field: view.id},
            request=state["turn"].id,
            turn=state["turn"].id,
            label=view.label,
        )
        outcome = await carry_out(runtime, operation, action)
        if outcome.status == "executed" and implausible(operation, outcome) is None:
            return replies.outcome(operation, outcome)
    return ""


# --- incidents ----------------------------------------------------------------------------------


async def respond_to_incident(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """What must not wait: say at once what the domain says, and bring a person."""
    route, context = state.get("route"), runtime.context
    assert route is not None
    said = (
        context.cases.incident(route.intent, _language(state, context))
        if context.cases is not None
        else None
    )
    text = said.text if said is not None else ""
    if said is not None and not said.person:
        offer = offer_hand_off(state, reason=f"incident:{route.intent}")
        return {
            "pending": (*state.get("pending", ()), offer),
            "draft": Draft(text=f"{text}\n\n{offer.question}", asks=True),
        }
    arguments: dict[str, JsonValue] = {"reason": f"incident:{route.intent}"}
    return {
        "extraction": Extraction(
            operation="hand_off", request=state["turn"].id, arguments=arguments
        ),
        "next": Next(step="act", arguments=arguments),
        "draft": Draft(text=text) if text else None,
    }


async def defer(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """A wish for a day to come: nothing is done now, and that is said with the record it is about."""
    route = state.get("route")
    assert route is not None
    assert route.act is not None
    record = await _record(runtime.context, route.act.grounds)
    return {"draft": Draft(text=replies.not_now(record.label if record is not None else ""))}

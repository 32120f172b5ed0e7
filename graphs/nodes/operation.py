"""The operation lane behind its arguments: ask, choose or confirm, then act through the gate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from langgraph.runtime import Runtime
from pydantic import JsonValue

from graphs import extraction, replies
from graphs.choices import choices_of
from graphs.context import Context
from graphs.handing_over import hand_off_note
from graphs.keys import action_id, action_key, fingerprint_of
from graphs.nodes.extract import parts_of
from graphs.nodes.turn import offer_hand_off, top
from graphs.state import Draft, Extraction, Next, Pending, SupportState
from graphs.understanding.dialogue import partial
from graphs.understanding.words import tokens
from prompts.replies import spoken_now
from tools.numbers import means_newest
from tools.policy import facts_about
from tools.ports import BackendUnavailable
from tools.values import Action, Operation, OperationFailed, Outcome, Preview, Standing


async def resolve(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Find the one record and decide what is needed before acting."""
    context, route, pending = runtime.context, state.get("route"), top(state)
    assert route is not None
    extracted = state.get("extraction")
    confirmed = route.move == "confirm" and pending is not None
    if extracted is None:
        assert pending is not None
        extracted = Extraction(
            operation=pending.operation, request=pending.request, arguments=pending.arguments
        )
    operation = context.operations[extracted.operation]
    part = parts_of(operation)
    open_part = bool(part) and not any(extracted.arguments.get(name) for name in part)
    if confirmed and pending is not None and pending.stage == "offer" and not operation.confirm:
        following = Next(step="act", arguments=extracted.arguments)
    elif open_part and not confirmed and route.act is not None and partial(route.act.text):
        # Only a part is wanted, and nobody said which: the whole is not proposed for it.
        following = Next(step="ask", question=replies.which_part(), arguments=extracted.arguments)
    else:
        following = await what_next(
            context,
            operation,
            extracted.arguments,
            state["turn"].text,
            confirmed=pending.effects if confirmed and pending is not None else None,
            among=extracted.among,
            contradiction=extracted.contradiction,
        )
    return await _known_again(state, context, operation, extracted, following)


async def _known_again(
    state: SupportState,
    context: Context,
    operation: Operation,
    extracted: Extraction,
    following: Next,
) -> dict[str, Any]:
    """The same, unless the customer has asked for it before and it is not settled: then it is that request."""
    settled = {"extraction": extracted, "next": following}
    writes = operation.writes and following.step in ("confirm", "act")
    if context.requests is None or not writes:
        return settled
    action = propose(
        context,
        operation,
        following.arguments,
        request=extracted.request,
        turn=state["turn"].id,
        label=following.label,
        effects=following.effects,
    )
    look = context.requests.ask if following.step == "confirm" else context.requests.begin
    known = await look(action, extracted.request)
    if known is None:
        return settled
    told = replies.stands(known, replies.title(operation), here=known.thread == context.thread)
    if known.stage != "asked":
        return {"extraction": extracted, "next": Next(step="stands", question=told)}
    # One request has one key, whichever conversation its yes comes from.
    renamed = tuple(
        p.model_copy(update={"request": known.request}) if p.request == extracted.request else p
        for p in state.get("pending", ())
    )
    return {
        "pending": renamed,
        "extraction": extracted.model_copy(update={"request": known.request}),
        "next": following.model_copy(update={"foreword": told}),
    }


async def tell_standing(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The same was asked for before and is not settled: say where it stands, and ask nothing."""
    following, extracted = state.get("next"), state.get("extraction")
    assert following is not None
    assert extracted is not None
    return {"pending": _without(state, extracted), "draft": Draft(text=following.question)}


async def what_next(
    context: Context,
    operation: Operation,
    arguments: dict[str, JsonValue],
    text: str,
    *,
    confirmed: tuple[str, ...] | None,
    among: tuple[str, ...] = (),
    contradiction: str = "",
) -> Next:
    """Ask, choose, confirm, act or refuse. ``confirmed`` holds the effects the customer said yes to; a
    yes to anything else than what would happen now does not count.

    ``among``: the records that the words fit alike; ``contradiction``: what was named and is in none."""
    if among or contradiction:
        narrowed = await _narrowed(context, operation, arguments, among, contradiction)
        if isinstance(narrowed, Next):
            return narrowed
        arguments = narrowed
    if (lack := extraction.missing(operation, arguments)) is not None:
        if (refusal := await _foreseen(context, operation, arguments)) is not None:
            return Next(step="refuse", question=refusal)
        field, question = lack
        return Next(step="ask", field=field or None, question=question, arguments=arguments)
    try:
        preview: Preview = await context.backend.preview(
            context.customer, operation, operation.arguments.model_validate(arguments)
        )
        if len(preview.candidates) > 1 and means_newest(text):
            arguments = dict(preview.candidate_arguments[0])
            preview = await context.backend.preview(
                context.customer, operation, operation.arguments.model_validate(arguments)
            )
    except OperationFailed as error:
        return Next(step="refuse", question=str(error))
    except BackendUnavailable:
        return Next(step="refuse", question=replies.backend_down())
    if preview.refusal is not None:
        return Next(step="refuse", question=preview.refusal, instead=preview.instead)
    if len(preview.candidates) > 1:
        return Next(
            step="choose",
            question=replies.which(operation, preview.candidates),
            labels=preview.candidates,
            candidates=preview.candidate_arguments,
            arguments=arguments,
        )
    completed = {**arguments, **preview.arguments}
    label = preview.record or ""
    ruling = context.policy.ruling(
        facts_about(context.customer, operation, completed, preview, context.clock.now())
    )
    if ruling.effect == "refuse":  # The gate would refuse it: nobody is asked for a yes in vain.
        return Next(step="refuse", question=replies.ruled(ruling))
    if operation.confirm and (confirmed is None or confirmed != preview.effects):
        return Next(
            step="confirm",
            question=replies.confirmation(operation, completed, label, preview),
            label=label,
            effects=preview.effects,
            arguments=completed,
        )
    return Next(step="act", label=label, effects=preview.effects, arguments=completed)


async def _foreseen(
    context: Context, operation: Operation, arguments: dict[str, JsonValue]
) -> str | None:
    """Why it will be refused whatever is still to be asked for: nobody is asked for a day in vain."""
    if not operation.foresees:
        return None
    given = operation.arguments.model_construct(**arguments)  # pyright: ignore[reportArgumentType]
    try:
        preview: Preview = await context.backend.preview(context.customer, operation, given)
    except BackendUnavailable:
        return None
    except OperationFailed as error:
        return str(error)
    return preview.refusal


async def _narrowed(
    context: Context,
    operation: Operation,
    arguments: dict[str, JsonValue],
    among: tuple[str, ...],
    contradiction: str,
) -> Next | dict[str, JsonValue]:
    """The arguments with the one record that is meant and allowed; else the question that names them."""
    able = await choices_of(context, operation, arguments)
    fitting = {id: one for id, one in able.items() if not among or id in among}
    if contradiction:
        if not able:
            return Next(step="refuse", question=replies.not_owned(contradiction))
        return Next(
            step="choose",
            question=replies.not_owned(contradiction, [label for label, _ in able.values()]),
            labels=tuple(label for label, _ in able.values()),
            candidates=tuple(one for _, one in able.values()),
            arguments=arguments,
        )
    if len(fitting) == 1:
        return dict(next(iter(fitting.values()))[1])
    if not fitting:  # The rules allow none of them: the first one's refusal says why.
        field = _field_for(operation, among)
        return {**arguments, field: among[0]} if field is not None else arguments
    return Next(
        step="choose",
        question=replies.which(operation, [label for label, _ in fitting.values()]),
        labels=tuple(label for label, _ in fitting.values()),
        candidates=tuple(one for _, one in fitting.values()),
        arguments=arguments,
    )


def _field_for(operation: Operation, ids: tuple[str, ...]) -> str | None:
    return next((f.name for f in extraction.fields(operation) if f.record), None) if ids else None


async def ask(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """One question: for the missing field, or for which record is meant."""
    following, extracted = state.get("next"), state.get("extraction")
    assert following is not None
    assert extracted is not None
    stage: Literal["field", "choice"] = "choice" if following.step == "choose" else "field"
    previous = _open_for(state, extracted)
    attempts = (
        previous.attempts + 1 if previous is not None and previous.field == following.field else 0
    )
    if attempts > 2:
        offer = offer_hand_off(state, reason=f"unfinished:{extracted.operation}")
        return {
            "pending": (*_without(state, extracted), offer),
            "draft": Draft(text=offer.question, asks=True),
        }
    pending = Pending(
        request=extracted.request,
        operation=extracted.operation,
        stage=stage,
        arguments=extracted.arguments,
        field=following.field,
        candidates=following.candidates,
        question=following.question,
        asked_in=state["turn"].id,
        attempts=attempts,
    )
    hint = replies.refused_values(extracted.refused)
    return {
        "pending": (*_without(state, extracted), pending),
        "draft": Draft(text=f"{hint}{following.question}", asks=True),
    }


async def confirm(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Say what would happen to which record, and wait for a yes."""
    following, extracted = state.get("next"), state.get("extraction")
    assert following is not None
    assert extracted is not None
    pending = Pending(
        request=extracted.request,
        operation=extracted.operation,
        stage="confirm",
        arguments=following.arguments,
        said=tuple(extracted.arguments),
        effects=following.effects,
        question=following.question,
        asked_in=state["turn"].id,
    )
    text = following.question
    route, before = state.get("route"), _open_for(state, extracted)
    corrected = route is not None and route.move == "correct" and before is not None
    unchanged = before is not None and before.arguments == following.arguments
    if unchanged and before is not None and _same_words(state, before):
        again = Standing(stage="asked", request=before.request, thread=runtime.context.thread)
        text = f"{replies.stands(again, '', here=True)}\n\n{text}"
    elif corrected and unchanged:
        text = (
            f"{replies.nothing_changed()}\n\n{text}"  # what was to be different was not understood
        )
    elif following.foreword:
        text = f"{following.foreword}\n\n{text}"
    return {
        "pending": (*_without(state, extracted), pending),
        "draft": Draft(text=text, asks=True),
    }


async def decline(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The business's rules or books say no: tell why, and forget the request, or offer what is possible instead."""
    following, extracted = state.get("next"), state.get("extraction")
    assert following is not None
    assert extracted is not None
    left = _without(state, extracted)
    draft = Draft(text=replies.declined(following.question))
    if following.instead is None or not following.question.rstrip().endswith("?"):
        return {"pending": left, "draft": draft}
    offer = Pending(
        request=state["turn"].id,
        operation=following.instead.operation,
        stage="offer",
        arguments=dict(following.instead.arguments),
        question=following.question,
        asked_in=state["turn"].id,
    )
    return {"pending": (*left, offer), "draft": draft.model_copy(update={"asks": True})}


async def act(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Propose the action to the gate; nothing runs anywhere else."""
    context, following, extracted = runtime.context, state.get("next"), state.get("extraction")
    assert following is not None
    assert extracted is not None
    operation = context.operations[extracted.operation]
    arguments = following.arguments
    if operation.name == "hand_off":
        # Whoever takes over reads what was wanted, what was collected and what was said last.
        reason = str(arguments.get("reason") or "asked")
        arguments = {**arguments, "reason": hand_off_note(state, context, reason)}
    action = propose(
        context,
        operation,
        arguments,
        request=extracted.request,
        turn=state["turn"].id,
        label=following.label,
        effects=following.effects,
    )
    outcome = await carry_out(runtime, operation, action)
    left = _without(state, extracted)
    if operation.writes and outcome.status in ("executed", "pending"):
        left = tuple(one for one in left if not _overtaken(one, operation, arguments, context))
    update: dict[str, Any] = {"pending": left, "outcome": outcome}
    if operation.name == "hand_off":
        update["hand_off_note"] = str(arguments["reason"])
    return update


def _overtaken(
    open_: Pending, done: Operation, arguments: Mapping[str, JsonValue], context: Context
) -> bool:
    """Whether a change makes an older question idle: it is about the same record, or about none yet of its kind."""
    other = context.operations.get(open_.operation)
    if other is None or not other.writes:
        return False
    changed = {f.record: arguments.get(f.name) for f in extraction.fields(done) if f.record}
    return any(
        changed.get(field.record) is not None
        and open_.arguments.get(field.name) in (None, changed[field.record])
        for field in extraction.fields(other)
        if field.record
    )


async def carry_out(runtime: Runtime[Context], operation: Operation, action: Action) -> Outcome:
    """Propose one action and tell the stream what came of it."""
    context = runtime.context
    try:
        outcome = await context.actions.propose(action, context)
    except BackendUnavailable as error:
        outcome = Outcome(
            status="failed",
            action_id=action.id,
            operation=operation.name,
            label=action.label,
            reason=replies.backend_down(str(error)),
            recorded=False,
        )
    runtime.stream_writer(
        {
            "event": "tool",
            "data": {
                "action": action.id,
                "operation": operation.name,
                "title": operation.title,
                "record": action.label,
                "status": outcome.status,
                "replayed": outcome.replayed,
            },
        }
    )
    if outcome.status == "pending":
        runtime.stream_writer(
            {
                "event": "approval_required",
                "data": {
                    "id": action.id,
                    "operation": operation.name,
                    "title": operation.title,
                    "record": action.label,
                    "effects": list(action.effects),
                },
            }
        )
    return outcome


def propose(
    context: Context,
    operation: Operation,
    arguments: dict[str, JsonValue],
    *,
    request: str,
    turn: str,
    label: str = "",
    effects: tuple[str, ...] = (),
) -> Action:
    """Name an action by what it is; the same request proposed again is the same action."""
    customer = context.customer
    key = action_key(customer.tenant, customer.id, operation.name, request)
    return Action(
        id=action_id(key),
        tenant=customer.tenant,
        customer=customer,
        thread=context.thread,
        turn=turn,
        operation=operation.name,
        arguments=arguments,
        key=key,
        fingerprint=fingerprint_of(operation, arguments),
        proposed_at=context.clock.now(),
        label=label,
        effects=effects,
        language=spoken_now().language,
    )


def _open_for(state: SupportState, extracted: Extraction) -> Pending | None:
    pending = top(state)
    return pending if pending is not None and pending.request == extracted.request else None


def _same_words(state: SupportState, before: Pending) -> bool:
    """Whether the message that asked for it is sent once more: its answer was lost, or not seen."""
    asked = next((m for m in state.get("messages", ()) if m.id == f"{before.request}:in"), None)
    return asked is not None and tokens(asked.text) == tokens(state["turn"].text)


def _without(state: SupportState, extracted: Extraction) -> tuple[Pending, ...]:
    """The open requests except this one; at most two others are kept."""
    return tuple(p for p in state.get("pending", ()) if p.request != extracted.request)[-2:]


__all__ = [
    "act",
    "ask",
    "carry_out",
    "confirm",
    "decline",
    "propose",
    "resolve",
    "tell_standing",
    "what_next",
]

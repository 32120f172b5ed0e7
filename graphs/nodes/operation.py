"""The operation lane: extract, then ask, choose or confirm, then act through the gate and report."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from typing import Any, Literal

from langchain_core.messages import HumanMessage
from langgraph.runtime import Runtime
from pydantic import JsonValue, ValidationError

from graphs import extraction, replies
from graphs.choices import choices_of
from graphs.context import Context
from graphs.deciding import by_rule, decided, log, ms_since
from graphs.handing_over import hand_off_note
from graphs.keys import action_id, action_key, fingerprint_of, why_of
from graphs.nodes.turn import offer_hand_off, top
from graphs.reading import turns
from graphs.reading.dates import When
from graphs.state import Draft, Extraction, Next, Pending, SupportState
from graphs.understanding.acts import Act
from graphs.understanding.dialogue import partial
from graphs.understanding.grounding import Grounds
from graphs.understanding.words import tokens
from prompts.replies import spoken_now
from tools.decisions import Decision
from tools.numbers import means_newest
from tools.policy import facts_about
from tools.ports import BackendUnavailable
from tools.reading.language import detected
from tools.reading.restating import renumbered, restated, swapped
from tools.values import Action, Operation, OperationFailed, Outcome, Preview, Standing


async def extract(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Collect arguments from the message: rules first, the small model for what only it can read."""
    context, turn, route = runtime.context, state["turn"], state.get("route")
    assert route is not None
    assert route.operation is not None
    pending, stack = top(state), state.get("pending", ())
    continues = route.move in ("continue", "correct") and pending is not None
    if not continues and pending is not None and pending.operation == route.operation:
        stack = stack[:-1]  # the same thing asked for anew replaces what was open
    operation = context.operations[route.operation]
    # What the books filled in belongs to the record it was read from, not to a corrected one.
    own = {f.name for f in extraction.fields(operation)} | set(parts_of(operation))
    before = carried_over(operation, pending, own) if continues and pending is not None else {}
    act = route.act
    grounds = act.grounds if act is not None else Grounds()
    request = pending.request if continues and pending is not None else turn.id

    if continues and pending is not None and pending.stage == "choice":
        chosen = picked_by(pending, grounds) or await pick(state, runtime, pending)
        if chosen is not None:
            return {
                "extraction": Extraction(
                    operation=operation.name, request=request, arguments={**before, **chosen}
                )
            }
    asked = (
        pending.field if continues and pending is not None and pending.stage == "field" else None
    )
    words = act.text if act is not None and act.text else turn.text
    found, refused, degraded = await read_arguments(state, runtime, operation, words, asked=asked)
    if route.move == "correct":
        found = {**swapped(before, words), **renumbered(before, words), **found}
        when = _when(context, words)
        found |= extraction.other_values(operation, before, words, when)
    found |= restated(found, words)
    found |= swapped(found, words)
    if asked is not None and is_beside(before, operation, grounds, words, context):
        grounds = Grounds()
    if act is not None:
        found = grounded(operation, found, grounds)
        if grounds.record is not None and not grounds.parts:
            found |= await _sum_of(context, operation, words, grounds.record)
        found |= reason_of(operation, act, found, context)
    if grounds.record is not None and _SAME_DAY.search(words):
        found = {**await own_day(context, operation, grounds.record), **found}
    if not continues and operation.confirm and len(tokens(words)) <= _REFERS_BACK:
        found = {**said_before(state, operation, found, context), **found}
    return {
        "pending": stack,
        "extraction": Extraction(
            operation=operation.name,
            request=request,
            arguments={**before, **found},
            refused=refused,
            degraded=degraded,
            among=grounds.records if len(grounds.records) > 1 else (),
            contradiction=grounds.missing,
        ),
    }


_SAME_DAY = re.compile(
    r"\b(?:(?:the )?same (?:day|date)|(?:am )?(?:gleichen?r?|selben?r?|derselben?) tag|(?:le )?même jour|mismo día)\b",
    re.I,
)


async def own_day(context: Context, operation: Operation, record: str) -> dict[str, JsonValue]:
    """The day of the record itself for the one day that is asked for: "the same day, but later"."""
    days = [f for f in extraction.fields(operation) if f.kind == "date"]
    try:
        views = await context.backend.records(context.customer)
    except BackendUnavailable:
        return {}
    view = next((view for view in views if view.id == record), None)
    if view is None or len(days) != 1 or len(view.dates) != 1:
        return {}
    return {days[0].name: next(iter(view.dates.values())).isoformat()}


#: So few words refer to what was said before them: "ok switch", after "what would Fibre 500 cost".
_REFERS_BACK = 8


def said_before(
    state: SupportState, operation: Operation, found: Mapping[str, JsonValue], context: Context
) -> dict[str, JsonValue]:
    """What the customer's message before this one says for arguments that are still to be asked for; all of it is shown
    before anything is done."""
    said = [m for m in state.get("messages", []) if isinstance(m, HumanMessage) and m.text.strip()]
    lacking = [
        f
        for f in extraction.fields(operation)
        if f.required
        and f.name not in found
        and (f.kind in _TOLD_BEFORE or f.name in why_of(operation))
    ]
    if len(said) < 2 or not lacking:
        return {}
    earlier = said[-2].text
    if not any(map(str.isdigit, earlier)):  # "There is one fibre too many" names no sum.
        lacking = [f for f in lacking if f.kind not in ("integer", "number")]
    read = extraction.by_rules(lacking, earlier, _when(context, earlier))
    taken, _ = extraction.valid(operation, read.values, read.refused)
    told = {f.name: taken[f.name] for f in lacking if f.name in taken}
    case = state.get("wanted", "")
    if case in context.intents.names and context.intents.get(case).problem:
        # Why it is wanted was told with the problem, in the customer's own words.
        told |= {
            f.name: earlier[:_WHY_CHARS]
            for f in lacking
            if f.name in why_of(operation) and f.copied
        }
    return told


#: So much of what a customer told is taken over as the reason.
_WHY_CHARS = 200
#: Kinds of arguments that rules read for sure.
_TOLD_BEFORE = ("date", "choice", "integer", "number")


def is_beside(
    before: Mapping[str, JsonValue],
    operation: Operation,
    grounds: Grounds,
    words: str,
    context: Context,
) -> bool:
    """Whether an answer to another question only speaks of a record beside it: "stolen, the card is fine" leaves the
    record as it is; its number, its place or a correction does not."""
    field = record_of(operation, grounds.kind)
    if field is None or before.get(field) is None or grounds.how in ("picked", "all"):
        return False
    spans = context.reader.read(
        words, today=context.clock.today(), own_ids=[str(id) for id in grounds.records]
    )
    return not (spans.record_numbers or spans.foreign_numbers or turns.corrects(words))


async def _sum_of(
    context: Context, operation: Operation, words: str, record: str
) -> dict[str, JsonValue]:
    """The one sum that was named, where it is less than the record's and the operation takes a part as a sum."""
    if "amount" not in parts_of(operation):
        return {}
    spans = context.reader.read(words, today=context.clock.today(), own_ids=[record])
    sums = {span.value.value for span in spans.amounts if span.value and not span.negated}
    try:
        views = await context.backend.records(context.customer)
    except BackendUnavailable:
        return {}
    view = next((view for view in views if view.id == record), None)
    if len(sums) != 1 or view is None or view.amount is None:
        return {}
    if sums & {view.amount, *(item.price for item in view.items)}:
        return {}
    (said,) = sums
    return {"amount": str(said)} if said < view.amount else {}


def carried_over(
    operation: Operation, pending: Pending, own: Collection[str]
) -> dict[str, JsonValue]:
    """What stays of an open request when it is answered or corrected: what was said, and its record."""
    records = {field.name for field in extraction.fields(operation) if field.record}
    asked = pending.stage == "confirm"
    return {
        name: value
        for name, value in pending.arguments.items()
        if name in own and (not asked or name in pending.said or name in records)
    }


def record_of(operation: Operation, kind: str) -> str | None:
    """The argument that names a record of this kind."""
    return next((f.name for f in extraction.fields(operation) if f.record == kind), None)


def parts_of(operation: Operation) -> tuple[str, ...]:
    """The arguments that say which part of the record is meant."""
    properties = operation.arguments.model_json_schema().get("properties", {})
    return tuple(name for name, schema in properties.items() if "x-part" in schema)


def grounded(
    operation: Operation, found: dict[str, JsonValue], grounds: Grounds
) -> dict[str, JsonValue]:
    """The arguments with the record and the part that the words point to; nothing else names a record."""
    kept = {
        field.name: found[field.name]
        for field in extraction.fields(operation)
        if field.name in found and not field.record
    }
    field = record_of(operation, grounds.kind)
    if field is None:
        return kept
    if grounds.foreign and not grounds.records:
        kept[field] = grounds.foreign[0]  # the operation says that it is nobody's here
    elif grounds.record is not None:
        kept[field] = grounds.record
    product = next((f.name for f in extraction.fields(operation) if f.name == "product"), None)
    counted = [part.quantity for part in grounds.parts if part.quantity is not None]
    if "quantity" in parts_of(operation) and len(grounds.parts) == len(counted) == 1:
        kept["quantity"] = counted[0]
    if product is not None and (len(grounds.parts) == 1 or grounds.item):
        kept[product] = grounds.parts[0].name if grounds.parts else grounds.item
    if grounds.parts and "items" in parts_of(operation):
        items: list[JsonValue] = []
        for part in grounds.parts:
            item: dict[str, JsonValue] = {"product": part.name}
            if part.quantity is not None:
                item["quantity"] = part.quantity
            items.append(item)
        kept["items"] = items
    return kept


def reason_of(
    operation: Operation, act: Act, found: Mapping[str, JsonValue], context: Context
) -> dict[str, JsonValue]:
    """The reason that the told problem gives, where the operation asks for one and the words gave none."""
    if not act.reason or "reason" in found or context.cases is None:
        return {}
    field = next((f for f in extraction.fields(operation) if f.name == "reason"), None)
    if field is None or not field.options:
        return {}
    reason = context.cases.reason_for(act.reason, field.options)
    return {"reason": reason} if reason is not None else {}


def picked_by(asked: Pending, grounds: Grounds) -> dict[str, JsonValue] | None:
    """The offered candidate whose record the words point to."""
    if grounds.record is None:
        return None
    fitting = [one for one in asked.candidates if grounds.record in one.values()]
    return dict(fitting[0]) if len(fitting) == 1 else None


async def extract_by_rules(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The extractor's fallback: numbers that say what they are, and a plain reply to a plain question."""
    extracted, route, pending = state.get("extraction"), state.get("route"), top(state)
    assert extracted is not None
    assert route is not None
    operation = runtime.context.operations[extracted.operation]
    answers = route.move == "continue" and pending is not None and pending.stage == "field"
    asked = pending.field if answers and pending is not None else None
    text, started = state["turn"].text, time.perf_counter()
    when = _when(runtime.context, text)
    found, refused = arguments_by_rules(operation, text, when, asked=asked)
    # A record that the words were found to point to stays.
    records = {f.name for f in extraction.fields(operation) if f.record}
    found = {n: v for n, v in found.items() if n not in records & {*extracted.arguments}}
    said = by_rule("extractor", _written(found), _why_not(refused), ms=ms_since(started))
    await log(runtime, state, said, input=_extractor_input(operation, text, asked))
    return {
        "extraction": extracted.model_copy(
            update={"arguments": {**extracted.arguments, **found}, "refused": refused}
        ),
        "degraded": (*state.get("degraded", ()), "extractor"),
    }


async def pick(
    state: SupportState, runtime: Runtime[Context], asked: Pending
) -> dict[str, JsonValue] | None:
    """Which of the offered records the customer means; None where the message names none of them."""
    started, text = time.perf_counter(), state["turn"].text
    chosen = extraction.picked(asked, text)
    if chosen is not None:
        said = by_rule("extractor", _written(chosen), "picked from the list", ms=ms_since(started))
        await log(runtime, state, said, input=f"{asked.question}\n{text}")
    return chosen


def arguments_by_rules(
    operation: Operation, text: str, when: When, *, asked: str | None = None
) -> tuple[dict[str, JsonValue], dict[str, str]]:
    """What can be read without a model: (taken, refused with why)."""
    wanted = extraction.fields(operation)
    about = frozenset({asked}) if asked else frozenset[str]()
    found = extraction.by_rules(wanted, text, when, asked=about)
    taken, refused = extraction.valid(operation, found.values, found.refused)
    if asked and asked not in taken and asked not in refused:
        taken |= _the_answer_itself(operation, wanted, asked, text)
    return taken, refused


def _when(context: Context, text: str) -> When:
    """Where the customer stands, with the language they write in beside the usual ones."""
    spoken = detected(text)
    languages = When.languages if spoken in (None, *When.languages) else (*When.languages, spoken)
    return When(context.clock.now(), languages=languages)


async def read_arguments(
    state: SupportState,
    runtime: Runtime[Context],
    operation: Operation,
    text: str,
    *,
    asked: str | None = None,
) -> tuple[dict[str, JsonValue], dict[str, str], bool]:
    """Values for the operation's arguments found in ``text``: (taken, refused with why, degraded)."""
    return await decided(
        runtime, "extractor", lambda who: _read_arguments(state, who, operation, text, asked)
    )


async def _read_arguments(
    state: SupportState,
    runtime: Runtime[Context],
    operation: Operation,
    text: str,
    asked: str | None,
) -> tuple[dict[str, JsonValue], dict[str, str], bool]:
    context, started = runtime.context, time.perf_counter()
    wanted = extraction.fields(operation)
    if asked is not None:
        # The reply to one question: a house number in it is no order number. "Saturday afternoon" answers two.
        worded = any(f.name == asked and f.copied for f in wanted)
        wanted = [
            f
            for f in wanted
            if f.name == asked
            or extraction.named(f, text)
            or (not worded and extraction.says_option(f, text))
            or (f.kind == "place" and extraction.looks_like_address(text))
        ]
    read = await extraction.read_turn(
        context.small,
        context.encoder,
        operation.name,
        wanted,
        text,
        _when(context, text),
        asked=frozenset({asked}) if asked else frozenset(),
    )
    taken, refused = extraction.valid(operation, read.taken, read.refused)
    if asked and asked not in taken and asked not in refused:
        taken |= _the_answer_itself(operation, wanted, asked, text)
    said = _extractor_decision(read, taken, refused).model_copy(update={"ms": ms_since(started)})
    await log(runtime, state, said, input=_extractor_input(operation, text, asked))
    return taken, refused, bool(read.error)


def _extractor_input(operation: Operation, text: str, asked: str | None) -> str:
    """What the values are read from, and for what."""
    question = f"\nasked for: {asked}" if asked else ""
    return f"operation: {operation.name}{question}\nmessage: {text}"


def _extractor_decision(
    read: extraction.Read, taken: Mapping[str, JsonValue], refused: Mapping[str, str]
) -> Decision:
    """The values that are taken, by the dearest tier that was asked for them; or that it did not answer."""
    reason, chosen, filled = _why_not(refused), _written(taken), read.filled
    if read.error:
        return by_rule("extractor", chosen, reason or read.error, abstained=True)
    if filled is None and not read.nearest:
        return by_rule("extractor", chosen, reason)
    if filled is None:
        return Decision(
            role="extractor",
            chosen=chosen,
            probability=min(read.nearest.values()),
            reason=reason,
            tier="encoder",
            model="nearest option",
        )
    return Decision(
        role="extractor",
        chosen=chosen,
        probability=filled.probability,
        reason=reason,
        tier="small",
        model=filled.model,
        adapter=filled.adapter,
        prompt="" if filled.adapter else filled.version,
    )


def _written(values: Mapping[str, JsonValue]) -> str:
    """Arguments as the log and a comparison read them; masked when they are stored."""
    return "; ".join(f"{name}={value}" for name, value in sorted(values.items())) or "nothing"


def _why_not(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {why}" for name, why in refused.items())


def _the_answer_itself(
    operation: Operation, wanted: list[extraction.Field], asked: str, text: str
) -> dict[str, JsonValue]:
    """The whole reply as the value of the one field that was asked for, where the field can be free text."""
    field = next(f for f in wanted if f.name == asked)
    value: JsonValue = None
    if field.integer is not None:
        value = extraction.quantity(text, field.integer)
    elif field.copied:
        value = text.strip(" .,;:!?")
    elif field.options:
        folded = text.casefold()
        value = next((o for o in field.options if o.replace("_", " ") in folded), None)
    if value is None or asked in extraction.invalid(operation, {asked: value}):
        return {}
    return {asked: value}


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


async def check_result(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Tool output is checked against its schema before anybody speaks about it."""
    outcome = state.get("outcome")
    assert outcome is not None
    problem = implausible(runtime.context.operations[outcome.operation], outcome)
    if problem is None:
        return {}
    await log_implausible(runtime, state, outcome, problem)
    failed = outcome.model_copy(
        update={"status": "failed", "result": {}, "reason": replies.backend_down()}
    )
    return {"outcome": failed}


async def log_implausible(
    runtime: Runtime[Context], state: SupportState, outcome: Outcome, problem: str
) -> None:
    """A result that is not believed; one that is needs no decision."""
    said = by_rule("result_validator", "reject", problem)
    await log(runtime, state, said, input=f"{outcome.operation} {outcome.result}")


def implausible(operation: Operation, outcome: Outcome) -> str | None:
    """Why an executed outcome's result cannot be what the operation returns; None if it can."""
    if outcome.status != "executed":
        return None
    try:
        operation.result.model_validate(outcome.result)
    except ValidationError as error:
        return (
            f"{operation.name} returned something else than it should: {error.error_count()} errors"
        )
    return None


async def format_outcome(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """The outcome in the customer's words, from templates; no model is asked."""
    outcome = state.get("outcome")
    assert outcome is not None
    operation = runtime.context.operations[outcome.operation]
    following = state.get("next")
    if outcome.status == "pending" and following is not None:
        text = replies.pending(operation, following.arguments, following.label, following.effects)
        return {"draft": Draft(text=text)}
    # Of what is not settled there will be news; they must not count as told already.
    tells = (outcome.action_id,) if outcome.settled else ()
    said = state.get("draft")
    handed = operation.name == "hand_off" and outcome.status == "executed"
    opens = runtime.context.opens() if handed else None
    text = (
        replies.outcome(operation, outcome)
        if opens is None
        else replies.handed_over_closed(_ticket(outcome), opens)
    )
    if said is not None and said.text:
        text = f"{said.text}\n\n{text}"  # what must not wait comes before who was told
    update: dict[str, Any] = {"draft": Draft(text=text, tells=tells)}
    if handed:
        runtime.stream_writer({"event": "handoff", "data": {"ticket": _ticket(outcome)}})
        # What was open is in the summary; the colleague takes it from there.
        update |= {"handed_off": True, "pending": (), "plan": None}
        update["told_closed"] = opens.isoformat() if opens is not None else ""
    return update


async def tell_outcome(state: SupportState, runtime: Runtime[Context]) -> dict[str, Any]:
    """An action's outcome arrives from outside the turn that proposed it."""
    outcome = state["turn"].outcome
    assert outcome is not None
    context = runtime.context
    operation = context.operations[outcome.operation]
    # Nobody approved what only a crash kept from being told in its own turn.
    asked = await context.approvals.get(outcome.action_id)
    reviewed = asked is not None or outcome.status != "executed"
    text = (replies.news if reviewed else replies.outcome)(operation, outcome)
    return {"outcome": outcome, "draft": Draft(text=text, tells=(outcome.action_id,))}


def _ticket(outcome: Outcome) -> str:
    return str(outcome.result.get("ticket_number", ""))


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
    "check_result",
    "confirm",
    "decline",
    "extract",
    "format_outcome",
    "implausible",
    "propose",
    "read_arguments",
    "resolve",
    "tell_outcome",
    "tell_standing",
    "what_next",
]

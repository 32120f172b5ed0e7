"""What an operation still needs, read from the conversation: records that are meant, values by rules and by the model."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.runtime import Runtime
from pydantic import JsonValue

from graphs import extraction
from graphs.context import Context
from graphs.deciding import by_rule, decided, log, ms_since
from graphs.keys import why_of
from graphs.nodes.turn import top
from graphs.reading import turns
from graphs.reading.dates import When
from graphs.state import Extraction, Pending, SupportState
from graphs.understanding.acts import Act
from graphs.understanding.grounding import Grounds
from graphs.understanding.words import tokens
from tools.decisions import Decision
from tools.ports import BackendUnavailable
from tools.reading.language import detected
from tools.reading.restating import renumbered, restated, swapped
from tools.values import Operation


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
        better = {**swapped(before, words), **renumbered(before, words)}
        # "It's Mediapark 7" is no whole address; the one that was shown, put right, is.
        found = {**better, **{n: v for n, v in found.items() if not _is_part(v, better.get(n))}}
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


def _is_part(value: JsonValue, of: JsonValue) -> bool:
    """Whether a value says a part of what another says whole."""
    return isinstance(value, str) and isinstance(of, str) and value.casefold() in of.casefold()


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


__all__ = [
    "arguments_by_rules",
    "carried_over",
    "extract",
    "extract_by_rules",
    "grounded",
    "is_beside",
    "own_day",
    "parts_of",
    "pick",
    "picked_by",
    "read_arguments",
    "reason_of",
    "record_of",
    "said_before",
]

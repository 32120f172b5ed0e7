"""What the agent says without a model: which template, with which values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from typing import TYPE_CHECKING

from pydantic import JsonValue

from prompts.replies import names, render, spoken_now
from tools.intents import Intent
from tools.policy import Ruling
from tools.values import Approval, Arguments, Operation, Outcome, Preview, Standing

if TYPE_CHECKING:
    from graphs.context import Context
    from graphs.state import Pending, Plan, Route

_SENTENCE_END = re.compile(r"^(.*[.!?…])(?:\s|$)", re.DOTALL)


# --- before anything was understood -------------------------------------------------------------


def refusal(verdict: str, limit: int) -> str:
    """The reply to a message that screening stopped."""
    templates = {
        "empty": "empty_input",
        "no_words": "no_words",
        "too_long": "input_too_long",
        "injection": "injection_refused",
    }
    return render(templates[verdict], limit=limit)


def acknowledgement(route: Route, context: Context) -> str | None:
    """What was understood, said before any slow part begins; nothing when nothing was."""
    if route.abstained or route.otherwise or route.move == "repeat" or route.lane == "direct":
        return None
    if (operation := context.operations.get(route.operation or "")) is not None:
        return render("ack_operation", title=title(operation))
    return None if route.lane == "operation" else render(f"ack_{route.lane}")


#: Roles of what nobody is asked about: a courtesy, a yes, or what is none of our business.
_NOT_ASKED = frozenset({"courtesy", "affirm", "deny", "leave", "help", "out_of_scope", "several"})


def likely_intents(route: Route, context: Context) -> list[str]:
    """What the message may have meant, likeliest first; nothing where only small talk is likely."""
    if context.intents.get(route.intent).role in ("affirm", "deny"):
        return []
    return [n for n in route.candidates if context.intents.get(n).role not in _NOT_ASKED][:3]


def clarification(route: Route, likely: Sequence[str], context: Context) -> str:
    """A question made of the likeliest intents."""
    if context.intents.get(route.intent).role in ("affirm", "deny"):
        return render("nothing_to_confirm")
    questions = [intent_question(context.intents.get(name)) for name in likely]
    if not questions:
        return render("unclear")
    if len(questions) == 1:
        return render("clarify_intent", question=questions[0])
    return render("clarify_intents", questions=questions)


def direct(intent: str, context: Context) -> str:
    """Small talk and simple facts."""
    role = context.intents.get(intent).role
    if role in ("affirm", "deny"):
        return render("nothing_to_confirm")
    if role in ("leave", "help", "other_person"):
        return render({"leave": "left"}.get(role, role))
    if intent == "greeting":
        return render("greeting", name=context.customer.name.split()[0])
    return render(intent if intent in names() else "unclear")


def left() -> str:
    """The customer dropped what was begun."""
    return render("left")


def not_now(label: str) -> str:
    """What depends on a day to come is not done now."""
    return render("not_now", label=label)


# --- which record, and what waits ---------------------------------------------------------------


def not_owned(named: str, candidates: Sequence[str] = ()) -> str:
    """What was named is on no record of the customer's."""
    return render("not_owned", named=named, candidates=list(candidates))


def which_record(candidates: Sequence[str]) -> str:
    return render("which_record", candidates=list(candidates))


def person_on_request() -> str:
    return render("person_on_request")


def still_waiting(one: Approval, title: str) -> str:
    """A request that a colleague has not decided yet."""
    effects = list(one.action.effects)
    return render("still_waiting", title=title, label=one.action.label, effects=effects)


def stands(known: Standing, title: str, *, here: bool) -> str:
    """Where a request stands that is made again before it is settled."""
    effects = list(known.effects)
    return render(
        f"stands_{known.stage}", title=title, label=known.label, effects=effects, here=here
    )


def taken_back(one: Approval, title: str) -> str:
    return render("taken_back", title=title, label=one.action.label)


def withdrawal_question(one: Approval, title: str) -> str:
    """Asked where it is not plain that the customer wants it taken back."""
    return render("withdrawal_question", title=title, label=one.action.label)


def too_late(one: Approval, title: str) -> str:
    return render("too_late_to_withdraw", title=title, label=one.action.label)


def in_the_books(labels: Sequence[str]) -> str:
    return render("in_the_books", candidates=list(labels))


def nothing_waits() -> str:
    return render("nothing_waits")


def cannot_stop(labels: Sequence[str]) -> str:
    return render("cannot_stop", candidates=list(labels))


def withdrawal_subject(label: str) -> str:
    return render("withdrawal_subject", label=label)


# --- an operation -------------------------------------------------------------------------------


def which(operation: Operation, labels: Sequence[str]) -> str:
    return render("clarify", candidates=list(labels), title=title(operation))


def which_part() -> str:
    """Only a part was spoken of, and nobody said which."""
    return render("which_part")


def nothing_changed() -> str:
    """A correction left what was asked about as it was."""
    return render("nothing_changed")


def not_that_record(labels: Sequence[str]) -> str:
    """What would be touched is not what was confirmed."""
    return render("not_that_record", candidates=list(labels))


def changed(effects: Sequence[str]) -> str:
    """What was confirmed is not what would happen any more."""
    return render("changed_since", effects=list(effects))


def confirmation(
    operation: Operation, arguments: Mapping[str, JsonValue], label: str, preview: Preview
) -> str:
    return render(
        f"{operation.name}.confirm",
        title=title(operation),
        label=label,
        effects=list(preview.effects),
        arguments=dict(arguments),
    )


def declined(reason: str) -> str:
    return reason


def ruled(ruling: Ruling) -> str:
    """Why a business rule refuses it, in the customer's language where the business says it in that."""
    return next(
        (said for name in ruling.rules if (said := spoken_now().says(f"rules.{name}", ""))),
        ruling.reason,
    )


def refused_values(refused: Mapping[str, str]) -> str:
    """Says which value could not be used, before the question for it."""
    if not refused:
        return ""
    field = next(iter(refused))
    called = spoken_now().says(f"fields.{field}", field.replace("_", " "))
    return f"{render('refused_value', field=called)} "


def outcome(operation: Operation, result: Outcome) -> str:
    """What came of an action that the customer is waiting for."""
    match result.status:
        case "executed":
            done = render(f"{operation.name}.done", title=title(operation), result=result.result)
            writes_again = result.replayed and operation.writes
            return render("outcome_replayed", text=done) if writes_again else done
        case "pending":
            return render("still_pending", label=result.label or title(operation))
        case "blocked" | "failed":
            return result.reason or render("apology_fallback")
        case "unknown":
            return render("outcome_unknown", label=result.label or title(operation))
        case "rejected" | "expired":
            return news(operation, result)


def pending(
    operation: Operation, arguments: Mapping[str, JsonValue], label: str, effects: Sequence[str]
) -> str:
    """The action waits for a person."""
    return render(
        f"{operation.name}.pending",
        title=title(operation),
        label=label,
        effects=list(effects),
        arguments=dict(arguments),
    )


def news(operation: Operation, result: Outcome) -> str:
    """An outcome that arrives after the turn that asked for it has ended."""
    label = result.label or title(operation)
    match result.status:
        case "executed":
            text = render(f"{operation.name}.done", title=title(operation), result=result.result)
            return render("outcome_executed", text=text)
        case "rejected":
            return render("outcome_rejected", label=label, note=result.reason)
        case "expired":
            return render("outcome_expired", label=label)
        case "failed" | "blocked":
            return render(f"outcome_{result.status}", label=label, reason=result.reason)
        case "unknown":
            return render("outcome_unknown", label=label)
        case "pending":
            return render("still_pending", label=label)


def reminder(open_: Pending, context: Context) -> str:
    """What is still open, after a digression."""
    if open_.operation not in context.operations or open_.stage == "offer":
        return open_.question  # a plan, an offer, or what was not understood: it speaks for itself
    operation = context.operations[open_.operation]
    return f"{render('resume_offer', title=title(operation))}\n\n{open_.question}"


def dropped(open_: Pending, context: Context) -> str:
    operation = context.operations.get(open_.operation)
    named = title(operation) if operation is not None and open_.stage != "offer" else ""
    return render("dropped", title=named)


# --- plans --------------------------------------------------------------------------------------


def plan_confirmation(plan: Plan, operations: Mapping[str, Operation]) -> str:
    lines: list[str] = []
    for step in plan.steps:
        if step.status != "waiting":
            continue
        said = title(operations[step.name]) if step.name in operations else render("your_question")
        told = f"{said}: {step.label}" if step.label else said
        lines.append(". ".join([told, " ".join(step.effects)]) if step.effects else told)
    return render("plan_confirm", steps=lines)


def plan_waiting(plan: Plan, operations: Mapping[str, Operation]) -> str:
    """What goes on once the approval that holds it up is decided; nothing when nothing is held up."""
    held = [
        title(operations[s.name]) if s.name in operations else render("your_question")
        for s in plan.steps
        if s.status == "waiting"
    ]
    return render("plan_waiting", steps=", ".join(held)) if held else ""


# --- answers, apologies, people -----------------------------------------------------------------


def whole_sentences(text: str) -> str:
    """Cut a text that stopped in the middle of a sentence back to its last full one."""
    text = text.strip()
    found = _SENTENCE_END.match(text)
    return found[1].strip() if found else text


def in_english(language: str) -> str:
    """That what follows is from articles in English, said to who writes in another language."""
    return render("in_english", language=language)


def unknown() -> str:
    return render("unknown")


def unknown_offer() -> str:
    return render("dont_know")


def hand_off_offer() -> str:
    return render("hand_off_offer")


def handed_over_closed(ticket_number: str, opens: datetime) -> str:
    """The conversation is kept for a colleague; nobody is there before ``opens``."""
    return render("handed_over_closed", ticket_number=ticket_number, opens=opens)


def nobody_there(opens: datetime) -> str:
    """A message reached a conversation of a colleague's outside their hours."""
    return render("nobody_there", opens=opens)


def availability(opens: datetime | None) -> str:
    """When people are there, for a prompt; out of hours, when they are there again."""
    if opens is not None:
        return render("there_again", opens=opens)
    return str(spoken_now().business["contact"]["hours"])


def business() -> str:
    """What the business is called."""
    return str(spoken_now().business["name"])


def title(operation: Operation) -> str:
    """What the operation is called in the customer's language."""
    spoken = spoken_now()
    own = operation.titles.get(spoken.language, operation.title)
    return spoken.says(f"titles.{operation.name}", own)


def question(operation: Operation, field: str, otherwise: str) -> str:
    """What asks for one argument, in the customer's language."""
    spoken = spoken_now()
    told: Mapping[str, str] = _questions(operation.arguments).get(field, {})
    return spoken.says(f"asks.{operation.name}.{field}", told.get(spoken.language, otherwise))


@cache
def _questions(arguments: type[Arguments]) -> Mapping[str, Mapping[str, str]]:
    """What asks for each argument in each language, where the operation itself says it."""
    declared = arguments.model_json_schema().get("properties", {})
    return {name: one.get("x-questions", {}) for name, one in declared.items()}


def intent_question(intent: Intent) -> str:
    """What is asked when this intent may have been meant."""
    return spoken_now().says(f"questions.{intent.name}", intent.question)


def upset() -> str:
    return render("upset")


def upset_sentences(since: date) -> list[str]:
    """Sentences a model may choose from that is too small to find its own."""
    return render("upset_sentences", since=since).splitlines()


def elsewhere() -> str:
    """Another process goes on with this message."""
    return render("elsewhere")


def apology() -> str:
    return render("apology_fallback")


def backend_down(_: str = "") -> str:
    return render("backend_down")


def could_not_finish() -> str:
    return render("could_not_finish")


def not_approved() -> str:
    return render("not_approved")


def withdrawn() -> str:
    return render("withdrawn")


def unknown_operation() -> str:
    return render("unknown_operation")

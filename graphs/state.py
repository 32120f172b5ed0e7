"""What the graphs remember between nodes and between turns."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Required, cast

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from pydantic import JsonValue, model_validator
from typing_extensions import TypedDict

from graphs.consequences import Judged
from graphs.understanding.acts import Act
from tools.ports import Passage
from tools.values import Action, Approval, Instead, Lane, Outcome, Record, ReviewerRole, Verdict


class Turn(Record):
    """What the graph is asked to deal with: a customer's message, or news of an action."""

    id: str
    text: str = ""
    at: datetime
    outcome: Outcome | None = None  #: Set when this turn brings the outcome of an action.


class Screening(Record):
    """May this message go on, and if not, which reply does it get?"""

    verdict: Literal["ok", "outcome", "empty", "no_words", "too_long", "injection", "handed_off"]
    reason: str = ""
    sensitive: tuple[str, ...] = ()  #: Kinds of personal data found in the text.


class Route(Record):
    """Where the message goes, and why."""

    intent: str
    lane: Lane
    operation: str | None = None
    move: Literal["new", "continue", "confirm", "decline", "repeat", "correct", "leave"] = "new"
    complexity: Literal["single", "several"] = "single"
    frustration: float = 0.0
    sensitivity: Literal["normal", "personal"] = "normal"
    probability: float = 1.0  #: That the intent is right.
    lane_probability: float = 1.0  #: That the lane is right, whichever of its intents is meant.
    candidates: tuple[str, ...] = ()  #: The next best intents, for the clarifying question.
    abstained: bool = False
    reason: str = ""
    tier: str = "rule"
    acts: tuple[
        Act, ...
    ] = ()  #: What the turn asks for, one act a wish; the first is the intent's.
    #: What is said instead where the knowledge holds nothing: the message may not be a question at all.
    otherwise: Literal["", "clarify", "out_of_scope", "advise", "direct"] = ""

    replaces: bool = False  #: The open question is dealt with by it, and is no longer asked.
    dropped: str = ""  #: The request that the customer declined in the same message.
    foreword: str = ""  #: What is said of that first.
    #: Which node serves it, where that does not follow from the lane alone.
    served: Literal["lane", "advise", "tell_waiting", "respond_to_incident", "defer", "recall"] = (
        "lane"
    )

    @property
    def act(self) -> Act | None:
        return self.acts[0] if self.acts else None


#: Stands in a pending question for the message that was not understood.
CLARIFY = "clarify"


class Pending(Record):
    """An operation (or a plan) that waits for the customer's word."""

    request: str  #: The turn that asked for it; part of the idempotency key.
    operation: str  #: Operation name, or ``plan``.
    stage: Literal["field", "choice", "confirm", "offer"]
    arguments: dict[str, JsonValue] = {}
    said: tuple[str, ...] = ()  #: At a confirmation: the arguments that the books did not fill in.
    field: str | None = None
    step: int | None = None  #: For a plan: the step whose field or record is asked for.
    about: str | None = None  #: And its operation.
    candidates: tuple[dict[str, JsonValue], ...] = ()
    effects: tuple[str, ...] = ()  #: What was said would happen; a yes counts for nothing else.
    question: str = ""
    asked_in: str = (
        ""  #: The turn whose reply ended with the question; only the next turn may say yes.
    )
    attempts: int = 0


class Extraction(Record):
    """Arguments collected so far, and what became of each value the model proposed."""

    operation: str
    request: str
    arguments: dict[str, JsonValue] = {}
    missing: tuple[str, ...] = ()
    refused: dict[str, str] = {}  #: Field -> why its value was not taken.
    degraded: bool = False  #: The small model did not answer; only what rules could find is here.
    among: tuple[str, ...] = ()  #: Records that the words fit alike: one of these is meant.
    contradiction: str = ""  #: What was named and is in no record of the customer's.


class Next(Record):
    """What the operation needs before it can act."""

    step: Literal["ask", "choose", "confirm", "act", "refuse", "stands"]
    question: str = ""
    field: str | None = None
    label: str = ""
    arguments: dict[str, JsonValue] = {}  #: Completed from the record.
    effects: tuple[str, ...] = ()
    instead: Instead | None = None  #: What the refusal's sentence offers.
    foreword: str = ""  #: Said before the question: it was asked before.
    labels: tuple[str, ...] = ()  #: The records to choose from, for people.
    candidates: tuple[dict[str, JsonValue], ...] = ()


class Step(Record):
    """One step of a plan."""

    name: str  #: Operation name, or ``answer``.
    #: ``case``, ``waiting``, ``withdraw`` and ``talk`` come from what the turn was understood to ask for.
    kind: Literal["operation", "answer", "case", "waiting", "withdraw", "talk"] = "operation"
    act: Act | None = None  #: The wish it serves, where the turn was understood as several.
    writes: bool = False
    arguments: dict[str, JsonValue] = {}
    label: str = ""
    open: bool = False  #: Something about it is still to be asked, so it cannot run yet.
    effects: tuple[str, ...] = ()  #: What the gate was told it would do.
    status: Literal["waiting", "pending", "done", "failed", "skipped"] = "waiting"
    note: str = ""  #: What to tell the customer about it.
    action_id: str | None = None
    settled: bool = True  #: Nothing more will be heard of its action.
    told: bool = False  #: A reply has reported it.


class Plan(Record):
    """The LLM's plan for a request with several steps."""

    request: str
    goal: str
    steps: tuple[Step, ...]
    confirmed: bool = False
    replans: int = 0
    understood: bool = False  #: Made of the turn's own acts; nobody had to plan it.


class Draft(Record):
    """A reply on its way to the customer."""

    text: str
    source: Literal["template", "large", "quotes"] = "template"
    passages: tuple[Passage, ...] = ()
    asks: bool = False  #: Ends with a question of its own, so nothing else may be asked.
    tells: tuple[str, ...] = ()  #: Ids of finished actions whose outcome it reports.
    apology: bool = False  #: Says that nothing could be done.
    attempt: int = 1
    foreword: str = (
        ""  #: Said before it, by a template; the text alone is checked against its sources.
    )
    known: Literal["", "exact", "semantic"] = ""  #: Given before, to a question like this one.
    given: str = (
        ""  #: What its writer was given beside the passages: the message, what was said, facts.
    )
    foreign: bool = False  #: It is not in the language of its passages.


class Problem(Record):
    """One reason why a draft may not be sent."""

    kind: Literal[
        "empty",
        "length",
        "pii",
        "promise",
        "tone",
        "citation",
        "ungrounded",
        "link",
        "name",
        "form",
    ]
    detail: str


class Validation(Record):
    """What the output validator found in a draft."""

    ok: bool
    problems: tuple[Problem, ...] = ()
    groundedness: float | None = (
        None  #: How likely it says only what its passages say; None: it has none.
    )


class SupportState(TypedDict, total=False):
    """The customer's thread. ``messages``, ``pending``, ``plan`` and ``handed_off`` outlive a turn."""

    messages: Annotated[list[AnyMessage], add_messages]
    pending: tuple[Pending, ...]  #: A stack; the last one is what the customer was asked about.
    plan: Plan | None
    handed_off: bool
    hand_off_note: str  #: What whoever takes over is told.
    told_closed: str  #: That nobody is there before this moment was said already.
    misses: int  #: How often in a row the agent did not understand.
    last_turn: str
    focus: str | None  #: The record that the conversation is about.
    offered: tuple[str, ...]  #: The records that were shown last, in the order they were shown.
    wanted: str  #: What the customer wanted last.
    unclear: str  #: What the last message likeliest wanted, where nobody was sure.
    language: str  #: In which they write.
    kept: tuple[str, ...]  #: Cases and records that this conversation has a ticket for.
    own: tuple[str, ...]  #: Ids of the customer's records, as this turn found them.

    turn: Required[Turn]
    screening: Screening | None
    route: Route | None
    extraction: Extraction | None
    next: Next | None
    outcome: Outcome | None
    question: str  #: What is looked up: the message, behind those it says nothing without.
    passages: tuple[Passage, ...]
    draft: Draft | None
    validation: Validation | None
    llm_calls: int
    next_move: str | None
    degraded: tuple[str, ...]


class ActionState(TypedDict, total=False):
    """The life of one action, on a thread of its own."""

    action: Required[Action]
    guess: Judged | None  #: What the small model made of it; the judge may not go below it.
    verdict: Verdict | None
    approval: Approval | None
    answer: Answer | None
    problem: str  #: Why the last answer changed nothing, for whoever gave it.
    outcome: Outcome | None


class Answer(Record):
    """A reviewer's typed answer: the only thing that can resume an action that waits.

    Also read from what LangChain's agent inbox (``{"type": "accept", "args": ...}``, alone or in a list) and
    its HITL middleware (``{"decisions": [{"type": "approve"}]}``) send. Free text is no answer."""

    decision: Literal["approve", "edit", "reject"]
    reviewer: str = (
        ""  #: Set by the desk from the operator's key; what a resume says of it is not believed.
    )
    role: ReviewerRole = "agent"
    note: str | None = None
    arguments: dict[str, JsonValue] | None = None  #: For ``edit``: the new arguments, gated again.
    operation: str | None = None  #: What the client says it answers about, where it says so.

    @model_validator(mode="before")
    @classmethod
    def _from_other_clients(cls, data: Any) -> Any:
        return in_our_words(data)

    @model_validator(mode="after")
    def _an_edit_has_arguments(self) -> Answer:
        if (self.arguments is not None) != (self.decision == "edit"):
            raise ValueError("arguments belong to an edit, and an edit needs them")
        return self


_DECISIONS = {
    "accept": "approve",
    "approve": "approve",
    "edit": "edit",
    "ignore": "reject",
    "reject": "reject",
}


def in_our_words(data: Any) -> Any:
    """An agent inbox's or HITL middleware's response as an answer's fields; anything else as it is."""
    if isinstance(data, list):
        data = _only(cast("list[Any]", data))
    if isinstance(data, dict) and "decisions" in data:
        data = _only(cast("dict[str, Any]", data)["decisions"])
    if isinstance(data, dict) and "type" in data:
        return _translated(cast("dict[str, Any]", data))
    return cast("Any", data)


def _only(answers: Any) -> Any:
    if not isinstance(answers, list) or len(cast("list[Any]", answers)) != 1:
        raise ValueError("exactly one answer is expected")
    return cast("list[Any]", answers)[0]


def _translated(sent: dict[str, Any]) -> dict[str, Any]:
    """An agent-inbox or HITL response in our words."""
    decision = _DECISIONS.get(str(sent["type"]))
    if decision is None:
        raise ValueError("free text decides nothing: accept, edit or ignore")
    unknown = set(sent) - {"type", "args", "edited_action", "message"}
    if unknown:
        raise ValueError(f"unknown fields: {', '.join(sorted(map(str, unknown)))}")
    answer: dict[str, Any] = {"decision": decision}
    if isinstance(sent.get("message"), str):
        answer["note"] = sent["message"]
    if decision == "edit":
        # The inbox sends {"action", "args"} in `args`, the middleware {"name", "args"} in `edited_action`.
        given: Any = sent.get("edited_action") or sent.get("args")
        if not isinstance(given, dict):
            raise ValueError("an edit needs its arguments")
        edit = cast("dict[str, Any]", given)
        answer["operation"] = edit.get("action") or edit.get("name")
        answer["arguments"] = edit.get("args")
    return answer

"""Small model, large model or both: for each intent of a workflow, by its answers and by what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import yaml
from pydantic import Field, model_validator

from tools.domain import Domain
from tools.importing.yaml_files import read_file, validated
from tools.values import Consequence, Record

Verdict = Literal["small", "hybrid", "large"]

#: From so far to either side of nothing on a verdict is a clear one; the scale goes from -1 (large) to 1 (small).
CLEAR = 0.3
#: So many messages, outcomes or labels measure something.
ENOUGH = 20
#: With fewer examples no head is trained on an intent.
FEWEST_EXAMPLES = 8
#: A small model that leaves more than this share open is no tier of its own.
OPEN_SHARE = 0.3
#: One whose decisions end badly this often speaks for a large one as strongly as a figure can.
FAILED_SHARE = 0.2


class Answers(Record):
    """What somebody who knows the work says of one intent."""

    daily: float | None = Field(default=None, ge=0)  #: Messages a day; None: nobody knows yet.
    wording: Literal["fixed", "varied", "open"] = "varied"  #: How customers ask for it.
    answer: Literal["template", "record", "articles", "open"] = (
        "record"  #: What a reply is made of.
    )
    steps: int = Field(default=1, ge=0)  #: Operations that one message needs at most.
    examples: int = Field(default=0, ge=0)  #: Labelled messages there are.
    seconds: float = Field(default=5, gt=0)  #: How long a customer waits gladly.
    personal: bool = False  #: A reply needs personal data.
    stays: bool = False  #: Personal data may not leave the house.
    changes: Literal["rarely", "monthly", "weekly"] = "rarely"  #: How often the rules behind it do.
    consequence: Consequence = Consequence.SAFE  #: Of the worst operation behind it.
    needed: float = Field(
        default=0.9, gt=0, le=1
    )  #: Share of right decisions below which it does harm.


class Measured(Record):
    """What the decision log and the reviews know of an intent."""

    messages: int = 0
    left_open: float | None = None  #: Share that the small models were not sure of.
    outcomes: int = 0
    #: Share of outcomes that were a failure, a customer's correction or a reviewer's no.
    failed: float | None = None
    labels: int = 0
    #: Share of what is meant by it that is taken for it, weighted as the labelled samples were drawn.
    accuracy: float | None = None


class Reason(Record):
    """One criterion: where it points, how much it weighs, and the figure or answer behind it."""

    criterion: str
    points: float  #: From -1 (large) to 1 (small).
    weight: float
    because: str
    measured: bool = False


class Card(Record):
    """The verdict on one intent."""

    intent: str
    verdict: Verdict
    score: float  #: From -1 (large) to 1 (small), before the tripwires.
    reasons: tuple[Reason, ...]
    tripwires: tuple[str, ...]  #: What overrules the score, or has to hold whatever it says.


class Workflow(Record):
    """The answers about every intent of a workflow."""

    large_model: bool = True  #: There is one to ask.
    large_is_local: bool = False
    intents: dict[str, Answers] = Field(min_length=1)

    @model_validator(mode="after")
    def _local_is_one(self) -> Workflow:
        if self.large_is_local and not self.large_model:
            raise ValueError("large_is_local needs large_model")
        return self


def read_workflow(path: Path) -> Workflow:
    """The answers in a file. Raises FilesInvalid with everything that is wrong in it, and OSError."""
    return validated(Workflow, read_file(path.read_bytes(), path.name))


#: From -1 (large) to 1 (small), and why.
Pointing = tuple[float, str]


class _Criterion(NamedTuple):
    name: str
    weight: float
    look: Callable[[Answers], Pointing]


def _by(table: Mapping[str, Pointing], name: str) -> Callable[[Answers], Pointing]:
    return lambda answers: table[getattr(answers, name)]


def _steps(said: Answers) -> Pointing:
    if said.steps <= 1:
        return 0.5, "one step at most"
    if said.steps <= 3:
        return 0.0, f"{said.steps} steps, which a local planner knows in part"
    return -1.0, f"{said.steps} steps have to be planned"


def _examples(said: Answers) -> Pointing:
    if said.examples >= 100:
        return 1.0, f"{said.examples} examples to learn from"
    if said.examples >= ENOUGH:
        return 0.25, f"{said.examples} examples: a beginning"
    return -1.0, f"only {said.examples} examples to learn from"


def _volume(said: Answers) -> Pointing:
    if said.daily is None:
        return 0.0, "nobody knows how many messages a day there are"
    if said.daily >= 100:
        return 1.0, f"{said.daily:g} messages a day: what one costs counts"
    if said.daily >= 10:
        return 0.0, f"{said.daily:g} messages a day"
    return -0.5, f"{said.daily:g} messages a day hardly repay a model of one's own"


def _time(said: Answers) -> Pointing:
    if said.seconds < 2:
        return 1.0, f"{said.seconds:g} s are less than a large model needs"
    return 0.0, f"{said.seconds:g} s are enough for either"


def _personal(said: Answers) -> Pointing:
    if said.personal:
        return 0.75, "a reply needs personal data, which a hosted model reads masked only"
    return 0.0, "a reply needs no personal data"


_CRITERIA = (
    _Criterion(
        "wording",
        3,
        _by(
            {
                "fixed": (1.0, "customers ask for it in much the same words"),
                "varied": (0.5, "a head learns varied wordings from examples"),
                "open": (-0.5, "nobody can list how it is asked for"),
            },
            "wording",
        ),
    ),
    _Criterion(
        "answer",
        3,
        _by(
            {
                "template": (1.0, "the reply is a template"),
                "record": (1.0, "the reply is a record's facts in a template"),
                "articles": (-0.25, "the reply is put together from articles"),
                "open": (-1.0, "the reply is free text"),
            },
            "answer",
        ),
    ),
    _Criterion("steps", 2, _steps),
    _Criterion("examples", 2, _examples),
    _Criterion("volume", 2, _volume),
    _Criterion("time", 1, _time),
    _Criterion("personal data", 1, _personal),
    _Criterion(
        "change",
        1,
        _by(
            {
                "rarely": (0.5, "the rules behind it hardly change"),
                "monthly": (0.0, "the rules behind it change monthly"),
                "weekly": (-0.5, "the rules behind it change weekly: a model is out of date soon"),
            },
            "changes",
        ),
    ),
)


def card_of(
    intent: str, answers: Answers, workflow: Workflow, measured: Measured | None = None
) -> Card:
    """The verdict on one intent: what speaks for which, weighed, and what overrules it."""
    reasons = [
        Reason(criterion=name, points=points, weight=weight, because=because)
        for name, weight, look in _CRITERIA
        for points, because in [look(answers)]
    ]
    known = measured or Measured()
    reasons += _from_figures(answers, known)
    score = sum(r.points * r.weight for r in reasons) / sum(r.weight for r in reasons)
    verdict: Verdict = "small" if score >= CLEAR else "large" if score <= -CLEAR else "hybrid"
    verdict, wires = _tripped(verdict, answers, workflow, known)
    return Card(
        intent=intent,
        verdict=verdict,
        score=round(score, 3),
        reasons=tuple(sorted(reasons, key=lambda r: -abs(r.points * r.weight))),
        tripwires=tuple(wires),
    )


def _from_figures(answers: Answers, known: Measured) -> list[Reason]:
    """What was measured weighs more than what somebody expects."""
    found: list[Reason] = []
    if known.accuracy is not None and known.labels >= ENOUGH:
        # A tenth above what is needed is as good as it gets, a tenth below as bad.
        points = max(-1.0, min(1.0, (known.accuracy - answers.needed) * 10))
        told = f"{known.accuracy:.0%} of {known.labels} labelled messages were taken rightly, {answers.needed:.0%} are needed"
        found.append(
            Reason(criterion="accuracy", points=points, weight=4, because=told, measured=True)
        )
    if known.left_open is not None and known.messages >= ENOUGH:
        points = 1.0 - 2 * min(1.0, known.left_open / OPEN_SHARE)
        told = f"the small models left {known.left_open:.0%} of {known.messages} messages open"
        found.append(Reason(criterion="sure", points=points, weight=3, because=told, measured=True))
    if known.failed is not None and known.outcomes >= ENOUGH:
        points = 1.0 - 2 * min(1.0, known.failed / FAILED_SHARE)
        told = f"{known.failed:.0%} of {known.outcomes} outcomes were a failure, a correction or a reviewer's no"
        found.append(
            Reason(criterion="outcome", points=points, weight=3, because=told, measured=True)
        )
    return found


def _tripped(
    verdict: Verdict, answers: Answers, workflow: Workflow, known: Measured
) -> tuple[Verdict, list[str]]:
    wires: list[str] = []
    if verdict == "small" and answers.examples < FEWEST_EXAMPLES:
        verdict = "hybrid"
        wires.append(
            f"fewer than {FEWEST_EXAMPLES} examples: a large model decides until there are more"
        )
    if verdict == "small" and answers.answer == "open":
        verdict = "hybrid"
        wires.append("free text is not written by a small model: it routes, a large one writes")
    if verdict == "small" and known.labels >= ENOUGH and (known.accuracy or 0) < answers.needed:
        verdict = "hybrid"
        wires.append("measured accuracy is below what is needed: doubtful messages go up a tier")
    if verdict == "small" and known.messages >= ENOUGH and (known.left_open or 0) > OPEN_SHARE:
        verdict = "hybrid"
        wires.append(f"more than {OPEN_SHARE:.0%} are left open: those go up a tier")
    stays = answers.personal and answers.stays and not workflow.large_is_local
    if verdict != "small" and (stays or not workflow.large_model):
        why = "personal data stays in the house" if stays else "there is no large model"
        verdict = "small"
        wires.append(f"{why}: the small models, a question back, or a person")
    if answers.consequence is Consequence.IRREVERSIBLE:
        wires.append("it cannot be undone: whichever model understands it, a person approves")
    elif answers.consequence is Consequence.RETRY_UNSAFE:
        wires.append("a repetition would do it twice: it runs under a key, after a confirmation")
    elif answers.consequence is Consequence.UNKNOWN:
        wires.append("nobody declared what a mistake does: a person approves it until somebody has")
    if verdict != "large":
        wires.append(
            f"look again when accuracy falls below {answers.needed:.0%}, or more than {OPEN_SHARE:.0%} are left open"
        )
    return verdict, wires


def form_of(
    domain: Domain, labelled: Mapping[str, int], *, large_model: bool, large_is_local: bool
) -> str:
    """A workflow's file as far as a business declares it; the rest is to be answered.

    ``labelled`` says how many labelled messages of an intent there are beside the catalogue's own."""
    found: dict[str, dict[str, object]] = {}
    for intent in domain.intents.intents:
        if intent.role is not None:
            continue
        operation = domain.operations.get(intent.operation or "")
        answer = {"operation": "record", "answer": "articles", "direct": "template"}
        found[intent.name] = {
            "daily": None,
            "wording": "varied",
            "answer": answer.get(intent.lane, "open"),
            "steps": 2 if intent.lane == "agent" else int(intent.served),
            "examples": len(intent.examples) + labelled.get(intent.name, 0),
            "seconds": 5,
            "personal": intent.served or bool(intent.records),
            "stays": domain.profile.residency == "local",
            "changes": "rarely",
            "consequence": str(operation.consequence if operation else Consequence.SAFE),
            "needed": 0.95 if operation is not None and operation.writes else 0.9,
        }
    told = (
        "# What `signalbox scorecard` asks of each intent. answer, steps, examples, personal, stays, consequence and\n"
        "# needed are as the business declares them, the rest is a guess: put it right.\n"
        "# daily (messages a day), wording (fixed, varied, open), answer (template, record, articles, open), steps,\n"
        "# examples (labelled messages), seconds (a customer waits gladly), personal, stays (in the house), changes\n"
        "# (rarely, monthly, weekly), consequence, needed (share of right decisions below which it does harm).\n"
    )
    whole = {"large_model": large_model, "large_is_local": large_is_local, "intents": found}
    return told + yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)

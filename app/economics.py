"""What turns asked of models and cost: the values that are recorded, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import yaml
from pydantic import TypeAdapter, computed_field

from app.models.metering import LlmCall, Noted, Prices, ProcessUse, SmallCall, Usage
from tools.values import Record, Tier

#: Lanes whose turns are work that somebody wanted done; small talk that went well resolves nothing.
TASKS = ("operation", "answer", "agent", "escalate")


class Limits(Record):
    """What may be spent on large models, in the price file's currency; 0: whatever it costs."""

    day: float = 0.0  #: By everybody, between two midnights UTC.
    customer: float = 0.0  #: By one customer, likewise.
    turn: float = 0.0


class ModelUse(Record):
    """What one turn, or several, asked of one model in one role."""

    tier: str
    role: str  #: Empty for encoders: one reading serves several heads.
    model: str
    local: bool
    masked: bool
    calls: int
    failed: int
    read: int
    cached: int  #: Among those that were read.
    written: int
    cost: float | None  #: None: the model has no known price.


class TurnUse(Record):
    """What one turn asked of models, and what came of it."""

    turn: str
    thread: str
    customer: str
    at: datetime
    lane: str | None = None
    tier: str | None = None
    outcome: str | None = None
    seconds: float = 0.0
    llm_calls: int = 0
    cost: float = 0.0
    unpriced: int = 0  #: Calls whose cost nobody knows.
    models: tuple[ModelUse, ...] = ()


class Line(Record):
    """Turns of one kind: how many, what they cost, what came of them."""

    turns: int = 0
    with_llm: int = 0
    escalated: int = 0
    resolved: int = 0  #: Tasks that ended well; small talk is none.
    cost: float = 0.0
    unpriced: int = 0

    @computed_field
    @property
    def llm_share(self) -> float | None:
        return self.with_llm / self.turns if self.turns else None

    @computed_field
    @property
    def escalation_rate(self) -> float | None:
        return self.escalated / self.turns if self.turns else None

    @computed_field
    @property
    def cost_per_resolved(self) -> float | None:
        """None: nothing was resolved."""
        return self.cost / self.resolved if self.resolved else None

    def __add__(self, other: Line) -> Line:
        return Line(
            turns=self.turns + other.turns,
            with_llm=self.with_llm + other.with_llm,
            escalated=self.escalated + other.escalated,
            resolved=self.resolved + other.resolved,
            cost=self.cost + other.cost,
            unpriced=self.unpriced + other.unpriced,
        )


def summed(lines: Iterable[Line]) -> Line:
    return sum(lines, Line())


class Asked(Record):
    """In how many turns of a lane a large model was asked in a role."""

    lane: str
    role: str
    turns: int


class Spent(Record):
    """What went over a span of days, by what it was for."""

    since: datetime
    until: datetime
    lanes: dict[str, Line]  #: ``none``: handed off, refused, or cut off before a lane was known.
    domains: dict[str, Line]
    customers: dict[str, Line]  #: Those who cost most.
    dearest: tuple[TurnUse, ...]  #: The turns that cost most.
    models: tuple[ModelUse, ...]  #: By tier, role and model.
    asked: tuple[Asked, ...] = ()

    @computed_field
    @property
    def total(self) -> Line:
        return summed(self.lanes.values())


def uses_of(noted: Noted, prices: Prices) -> list[ModelUse]:
    """The calls of a turn by tier, role and model, with what they cost."""
    calls: list[LlmCall | SmallCall] = [*noted.small, *noted.calls]
    found = dict[tuple[Tier, str, str, bool, bool], ModelUse]()
    for call in calls:
        key = (call.tier, call.role, call.model, call.local, call.masked)
        one = ModelUse(
            tier=call.tier,
            role=call.role,
            model=call.model,
            local=call.local,
            masked=call.masked,
            calls=1,
            failed=int(call.ending != "ok"),
            read=call.usage.read,
            cached=call.usage.cached,
            written=call.usage.written,
            cost=prices.cost(call),
        )
        found[key] = added(found[key], one) if key in found else one
    return [*found.values()]


def added(one: ModelUse, other: ModelUse) -> ModelUse:
    """Both together; a cost that nobody knows stays unknown."""
    unknown = one.cost is None or other.cost is None
    return one.model_copy(
        update={
            "calls": one.calls + other.calls,
            "failed": one.failed + other.failed,
            "read": one.read + other.read,
            "cached": one.cached + other.cached,
            "written": one.written + other.written,
            "cost": None if unknown else (one.cost or 0.0) + (other.cost or 0.0),
        }
    )


def cost_of(uses: Sequence[ModelUse]) -> float:
    """What is known of it."""
    return sum(use.cost or 0.0 for use in uses)


class Typical(Record):
    """What a call in a role reads and writes."""

    read: float
    written: float
    calls: int = 0  #: Of how many it is the mean.


class Baseline(Record):
    """The same turns with a large model asked for everything, computed."""

    model: str
    calls: int  #: Those that were made, and those that were not.
    read: int
    written: int
    cost: float | None  #: None: the model has no price.
    resolved: int

    @computed_field
    @property
    def cost_per_resolved(self) -> float | None:
        return None if self.cost is None or not self.resolved else self.cost / self.resolved


class BudgetState(Record):
    """What may be spent, what was, and how often a call was not made because of it."""

    limits: Limits
    spent_today: float
    refused: dict[str, int]  #: Of this process, by which budget it was.


class Economics(Record):
    """What went over a span, beside what it would have cost with a large model for everything."""

    days: float
    currency: str
    spent: Spent
    baseline: Baseline
    budgets: BudgetState
    process: ProcessUse  #: What this process asked of large models since its start.


#: What a large model would be asked in a turn of each lane: to understand it, and to write what is said. What it
#: would be asked beyond (to judge each step of a plan, to check a draft) is left out.
FOR_EVERYTHING = {
    "direct": ("understand",),
    "operation": ("understand", "escalation"),
    "answer": ("understand", "synthesizer"),
    "agent": ("understand", "planner", "escalation"),
    "escalate": ("understand", "escalation"),
    "none": ("understand",),
}
#: From so many calls on a role's own figures are taken, else the measured ones.
ENOUGH = 20
MEASURED = Path(__file__).parent / "models" / "typical_calls.yaml"


@cache
def measured_calls() -> Mapping[str, Typical]:
    """What calls read and write where a deployment has made too few of its own."""
    found = yaml.safe_load(MEASURED.read_text("utf-8"))
    return TypeAdapter(dict[str, Typical]).validate_python(found["roles"])


def typical_calls(spent: Spent) -> dict[str, Typical]:
    """What a call in each role reads and writes: the mean of the span's own, where there are enough."""
    found = dict(measured_calls())
    for role in found:
        own = [use for use in spent.models if use.tier == "large" and use.role == role]
        calls = sum(use.calls - use.failed for use in own)
        if calls >= ENOUGH:
            read, written = sum(use.read for use in own), sum(use.written for use in own)
            found[role] = Typical(read=read / calls, written=written / calls, calls=calls)
    return found


def baseline_of(spent: Spent, prices: Prices, model: str) -> Baseline:
    """What these turns would have cost with ``model`` asked for everything: the calls that were made as they were, and
    those that were not as a call in their role is."""
    typical, made = typical_calls(spent), {(one.lane, one.role): one.turns for one in spent.asked}
    calls, read, written = 0, 0.0, 0.0
    for lane, line in spent.lanes.items():
        for role in FOR_EVERYTHING.get(lane, FOR_EVERYTHING["none"]):
            missing = max(0, line.turns - made.get((lane, role), 0))
            calls += missing
            read += missing * typical[role].read
            written += missing * typical[role].written
    price = prices.models.get(model)
    missing_cost = None if price is None else price.of(Usage(round(read), round(written)))
    large = [use for use in spent.models if use.tier == "large"]
    return Baseline(
        model=model,
        calls=calls + sum(use.calls for use in large),
        read=round(read) + sum(use.read for use in large),
        written=round(written) + sum(use.written for use in large),
        cost=None if missing_cost is None else missing_cost + cost_of(large),
        resolved=spent.total.resolved,
    )

"""The scenarios of a domain's ``evals/examples.yaml`` and how one is graded: by what happened, then by what was said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from tools.importing.problems import FilesInvalid
from tools.importing.yaml_files import read_file, validated
from tools.records import RecordView
from tools.values import Lane

#: In the folder ``evals`` of a domain.
EXAMPLES = "examples.yaml"


class Case(BaseModel):
    """A part of a case file; what the schema does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Expect(Case):
    """What must be true of one step; only what is named is compared."""

    lane: Lane | None = None
    operation: str | None = None
    llm_calls: int | None = None
    reply_contains_any: tuple[str, ...] = ()
    reply_excludes: tuple[str, ...] = ()
    approval: Literal["pending", "none"] | None = None
    executed: int | None = None
    handoff: bool | None = None
    citations: bool | None = None


class Step(Case):
    """The customer says something, the operator decides, or news arrives: exactly one of these."""

    say: str | None = None
    length: int | None = None
    while_asked: int = Field(default=1, ge=1)
    approve: bool | None = None
    expect_event: str | None = None
    expect: Expect = Expect()

    @property
    def text(self) -> str:
        """What is really sent."""
        text = self.say or ""
        if self.length is None:
            return text
        return (text * (self.length // max(len(text), 1) + 1))[: self.length]

    def __str__(self) -> str:
        if self.say is not None:
            return f"{self.say[:60]!r}"
        if self.approve is not None:
            return "approve" if self.approve else "reject"
        return f"news ({self.expect_event})"


class End(Case):
    """The customer's records after the last step, as the domain itself reads them; only what is named is compared."""

    records: dict[str, str] = {}  #: State of each, by its id.
    facts: dict[str, dict[str, JsonValue]] = {}  #: What is known of each, by its id.
    new: dict[str, int] = {}  #: How many of a kind were added during the scenario.


class Scenario(Case):
    """A conversation that must be held."""

    id: str
    customer: str
    title: str = ""
    llm_calls_at_most: int | None = None
    steps: tuple[Step, ...]
    end: End = End()
    end_of_others: dict[str, End] = {}


class _Scenarios(Case):
    scenarios: tuple[Scenario, ...]


class ScenariosInvalid(ValueError):
    """The file of scenarios cannot be played; the text says what to do."""


def load_scenarios(path: Path) -> tuple[Scenario, ...]:
    """The scenarios of a file. Raises ScenariosInvalid, with file and line, where it cannot be played."""
    try:
        read = read_file(path.read_bytes(), f"{path.parent.name}/{path.name}")
        return validated(_Scenarios, read).scenarios
    except FileNotFoundError as error:
        raise ScenariosInvalid(
            f"{path} is missing: write conversations as docs/your-own-domain.md shows."
        ) from error
    except (OSError, FilesInvalid) as error:
        raise ScenariosInvalid(f"{path.parent.parent}:\n{error}") from error


@dataclass
class Seen:
    """What one step showed. ``llm_calls`` is counted at the model; ``said_calls`` is what the reply claims."""

    reply: str = ""
    lane: str | None = None
    operation: str | None = None
    llm_calls: int = 0
    said_calls: int = 0
    executed: int = 0
    pending: bool = False
    handoff: bool = False
    citations: int = 0
    errors: list[str] = field(default_factory=list[str])
    news: str | None = None  #: Status of the outcome that reached the thread.


Standing = Mapping[str, RecordView]
"""A customer's records by their ids."""


def step_problems(step: Step, seen: Seen) -> list[str]:
    """Why this step is not as expected; empty when it is."""
    expect, found = step.expect, list(seen.errors)
    reply = seen.reply.casefold()

    def compare(what: str, wanted: object, got: object) -> None:
        if wanted is not None and wanted != got:
            found.append(f"{what} is {got}, not {wanted}")

    compare("lane", expect.lane, seen.lane)
    compare("operation", expect.operation, seen.operation)
    compare("LLM calls", expect.llm_calls, seen.llm_calls)
    compare("writes executed", expect.executed, seen.executed)
    compare("hand-off", expect.handoff, seen.handoff)
    if expect.approval is not None:
        compare("approval", expect.approval, "pending" if seen.pending else "none")
    if expect.citations is not None and expect.citations != bool(seen.citations):
        found.append(f"{seen.citations} citations")
    if expect.reply_contains_any and not any(
        words.casefold() in reply for words in expect.reply_contains_any
    ):
        found.append(f"none of {list(expect.reply_contains_any)} is said")
    found += [f"{words!r} is said" for words in expect.reply_excludes if words.casefold() in reply]
    if step.expect_event is not None:
        compare("the news' status", step.expect_event, seen.news)
    if step.say is not None and seen.said_calls != seen.llm_calls:
        found.append(f"the turn says {seen.said_calls} LLM calls, {seen.llm_calls} were made")
    return found


def end_problems(end: End, before: Standing, after: Standing) -> list[str]:
    """How the records differ from what they should be after the scenario."""
    found: list[str] = []
    for number, wanted in end.records.items():
        got = after[number].state if number in after else None
        if got != wanted:
            found.append(f"{number} is {got!r}, not {wanted!r}")
    for number, facts in end.facts.items():
        known = after[number].facts if number in after else {}
        found += [
            f"{name} of {number} is {known.get(name)!r}, not {value!r}"
            for name, value in facts.items()
            if known.get(name) != value
        ]
    for kind, wanted in end.new.items():
        added = sum(one.kind == kind for number, one in after.items() if number not in before)
        if added != wanted:
            found.append(f"{added} new of {kind}, not {wanted}")
    return found

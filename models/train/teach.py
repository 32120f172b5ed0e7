"""A large model in the part of the teacher: it writes messages for each intent of a business as customers write them, a
second pass labels them without the label in sight, and what agrees is kept as examples."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml
from babel import Locale
from pydantic import BaseModel, ConfigDict, ValidationError
from rapidfuzz import utils

import prompts
from models.train.kept_out import leaks, measured
from models.train.understanding import SOURCE, Example, Source, examples_of, read_examples
from tools.domain import Domain
from tools.intents import Intent
from tools.ports import LargeModel, ModelOutputInvalid

Progress = Callable[[str, int, int], None]
Form = TypeVar("Form", bound=BaseModel)

#: In a domain's folder of examples.
TAUGHT = "taught.jsonl"
#: Messages of one call: more do not fit into the answer that a model may give.
AT_ONCE = 6
#: Intents that are written for at the same time; their messages are labelled together, in no order.
_TOGETHER = 4
#: So many calls for one intent that brought nothing new end the work on it.
_FRUITLESS = 3
NONE = "none"

PERSONAS = (
    "a hurried parent on the telephone's keyboard",
    "a retired person who writes whole, polite sentences",
    "a student who writes in lower case and abbreviates",
    "somebody whose first language is another one",
    "a small company's owner who has no time",
    "a technically skilled person with precise words",
    "a person who tells the whole story before the point",
    "a person of few words",
)
MOODS = ("calm", "worried", "annoyed", "furious", "friendly", "confused")
POSITIONS = (
    "the first message of the conversation.",
    "the answer to a question that the assistant has asked; short, as answers are.",
    "later, after the assistant told or offered something that did not settle the matter.",
    "later, a new matter after another one was settled.",
)
_UPSET = ("annoyed", "furious")


class Situation(NamedTuple):
    """Who writes, in which mood and language, and where in the conversation."""

    persona: str
    mood: str
    language: str
    position: str


def situations(languages: Sequence[str], seed: int) -> Iterator[Situation]:
    """Every combination once, in an order in which neighbours differ in everything."""
    every = [
        Situation(persona, mood, language, position)
        for persona in PERSONAS
        for mood in MOODS
        for language in languages
        for position in POSITIONS
    ]
    random.Random(seed).shuffle(every)
    return iter(every)


@dataclass
class Taught:
    """What came of it."""

    kept: Counter[str] = field(default_factory=Counter[str])
    calls: int = 0
    written: int = 0
    disagreed: int = 0  #: The second pass read something else in it.
    known: int = 0  #: It is among the examples already, or nearly.
    measured: int = 0  #: It is in an evaluation set, or nearly.
    unusable: int = 0  #: Answers that were none.

    def as_json(self) -> dict[str, Any]:
        return {
            "kept": self.kept.total(),
            "by_intent": dict(sorted(self.kept.items())),
            **{
                name: getattr(self, name)
                for name in ("calls", "written", "disagreed", "known", "measured", "unusable")
            },
        }


class _Said(BaseModel):
    model_config = ConfigDict(extra="ignore")

    text: str
    before: str = ""


class _Written(BaseModel):
    messages: tuple[_Said, ...]


class _Label(BaseModel):
    number: int
    intent: str


class _Labels(BaseModel):
    labels: tuple[_Label, ...]


class Teacher:
    """Writes and labels through the large-model port, and keeps what agrees after every round."""

    def __init__(
        self,
        domain: Domain,
        model: LargeModel,
        *,
        called: str,
        languages: Sequence[str] = (),
        seed: int = 7,
        paying: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> None:
        """``called``: the model's name in source.yaml; ``languages``: those of the business where none is named;
        ``paying``: around each round, for whoever counts what it costs."""
        self._domain = domain
        self._model = model
        self._seed = seed
        self._paying = paying
        self._called = called
        self._languages = languages or domain.profile.languages
        self._file = domain.examples / TAUGHT
        self._random = random.Random(seed)
        #: What several wishes at once are is said by examples that name each of them; a teacher of one cannot.
        self._intents = {one.name: one for one in domain.intents.intents if one.role != "several"}
        self._measured = measured(domain.cases)
        self._known = [one.text for one in examples_of(domain)]
        self.taught = Taught()

    def there(self) -> Counter[str]:
        """How many messages of each intent an earlier run has kept."""
        if not self._file.exists() or not self._file.read_text("utf-8").strip():
            return Counter()
        return Counter(str(one.intent) for one in read_examples([self._file]))

    async def teach(
        self,
        per_intent: int,
        only: Sequence[str] = (),
        progress: Progress = lambda what, done, of: None,
    ) -> Taught:
        """Write until every intent has ``per_intent`` messages that were taught, those of earlier runs counted."""
        wanted = [one for name, one in self._intents.items() if not only or name in only]
        have = self.there()
        # What an earlier run has used up is not asked again.
        settings = {
            one.name: islice(
                situations(self._languages, self._seed + n), have[one.name] // AT_ONCE, None
            )
            for n, one in enumerate(wanted)
        }
        fruitless: Counter[str] = Counter()
        total = per_intent * len(wanted)
        while open_ := [
            one
            for one in wanted
            if have[one.name] < per_intent and fruitless[one.name] < _FRUITLESS
        ]:
            progress("teaching", sum(min(have[one.name], per_intent) for one in wanted), total)
            some = open_[:_TOGETHER]
            chosen = [(one, next(settings[one.name], None)) for one in some]
            for one, situation in chosen:
                if situation is None:
                    fruitless[one.name] = _FRUITLESS
            async with self._paying():
                kept = await self._round([(one, s) for one, s in chosen if s is not None])
            room = {one.name: per_intent - have[one.name] for one in some}
            kept = [
                one
                for number, one in enumerate(kept)
                if sum(other.intent == one.intent for other in kept[:number])
                < room[str(one.intent)]
            ]
            self._keep(kept)
            new = Counter(str(one.intent) for one in kept)
            for one in some:
                fruitless[one.name] = 0 if new[one.name] else fruitless[one.name] + 1
            have += new
        progress("teaching", total, total)
        return self.taught

    # --- a round: written for some intents, labelled together ---------------------------------------

    async def _round(self, some: Sequence[tuple[Intent, Situation]]) -> list[Example]:
        written = [
            one
            for batch in await asyncio.gather(*(self._write(*one) for one in some))
            for one in batch
        ]
        fresh = self._fresh(written)
        self._random.shuffle(fresh)
        labels: list[str | None] = []
        for start in range(0, len(fresh), AT_ONCE * 2):
            labels += await self._label(fresh[start : start + AT_ONCE * 2])
        agreed = [one for one, label in zip(fresh, labels, strict=True) if label == one.intent]
        self.taught.disagreed += len(fresh) - len(agreed)
        return agreed

    def _fresh(self, written: Sequence[Example]) -> list[Example]:
        """What neither an evaluation set nor the examples hold yet, word for word or nearly so."""
        texts = [one.text for one in written]
        secret = {leak.example for leak in leaks(texts, self._measured)}
        alike = {leak.example for leak in leaks(texts, self._known)}
        same = {utils.default_process(text) for text in self._known}
        found: list[Example] = []
        for place, one in enumerate(written):
            plain = utils.default_process(one.text)
            if place in secret:
                self.taught.measured += 1
            elif place in alike or not plain or plain in same:
                self.taught.known += 1
            else:
                found.append(one)
                same.add(plain)
        return found

    async def _write(self, intent: Intent, situation: Situation) -> list[Example]:
        others = "\n".join(self._told(one) for one in self._intents.values() if one != intent)
        asked = prompts.load("teach").messages(
            persona=situation.persona,
            mood=situation.mood,
            language=Locale.parse(situation.language).get_display_name("en"),
            position=situation.position,
            business=self._domain.name,
            intent=self._told(intent),
            examples="\n".join(intent.examples),
            others=others,
            count=AT_ONCE,
        )
        text = {"type": "string"}
        message = _object({"text": text, "before": text})
        schema = _object({"messages": {"type": "array", "items": message}})
        values = await self._asked("teach", asked, schema, _Written)
        first = situation.position == POSITIONS[0]
        found = [
            Example(
                text=one.text.strip(),
                intent=intent.name,
                before="" if first else one.before.strip(),
                lang=situation.language,
                upset=situation.mood in _UPSET,
            )
            for one in (values.messages if values else ())
            if one.text.strip()
        ]
        self.taught.written += len(found)
        return found

    async def _label(self, some: Sequence[Example]) -> list[str | None]:
        """What a second reading takes each message for."""
        lines = [
            f"{number}. {f'(after: {one.before}) ' if one.before else ''}{one.text}"
            for number, one in enumerate(some, 1)
        ]
        asked = prompts.load("label").messages(
            business=self._domain.name,
            intents="\n".join(map(self._told, self._intents.values())),
            messages="\n".join(lines),
        )
        label = _object(
            {
                "number": {"type": "integer"},
                "intent": {"type": "string", "enum": [*self._intents, NONE]},
            }
        )
        schema = _object({"labels": {"type": "array", "items": label}})
        values = await self._asked("label", asked, schema, _Labels)
        read = {one.number: one.intent for one in values.labels} if values else {}
        return [read.get(number) for number in range(1, len(some) + 1)]

    async def _asked(
        self, role: str, asked: prompts.Messages, schema: dict[str, Any], form: type[Form]
    ) -> Form | None:
        """The answer in its form; None where it is none, which costs this call and no more."""
        self.taught.calls += 1
        try:
            filled = await self._model.fill(role, asked.system, asked.user, schema)
            return form.model_validate(filled.values)
        except (ModelOutputInvalid, ValidationError):
            self.taught.unusable += 1
            return None

    def _told(self, intent: Intent) -> str:
        about = intent.description or intent.name.replace("_", " ")
        operation = self._domain.operations.get(intent.operation or "")
        does = f" ({operation.summary})" if operation is not None and operation.summary else ""
        return f"{intent.name}: {about}{does}"

    # --- what is kept --------------------------------------------------------------------------------

    def _keep(self, some: Sequence[Example]) -> None:
        """Add the messages to the file and say who wrote them: a run that is broken off loses one round."""
        if not some:
            return
        self._known += [one.text for one in some]
        self.taught.kept.update(str(one.intent) for one in some)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            for one in some:
                line = one.model_dump(exclude_defaults=True, exclude={"intents"})
                file.write(json.dumps({**line, "lang": one.lang}, ensure_ascii=False) + "\n")
        note_teacher(self._domain.examples, self._called)


def note_teacher(examples: Path, model: str) -> None:
    """Say in source.yaml which model wrote the taught messages, and leave all else in it as it is."""
    teachers = Source.of(examples).taught_by
    if model in teachers:
        return
    file = examples / SOURCE
    before = file.read_text("utf-8") if file.exists() else ""
    lines = [line for line in before.splitlines() if not line.startswith("taught_by:")]
    said = yaml.safe_dump({"taught_by": [*teachers, model]}, default_flow_style=None, width=1000)
    file.write_text("".join(f"{line}\n" for line in lines) + said, "utf-8")


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "additionalProperties": False,
    }

"""What a new business's files may say of each operation that a system offers: proposed here, confirmed by a person.

Nothing that is proposed exists for the agent. A proposal is made of the operation's own words, of its method or of
its server's hints, and of what the consequence head thinks; the gravest of them counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from graphs.consequences import CLASSES, Judged, admits, described, opening
from tools.importing.mcp_tools import Tool
from tools.importing.openapi import ApiOperation, snake
from tools.importing.schemas import kind_of
from tools.intents import spoken
from tools.values import Consequence

#: Judges a described operation, as the role `consequence` does.
Judge = Callable[[str], Judged]

_READS = frozenset({"get", "head", "options"})
_PERSON = "customer|user|client|member|owner|guest|buyer|shopper|rider|subscriber|patient|passenger"
#: Arguments that say for whom something is asked: they are filled from the login, never from words.
_WHOSE = re.compile(rf"^(?:for_)?(?:{_PERSON})(?:_?(?:id|sid|uuid|number))?$")
_REPEATS = re.compile(r"idempoten(?:cy|t)", re.IGNORECASE)
#: What no reply speaks of, whatever an answer holds.
_SECRET = re.compile(r"secret|token|passw|key|hash|cvc|cvv|iban|pin\b|signature|card_?number|ssn")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MOST_TOLD = 6


@dataclass(frozen=True)
class Offered:
    """One operation that a system offers, told alike for a document's and a tool server's."""

    system: str
    id: str  #: As the system names it.
    called: str  #: For people: ``POST /rentals``, ``the tool open_locker``.
    title: str
    description: str = ""
    method: str | None = None
    path: str = ""
    takes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    required: frozenset[str] = frozenset()
    placed: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    gives: Mapping[str, Any] = field(default_factory=dict[str, Any])
    statuses: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    hints: Tool | None = None

    @property
    def text(self) -> str:
        """What a judge of consequences is shown."""
        said = f"{self.title}. {self.description}"
        return described(self.id, said, self.method, list(self.takes))

    def concerns(self, wanted: Sequence[str]) -> bool:
        """Whether a person who wants only some of a large document means this one."""
        shown = " ".join((self.id, self.called, *self.tags)).casefold()
        return not wanted or any(one.casefold() in shown for one in wanted)


def of_document(system: str, one: ApiOperation) -> Offered:
    """An operation of an OpenAPI document."""
    return Offered(
        system=system,
        id=one.id,
        called=one.called,
        title=_plain(one.summary or _sentence(one.description)) or spoken(one.id).capitalize(),
        description=_plain(one.description),
        method=one.method,
        path=one.path,
        takes={name: source.schema for name, source in one.sources.items()},
        required=one.required,
        placed={name: (source.place, source.name) for name, source in one.sources.items()},
        gives=one.answer,
        statuses=one.statuses,
        tags=one.tags,
    )


def of_tool(system: str, tool: Tool) -> Offered:
    """A tool of an MCP server. Raises KeyError where it cannot be used."""
    schema = tool.arguments()
    return Offered(
        system=system,
        id=tool.name,
        called=f"the tool {tool.name}",
        title=spoken(tool.name).capitalize(),
        description=tool.description,
        takes=schema["properties"],
        required=frozenset(schema["required"]),
        hints=tool,
    )


# --- the class ------------------------------------------------------------------------------------


def class_of(one: Offered, judge: Judge | None = None) -> tuple[Consequence, str]:
    """The gravest of what method or hints, the text and the head say; and which of them said so."""
    text = one.text
    judged = None if judge is None else judge(text)
    said = [_first_guess(one, judged)]
    if (admitted := admits(text)) is not None:
        said.append((admitted, "its own text says so"))
    if said[0][0] is not Consequence.SAFE:
        said += _by_its_verb(one)
    if judged is not None and judged.write and one.method not in _READS:
        said.append((judged.consequence, "the consequence head thinks so"))
    # Of two that say the same the first is named: it is the plainer reason.
    return max(said, key=lambda each: CLASSES.index(each[0].value))


def _by_its_verb(one: Offered) -> list[tuple[Consequence, str]]:
    """What the verb says that its title begins with, or its path ends in: what is added to ``/refunds`` is a refund."""
    found = [(opening(one.title), f"it begins with {one.title.split(' ')[0]!r}")]
    last = one.path.rstrip("/").rpartition("/")[2]
    if last and "{" not in last:
        found.append((opening(_singular(_noun(one.path))), f"its path ends in {last!r}"))
    return [(consequence, why) for consequence, why in found if consequence is not None]


def _first_guess(one: Offered, judged: Judged | None) -> tuple[Consequence, str]:
    if one.method is not None:
        if one.method in _READS:
            return Consequence.SAFE, f"{one.method.upper()} reads"
        repeatable = one.method in ("put", "delete") or admits(one.text) is not None
        least = Consequence.RETRY_SAFE if repeatable else Consequence.RETRY_UNSAFE
        return least, f"{one.method.upper()} writes"
    hints = one.hints
    if hints is not None and hints.reads:
        return Consequence.SAFE, "the server's hint: it only reads"
    if hints is not None and hints.repeatable:
        return Consequence.RETRY_SAFE, "the server's hint: again is harmless"
    if judged is not None and not judged.write and (hints is None or hints.destroys):
        return (
            Consequence.SAFE,
            "the consequence head thinks that it reads; the server says nothing",
        )
    return Consequence.RETRY_UNSAFE, "nothing says that it only reads"


# --- the customer's own records -------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of record, as the operation that lists some looks like it."""

    name: str
    listed_by: Offered
    declared: Mapping[str, Any]


def kinds_of(offered: Sequence[Offered]) -> dict[str, Kind]:
    """What the operations that list things say of the customer's records, one kind a noun."""
    found: dict[str, Kind] = {}
    for one in sorted(offered, key=lambda each: (_whose(each) is None, each.path.count("/"))):
        kind = _kind(one)
        if kind is not None:
            found.setdefault(kind.name, kind)
    return found


def _kind(one: Offered) -> Kind | None:
    listed = _entries(one.gives)
    whose = _whose(one)
    if one.method != "get" or listed is None or one.required - ({whose} if whose else set()):
        return None
    at, fields = listed
    name = _singular(_noun(one.path))
    number = next((f for f in (f"{name}_id", f"{name}_number", "number", "id", "sid") if f in fields),
                  next((f for f in fields if f.endswith("_id")), None))  # fmt: skip
    if number is None or not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", name):
        return None
    listing: dict[str, Any] = {"operation": one.id}
    if whose is not None:
        listing["arguments"] = {whose: "{{ customer.id }}"}
    if at:
        listing["at"] = at
    state = next((f for f in ("status", "state") if f in fields), None)
    title = next((f for f in ("name", "title", "description", "subject") if f in fields), None)
    dates = [f for f, schema in fields.items() if schema.get("format") in ("date", "date-time")]
    declared: dict[str, Any] = {
        "proposed": (
            f"{one.called} lists them. Delete this line once you have seen that it lists what belongs to "
            "the customer who asks, and nothing else"
            + ("." if whose else ": nothing in its arguments says whose they are.")
        ),
        "list": listing,
        "id": number,
        "label": "{{ " + number + " }}" + (", {{ " + title + " }}" if title else ""),
        **({"state": state} if state else {}),
        "called": list(dict.fromkeys([spoken(name), spoken(_noun(one.path))])),
        **({"words": [title]} if title else {}),
        **({"dates": {snake(f): f for f in dates[:4]}} if dates else {}),
    }
    if isinstance(example := _example(fields[number]), str):
        declared["example"] = example
    return Kind(name, one, declared)


def _entries(gives: Mapping[str, Any]) -> tuple[str, Mapping[str, Mapping[str, Any]]] | None:
    """Where an answer has its list, and the fields of what is listed."""
    if kind_of(gives) == "array":
        return ("", _fields(gives.get("items"))) if _fields(gives.get("items")) else None
    lists = {
        name: _fields(schema.get("items"))
        for name, schema in _fields(gives).items()
        if kind_of(schema) == "array" and _fields(schema.get("items"))
    }
    return next(iter(lists.items())) if len(lists) == 1 else None


def _fields(schema: Any) -> Mapping[str, Mapping[str, Any]]:
    return {
        name: _object(one)
        for name, one in _object(_object(schema).get("properties")).items()
        if isinstance(one, Mapping) and _NAME.fullmatch(name)
    }


def _object(node: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", node) if isinstance(node, Mapping) else {}


def _noun(path: str) -> str:
    """The last part of a path that is spelt out: ``/v1/rentals/{id}`` is about ``rentals``."""
    parts = [p for p in path.split("/") if p and "{" not in p]
    return snake(parts[-1].partition(".")[0]) if parts else ""


def _singular(noun: str) -> str:
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("xes", "x")):
        if noun.endswith(ending):
            return noun.removesuffix(ending) + instead
    return noun.removesuffix("s") if not noun.endswith(("ss", "us", "is")) else noun


def _example(schema: Mapping[str, Any]) -> Any:
    shown = schema.get("examples")
    return cast("list[Any]", shown)[0] if isinstance(shown, list) and shown else None


def _whose(one: Offered) -> str | None:
    return next((name for name in one.takes if _WHOSE.match(snake(name))), None)


# --- one operation of the file --------------------------------------------------------------------


@dataclass(frozen=True)
class Proposal:
    """One operation as the file may declare it, and what else is written for it."""

    name: str
    offered: Offered
    consequence: Consequence
    why: str
    declared: Mapping[str, Any]

    @property
    def title(self) -> str:
        return str(self.declared["title"])

    @property
    def told(self) -> Mapping[str, str]:
        return cast("Mapping[str, str]", self.declared.get("result", {}))


def proposal_of(
    one: Offered,
    name: str,
    kinds: Mapping[str, Kind],
    *,
    judge: Judge | None = None,
    several: bool = False,
) -> Proposal:
    """Everything the file needs for one operation; its class waits for a person."""
    consequence, why = class_of(one, judge)
    waits = {
        "proposed": consequence.value,
        "why": f"{one.called}: {why}. {_sentence(one.description)}".strip()[:200],
    }
    listed = next((kind.name for kind in kinds.values() if kind.listed_by.id == one.id), None)
    if listed is not None:
        shown = {"title": one.title[:80], "consequence": waits, "lists": listed}
        return Proposal(name, one, consequence, why, shown)
    kind, argument = _about(one, kinds)
    arguments = _arguments(one)
    declared: dict[str, Any] = {
        "operation": one.id,
        **({"system": one.system} if several else {}),
        "title": one.title[:80],
        "consequence": waits,
    }
    if kind is not None:
        clear = argument in ("id", f"{kind}_id")
        declared["record"] = kind if clear else {"kind": kind, "argument": argument}
    asked = [a for a in one.required if a not in arguments and a != argument]
    if asked:
        declared["ask"] = {a: _question(a, one.takes[a]) for a in sorted(asked)}
    if arguments:
        declared["arguments"] = arguments
    if consequence is not Consequence.SAFE:
        declared["write"] = _write(one)
    told = [f for f, schema in _fields(one.gives).items() if _may_be_told(f, schema)][:MOST_TOLD]
    if told:
        declared["result"] = {snake(f): f for f in told}
    return Proposal(name, one, consequence, why, declared)


def _about(one: Offered, kinds: Mapping[str, Kind]) -> tuple[str | None, str | None]:
    """Which kind of record it is about, and which of its arguments takes the record's number."""
    for name, kind in kinds.items():
        for argument in one.takes:
            if argument not in one.required or _WHOSE.match(snake(argument)):
                continue
            own = snake(argument) in (f"{name}_id", f"{name}_number", name)
            below = f"{kind.listed_by.path.rstrip('/')}/{{{argument}}}"
            if own or (one.path == below or one.path.startswith(f"{below}/")):
                return name, argument
    return None, None


def _arguments(one: Offered) -> dict[str, Any]:
    """What is filled from the login or never sent."""
    found: dict[str, Any] = {}
    whose = _whose(one)
    if whose is not None:
        found[whose] = "{{ customer.id }}"
    for name, (place, _) in one.placed.items():
        if _REPEATS.search(name) and place in ("header", "body"):
            found[name] = {"drop": True}
    return found


def _write(one: Offered) -> dict[str, Any]:
    """How it is sent; a person settles lost answers until the file says how to look them up."""
    made: dict[str, Any] = {}
    for name, (place, called) in one.placed.items():
        if _REPEATS.search(name) and place in ("header", "body"):
            made["key"] = {place: called, "kept_hours": 24}
    if one.statuses:
        made["done"] = list(one.statuses)
    made["lookup"] = "person"
    return made


def _question(argument: str, schema: Mapping[str, Any]) -> str:
    words = spoken(argument)
    options = schema.get("enum")
    if isinstance(options, list):
        named = ", ".join(
            spoken(str(each)) for each in cast("list[Any]", options) if each is not None
        )
        return f"Which {words}: {named}?"
    if schema.get("format") in ("date", "date-time"):
        return f"For which day ({words})?"
    about = _sentence(str(schema.get("description", ""))).rstrip(".")
    return f"What is the {words}{f' ({about})' if about else ''}?"


def _may_be_told(name: str, schema: Mapping[str, Any]) -> bool:
    plain = kind_of(schema) in ("string", "integer", "number", "boolean")
    return plain and not _SECRET.search(snake(name))


def _sentence(text: str) -> str:
    """The first one, which is the title where a document gives none."""
    return re.split(r"(?<=[.!?])\s", _plain(text), maxsplit=1)[0][:120].rstrip(".")


def _plain(text: str) -> str:
    """Without the HTML that some documents describe themselves in."""
    return " ".join(re.sub(r"<[^<>]{0,200}>", " ", text).split())


# --- what customers would say ---------------------------------------------------------------------


def examples_of(one: Proposal) -> list[str]:
    """Sentences made of the title: a start, and worse than any that a customer wrote."""
    first, _, rest = one.title.rstrip(".").partition(" ")
    wish = f"{first.lower()} {rest}".strip()
    made = [wish, f"please {wish}", f"can you {wish}?", f"I would like to {wish}"]
    made.append(" ".join(one.name.split("_")))
    return list({each.casefold(): each for each in reversed(made)}.values())[::-1]


def names_for(offered: Sequence[Offered]) -> Iterator[tuple[str, Offered]]:
    """A name of ours for each, none given twice."""
    taken: set[str] = set()
    for one in offered:
        made = snake(one.id)[:56] or "operation"
        if not made[0].isalpha():
            made = f"op_{made}"[:56]
        name, number = made, 2
        while name in taken:
            name, number = f"{made}_{number}", number + 1
        taken.add(name)
        yield name, one

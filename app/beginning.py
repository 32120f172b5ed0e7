"""The folder that a new business begins with, made of its API's document and of its MCP servers' tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import yaml

from app.proposing import (
    Judge,
    Kind,
    Offered,
    Proposal,
    examples_of,
    kinds_of,
    names_for,
    of_document,
    of_tool,
    proposal_of,
)
from graphs.consequences import CLASSES
from tools.importing.mcp_tools import Confirmed, Tool, file_of
from tools.importing.openapi import Document, read_document
from tools.values import Consequence

#: More than this is not read by a person who has to confirm each.
MOST_PROPOSED = 60

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Server:
    """An MCP server, as the file will declare it and as it was found."""

    declared: Mapping[str, Any]
    tools: Sequence[Tool]


@dataclass(frozen=True)
class Sources:
    """What a business brings along."""

    document: tuple[bytes, str] | None = None  #: An OpenAPI document and the file's name for it.
    server: Server | None = None
    only: Sequence[str] = ()  #: Only operations whose id, path or tag holds one of these.


@dataclass(frozen=True)
class ToConfirm:
    """Something that only a person can know, and where it is written."""

    file: str
    what: str
    why: str


@dataclass
class Begun:
    """A folder on its way: what is proposed, what a person decided already, what cannot be used."""

    name: str
    title: str
    proposals: list[Proposal]
    kinds: dict[str, Kind]
    systems: dict[str, dict[str, Any]]
    kept: dict[str, bytes]  #: Files that are taken as they are.
    refused: dict[str, str]
    left_out: int = 0
    languages: tuple[str, ...] = ("en",)
    timezone: str = "UTC"
    currency: str = "EUR"
    #: Classes that a person chose, by the operation's name: they stand in the file without a question mark.
    chosen: dict[str, Consequence] = field(default_factory=dict[str, Consequence])

    def drop(self, name: str) -> None:
        """The agent shall not do this at all."""
        dropped = {one.offered.id for one in self.proposals if one.name == name}
        self.proposals = [one for one in self.proposals if one.name != name]
        self.chosen.pop(name, None)
        about = {one.declared.get("lists") or _kind_of(one) for one in self.proposals}
        # A kind that nothing is about any more goes with the operation that lists it.
        self.kinds = {
            kind: one
            for kind, one in self.kinds.items()
            if one.listed_by.id not in dropped or kind in about
        }

    @property
    def files(self) -> dict[str, bytes]:
        """The folder's files, not yet written."""
        return {
            "domain.yaml": _yaml(self._domain(), _DOMAIN_HEAD),
            "operations.yaml": _yaml(self._operations(), _OPERATIONS_HEAD),
            "intents.yaml": _yaml({"intents": [*_SPOKEN, *self._intents()]}, _INTENTS_HEAD),
            "rules.yaml": b"rules: []\n",
            "knowledge/welcome.md": f"# About {self.title}\n\nThis is the customer service of {self.title}.\n".encode(),
            "evals/examples.yaml": _yaml({"scenarios": self._scenarios()}, _EVALS_HEAD),
            **self._backend(),
            **{f"replies/en/{p.name}.md": _reply(p) for p in self.proposals if p.told},
            **self.kept,
        }

    @property
    def to_confirm(self) -> list[ToConfirm]:
        """What waits for a person, in the order in which it is best looked at."""
        found = [
            ToConfirm("operations.yaml", f"records.{name}", str(kind.declared["proposed"]))
            for name, kind in self.kinds.items()
        ]
        for one in self.proposals:
            here = f"operations.{one.name}"
            if one.name not in self.chosen:
                said = f"{one.consequence.value} is proposed: {one.offered.called}: {one.why}"
                found.append(ToConfirm("operations.yaml", f"{here}.consequence", said))
            filled = [n for n, v in one.declared.get("arguments", {}).items() if v == _WHO]
            found += [
                ToConfirm("operations.yaml", f"{here}.arguments.{n}", "is it the customer's id?")
                for n in filled
            ]
            write = one.declared.get("write", {})
            if "key" in write:
                why = "for how many hours does the API keep the key? 24 is a guess"
                found.append(ToConfirm("operations.yaml", f"{here}.write.key", why))
            elif write:
                why = "how is a lost answer settled? A person, until you write a look-up"
                found.append(ToConfirm("operations.yaml", f"{here}.write.lookup", why))
        found.append(ToConfirm("domain.yaml", "identity", "how your login says who is asking"))
        examples = "sentences made of titles: put what customers really write in their place"
        found.append(ToConfirm("intents.yaml", "examples", examples))
        return found

    # --- the files --------------------------------------------------------------------------

    def _domain(self) -> dict[str, Any]:
        return {
            "name": self.title,
            "tenant": re.sub(r"[^a-z0-9_-]+", "-", self.name.lower()).strip("-_") or "business",
            "languages": list(self.languages),
            "timezone": self.timezone,
            "currency": self.currency,
            "systems": self.systems,
            "demo": [{"id": "C-1", "name": "Robin Example"}],
        }

    def _operations(self) -> dict[str, Any]:
        return {
            "records": {name: dict(kind.declared) for name, kind in self.kinds.items()},
            "operations": {one.name: self._declared(one) for one in self.proposals},
        }

    def _declared(self, one: Proposal) -> dict[str, Any]:
        declared = dict(one.declared)
        chosen = self.chosen.get(one.name)
        if chosen is not None:
            declared["consequence"] = chosen.value
            if chosen is Consequence.SAFE:
                declared.pop("write", None)
            else:
                declared.setdefault("write", {"lookup": "person"})
        return declared

    def _intents(self) -> list[dict[str, Any]]:
        taken = {example.casefold() for one in _SPOKEN for example in one["examples"]}
        found: list[dict[str, Any]] = []
        for one in self.proposals:
            examples = [e for e in examples_of(one) if e.casefold() not in taken]
            taken |= {e.casefold() for e in examples}
            if not examples or one.name in _SPOKEN_NAMES:
                continue
            found.append(
                {
                    "name": one.name,
                    "lane": "operation",
                    "operation": one.name,
                    "description": one.title,
                    "examples": examples,
                }
            )
        return found

    def _scenarios(self) -> list[dict[str, Any]]:
        greeted = {
            "id": "is-greeted",
            "customer": "C-1",
            "steps": [{"say": "hello", "expect": {"lane": "direct"}}],
        }
        asked = [
            {
                "id": f"asks-to-{one['operation'].replace('_', '-')}",
                "customer": "C-1",
                "steps": [
                    {
                        # Not as in the examples: what is learnt measures nothing.
                        "say": f"Hello, I have a question. {one['examples'][0]}, if that is possible",
                        "expect": {"operation": one["operation"], "executed": 0},
                    }
                ],
            }
            for one in self._intents()
        ]
        return [greeted, *asked]

    def _backend(self) -> dict[str, bytes]:
        """Conversations are played against the document's examples until there is something better."""
        if "api" not in self.systems:
            return {}
        text = "127.0.0.1:{port}"
        places = re.findall(r"\$\{([A-Z0-9_]+)\}", str(self.systems["api"]))
        given = {name: f"http://{text}" if name.endswith("_API") else "example" for name in places}
        return {"evals/backend.yaml": _yaml({"mock": True, "environment": given}, "")}


def begin(
    name: str, sources: Sources, *, judge: Judge | None = None, progress: Progress | None = None
) -> Begun:
    """What a folder for these sources would hold. Raises FilesInvalid where the document cannot be used."""
    offered: list[Offered] = []
    refused: dict[str, str] = {}
    systems: dict[str, dict[str, Any]] = {}
    kept: dict[str, bytes] = {}
    title = ""
    if sources.document is not None:
        content, file = sources.document
        document = read_document(content, file)
        upper = re.sub(r"\W+", "_", name).upper()
        systems["api"] = {
            "openapi": file,
            "base_url": f"${{{upper}_API}}",
            **_auth(document, upper),
        }
        kept[file] = content
        refused |= document.refused
        refused |= {
            one.called: "is deprecated" for one in document.operations.values() if one.deprecated
        }
        offered += [of_document("api", o) for o in document.operations.values() if not o.deprecated]
        title = document.title
    if sources.server is not None:
        systems["tools"] = dict(sources.server.declared)
        kept[file_of("tools")] = (
            Confirmed(tools=tuple(sources.server.tools)).model_dump_json(indent=1).encode()
        )
        for tool in sources.server.tools:
            try:
                offered.append(of_tool("tools", tool))
            except KeyError as error:
                refused[f"the tool {tool.name}"] = str(error.args[0])
    wanted = [one for one in offered if one.concerns(sources.only)]
    used = wanted[:MOST_PROPOSED]
    kinds = kinds_of(used)
    several = len(systems) > 1
    if several:
        kinds = {n: _in_system(kind) for n, kind in kinds.items()}
    proposals: list[Proposal] = []
    for number, (called, one) in enumerate(names_for(used)):
        proposals.append(proposal_of(one, called, kinds, judge=judge, several=several))
        if progress is not None:
            progress("Proposing operations", number + 1, len(used))
    proposals = [_filled_by_server(one, systems) for one in proposals]
    return Begun(
        name, title or name, proposals, kinds, systems, kept, refused, len(wanted) - len(used)
    )


def server_of(declared: Mapping[str, Any], tools: Sequence[Tool]) -> Server:
    """The server as the file declares it, with the argument by which most of its tools learn for whom."""
    whose = [
        n for tool in tools for n in tool.names() if re.fullmatch(r"(?:customer|user|client)_id", n)
    ]
    if whose and len(whose) * 2 >= len(tools):
        return Server({**declared, "as_customer": max(set(whose), key=whose.count)}, tools)
    return Server(declared, tools)


def confirmed_class(given: str) -> Consequence | None:
    """A class as a person typed it; None where there is none of that name."""
    return Consequence(given) if given in CLASSES else None


def _in_system(kind: Kind) -> Kind:
    listing = {**kind.declared["list"], "system": kind.listed_by.system}
    return Kind(kind.name, kind.listed_by, {**kind.declared, "list": listing})


def _filled_by_server(one: Proposal, systems: Mapping[str, Mapping[str, Any]]) -> Proposal:
    """What the server's entry fills for every tool is no argument of the operation's."""
    filled = systems[one.offered.system].get("as_customer")
    if not isinstance(filled, str):
        return one
    declared = dict(one.declared)
    for key in ("arguments", "ask"):
        if filled in (left := dict(declared.get(key, {}))):
            del left[filled]
            declared[key] = left
            if not left:
                del declared[key]
    return Proposal(one.name, one.offered, one.consequence, one.why, declared)


_WHO = "{{ customer.id }}"
_DOMAIN_HEAD = """\
# Who you are, and which systems are asked. To do: your name, languages, time zone, contact; `identity`, by which
# your login says who is asking; and no `demo` customers once it is real. See docs/your-own-domain.md.
"""
_OPERATIONS_HEAD = """\
# Delete what the agent shall not do. Nothing here exists for the agent until you confirm it:
# - an operation once `consequence` is one of safe, retry_safe, retry_unsafe, irreversible, written by you;
# - a kind of record once its line `proposed` is gone: what lists them is the proof of ownership.
# `signalbox domain check` says what is left.
"""
_INTENTS_HEAD = """\
# What customers want. The sentences are made of the operations' titles: put what customers really write in their
# place, eight or more to an intent. An intent whose operation is not confirmed yet sleeps.
"""
_EVALS_HEAD = """\
# Conversations with what must have happened. Add the ones that must never go wrong, with an `end`.
"""
_SPOKEN: Sequence[Mapping[str, Any]] = (
    {
        "name": "affirm",
        "lane": "direct",
        "examples": ["yes", "yes please", "go ahead", "ok do it", "sure", "that is right", "correct", "please do"],
    },
    {
        "name": "deny",
        "lane": "direct",
        "examples": ["no", "no thanks", "better not", "don't", "stop, not that", "rather not", "leave it", "nope"],
    },
    {
        "name": "greeting",
        "lane": "direct",
        "examples": ["hello", "hi there", "good morning", "hey", "good evening", "hiya", "hello again", "greetings"],
    },
    {
        "name": "thanks",
        "lane": "direct",
        "examples": [
            "thank you", "thanks a lot", "cheers", "great, thanks", "that helps", "much appreciated", "ta", "perfect",
        ],
    },
    {
        "name": "out_of_scope",
        "lane": "direct",
        "examples": [
            "what is the capital of Peru", "write me a poem", "who won the match", "what is 17 times 23",
            "tell me a joke", "what will the weather be", "recommend a film", "translate this into French",
        ],
    },
    {
        "name": "hand_off",
        "lane": "escalate",
        "operation": "hand_off",
        "examples": [
            "let me talk to a person", "I want a human", "get me somebody real", "can a colleague call me",
            "connect me with your staff", "is there anybody there", "I don't want a bot", "real person please",
        ],
    },
)  # fmt: skip
_SPOKEN_NAMES = frozenset(str(one["name"]) for one in _SPOKEN)


def _kind_of(one: Proposal) -> str | None:
    """The kind of record that it is about, however the file says so."""
    record: Any = one.declared.get("record")
    return cast("Mapping[str, str]", record)["kind"] if isinstance(record, Mapping) else record


def _reply(one: Proposal) -> bytes:
    """What is said when it was done: the fields of the answer that may be told."""
    lines = [f"- {name.replace('_', ' ')}: {{{{ result.{name} }}}}" for name in one.told]
    return "\n".join(["# done", f"{one.title}: {{{{ result.label }}}}", "", *lines, ""]).encode()


def _auth(document: Document, upper: str) -> dict[str, Any]:
    """How the document says that one signs in."""
    for scheme in document.security.values():
        kind, name = scheme.get("type"), str(scheme.get("name", ""))
        if kind == "http" and str(scheme.get("scheme", "")).lower() == "basic":
            basic = {"user": f"${{{upper}_USER}}", "password": f"${{{upper}_PASSWORD}}"}
            return {"auth": {"basic": basic}}
        if kind in ("http", "oauth2", "openIdConnect"):
            return {"auth": {"bearer": f"${{{upper}_KEY}}"}}
        if kind == "apiKey" and scheme.get("in") in ("header", "query"):
            return {"auth": {"key": {str(scheme["in"]): name, "value": f"${{{upper}_KEY}}"}}}
    return {}


def _yaml(value: Any, head: str) -> bytes:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return (head + text).encode()

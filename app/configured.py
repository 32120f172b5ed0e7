"""A business that is configuration alone: its folder's files tied to the systems that they name."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.domains import OVERLAY
from app.outside.http import HttpSystem
from app.stores.tickets import forget_tickets, tickets_of, writing_tickets
from prompts.replies import language_now
from tools.desk_operations import DESK_OPERATIONS
from tools.domain import Books, Opening, Profile
from tools.importing.calls import System
from tools.importing.customers import CustomerReader
from tools.importing.declared import Api
from tools.importing.effects import SystemEffects
from tools.importing.expressions import Expressions, Manner
from tools.importing.mcp_tools import Confirmed, file_of
from tools.importing.openapi import Document, read_document
from tools.importing.operations import Built, Tying, all_built, tied_to
from tools.importing.overlay import Overlay, RecordKind, check_overlay, weak_writes
from tools.importing.problems import FilesInvalid, Problem
from tools.importing.records import Account, Records, customer_names
from tools.importing.yaml_files import Read, read_file, validated
from tools.ports import BackendUnavailable
from tools.records import Lexicon, RecordView
from tools.values import Clock, Customer, Operation, Preview


@dataclass
class Business:
    """A configured business: what it can do, and how its systems are reached."""

    folder: Path
    profile: Profile
    overlay: Overlay
    read: Read  #: The overlay's file, for the line of whatever is said about it.
    documents: Mapping[str, Document]
    systems: Mapping[str, System]
    records: Records
    built: Mapping[str, Built]
    expressions: Expressions
    clock: Clock = field(default_factory=Clock)

    @property
    def operations(self) -> dict[str, Operation]:
        """Everything the agent can do: what the file lists and a person confirmed, tickets and hand-offs."""
        tied = {name: tied_to(one, self.account) for name, one in self.built.items()}
        return {**DESK_OPERATIONS, **tied}

    @property
    def lexicon(self) -> Lexicon:
        """What customers call each kind of record."""
        kinds = self.overlay.confirmed.records
        return Lexicon(
            kinds={name: kind.called for name, kind in kinds.items() if kind.called},
            states=_states_of(kinds.values()),
            forms=tuple(kind.example for kind in kinds.values() if kind.example),
        )

    def account(self, customer: Customer) -> Account:
        """The customer's records and facts, to be read from now on."""
        at = self.clock.now()
        languages = (language_now(), customer.facts.get("language"))
        known = [str(one) for one in languages if one in self.profile.languages]
        language = known[0] if known else self.profile.languages[0]
        names = {
            "customer": customer_names(customer),
            "now": at,
            "today": at.astimezone(self.profile.zone).date(),
            "contact": self.profile.contact.in_language(language),
            "language": language,
        }
        return Account(customer, names, language, self.records.load)

    @asynccontextmanager
    async def open_books(self, opening: Opening) -> AsyncGenerator[Books]:
        """Its systems, ready to be asked; closed at the end of the block."""
        self.clock = opening.clock
        with ExitStack() as stack:
            for system in self.systems.values():
                stack.callback(getattr(system, "close", _nothing_to_close))
            for system in self.systems.values():
                # Which tools have changed is known before the first customer comes.
                with suppress(BackendUnavailable):
                    await asyncio.to_thread(getattr(system, "look", _nothing_to_close))
            effects = {
                name: SystemEffects(system, self.built, opening.clock)
                for name, system in self.systems.items()
            }
            yield Books(
                backend=ConfiguredBackend(self.account, self.records),
                customers=CustomerReader(
                    self.profile, self.records, self.expressions, self.profile.tenant
                ),
                transaction=writing_tickets(opening.clock),
                tickets=partial(tickets_of, opening.engine),
                forget=forget_tickets,
                systems=effects,
                health=self.health,
            )

    def health(self) -> dict[str, str]:
        """What of the outside is not as it should be: which system, and why."""
        found = {n: getattr(system, "problem", None) for n, system in self.systems.items()}
        return {name: why for name, why in found.items() if why is not None}


def _states_of(kinds: Iterable[RecordKind]) -> dict[str, tuple[str, ...]]:
    """What customers say of records in each state, whatever kind they are of."""
    found: dict[str, tuple[str, ...]] = {}
    for kind in kinds:
        for state, words in kind.states.items():
            found[state] = (*found.get(state, ()), *words)
    return found


def _nothing_to_close() -> None:
    """A system that holds nothing open."""


class ConfiguredBackend:
    """Previews and reads through the domain's systems, in a thread, never inside a transaction of ours."""

    def __init__(self, account: Callable[[Customer], Account], records: Records) -> None:
        self._account = account
        self._records = records

    async def preview(self, customer: Customer, operation: Operation, arguments: Any) -> Preview:
        return await asyncio.to_thread(operation.preview, self._account(customer), arguments)

    async def read(self, customer: Customer, operation: Operation, arguments: Any) -> BaseModel:
        if operation.writes:
            raise ValueError(f"{operation.name} writes: it goes through the ledger")
        return await asyncio.to_thread(operation.run, self._account(customer), arguments)

    async def records(self, customer: Customer) -> tuple[RecordView, ...]:
        return await asyncio.to_thread(self._records.views, self._account(customer))


# --- reading the folder -----------------------------------------------------------------------------


def read_business(folder: Path, profile: Profile) -> Business:
    """The business in a folder. Raises FilesInvalid with everything that is wrong, by file and line."""
    read = _file(folder / OVERLAY)
    overlay = validated(Overlay, read)
    expressions = Expressions(
        Manner(languages=profile.languages, timezone=profile.timezone, currency=profile.currency)
    )
    check_overlay(overlay, read, expressions)
    problems = [read.problem(["operations", n], why) for n, why in weak_writes(overlay).items()]
    documents: dict[str, Document] = {}
    systems: dict[str, System] = {}
    for name, declared in profile.systems.items():
        try:
            systems[name] = _system(folder, name, declared, expressions, documents)
        except FilesInvalid as error:
            problems += error.problems
    if problems:
        raise FilesInvalid(problems)

    def system_of(operation: str, named: str | None) -> System:
        if named is None and len(systems) == 1:
            return next(iter(systems.values()))
        return systems[named or next(iter(systems))]

    confirmed = overlay.confirmed
    records = Records(confirmed.records, system_of, expressions, confirmed.allowed)
    tying = Tying(records, systems, read, profile.languages[0])
    _check_lists(overlay, tying)
    built = all_built(tying, confirmed.operations)
    return Business(folder, profile, overlay, read, documents, systems, records, built, expressions)


def _check_lists(overlay: Overlay, tying: Tying) -> None:
    """What lists records, and what looks writes up, is in the documents."""
    calls: list[tuple[list[Any], Any]] = [
        (["records", name, "list"], kind.list) for name, kind in overlay.records.items()
    ]
    calls += [
        (["operations", name, "write", "lookup"], one.write.looked_up)
        for name, one in overlay.operations.items()
        if one.write is not None and one.write.looked_up is not None
    ]
    for path, call in calls:
        system = tying.system(call.system, path)
        if system is None:
            continue
        try:
            takes = system.argument_schema(call.operation)["properties"]
        except KeyError as error:
            tying.wrong([*path, "operation"], str(error.args[0] if error.args else error))
            continue
        for argument in call.arguments:
            if argument not in takes:
                known = ", ".join(takes) or "none"
                text = f"{call.operation} has no argument {argument!r}: it takes {known}"
                tying.wrong([*path, "arguments", argument], text)


def _file(path: Path) -> Read:
    try:
        return read_file(path.read_bytes(), path.name)
    except OSError as error:
        raise FilesInvalid([Problem(path.name, f"cannot be read: {error.strerror}")]) from None


def _system(
    folder: Path, name: str, declared: Any, expressions: Expressions, documents: dict[str, Document]
) -> System:
    if isinstance(declared, Api):
        path = (folder / declared.openapi).resolve()
        if not path.is_relative_to(folder.resolve()):
            text = f"systems.{name}.openapi: the document lies outside the domain's folder"
            raise FilesInvalid([Problem("domain.yaml", text)])
        try:
            document = read_document(path.read_bytes(), path.name)
        except OSError as error:
            raise FilesInvalid(
                [Problem(declared.openapi, f"cannot be read: {error.strerror}")]
            ) from None
        documents[name] = document
        try:
            return HttpSystem(name, document, declared, expressions)
        except ValueError as error:
            raise FilesInvalid([Problem("domain.yaml", f"systems.{error}")]) from None
    from app.outside.mcp import McpSystem

    return McpSystem(name, declared, confirmed_tools(folder, name))


def confirmed_tools(folder: Path, system: str) -> Confirmed:
    """The tools of an MCP server as a person confirmed them."""
    path = folder / file_of(system)
    if not path.exists():
        text = (
            f"is missing: `signalbox domain confirm` writes the tools of {system} as they are now"
        )
        raise FilesInvalid([Problem(path.name, text)])
    return validated(Confirmed, _file(path))

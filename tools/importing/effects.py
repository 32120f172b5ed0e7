"""Writes to a company's API or tools: sent once, or again under a key it honours, and settled by look-up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tools.effects import Answer, CallRequest, Found
from tools.importing.calls import Call, Extra, System
from tools.importing.expressions import ExpressionFailed
from tools.importing.operations import Built
from tools.importing.overlay import Key, Lookup, Reference, in_language
from tools.ports import BackendUnavailable, Declined, Uncertain
from tools.values import Clock, Customer


@dataclass(frozen=True)
class SystemEffects:
    """One of the domain's systems, as the ledger asks it for effects."""

    system: System
    operations: Mapping[str, Built]
    clock: Clock

    def ready(self) -> None:
        self.system.ready()

    def send(self, request: CallRequest, key: str) -> Answer:
        built = self.operations[request.operation]
        extra = [
            e
            for e in (
                _placed(built.write.keyed, key),
                _placed(built.write.referred, request.reference),
            )
            if e
        ]
        call = Call(
            operation=built.calls,
            values=request.values,
            extra=tuple(extra),
            customer=request.customer,
        )
        reply = self.system.write(call)
        if reply.status in built.write.done:
            return Answer(content=reply.content, name=f"{built.calls} ({reply.status})")
        if built.write.declines(reply.status):
            raise Declined(self._why(built, request, reply.status, reply.content))
        raise Uncertain(f"{built.calls} answered {reply.status}, which says neither yes nor no.")

    def find(self, request: CallRequest) -> Found:
        built = self.operations.get(request.operation)
        if built is None:
            return Found(
                state="unclear", note=f"There is no operation {request.operation} any more."
            )
        lookup = built.write.looked_up
        if lookup is None:
            if built.write.keyed is not None and built.write.lookup != "person":
                return Found(state="absent")  # Nothing to look in: its key has to settle it.
            return Found(state="unclear", note="It cannot be looked up: a person has to find out.")
        names = built.request_names(request)
        listed = built.records.ask(_filled(lookup, built, request), names, _customer(request))
        if lookup.before is not None or built.write.referred is None:
            return self._by_state(built, lookup, names, listed)
        return self._by_reference(built, lookup, request, names, listed)

    def keyed(self, request: CallRequest, since: datetime) -> bool:
        key = self.operations[request.operation].write.keyed
        return key is not None and self.clock.now() < since + timedelta(hours=key.kept_hours)

    def absent(self, request: CallRequest, since: datetime) -> bool:
        lookup = self.operations[request.operation].write.looked_up
        minutes = lookup.absent_after_minutes if lookup is not None else None
        return minutes is not None and self.clock.now() >= since + timedelta(minutes=minutes)

    def _by_state(
        self,
        built: Built,
        lookup: Lookup,
        names: Mapping[str, Any],
        listed: list[Mapping[str, Any]],
    ) -> Found:
        """By how the record stands now: enough for what sets, cancels or deletes; never for what adds."""
        ours = self._matching(built, lookup, names, listed)
        if len(ours) != 1:
            return Found(
                state="unclear", note=f"{lookup.operation} shows {len(ours)} entries, not one."
            )
        now = {**names, **ours[0], "record": ours[0], "entry": ours[0]}
        if built.expressions.holds(lookup.done, now):
            return Found(state="done", answer=dict(ours[0]), name=lookup.operation)
        if lookup.before is None or built.expressions.holds(lookup.before, now):
            return Found(state="absent")
        return Found(
            state="unclear", note="The record is neither as it was before nor as it was to become."
        )

    def _by_reference(
        self,
        built: Built,
        lookup: Lookup,
        request: CallRequest,
        names: Mapping[str, Any],
        listed: list[Mapping[str, Any]],
    ) -> Found:
        """By our own name of it, which must stand in the entry: a list that ignores a filter proves nothing."""
        ours = [
            entry
            for entry in self._matching(built, lookup, names, listed)
            if lookup.match is not None or request.reference in json.dumps(entry, default=str)
        ]
        if not ours:
            return Found(state="absent")
        done = [e for e in ours if built.expressions.holds(lookup.done, {**names, **e, "entry": e})]
        if len(ours) == 1 and done:
            return Found(state="done", answer=dict(done[0]), name=lookup.operation)
        failed = lookup.failed
        if (
            len(ours) == 1
            and failed is not None
            and built.expressions.holds(failed, {**names, **ours[0], "entry": ours[0]})
        ):
            return Found(state="absent")
        return Found(
            state="unclear",
            note=f"{lookup.operation} lists it {len(ours)} times, {len(done)} of them as done.",
        )

    def _matching(
        self,
        built: Built,
        lookup: Lookup,
        names: Mapping[str, Any],
        listed: list[Mapping[str, Any]],
    ) -> list[Mapping[str, Any]]:
        match = lookup.match
        if match is None:
            return listed
        return [e for e in listed if built.expressions.holds(match, {**names, **e, "entry": e})]

    def _why(self, built: Built, request: CallRequest, status: int, content: Any) -> str | None:
        text = built.write.sentence(status)
        if text is None:
            return None
        source = in_language(text, request.language, built.language)
        try:
            return built.expressions.text(
                source, {**built.request_names(request), "answer": content}, request.language
            )
        except ExpressionFailed:
            return None


def _placed(part: Key | Reference | None, value: str) -> Extra | None:
    if part is None:
        return None
    for place in ("header", "body", "query", "argument"):
        name = getattr(part, place)
        if name is not None:
            return Extra(place=place, name=name, value=value)
    raise BackendUnavailable("a key or a reference has no place")


def _filled(lookup: Lookup, built: Built, request: CallRequest) -> Lookup:
    """The look-up with the record's own id among its arguments, where it takes it and nothing else says it."""
    id_argument = built.id_argument
    value = request.arguments.get(id_argument or "")
    system = built.records.system_of(lookup.operation, lookup.system)
    try:
        takes = system.argument_schema(lookup.operation)["properties"]
    except KeyError as error:
        raise BackendUnavailable(str(error)) from error
    if id_argument is None or value is None or id_argument not in takes:
        return lookup
    return lookup.model_copy(update={"arguments": {id_argument: value, **lookup.arguments}})


def _customer(request: CallRequest) -> Customer:
    known = {k: v for k, v in request.customer.items() if k in Customer.model_fields}
    facts = {k: v for k, v in request.customer.items() if k not in Customer.model_fields}
    return Customer.model_validate({**known, "facts": facts})

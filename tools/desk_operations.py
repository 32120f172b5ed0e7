"""What every desk can do whatever the business: write a ticket, and hand the conversation to a person."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, StringConstraints

from tools.values import Arguments, Consequence, Operation, Preview, Record

#: A message is kept as it was written, however long it may be.
MOST_WORDS = 8000


class Tickets(Protocol):
    """Where tickets are written, inside the ledger's own transaction."""

    def add(
        self,
        *,
        subject: str,
        body: str,
        kind: Literal["ticket", "hand_off"],
        record: str | None,
        case: str | None,
    ) -> str:
        """The new ticket's number."""
        ...

    @property
    def today(self) -> date: ...


def _copied(question: str, *, default: Any = None, **limits: Any) -> Any:
    return Field(
        default=default, description=question, json_schema_extra={"x-copy": True}, **limits
    )


def _part(kind: str, question: str, **limits: Any) -> Any:
    return Field(default=None, description=question, json_schema_extra={"x-part": kind}, **limits)


class CreateTicket(Arguments):
    subject: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=3, max_length=400)
    ] = _copied("What is the ticket about, in a few words?", default=...)
    body: str | None = _copied("What should our colleagues know about it?", max_length=MOST_WORDS)
    record: str | None = _part("record", "Which record is it about?", max_length=60)
    case: str | None = _part("case", "Which problem is it?", max_length=60)


class TicketOpened(Record):
    ticket_number: str
    subject: str
    record: str | None = None


class HandOff(Arguments):
    reason: str | None = _copied("What is it about?", max_length=MOST_WORDS)
    record: str | None = _part("record", "Which record is it about?", max_length=60)
    case: str | None = _part("case", "Which problem is it?", max_length=60)


class HandedOff(Record):
    ticket_number: str


def _about(subject: str, record: str | None) -> str:
    """The subject with the record's number in it, so that nobody has to ask for it."""
    return (subject if record is None or record in subject else f"{subject} ({record})")[:400]


def _said(books: Any, **texts: str) -> str:
    """The text in the language of whoever is asked about it; English where nothing tells it."""
    return texts.get(getattr(books, "language", "en"), texts["en"])


def _preview_ticket(books: Any, given: CreateTicket) -> Preview:
    about = _about(given.subject, given.record)
    opened = _said(
        books, en=f"A ticket is opened: {about}", de=f"Eine Anfrage wird angelegt: {about}"
    )
    return Preview(
        arguments=given.model_dump(mode="json", exclude_none=True),
        consequence=Consequence.RETRY_SAFE,
        effects=(opened,),
    )


def _create_ticket(tickets: Tickets, given: CreateTicket) -> TicketOpened:
    subject = _about(given.subject, given.record)
    number = tickets.add(
        subject=subject, body=given.body or "", kind="ticket", record=given.record, case=given.case
    )
    return TicketOpened(ticket_number=number, subject=subject, record=given.record)


def _preview_hand_off(books: Any, given: HandOff) -> Preview:
    taken_over = _said(
        books,
        en="A colleague takes over this conversation.",
        de="Eine Kollegin oder ein Kollege übernimmt dieses Gespräch.",
    )
    return Preview(
        arguments=given.model_dump(mode="json", exclude_none=True),
        consequence=Consequence.RETRY_SAFE,
        effects=(taken_over,),
    )


def _hand_off(tickets: Tickets, given: HandOff) -> HandedOff:
    about = f": {given.case.replace('_', ' ')}" if given.case else ""
    number = tickets.add(
        subject=_about(f"Conversation handed over{about}", given.record),
        body=given.reason or "",
        kind="hand_off",
        record=given.record,
        case=given.case,
    )
    return HandedOff(ticket_number=number)


DESK_OPERATIONS: Mapping[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation(
            name="create_ticket",
            title="Open a ticket",
            titles={"de": "Anfrage anlegen"},
            summary="Leave a written request for the support team.",
            arguments=CreateTicket,
            result=TicketOpened,
            consequence=Consequence.RETRY_SAFE,
            preview=_preview_ticket,
            run=_create_ticket,
            example="Open a ticket: something is wrong.",
        ),
        Operation(
            name="hand_off",
            title="Talk to a person",
            titles={"de": "An eine Kollegin oder einen Kollegen übergeben"},
            summary="Hand the conversation to a colleague.",
            arguments=HandOff,
            result=HandedOff,
            consequence=Consequence.RETRY_SAFE,
            preview=_preview_hand_off,
            run=_hand_off,
            example="I want to talk to a human.",
        ),
    )
}

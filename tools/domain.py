"""What a business is: its profile, its operations, its intents, its books. The engine knows no other way to one.

A business is a folder. What the folder holds by convention (rules, knowledge, replies, cases, examples, trained
artefacts) is found by its place in it; what it is called and how it is reached is in its ``domain.yaml``."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from tools.cases import CaseBook
from tools.effects import Effects
from tools.hours import Hours, hours_of
from tools.importing.declared import Outside, Part
from tools.intents import Intents
from tools.ports import Backend
from tools.questions import QUESTIONS, Answered
from tools.reading import ValueReader
from tools.records import Lexicon
from tools.values import Clock, Customer, Operation, Ticket

#: What is being prepared, how much of it is done, and how much there is (0: not known).
Progress = Callable[[str, int, int], None]


class Contact(Part):
    """How customers reach a person; replies speak of it."""

    hours: str | dict[str, str] = ""  #: As one text, or one a language.
    #: The same for the engine, as OpenStreetMap writes them: ``Mo-Fr 08:00-18:00; PH off``. Outside of them a
    #: customer who wants a person is told when somebody is there again.
    open: str = ""
    mail: str = ""
    phone: str = ""

    def in_language(self, language: str) -> dict[str, str]:
        """Everything as one text."""
        hours = self.hours
        if not isinstance(hours, str):
            hours = hours.get(language) or next(iter(hours.values()), "")
        return {"hours": hours, "open": self.open, "mail": self.mail, "phone": self.phone}


class Brand(Part):
    """How the chat looks, and what it suggests to begin with."""

    logo: str = ""
    color: str = ""
    origins: tuple[str, ...] = ()  #: Web sites that may embed the chat.
    suggestions: tuple[str, ...] = ()
    #: Above an empty conversation.
    welcome: str = "Ask us anything. What cannot be undone is checked by a person first."
    #: Above the demo customers, where there are any.
    door: str = "Pick one of the demo customers."


class Profile(Outside):
    """The business as its ``domain.yaml`` describes it."""

    name: str = Field(min_length=1)
    tenant: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    timezone: str = "UTC"
    #: Country whose telephone numbers and postcodes are meant where none is named.
    region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")
    currency: str = Field(default="EUR", pattern=r"^[A-Z]{3}$")
    #: ``local``: nothing of a customer's is said to a model outside the house, masked or not.
    residency: Literal["anywhere", "local"] = "anywhere"
    contact: Contact = Contact()
    brand: Brand = Brand()

    @field_validator("timezone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is no time zone: write one like Europe/Berlin") from error
        return name

    @model_validator(mode="after")
    def _hours_can_be_read(self) -> Profile:
        hours_of(self.contact.open, self.zone, self.region)
        return self

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def hours(self) -> Hours | None:
        """When its people are there; None: nobody says."""
        return hours_of(self.contact.open, self.zone, self.region)


class Customers(Protocol):
    """Who the customers are. Looked up by the id that a signed session names, never by what somebody wrote."""

    async def find(self, customer_id: str) -> Customer | None: ...

    async def demo(self) -> Sequence[Customer]:
        """Customers that a visitor may log in as to try things out; a real business has none."""
        ...


@dataclass(frozen=True)
class Opening:
    """What a business's books are opened with."""

    engine: Any  #: The SQLAlchemy engine whose transactions the ledger's rows are written in.
    clock: Clock
    progress: Progress


async def _no_tickets(_: str, __: str | None) -> list[Ticket]:
    return []


def _nothing_to_forget(connection: Any, tenant: str, customer: str) -> int:
    return 0


@dataclass(frozen=True)
class Books:
    """A business's opened books."""

    backend: Backend
    customers: Customers
    #: What a write reads and changes for one customer, on the connection of the ledger's own transaction.
    transaction: Callable[[Any, Customer], Any]
    #: What was written down for a customer, of one tenant where one is given; newest first.
    tickets: Callable[[str, str | None], Awaitable[list[Ticket]]] = _no_tickets
    #: Take what a customer wrote out of the books (tickets, reasons), on the connection of a transaction of ours, of one
    #: tenant; how many records it was. What the business has to keep of a sale stays.
    forget: Callable[[Any, str, str], int] = _nothing_to_forget
    #: Outside systems that writes are sent to, by the name that operations give.
    systems: Mapping[str, Effects] = field(default_factory=dict[str, Effects])
    #: What of the outside is not as it should be: which part, and why.
    health: Callable[[], Mapping[str, str]] = dict


#: How a business's books are opened, and closed again.
OpenBooks = Callable[[Opening], AbstractAsyncContextManager[Books]]


@dataclass(frozen=True)
class Domain:
    """One business."""

    folder: Path
    profile: Profile
    operations: Mapping[str, Operation]
    intents: Intents
    open_books: OpenBooks
    demo: bool = False  #: It has demo customers, as whom any visitor may log in.
    lexicon: Lexicon = field(default_factory=Lexicon)  #: What customers call the records.
    #: Problems, wishes without a button and incidents, and what is said to each; None: none are declared.
    advice: CaseBook | None = None
    answered: tuple[Answered, ...] = ()  #: What customers ask, with the sentences that answer it.

    @property
    def name(self) -> str:
        return self.profile.name

    @property
    def tenant(self) -> str:
        return self.profile.tenant

    @property
    def reader(self) -> ValueReader:
        """Values from words, as this business's customers write them."""
        kinds = self.lexicon.kinds.values()
        return ValueReader(
            languages=self.profile.languages,
            region=self.profile.region,
            currency=self.profile.currency,
            record_words=tuple(word for words in kinds for word in words),
            record_forms=self.lexicon.forms,
            names=self._numbered_options,
        )

    @property
    def _numbered_options(self) -> tuple[str, ...]:
        """What customers say for options that are called by a number as long as a record's: "Fibre 1000"."""
        found: dict[str, None] = {}
        for operation in self.operations.values():
            shapes = operation.arguments.model_json_schema().get("properties", {})
            for shape in shapes.values():
                for option, sayings in shape.get("x-synonyms", {}).items():
                    found |= dict.fromkeys((option.replace("_", " "), *sayings))
        return tuple(one for one in found if re.search(r"\d{3}", one))

    @property
    def rules(self) -> Path:
        return self.folder / "rules.yaml"

    @property
    def knowledge(self) -> Path:
        return self.folder / "knowledge"

    @property
    def replies(self) -> Path:
        """A folder a language."""
        return self.folder / "replies"

    @property
    def questions(self) -> Path:
        """What customers ask, with the sentences that answer it, and the questions' vectors."""
        return self.folder / QUESTIONS

    @property
    def cases(self) -> Path:
        """What the evals play."""
        return self.folder / "evals"

    @property
    def examples(self) -> Path:
        """What the roles are trained on."""
        return self.folder / "examples"

    @property
    def models(self) -> Path:
        """Artefacts trained for this business; they take the place of the shipped ones."""
        return self.folder / "models"

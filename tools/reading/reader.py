"""One port for the values in a customer's words: read once, asked by kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from tools.reading import language as languages_of
from tools.reading import mail, records
from tools.reading.addresses import Address, addresses
from tools.reading.contacts import Phone, emails, phones
from tools.reading.dates import Period, Toward, dates
from tools.reading.money import Amount, amounts
from tools.reading.negation import negated, replaced
from tools.reading.numbers import Quantity, quantities
from tools.reading.references import Reference, references
from tools.reading.spans import AnySpan, Span, folded, outside


@dataclass(frozen=True)
class Spans:
    """What one message says. All places are places in ``new_text``."""

    new_text: str
    quoted_text: str = ""
    signature: str = ""
    language: str | None = None  #: None where the message is too short to tell.
    dates: tuple[Span[Period], ...] = ()
    amounts: tuple[Span[Amount], ...] = ()
    quantities: tuple[Span[Quantity], ...] = ()
    record_numbers: tuple[Span[str], ...] = ()  #: The customer's own.
    foreign_numbers: tuple[Span[str], ...] = ()  #: Of the same form, and not theirs.
    unclear_numbers: tuple[
        Span[tuple[str, ...]], ...
    ] = ()  #: Digits that several of their own share.
    references: tuple[Span[Reference], ...] = ()
    emails: tuple[Span[str], ...] = ()
    phones: tuple[Span[Phone], ...] = ()
    addresses: tuple[Span[Address], ...] = ()

    def all(self) -> tuple[AnySpan, ...]:
        return (
            *self.dates, *self.amounts, *self.quantities, *self.record_numbers, *self.foreign_numbers,
            *self.unclear_numbers, *self.references, *self.emails, *self.phones, *self.addresses,
        )  # fmt: skip


@dataclass(frozen=True)
class ValueReader:
    """Reads values for one business: its languages, its country and currency, what its records are called."""

    languages: tuple[str, ...] = ("en", "de")  #: Those a message is read in besides its own.
    region: str | None = (
        None  #: Country of telephone numbers, postcodes and the order of day and month.
    )
    currency: str | None = None
    record_words: tuple[str, ...] = ()  #: "order", "Bestellung"
    record_forms: tuple[str, ...] = ()  #: An example number of each kind of record.
    names: tuple[str, ...] = ()  #: What is called by a number and is no record: "Fibre 1000".
    day_first: bool | None = True

    def read(
        self,
        text: str,
        *,
        today: date,
        own_ids: Sequence[str] = (),
        toward: Toward = "past",
        offered: int = 0,
    ) -> Spans:
        """``offered``: how many things the last question named, so that a bare "2" points at one of them."""
        letter = mail.split(text)
        new = letter.new_text
        said_in = languages_of.detected(new)
        tongues = tuple(dict.fromkeys((*((said_in,) if said_in else ()), *self.languages)))
        mails = emails(new)
        homes = outside(addresses(new, tongues, self.region), mails)
        calls = outside(phones(new, self.region), [*mails, *homes])
        days = outside(
            dates(new, today, tongues, toward=toward, day_first=self.day_first), [*mails, *homes]
        )
        sums = outside(amounts(new, tongues, self.currency), [*mails, *homes, *days])
        claimed: list[AnySpan] = [*mails, *homes, *calls, *days, *sums]
        found = records.record_numbers(
            new,
            own_ids,
            words=self.record_words,
            forms=self.record_forms,
            claimed=[*claimed, *self._named(new)],
        )
        claimed += [*found.own, *found.foreign, *found.unclear]
        unsure = {d.start for d in days if not d.certain}
        said = [c for c in claimed if c.start not in unsure]
        pointing = references(new, tongues, said, offered=offered)
        # "both" is how many and which at once.
        counts = quantities(
            new, tongues, [*claimed, *(p for p in pointing if p.value and p.value.place)]
        )
        return Spans(
            new_text=new,
            quoted_text=letter.quoted_text,
            signature=letter.signature,
            language=said_in,
            dates=tuple(negated(days, new, tongues)),
            amounts=tuple(negated(sums, new, tongues)),
            quantities=tuple(negated(counts, new, tongues)),
            record_numbers=tuple(
                replaced(negated(list(found.own), new, tongues, words=self.record_words), new)
            ),
            foreign_numbers=tuple(
                negated(list(found.foreign), new, tongues, words=self.record_words)
            ),
            unclear_numbers=tuple(
                negated(list(found.unclear), new, tongues, words=self.record_words)
            ),
            references=tuple(negated(pointing, new, tongues)),
            emails=tuple(negated(mails, new, tongues)),
            phones=tuple(negated(calls, new, tongues)),
            addresses=tuple(negated(homes, new, tongues)),
        )

    def _named(self, text: str) -> list[tuple[int, int]]:
        """Where something stands that is called by a number."""
        plain = folded(text)
        return [
            found.span()
            for name in self.names
            for found in re.finditer(rf"(?<!\w){re.escape(folded(name))}(?!\w)", plain)
        ]


def read(
    text: str,
    *,
    today: date,
    languages: Sequence[str] = ("en", "de"),
    own_ids: Sequence[str] = (),
    region: str | None = None,
    currency: str | None = None,
    toward: Toward = "past",
    offered: int = 0,
) -> Spans:
    """Everything that a message says in values, for where no reader is at hand."""
    reader = ValueReader(tuple(languages), region, currency)
    return reader.read(text, today=today, own_ids=own_ids, toward=toward, offered=offered)

"""Numbers of records, by the forms of the customer's own: which of theirs are meant, and which are not theirs.

A shop's numbers are known only from the ids handed in; no prefix and no length is written here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tools.reading.spans import AnySpan, Span, behind, outside

#: What people put between the parts of a number, or leave out.
_GAP = r"[\s\-_#.:/\u2010-\u2015]{0,3}"
_INNER = r"[ \-\u00a0\u202f]?"
_PARTS = re.compile(r"[^\W\d_]+|\d+")
#: Digits of fewer places are counts and sizes, unless the whole number is said.
_FEWEST = 3
#: Words for "number" in front of one, in the languages we read.
_NUMBER_WORD = (
    r"(?:number|num|no\.?|nr\.?|#|id|ref(?:erence)?|nummer|num[eé]ro|n[uú]mero|n°|nº|code)"
)


@dataclass(frozen=True)
class Form:
    """How numbers of one kind are written: letters, then digits of one length, as ``SB-`` and five."""

    head: str  #: The letters in front, upper case; "" where it begins with digits.
    digits: int
    written: str  #: With ``{}`` where the digits stand.


@dataclass(frozen=True)
class Numbers:
    """What a text says of records."""

    own: tuple[Span[str], ...] = ()  #: The customer's own; ``value`` is the id as it was handed in.
    foreign: tuple[Span[str], ...] = ()  #: Written like a record's, and none of theirs.
    #: Digits that several of the customer's own share.
    unclear: tuple[Span[tuple[str, ...]], ...] = ()


def record_numbers(
    text: str,
    own_ids: Sequence[str],
    *,
    words: Sequence[str] = (),
    forms: Sequence[str] = (),
    claimed: Iterable[AnySpan | tuple[int, int]] = (),
    all_known: bool = True,
) -> Numbers:
    """The records' numbers in a text.

    ``words`` are what records are called ("order", "Bestellung"): digits behind one are a number of such a record.
    ``forms`` are examples of further numbers, of kinds the customer owns none of. ``claimed`` are stretches that
    mean something else: a telephone number, an address, a date, an amount. Unless the customer's ids are
    ``all_known``, digits of the right length may be a number of theirs that was not handed in."""
    reader = _reader(
        tuple(dict.fromkeys(own_ids)), tuple(dict.fromkeys(forms)), tuple(words), all_known
    )
    return reader.read(text, list(claimed))


class _Reader:
    def __init__(
        self,
        own: tuple[str, ...],
        examples: tuple[str, ...],
        words: tuple[str, ...],
        all_known: bool,
    ):
        self.own, self.all_known = own, all_known
        self.forms = tuple(dict.fromkeys(f for one in (*own, *examples) if (f := form_of(one))))
        self.by_digits: dict[str, list[str]] = {}
        for one in own:
            if (form := form_of(one)) is not None:
                digits = "".join(re.findall(r"\d", one))
                if len(digits) == form.digits:
                    self.by_digits.setdefault(digits, []).append(one)
        named = "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))
        called = rf"(?:{named})\w{{0,3}}" if named else r"(?!)"
        self.cue = re.compile(
            rf"(?<!\w)(?:{called}(?:\s+(?:is|ist|lautet|mit der|with))?(?:\s+{_NUMBER_WORD})?|{_NUMBER_WORD})[\s:#]*$",
            re.I,
        )
        self.called = re.compile(rf"\s*(?:{called})\b", re.I)
        lengths = sorted({f.digits for f in self.forms if f.digits >= _FEWEST}, reverse=True)
        spaced = [_INNER.join([r"\d"] * n) for n in lengths]
        self.bare = (
            re.compile(rf"(?<![\w.,/+@:-])#?\s?(?P<d>{'|'.join(spaced)})(?![\w@/]|[.,:]\d|[ \-]\d)")
            if spaced
            else None
        )

    def read(self, text: str, claimed: list[AnySpan | tuple[int, int]]) -> Numbers:
        whole = list(self._whole(text))
        left = outside(self._bare(text), [*whole, *claimed])
        # A number that says itself what it is stands, wherever it stands.
        own = [s for s in whole if s.value in self.own]
        foreign = [s for s in whole if s.value not in self.own]
        unclear: list[Span[tuple[str, ...]]] = []
        for one in left:
            ids = self.by_digits.get(str(one.value), [])
            if len(ids) == 1:
                own.append(_as(one, ids[0]))
            elif len(ids) > 1:
                unclear.append(
                    Span(
                        one.start,
                        one.end,
                        one.text,
                        "record_number",
                        tuple(ids),
                        certain=one.certain,
                    )
                )
            else:
                foreign.append(one)
        return Numbers(_ordered(own), _ordered(foreign), tuple(unclear))

    def _whole(self, text: str) -> Iterator[Span[str]]:
        """Numbers with their letters: "SB-10482", "sb 10482", "SB10 482"; ids without digits as they are written."""
        found: list[Span[str]] = []
        for one in self.own:
            # A word in lower case is a word, and no number.
            if form_of(one) is None and (re.search(r"\d", one) or one.isupper()):
                found += [
                    _span(text, m, one)
                    for m in re.finditer(
                        rf"(?<![\w-]){_loose(one)}(?![\w-]|\.\w)", text, _case(one)
                    )
                ]
        for form in self.forms:
            if not form.head:
                continue
            digits = _INNER.join([r"\d"] * form.digits)
            shape = rf"(?<![\w-]){re.escape(form.head)}{_GAP}(?P<d>{digits})(?![\w@]|[ ]?\d)"
            for m in re.finditer(shape, text, re.I):
                said = re.sub(r"\D", "", m["d"])
                found.append(_span(text, m, self._id(form, said)))
            # Too many or too few digits: a number of this form with a slip, and nobody's.
            loose = rf"(?<![\w-]){re.escape(form.head)}[\-_#]?(?P<d>\d{{3,}})(?!\w)"
            for m in re.finditer(loose, text, re.I):
                found += outside([_span(text, m, form.written.format(m["d"]))], found)
        yield from _longest_first(found)

    def _id(self, form: Form, digits: str) -> str:
        made = form.written.format(digits)
        return next((one for one in self.own if one.upper() == made.upper()), made)

    def _bare(self, text: str) -> Iterator[Span[str]]:
        for m in self.bare.finditer(text) if self.bare else ():
            digits = re.sub(r"\D", "", m["d"])
            hashed = m[0].startswith("#")
            cued = (
                hashed
                or bool(behind(self.cue, text, m.start()))
                or bool(self.called.match(text, m.end()))
            )
            if not cued and not self._speaks_for_itself(text, m, digits):
                continue
            said = text[m.start() : m.end()]
            yield Span(m.start(), m.end(), said, "record_number", digits, certain=cued)

    def _speaks_for_itself(self, text: str, m: re.Match[str], digits: str) -> bool:
        """Are digits without a word beside them a number of a record, and no year, postcode or count?"""
        if is_postcode(text, m.start("d"), m.end("d")):
            return False
        alone = text.strip(" .!?") == m[0].strip()
        known = (
            digits in self.by_digits or _grouped(m["d"]) or len(digits) >= 5 or not self.all_known
        )
        return alone or (known and not (len(digits) == 4 and digits[:2] in ("19", "20")))


def form_of(one: str) -> Form | None:
    """Letters and digits of an id, where its digits stand together at its end; None for every other."""
    m = re.fullmatch(r"(?P<head>[^\W\d_]*)(?P<gap>[\W_]*)(?P<digits>\d+)", one.strip())
    if m is None:
        return None
    written = one.strip()[: m.start("digits")].replace("{", "{{").replace("}", "}}") + "{}"
    return Form(m["head"].upper(), len(m["digits"]), written)


def is_postcode(text: str, start: int, end: int) -> bool:
    """Are the digits followed by the name of a town: "48157 Münster", "nach 10115 Berlin bitte"?"""
    if end - start > 7:
        return False
    following = _TOWN.match(text, end)
    if following is None:
        return False
    if behind(_LEADS_TO_TOWN, text, start) is not None:
        return True
    # A sentence that goes on has a small word next: "10482 Please cancel it".
    return not _SMALL_WORD.match(text, following.end()) or bool(following["more"])


_TOWN = re.compile(r"[ \t]+[A-ZÄÖÜÉÈÁÍÓÚÑ][\w'’.-]+(?P<more>(?:[ -][A-ZÄÖÜ][\w'’.-]+){0,2})")
_LEADS_TO_TOWN = re.compile(
    r"(?:\b(?:in|nach|to|at|from|aus|à|a|en|au|naar|te|em|para|d|f|ch|at)[ -]|[\d\w]\s*,\s*|\n)$",
    re.I,
)
_SMALL_WORD = re.compile(r"\s+[a-zäöüß]")


def _grouped(said: str) -> bool:
    """ "10 714": in groups of three as people dictate."""
    return re.fullmatch(r"\d{1,3}(?:[ .\u00a0\u202f]\d{3})+", said) is not None


def _loose(one: str) -> str:
    """An id with letters and digits mixed, whatever stands between its parts."""
    return _GAP.join(re.escape(part) for part in _PARTS.findall(one)) or re.escape(one)


def _case(one: str) -> re.RegexFlag:
    return re.I if re.search(r"\d", one) else re.NOFLAG


def _span(text: str, m: re.Match[str], value: str) -> Span[str]:
    return Span(m.start(), m.end(), text[m.start() : m.end()], "record_number", value)


def _ordered(spans: Sequence[Span[str]]) -> tuple[Span[str], ...]:
    return tuple(sorted(spans, key=lambda s: s.start))


def _as(one: Span[str], value: str) -> Span[str]:
    return Span(one.start, one.end, one.text, one.kind, value, certain=one.certain)


def _longest_first(found: Sequence[Span[str]]) -> list[Span[str]]:
    kept: list[Span[str]] = []
    for one in sorted(found, key=lambda s: s.start - s.end):
        kept += outside([one], kept)
    return sorted(kept, key=lambda s: s.start)


@lru_cache(maxsize=256)
def _reader(
    own: tuple[str, ...], examples: tuple[str, ...], words: tuple[str, ...], all_known: bool
) -> _Reader:
    return _Reader(own, examples, words, all_known)


__all__ = ["Form", "Numbers", "form_of", "is_postcode", "record_numbers"]

"""Which of the customer's own records, and which part of it, some words point to.

Records are ranked by what is said of them: number, contents, date, amount, state, place in a list. Nothing is swapped
silently: what several records fit stays open with all of them, and a thing that is in none of them is said."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

from graphs.understanding.staying import staying
from graphs.understanding.words import alike, any_found, folded, found, numbers_joined, tokens
from tools.records import Item, Lexicon, RecordView

How = Literal["named", "picked", "focus", "only", "all", "none"]
Which = Literal["newest", "oldest", "other", "both", "all", "none", "rest", "last"] | int


class Part(BaseModel):
    """One item of a record, and how many pieces of it where that was said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    quantity: int | None = None


class Grounds(BaseModel):
    """What some words point to among the customer's records of one kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = ""
    records: tuple[str, ...] = ()  #: One: found. Several: not told apart, or meant ``together``.
    together: bool = False  #: All of them are meant ("both", two numbers).
    how: How = "none"
    parts: tuple[Part, ...] = ()  #: Empty: the whole record, or no part was named.
    item: str = ""  #: The only thing in the record, where it holds one.
    missing: str = ""  #: What was named and is in none of them.
    foreign: tuple[str, ...] = ()  #: Numbers that are not this customer's.

    @property
    def record(self) -> str | None:
        """The one record that is meant."""
        return self.records[0] if len(self.records) == 1 else None


@dataclass(frozen=True)
class Said:
    """A stretch of the customer's words with what libraries read in it."""

    text: str
    numbers: tuple[str, ...] = ()  #: Ids of own records.
    excluded: tuple[str, ...] = ()  #: Ids that were named as not meant.
    foreign: tuple[str, ...] = ()
    days: tuple[tuple[date, date], ...] = ()  #: Inclusive ranges.
    amounts: tuple[Decimal, ...] = ()
    which: tuple[Which, ...] = ()  #: Places in a list and other references.
    quantities: tuple[
        tuple[int, int], ...
    ] = ()  #: A number of pieces, and the index of the word it stands before.
    words: tuple[str, ...] = field(default=())

    def days_of(self, lexicon: Lexicon) -> bool:
        """Whether a day was said of something that a record has a day for: "ordered last week"."""
        return any(any_found(words, self.words) for words in lexicon.dates.values())

    @staticmethod
    def of(text: str, **read: object) -> Said:
        said = tokens(text)
        return Said(text=text, words=(*said, *numbers_joined(said)), **read)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Memory:
    """What the conversation has in mind: the record talked about, and the list that was shown last."""

    focus: str | None = None
    offered: tuple[str, ...] = ()


# What a sign counts. A number settles it; contents beat dates, dates beat states.
_NUMBER, _NAME, _OWN_WORD, _CALLED = 20.0, 5.0, 4.0, 2.5
_DATE, _AMOUNT, _STATE, _WORDS, _FOCUS = 3.0, 2.0, 1.5, 2.5, 0.75
#: How far the best must be ahead to be meant alone.
_AHEAD = 0.5


def ground(
    said: Said,
    views: Sequence[RecordView],
    kinds: Collection[str],
    *,
    lexicon: Lexicon,
    memory: Memory,
    first: Collection[str] = (),
    operation: str = "",
    options: Collection[str] = (),
) -> Grounds:
    """What ``said`` points to among the records of these kinds. ``first``: the states in which a record may be
    meant without being named; ``operation``: what is to be done, where the records say what their state allows;
    ``options``: what may be said for its other arguments ("as a card"): such words tell no record."""
    views = _without(views, options)
    said = _without_lookalikes(said, views, lexicon)
    able = [view for view in views if view.kind in kinds]
    kind = able[0].kind if able else next(iter(kinds), "")
    if said.numbers and (ids := _by_number(said, able, views)):
        return Grounds(
            kind=kind,
            records=tuple(ids),
            together=len(ids) > 1,
            how="named",
            parts=_parts(said, able, ids, lexicon),
            foreign=said.foreign,
        )
    if said.foreign and not said.numbers:
        # A number that is nobody's here is said to be so; a thing that fits by chance is not taken for it.
        return Grounds(kind=kind, foreign=said.foreign)
    every, able = able, [view for view in able if view.id not in said.excluded]
    able = _not_ruled_out(said, able, views)
    left = able if len(able) < len(every) else []
    if "other" in said.which and memory.focus is not None:
        able = [v for v in able if not _is_focus(v.id, views, memory)] or able
    apt = [view for view in able if not operation or view.allowed(operation)]
    picked = _by_place(said, able, memory, apt or able)
    if picked is not None:
        return picked.model_copy(update={"kind": kind, "foreign": said.foreign})
    # A day names nothing that is over: "move it to friday", and last friday somebody was to come.
    undated = replace(said, days=())
    ids_apt = {view.id for view in apt}
    evidence = {
        view.id: _evidence(
            said if view.id in ids_apt or not apt else undated, view, able, lexicon, views
        )
        for view in able
    }
    missing = _missing(said, able, views, evidence, lexicon)
    best = max(evidence.values(), default=0.0)
    named_of_it = max(
        (_evidence(undated, view, able, lexicon, views) for view in able), default=0.0
    )
    if named_of_it < _CALLED and (priced := _elsewhere_priced(said, able, views)) is not None:
        return priced
    if best <= 0:
        found = _from_focus(kind, apt or able, views, memory, said, missing, lexicon)
        if "other" in said.which and memory.focus is not None and not found.records and able:
            return Grounds(kind=kind, records=tuple(view.id for view in able), foreign=said.foreign)
        if found.records or missing or said.foreign:
            return found
        alone = _only(kind, apt or able, first)
        return alone if alone.records else _apt_alone(kind, able, apt, left)
    named = any(_names(said, view, able, lexicon) for view in able)
    # "I have paid" is what the customer did, not which of them is meant.
    named = named and not (first and best <= _STATE and _own_deed(said))
    if not named and first and not said.days_of(lexicon):
        # A day alone, said of something else ("since friday"), picks nothing where a state would.
        alone = _only(kind, able, first)
        if alone.records:
            return alone
    if several := _one_thing_each(said, able, lexicon):
        return Grounds(kind=kind, records=several, together=True, how="all", foreign=said.foreign)
    near = {
        id: value + (_FOCUS if _is_focus(id, views, memory) else 0.0)
        for id, value in evidence.items()
        if value >= best - _AHEAD
    }
    # What its state does not allow is meant only where nothing else fits as well.
    allowed = ids_apt & near.keys()
    near = {id: value for id, value in near.items() if id in allowed or not allowed}
    top = max(near.values())
    ids = [id for id, value in near.items() if value >= top - _AHEAD + 1e-9]
    if (whole := _better_told(said, ids, able, views, lexicon)) is not None:
        return whole
    likely = [view.id for view in able if view.id in ids and view.state in first]
    ids = likely if likely and not means_all(said) else ids
    together = len(ids) > 1 and means_all(said)
    return Grounds(
        kind=kind,
        records=tuple(ids),
        together=together,
        how="all" if together else "named",
        parts=_parts(said, able, ids, lexicon),
        missing=missing,
        foreign=said.foreign,
    )


def _without(views: Sequence[RecordView], options: Collection[str]) -> Sequence[RecordView]:
    """The records without those of their own words that are said for something else."""
    taken = {folded(word) for word in options}
    if not any(folded(word) in taken for view in views for word in view.words):
        return views
    return [
        view.model_copy(update={"words": tuple(w for w in view.words if folded(w) not in taken)})
        for view in views
    ]


def _without_lookalikes(said: Said, views: Sequence[RecordView], lexicon: Lexicon) -> Said:
    """The words without those that tell no thing and only look like one: a package is no pack, nor is a Packstation."""
    called = {folded(word) for words in (*lexicon.kinds.values(), lexicon.common) for word in words}
    spoken = called & {*said.words}
    if not spoken:
        return said
    items = (*lexicon.catalogue, *(item for view in views for item in view.items))
    things = {
        word for item in items for words in (item.name, *item.words) for word in tokens(words)
    }
    taken = {word for word in spoken - things if any(alike(word, thing) for thing in things)}
    return replace(said, words=tuple("" if word in taken else word for word in said.words))


def _apt_alone(
    kind: str, able: Sequence[RecordView], apt: Sequence[RecordView], left: Sequence[RecordView]
) -> Grounds:
    """Nothing was named: the one record whose state allows it, or what is left where some were ruled out."""
    if any(view.allows is not None for view in able) and len(apt) == 1:
        return Grounds(kind=kind, records=(apt[0].id,), how="only")
    ids = tuple(view.id for view in left if view in apt or not apt)
    return Grounds(kind=kind, records=ids, how="only" if len(ids) == 1 else "none")


def _elsewhere_priced(
    said: Said, able: Sequence[RecordView], views: Sequence[RecordView]
) -> Grounds | None:
    """The one record of another kind that has the sum which was said, where none of this kind has it: "where are my
    99 EUR" of an order is not about a refund of 89."""
    if not said.amounts or not able:
        return None
    if any(
        view.amount in said.amounts or any(_priced(view, a) for a in said.amounts) for view in able
    ):
        return None
    kind = able[0].kind
    fitting = [
        view
        for view in views
        if view.kind != kind and view.parent is None and view.items and view.amount in said.amounts
    ]
    if len(fitting) != 1:
        return None
    return Grounds(kind=fitting[0].kind, records=(fitting[0].id,), how="named")


def _better_told(
    said: Said,
    ids: Sequence[str],
    able: Sequence[RecordView],
    views: Sequence[RecordView],
    lexicon: Lexicon,
) -> Grounds | None:
    """The one whole that is told better than what the best of this kind belong to, and has none of this kind: "the
    money for the trousers that I cancelled" is not the refund of other trousers."""
    parents = {view.parent for view in able}
    wholes = [view for view in views if view.kind in {v.kind for v in views if v.id in parents}]
    told = {view.id: _evidence(said, view, wholes, lexicon, views) for view in wholes}
    best = max(told.values(), default=0.0)
    fitting = [id for id, value in told.items() if value > best - _AHEAD]
    theirs = [told.get(view.parent or "", 0.0) for view in able if view.id in ids]
    if len(fitting) != 1 or fitting[0] in parents or not theirs or best < max(theirs) + _AHEAD:
        return None
    kind = next(view.kind for view in wholes if view.id == fitting[0])
    return Grounds(kind=kind, records=(fitting[0],), how="named")


_JOINS = frozenset(("and", "und", "plus", "et", "y", "e", "en", "sowie"))


def _one_thing_each(said: Said, able: Sequence[RecordView], lexicon: Lexicon) -> tuple[str, ...]:
    """The records of things that were named one beside the other: "the headlamp and the jacket", each of an order of
    its own; nothing where a word fits several of them."""
    common = frozenset(lexicon.common)
    at: dict[str, list[tuple[int, int]]] = {}
    for view in able:
        named = [item for item in view.items if _item(said, item, common) > 0]
        if any(_is_kept(said, item) for item in named):
            return ()
        if named:
            at[view.id] = sorted({span for item in named for span in _spans(said, item)})
    if len(at) < 2 or not all(at.values()):
        return ()
    places = sorted((spans[0][0], max(end for _, end in spans), id) for id, spans in at.items())
    for (_, end, _), (start, _, _) in itertools.pairwise(places):
        between = said.words[end:start]
        if start < end or len(between) > 4 or not _JOINS & {*between}:
            return ()
    return tuple(id for _, _, id in places)


def with_item(grounds: Grounds, views: Sequence[RecordView]) -> Grounds:
    """The grounds with the name of the only thing in the record."""
    view = next((view for view in views if view.id == grounds.record), None)
    if view is None or len(view.items) != 1:
        return grounds
    return grounds.model_copy(update={"item": view.items[0].name})


def _by_number(said: Said, able: Sequence[RecordView], views: Sequence[RecordView]) -> list[str]:
    """The records whose number was said, or that belong to one whose number was said."""
    ids = {view.id for view in able}
    direct = [number for number in said.numbers if number in ids]
    if direct:
        return list(dict.fromkeys(direct))
    parents = {view.id: view.parent for view in views}
    children = [view.id for view in able if view.parent in said.numbers]
    above = [p for number in said.numbers if (p := parents.get(number) or "") in ids]
    return list(dict.fromkeys([*children, *above]))


def _by_place(
    said: Said, able: Sequence[RecordView], memory: Memory, apt: Sequence[RecordView]
) -> Grounds | None:
    """A reference into the list that was shown, or to the newest and oldest whose state allows it."""
    ids = [view.id for view in able]
    if memory.focus in ids and _BEFORE_IT.search(folded(said.text)):
        older = ids[ids.index(memory.focus) + 1 :]
        return Grounds(records=(older[0],), how="picked") if older else Grounds()
    shown = [id for id in memory.offered if id in ids]
    for which in said.which:
        match which:
            case int() if 0 < which <= len(shown):
                return Grounds(records=(shown[which - 1],), how="picked")
            case "last" if shown and not _means_time(said):
                return Grounds(records=(shown[-1],), how="picked")
            case "both" | "all" if len(shown) == 2 or (which == "all" and shown):
                return Grounds(records=tuple(shown), together=True, how="all")
            case "other":
                others = [id for id in (shown or ids) if id != memory.focus]
                if len(others) == 1:
                    return Grounds(records=tuple(others), how="picked")
                if len(others) > 1 and len(others) == _other_count(said, len(others)):
                    return Grounds(records=tuple(others), together=True, how="all")
            case "newest" if ids and not _names_something(said, able):
                return Grounds(records=(apt[0].id,), how="named")
            case "oldest" if ids and not _names_something(said, able):
                return Grounds(records=(apt[-1].id,), how="named")
            case _:
                continue
    return None


#: The record before the one talked about; a customer's records stand newest first.
_BEFORE_IT = re.compile(
    r"\b(?:the )?(?:one|\w+) before (?:that|it|this)(?: one)?\b|\bthe previous one\b|\bd(?:ie|er|as|en) davor\b"
)
_OTHERS = re.compile(r"\b(?:other|anderen|autres|otr[oa]s|altr[ie]|andere) (\w+)")
_COUNTED = {
    **dict.fromkeys(("two", "2", "both", "beiden", "zwei", "deux", "dos", "due", "twee"), 2),
    **dict.fromkeys(("three", "3", "drei", "trois", "tres", "tre", "drie"), 3),
}


def _other_count(said: Said, left: int) -> int:
    """How many others are meant: "the other two"; ``left`` where it is open, as in "the other ones"."""
    named = _OTHERS.search(folded(said.text))
    if named is None:
        return 0
    return left if named[1] == "ones" and left <= 3 else _COUNTED.get(named[1], 0)


def _means_time(said: Said) -> bool:
    return re.search(r"\blast (?:one|of)\b", folded(said.text)) is None


def _names_something(said: Said, able: Sequence[RecordView]) -> bool:
    return any(
        any_found((item.name, *item.words), said.words) for view in able for item in view.items
    )


def _evidence(
    said: Said,
    view: RecordView,
    able: Sequence[RecordView],
    lexicon: Lexicon,
    views: Sequence[RecordView] = (),
) -> float:
    """How much of what is said fits the record; nothing where only things that are to stay were named."""
    common = frozenset(lexicon.common)
    told = {item.id: _item(said, item, common) for item in view.items}
    kept = {item.id for item in view.items if told[item.id] > 0 and _is_kept(said, item)}
    if (
        kept
        and all(value == 0 or id in kept for id, value in told.items())
        and _says_more(said, view, able, common)
    ):
        return 0.0
    value = max(told.values(), default=0.0)
    named = [id for id, item in told.items() if item > 0]
    value += 0.4 * max(len(named) - 1, 0)
    value += _worded(said, view, able, views)
    if any(view.amount == amount or _priced(view, amount) for amount in said.amounts):
        value += _AMOUNT
    # A thing that was named beats a day on which something else happened.
    elsewhere = not named and any(_item(said, i, common) > 0 for v in able for i in v.items)
    value += _dated(said, view, lexicon, anyhow=not elsewhere)
    state = lexicon.states.get(view.state, ())
    if len(able) > 1 and any_found(state, said.words) and not _negated(state, said):
        value += _STATE
    return value


#: What a word of a record's own counts beyond what any of its kind is called by, and each further one.
_TOLD, _FURTHER = 1.5, 0.3


def _worded(
    said: Said, view: RecordView, able: Sequence[RecordView], views: Sequence[RecordView]
) -> float:
    """How clearly the words name the record: by words of its own or of what it belongs to, or by what any of its
    kind is called."""
    own = _own_words(view, views)
    shared = [_own_words(other, views) for other in able if other.id != view.id]
    telling = [word for word in own if not (shared and all(word in other for other in shared))]
    places = {at for word in telling for at in _told_at(word, said, view)}
    if places:
        return _WORDS + _TOLD + _FURTHER * (len(places) - 1)
    return _WORDS if any_found(view.words, said.words, slips=False) else 0.0


def _own_words(view: RecordView, views: Sequence[RecordView]) -> tuple[str, ...]:
    """What tells a record from others of its kind: its own words, and those of the record that it belongs to."""
    parent = next((one for one in views if view.parent is not None and one.id == view.parent), None)
    above = () if parent is None else (word for word in parent.words if word not in parent.called)
    return tuple(dict.fromkeys(word for word in (*view.words, *above) if word not in view.called))


#: Digits of a long number that are said of its end.
_ENDS = re.compile(r"\b(?:end(?:s|ing|et|en|ung)?|endziffern?|letzten?|last)\b")
#: What such digits are said before: "the 004 one", "my 004 number".
_ONE = ("one", "er", "number", "nummer")
_ENDS_FROM, _LONG_NUMBER = 2, 7


def _ends_so(word: str, said: Said, place: int, called: Sequence[str]) -> bool:
    """Whether the digits at a place are the end of a long number: "the one ending in 004, not the 014", or "my 004
    card" where ``called`` are the names of its kind of record."""
    digits, number = said.words[place], "".join(tokens(word))
    behind = said.words[place + 1 : place + 2]
    return (
        digits.isdigit()
        and _ENDS_FROM <= len(digits) < len(number)
        and number.isdigit()
        and len(number) >= _LONG_NUMBER
        and number.endswith(digits)
        and (
            _ENDS.search(folded(said.text)) is not None
            or any(one in {*_ONE, *(tokens(name)[-1] for name in called)} for one in behind)
        )
    )


def _told_at(word: str, said: Said, view: RecordView) -> list[int]:
    """Where a word of a record's own is said, and not as a part of what any such record is called: "SIM card"."""
    places: list[int] = []
    size = len(tokens(word))
    for start in range(len(said.words)):
        if found(word, said.words[start : start + size], slips=False) is None and not _ends_so(
            word, said, start, view.called
        ):
            continue
        around = (
            range(max(start - len(tokens(name)) + size, 0), start + 1)
            for name in view.called
            if len(tokens(name)) > size
        )
        longer = (name for name in view.called if len(tokens(name)) > size)
        within = any(
            found(name, said.words[at : at + len(tokens(name))], slips=False) is not None
            for name, starts in zip(longer, around, strict=True)
            for at in starts
        )
        if not within:
            places.append(start)
    return places


def _not_ruled_out(
    said: Said, able: Sequence[RecordView], views: Sequence[RecordView]
) -> list[RecordView]:
    """The records without those that are named only to say that they stay: "leave the internet alone"."""
    stays = staying(said.text)
    if not stays:
        return list(able)
    ruled_out: set[str] = set()
    for view in able:
        places = {
            at + n
            for word in _own_words(view, views)
            for at in _told_at(word, said, view)
            for n in range(len(tokens(word)))
        }
        if places and places <= stays:
            ruled_out.add(view.id)
    return [view for view in able if view.id not in ruled_out]


def _names(said: Said, view: RecordView, able: Sequence[RecordView], lexicon: Lexicon) -> bool:
    """Whether anything but a day tells the record: a thing in it, its own words, an amount, its state."""
    return _evidence(replace(said, days=()), view, able, lexicon) > 0


_OWN_DEED = re.compile(
    r"\b(?:i|we|ich|wir|(?:my|our|meine?|unsere?) (?:bank|wife|husband|partner|mother|father|mann|frau|mutter|vater))\b(?:'ve)?(?: (?!(?:the|a|one|d[a-z]{2}|want|need|of|see)\b)[\w'-]+){0,4} "
    r"(?:paid|bezahlt|uberwiesen|gezahlt|returned|cancell?ed)\b"
)


def _own_deed(said: Said) -> bool:
    """Whether the words tell what the customer did: "I paid last week"."""
    return _OWN_DEED.search(folded(said.text)) is not None


_NOT = frozenset(
    ("not", "never", "nicht", "noch", "pas", "no", "non", "niet", "hasn", "haven", "isn")
)


def _negated(names: Sequence[str], said: Said) -> bool:
    """Whether the words for a state are said to be not so: "everything that has not shipped"."""
    for name in names:
        at = found(name, said.words)
        if at is not None:
            before = said.words[max(at[0] - 3, 0) : at[0]]
            return any(word in _NOT or word.endswith(("n't", "nt")) for word in before)
    return False


def _says_more(
    said: Said, view: RecordView, able: Sequence[RecordView], common: frozenset[str]
) -> bool:
    """Whether another record's thing was named too: "only the jacket, not the boots"."""
    return any(_item(said, item, common) > 0 for v in able if v.id != view.id for item in v.items)


def _priced(view: RecordView, amount: Decimal) -> bool:
    return any(item.price == amount for item in view.items)


def _item(said: Said, item: Item, common: frozenset[str] = frozenset()) -> float:
    """How clearly the words name an item: its whole name, words of its own, or what such things are called.

    ``common``: words that things of many kinds are called by; they tell no single one."""
    if found(item.name, said.words) is not None:
        return _NAME
    called = {word for words in item.words for word in tokens(words)} | common
    name = [word for word in tokens(item.name) if _tells(word)]
    own = [word for word in name if word not in called and len(word) >= _TELLS_ALONE]
    if any(alike(spoken, word, compounds=False) for spoken in said.words for word in own):
        return _OWN_WORD
    kind = max(
        (_CALLED + 0.1 * len(tokens(w)) for w in item.words if found(w, said.words)), default=0.0
    )
    said_of_it = sum(any(alike(spoken, word) for spoken in said.words) for word in name)
    return kind + 0.5 * max(said_of_it - 1, 0) if kind else 0.0


#: A word of a name tells the thing by itself from so many letters on; shorter ones only beside another.
_TELLS_ALONE = 5


def _tells(word: str) -> bool:
    """A word of a thing's name that says which one it is."""
    return len(word) >= 3 or (len(word) == 2 and any(char.isdigit() for char in word))


def _dated(said: Said, view: RecordView, lexicon: Lexicon, *, anyhow: bool) -> float:
    """Whether a day of the record lies in a stretch of time that was said; ``anyhow``: even if nothing says of what."""
    asked = [name for name, words in lexicon.dates.items() if any_found(words, said.words)]
    if not asked and not anyhow:
        return 0.0
    names = [name for name in view.dates if name in asked] or list(view.dates)

    def within(name: str, *, at_most: int = 10**6) -> bool:
        day = view.dates[name]
        return any(a <= day <= b and (b - a).days <= at_most for a, b in said.days)

    if any(within(name) for name in names if name in asked or name == names[0]):
        return _DATE
    if any(within(name, at_most=_STRETCH) for name in names[1:]):
        return _DATE
    # Of a whole month it is the first of its days: November's invoice was written in November, not due in it.
    return _DATE - _LESS if any(map(within, names[1:])) else 0.0


#: So many days are a stretch in which any of a record's days tells it, and what another day than its first counts less
#: where more were said.
_STRETCH, _LESS = 20, 0.7


def _missing(
    said: Said,
    able: Sequence[RecordView],
    views: Sequence[RecordView],
    evidence: Mapping[str, float],
    lexicon: Lexicon,
) -> str:
    """A product of the catalogue that was named and is in none of the records that hold things."""
    holding = {item.id for view in able for item in view.items}
    owned = {item.id for view in views for item in view.items}
    if not holding or any(value >= _OWN_WORD for value in evidence.values()):
        return ""
    common = _common(lexicon) | frozenset(lexicon.common)
    for item in lexicon.catalogue:
        if item.id not in owned and _item(said, item, common) >= _OWN_WORD:
            return item.name
    if (other := _other_kind(said, able, owned, lexicon)) is not None:
        return other
    if max(evidence.values(), default=0.0) > 0:
        return ""
    if any(item.id in owned and _item(said, item, common) for item in lexicon.catalogue):
        return ""  # Records of another kind hold it.
    kinds = [
        item for item in lexicon.catalogue if item.id not in owned and _item(said, item, common)
    ]
    return _word_for(said, kinds[0]) if kinds else ""


def _other_kind(
    said: Said, able: Sequence[RecordView], held: Collection[str], lexicon: Lexicon
) -> str | None:
    """A kind of thing in two words that none of the records holds, where only one of them fits what they hold: a rain
    jacket is no down jacket."""
    theirs = {tokens(word) for item in lexicon.catalogue if item.id in held for word in item.words}
    for item in lexicon.catalogue:
        for word in item.words:
            kind = tokens(word)
            if len(kind) < 2 or kind in theirs or (at := found(word, said.words)) is None:
                continue
            rest = replace(said, words=(*said.words[: at[0]], *said.words[at[1] :]))
            if not any(_evidence(rest, view, able, lexicon) > 0 for view in able):
                return " ".join(said.words[at[0] : at[1]])
    return None


def _common(lexicon: Lexicon) -> frozenset[str]:
    """Every word that things of some kind are called by."""
    return frozenset(
        word for item in lexicon.catalogue for words in item.words for word in tokens(words)
    )


def _word_for(said: Said, item: Item) -> str:
    for word in item.words:
        if (at := found(word, said.words)) is not None:
            return " ".join(said.words[at[0] : at[1]])
    return item.name


def _is_focus(id: str, views: Sequence[RecordView], memory: Memory) -> bool:
    if memory.focus is None:
        return False
    parents = {view.id: view.parent for view in views}
    return id == memory.focus or parents.get(id) == memory.focus or parents.get(memory.focus) == id


def _from_focus(
    kind: str,
    able: Sequence[RecordView],
    views: Sequence[RecordView],
    memory: Memory,
    said: Said,
    missing: str,
    lexicon: Lexicon,
) -> Grounds:
    """Nothing was named: the record the conversation is about, or nothing."""
    near = [view.id for view in able if _is_focus(view.id, views, memory)]
    if missing or not near or said.foreign:
        return Grounds(kind=kind, missing=missing, foreign=said.foreign)
    return Grounds(
        kind=kind,
        records=(near[0],) if len(near) == 1 else tuple(near),
        how="focus",
        parts=_parts(said, able, near[:1], lexicon),
        foreign=said.foreign,
    )


def _only(kind: str, able: Sequence[RecordView], first: Collection[str]) -> Grounds:
    """The one record in the likeliest state that any of them is in."""
    for state in first:
        fitting = [view.id for view in able if view.state == state]
        if fitting:
            ids = tuple(fitting) if len(fitting) == 1 else ()
            return Grounds(kind=kind, records=ids, how="only" if ids else "none")
    return Grounds(kind=kind)


_PLURAL = re.compile(
    r"\b(?:both|all|every(?:thing)?|alle[sn]?|beide[sn]?|tous|toutes|tout|todos|todas|tutt[ie]|entrambi|allebei)\b"
)


def means_all(said: Said) -> bool:
    """Whether everything is meant, or both."""
    return _PLURAL.search(folded(said.text)) is not None


# --- parts -------------------------------------------------------------------------------------

#: Words after an item that make it a name for its whole order: "the tent order", "die Zeltbestellung".
_WHOLE = re.compile(
    r"\b(?:whole|entire|complete|everything|ganze[nrs]?|gesamte[nrs]?|komplett\w*|alles|toute? la|entier|todo el|"
    r"toda la|tutto|hele)\b"
)
_KEPT = re.compile(
    r"\bstill (?:want|need|like|would like|use)\b|\b(?:i|we) (?:do )?(?:want|need) (?:to keep )?(?:the|my|our) \w+(?: \w+)? (?:obviously|of course|though|still)\b|"
    r"\b(?:will|mochte|brauch\w*) (?:ich |wir )?(?:\w+ ){0,3}(?:naturlich |schon |ja )?(?:noch|weiterhin|trotzdem)\b|"
    r"\b(?:keep|keeping|stays?|stay|not the|but not|except|without|behalt\w*|bleib\w*|soll\w* (?:trotzdem |noch |weiter )?kommen|ausser|nicht d(?:ie|as|en|er)|"
    r"garde|sauf|pas l[ea]|quedo|menos|tengo|tranne|behou\w*)\b"
)


def _parts(
    said: Said, able: Sequence[RecordView], ids: Sequence[str], lexicon: Lexicon
) -> tuple[Part, ...]:
    """The items of the one record that were named as a part of it, or the pieces that were counted."""
    if len(ids) != 1:
        return ()
    view = next(view for view in able if view.id == ids[0])
    if _WHOLE.search(folded(said.text)):
        return ()
    named = [
        item
        for item in view.items
        if _item(said, item) > 0 and not _names_record(said, item, lexicon)
    ]
    kept = [item for item in named if _is_kept(said, item)]
    chosen = [item for item in named if item not in kept]
    chosen = [item for item in chosen if _is_only(said, item)] or chosen
    if kept and not chosen and len(view.items) > len(kept):
        chosen = [item for item in view.items if item not in kept]
    parts = tuple(Part(id=i.id, name=i.name, quantity=_pieces(said, i)) for i in chosen)
    whole = len(parts) == len(view.items) and all(
        part.quantity is None or part.quantity >= item.quantity
        for part, item in zip(parts, chosen, strict=True)
    )
    return () if whole and not kept else parts


def _spans(said: Said, item: Item) -> list[tuple[int, int]]:
    names = (item.name, *item.words, *(w for w in tokens(item.name) if _tells(w)))
    return [at for name in names if (at := found(name, said.words)) is not None]


def _names_record(said: Said, item: Item, lexicon: Lexicon) -> bool:
    """Whether the item only says which record is meant: "the tent order", "the order with the tent"."""
    called = {word for words in lexicon.kinds.values() for word in words}
    whole = found(item.name, said.words)
    for start, end in [whole] if whole is not None else _spans(said, item):
        after = said.words[end : end + 1]
        before = said.words[max(start - 6, 0) : start]  # "the one that came with the"
        if any(alike(word, name) for word in after for name in called):
            return True
        if any(word in ("with", "mit", "avec", "con", "met") for word in before) and any(
            alike(word, name) for word in before for name in (*called, "one")
        ):
            return True
        if any(
            len(said.words[n]) > len(name) + 3 and said.words[n].endswith(name)
            for n in range(start, end)
            for name in called
        ):
            return True
    return False


_ONLY = frozenset(
    (
        "only",
        "just",
        "nur",
        "bloss",
        "lediglich",
        "seulement",
        "solo",
        "solamente",
        "soltanto",
        "alleen",
    )
)


def _is_only(said: Said, item: Item) -> bool:
    """Whether the words say that nothing but the item is meant: "nur die Matte, das Zelt soll kommen"."""
    return any(_ONLY & {*said.words[max(start - 3, 0) : start]} for start, _ in _spans(said, item))


def _is_kept(said: Said, item: Item) -> bool:
    """Whether the words around the item say that it stays."""
    clauses = re.split(
        r"[,;.!?:]|\b(?:but|and|aber|und|sondern|mais|et|pero|y)\b", folded(said.text)
    )
    for clause in clauses:
        if _KEPT.search(clause):
            own = tokens(clause)
            if any_found((item.name, *item.words), own) or any(
                alike(word, name) for word in own for name in tokens(item.name) if _tells(name)
            ):
                return True
    return False


def _pieces(said: Said, item: Item) -> int | None:
    """How many pieces of the item were said: the count nearest before its name."""
    spans = _spans(said, item)
    for count, index in said.quantities:
        near = not spans or any(0 <= start - index <= 6 for start, _ in spans)
        if near and 0 < count <= item.quantity:
            return count
    return None

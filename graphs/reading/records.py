"""The customer's own records: which of their values the customer's words point to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import JsonValue

from graphs.reading.fields import Field, stem, stems, words_of

_ON_FILE = re.compile(
    r"\b(?:on (?:file|record|my account|the account)|usual|saved|registered|default|existing|stored|original|same|you (?:already )?have|"
    r"(?:my|our) (?:only|current|account))\b",
    re.I,
)
_DULL = stems(
    "the a an my our your of for with to and or in on at it is was that this one order item items please i want cancel return "
    "exchange from need do not don't any more money put back number card id as be me by email phone name no new all "
    "true false none address"
)


@dataclass(frozen=True)
class Known:
    """One value of a record, what it is called, and the words of the record around it."""

    value: str
    name: frozenset[str]  #: Stems of its key, and of the keys above it.
    key: tuple[str, ...]
    context: frozenset[str]  #: Stems of everything in its record.
    label: frozenset[str]  #: Stems of what its record is called.
    within: frozenset[str]  #: The values of the records it lies in.


def known(records: Any) -> list[Known]:
    """Every value of the records, with what can be said to point to it."""
    return list(_walk(records, (), frozenset()))


def _walk(node: Any, path: tuple[str, ...], above: frozenset[str]) -> Iterator[Known]:
    if isinstance(node, list):
        for one in cast("list[Any]", node):
            yield from _walk(one, path, above)
        return
    if not isinstance(node, Mapping):
        return
    fields = cast("Mapping[str, Any]", node)
    scalars = {k: v for k, v in fields.items() if not isinstance(v, Mapping | list)}
    within = above | {str(v) for v in scalars.values()}
    label = stems(
        " ".join(str(v) for k, v in scalars.items() if _LABEL.search(k)).replace("-", " ")
    )
    for key, value in fields.items():
        if isinstance(value, Mapping):
            if _keyed_by_id(fields):
                context = _words(cast("Any", value)) | stems(key.replace("_", " "))
                yield _known(key, (*path, "id"), context, frozenset(), above)
            yield from _walk(value, (*path, key), within)
        elif isinstance(value, list):
            for one in cast("list[Any]", value):
                if not isinstance(one, Mapping | list):
                    yield _known(str(one), (*path, key), frozenset(), frozenset(), within)
            yield from _walk(value, (*path, key), within)
        elif value is not None:
            yield _known(str(value), (*path, key), _words(fields), label, within)


def _keyed_by_id(fields: Mapping[str, Any]) -> bool:
    """Is it a table of records by their ids: nothing but records, with a key in common?"""
    rows = [cast("Mapping[str, Any]", v) for v in fields.values() if isinstance(v, Mapping)]
    return len(rows) == len(fields) and bool(frozenset(rows[0]).intersection(*rows[1:]))


_LABEL = re.compile(r"name|title|label|product$", re.I)


def _known(
    value: str,
    path: tuple[str, ...],
    context: frozenset[str],
    label: frozenset[str],
    within: frozenset[str],
) -> Known:
    key = tuple(stem(w) for w in words_of(path[-1]))
    above = frozenset(stem(w) for part in path for w in words_of(part))
    own = stems(value)
    return Known(value, above, key, context - own, label - own - _DULL, within)


def _words(node: Any) -> frozenset[str]:
    """The words of everything in a record."""
    if isinstance(node, Mapping):
        found: frozenset[str] = frozenset()
        for value in cast("Mapping[str, Any]", node).values():
            found |= _words(value)
        return found
    if isinstance(node, list):
        found = frozenset()
        for value in cast("Sequence[Any]", node):
            found |= _words(value)
        return found
    spaced = str(node).replace("_", " ").replace("-", " ")
    return stems(spaced) | stems(str(node))


def candidates(field: Field, everything: Sequence[Known]) -> list[Known]:
    """The values that are of the field's kind, by what they are called."""
    own = tuple(stem(w) for w in words_of(field.name.rpartition(".")[2]))
    exact = [one for one in everything if one.key == own]
    if exact:
        return exact
    if len(own) > 1 and own[-1] == "id":
        return [one for one in everything if one.key == ("id",) and set(own[:-1]) <= one.name]
    if field.kind in ("email", "phone"):
        return [
            one
            for one in everything
            if one.key and one.key[-1] in (field.kind, "mail", "number") and field.kind in one.name
        ]
    return []


def pointed_at(
    field: Field, text: str, everything: Sequence[Known], chosen: Sequence[JsonValue] = ()
) -> list[JsonValue]:
    """The values of the field's kind that the text means: by words only their record has, or as what is on file.

    ``chosen`` values narrow the search to the records they stand in: an item of the chosen order."""
    offered = candidates(field, everything)
    held = {str(v) for v in chosen if isinstance(v, str)}
    offered = [one for one in offered if one.within & held] or offered
    if not offered:
        return []
    said = (stems(text.replace("-", " ")) | stems(text)) - _DULL
    if field.many and field.kind not in ("email", "phone"):
        return _labelled(offered, said)
    words: dict[str, frozenset[str]] = {}
    for one in offered:
        words[one.value] = words.get(one.value, frozenset()) | (one.context - _DULL)
    address = field.kind == "place" and "address" not in stems(text)
    if len(words) > 1 and not address:
        shared = frozenset[str].intersection(*words.values())
        scores = {value: len((own - shared) & said) for value, own in words.items()}
        best = max(scores.values())
        winners = [value for value, score in scores.items() if score == best]
        return [winners[0]] if best and len(winners) == 1 else []
    names_it = bool((field.cues | {field.kind}) & stems(text)) or any(
        part in stems(text) for one in offered for part in one.name
    )
    if len(words) == 1 and _ON_FILE.search(text) and names_it:
        return [offered[0].value]
    return []


def _labelled(offered: Sequence[Known], said: frozenset[str]) -> list[JsonValue]:
    """The records whose names are said; of several with the same name the one whose other words are said too."""
    named = [one for one in offered if one.label and one.label <= said]
    groups: dict[frozenset[str], list[Known]] = {}
    for one in named:
        groups.setdefault(one.label, []).append(one)
    found: list[JsonValue] = []
    for label, alike in groups.items():
        if any(label < other for other in groups):
            continue
        ranked = sorted(
            {o.value: len((o.context - _DULL) & said) for o in alike}.items(), key=lambda r: -r[1]
        )
        if len(ranked) == 1 or ranked[0][1] > ranked[1][1]:
            found.append(ranked[0][0])
    return found

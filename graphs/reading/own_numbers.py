"""The shop's own record numbers in a customer's words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from graphs.reading.spans import Span
from tools.numbers import PREFIXES, means_newest, normalise_number

_NUMBER = re.compile(
    r"(?<![\w.,])(?:(?P<prefix>[A-Za-z]{1,3})[\s\-_#.:]*)?#?(?P<digits>\d{3,9})(?![\w]|[.,]\d)"
)
_BEFORE = re.compile(
    r"(order|invoice|bill|refund|subscription|plan)s?\W*(?:number|no\.?|nr\.?|id)?\W*$", re.I
)
_NEWEST_KIND = re.compile(
    r"\b(?:last|latest|newest|recent)\s+(order|invoice|bill|refund|subscription|plan)", re.I
)
_KIND_WORDS = {"bill": "invoice", "plan": "subscription"}
#: "refund 10482" asks for money back for an order; "refund no. 30112" names a refund.
_REFUND_THIS = re.compile(r"\brefund\W*$", re.I)


def number_spans(kind: str, text: str) -> list[Span]:
    """Record numbers of this kind and where they stand; ``certain`` ones say that they are of the kind."""
    found: list[Span] = []
    prefixes = {prefix.casefold(): name for name, prefix in PREFIXES.items()}
    for match in _NUMBER.finditer(text):
        number = normalise_number(kind, match["digits"])
        if number is None:
            continue
        said = prefixes.get((match["prefix"] or "").casefold())
        said_before = text[: match.start("digits")]
        if (
            said is None
            and (before := _BEFORE.search(said_before))
            and not _REFUND_THIS.search(said_before)
        ):
            word = before[1].casefold()
            said = _KIND_WORDS.get(word, word)
        start = match.start() if said is not None and match["prefix"] else match.start("digits")
        if said == kind:
            found.append(Span(number, start, match.end()))
        elif said is None and len(match["digits"]) >= 4 and not match["digits"].startswith("0"):
            found.append(Span(number, start, match.end(), certain=False))
    return found


def values_of(spans: Iterable[Span], *, certain: bool) -> list[str]:
    """The numbers themselves, each once."""
    return list(dict.fromkeys(str(s.value) for s in spans if s.certain is certain))


def newest_of(text: str) -> str | None:
    """The kind of record the customer calls their newest; "" when they do not say which, None when none."""
    if not means_newest(text):
        return None
    kind = _NEWEST_KIND.search(text)
    return "" if kind is None else _KIND_WORDS.get(kind[1].casefold(), kind[1].casefold())

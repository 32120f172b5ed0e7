"""Numbers and amounts of money as people write them."""

from __future__ import annotations

import re

from graphs.reading.spans import Span

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_COMPOUND = {
    f"{ten}{joint}{one}": 10 * t + u
    for t, ten in enumerate(_TENS, 2)
    for u, one in enumerate(_UNITS[1:10], 1)
    for joint in ("-", " ")
}
#: Number words up to ninety-nine, and a dozen.
NUMBER_WORDS: dict[str, int] = {
    **{word: n for n, word in enumerate(_UNITS)},
    **{word: 10 * n for n, word in enumerate(_TENS, 2)},
    **_COMPOUND,
    "dozen": 12,
}

_CURRENCIES = {
    "€": "EUR", "eur": "EUR", "euro": "EUR", "euros": "EUR", "$": "USD", "usd": "USD", "dollar": "USD",
    "dollars": "USD", "bucks": "USD", "£": "GBP", "gbp": "GBP", "pound": "GBP", "pounds": "GBP", "quid": "GBP",
    "chf": "CHF", "francs": "CHF", "¥": "JPY", "jpy": "JPY", "yen": "JPY", "us$": "USD",
}  # fmt: skip
_MARK = r"(?:US\$|[€$£¥]|\b(?:" + "|".join(k for k in _CURRENCIES if k.isalpha()) + r")\b)"
_DIGITS = r"\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?"
_WORD = "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
#: A run of digits inside an identifier, a date or a telephone number is no number of its own.
_NUMBER = re.compile(
    rf"(?<![\w#.,/:+-])(?P<digits>{_DIGITS})(?![\w#/:]|[.,-]\d|-\w)|\b(?P<word>{_WORD})\b", re.I
)
_HUNDREDS = re.compile(r"\s+(?P<unit>hundred|thousand|k)\b", re.I)
_PRICE = re.compile(
    rf"(?P<before>{_MARK})\s?(?P<a>{_DIGITS})(?![\w]|[.,]\d)|"
    rf"(?<![\w#.,/:+-])(?P<b>{_DIGITS}|{_WORD})\s?(?P<after>{_MARK}|%)",
    re.I,
)
#: "the other one", "which one": no number.
_PRONOUN = re.compile(
    r"\b(?:the|this|that|which|other|another|any|every|each|last|first|second|third|new|old|no|next|red|blue|"
    r"black|right|wrong|only)\s+$",
    re.I,
)


def small_number(word: str) -> int | None:
    """The number a word or digits stand for; "a" and "an" are one."""
    folded = word.casefold()
    if folded in ("a", "an"):
        return 1
    return int(folded) if folded.isdigit() else NUMBER_WORDS.get(folded)


def numeral(digits: str) -> float:
    """The number that digits with separators stand for: 1.250,75 and 1,250.75 are the same."""
    plain = re.sub(r"[' ]", "", digits)
    last = max(plain.rfind("."), plain.rfind(","))
    if last < 0:
        return float(plain)
    whole, tail = re.sub(r"[.,]", "", plain[:last]), plain[last + 1 :]
    # Three digits after the only separator group thousands: nobody writes a price with three decimals.
    return float(whole + tail) if len(tail) == 3 else float(f"{whole}.{tail}")


def numbers(text: str) -> list[Span]:
    """Every number, in digits or words; whole ones as integers."""
    found: list[Span] = []
    for m in _NUMBER.finditer(text):
        word = m["word"]
        if word is not None and word.casefold() == "one" and _pronoun(text, m):
            continue
        value = numeral(m["digits"]) if word is None else float(NUMBER_WORDS[_folded(word)])
        end = m.end()
        if more := _HUNDREDS.match(text, end):
            value *= 100 if more["unit"].casefold() == "hundred" else 1000
            end = more.end()
        found.append(Span(_plain(value), m.start(), end))
    return found


def _pronoun(text: str, m: re.Match[str]) -> bool:
    follows = text[m.end() : m.end() + 14].casefold()
    return bool(_PRONOUN.search(text[: m.start()])) or follows.startswith(
        (" ending", " of ", " with")
    )


def _folded(word: str) -> str:
    return re.sub(r"\s+", " ", word.casefold())


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else value


def prices(text: str) -> list[Span]:
    """Every number with a currency: its value, and the stretch with the currency's sign."""
    return [
        Span(_price(m), m.start(), m.end())
        for m in _PRICE.finditer(text)
        if (m["after"] or "") != "%"
    ]


def _price(m: re.Match[str]) -> int | float:
    said = m["a"] or m["b"]
    word = NUMBER_WORDS.get(_folded(said))
    return word if word is not None else _plain(numeral(said))


def currencies(text: str) -> list[Span]:
    """The currencies that signs and words beside a number name, as ISO codes."""
    found: list[Span] = []
    for m in _PRICE.finditer(text):
        group = "before" if m["before"] else "after"
        if code := _CURRENCIES.get((m[group] or "").casefold()):
            found.append(Span(code, m.start(group), m.end(group)))
    return found

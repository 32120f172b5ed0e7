"""Whether two questions ask for the same thing, and whether an answer may be given to somebody else: pure rules."""

from __future__ import annotations

import re

from tools.privacy import find_pii

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|-?\d+(?:[.,]\d+)*")
#: Words that carry no meaning of their own in a question to a shop.
_EMPTY = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "is",
        "are",
        "was",
        "be",
        "been",
        "do",
        "does",
        "did",
        "will",
        "would",
        "shall",
        "please",
        "i",
        "we",
        "you",
        "my",
        "our",
        "your",
        "me",
        "us",
        "there",
        "have",
        "has",
        "get",
        "to",
        "for",
        "of",
        "at",
        "in",
        "on",
        "it",
        "its",
        "it's",
        "what's",
        "if",
        "i'm",
        "am",
        "s",
        "hello",
        "hi",
        "hey",
        "thanks",
        "thank",
        "just",
        "should",
        "how",
        "what",
        "which",
        "cost",
        "costs",
        "price",
        "come",
    ]
)
_ALIKE = {
    "may": "can",
    "could": "can",
    "possible": "can",
    "allowed": "can",
    "ship": "deliver",
    "one": "1",
    "two": "2",
    "three": "3",
    "membership": "plan",
    "subscription": "plan",
    "collect": "collect",
    "mail": "email",
}
#: What is asked for; one question may ask for several.
_ASKS = (
    ("price", r"\bhow much\b|\bcosts?\b|\bprice\b|\bwhat (?:do|would) (?:i|we) pay\b"),
    ("duration", r"\bhow long\b|\bhow many (?:days|weeks|hours)\b"),
    ("frequency", r"\bhow often\b"),
    ("number", r"\bhow many\b(?! (?:days|weeks|hours))"),
    ("time", r"\bwhen\b"),
    ("place", r"\bwhere\b"),
    ("person", r"\bwho\b"),
    ("reason", r"\bwhy\b"),
    ("way", r"\bhow (?:do|can|should|may|could|to)\b"),
)
_DIRECTED = re.compile(r"\b(?:from .* to|into|instead|than|rather|before|after|against)\b")
_OWN = re.compile(
    r"\b(?:my|our) (?:\w+ )?(?:orders?|parcels?|packages?|refunds?|invoices?|deliver\w*|payments?|account number)\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"\b(?:SB|SUB|INV|RF|CH|T)-\d+\b", re.IGNORECASE)
_LEANS = re.compile(
    r"^(?:and|but|or|so|then|what about|how about)\b|"
    r"\b(?:it|its|they|them|their|those|these|that one|this one|the other|the same|the (?:first|second|third|last) one|"
    r"there|again|instead|also|too|else|earlier|before that|you said|you mentioned)\b",
    re.IGNORECASE,
)


#: Words that stand for something said before ("one" is read as a figure), and how many others leave open what.
_POINTING = frozenset(
    ["it", "its", "they", "them", "their", "that", "this", "those", "these", "one", "ones", "1"]
)
#: "It takes two days to ..." stands for nothing.
_POINTS = re.compile(
    r"\b(?:it(?! takes? \w* ?(?:to|for|until)\b)|its|they|them|their|that|this|those|these|ones?)\b",
    re.IGNORECASE,
)
_FEW = 2


def normal(question: str) -> str:
    """The question without what makes no difference: case, spacing, the mark at its end."""
    return " ".join(question.casefold().replace("\u2019", "'").split()).rstrip(" ?!.")


def stands_alone(question: str) -> bool:
    """Whether the question can be understood without the conversation before it."""
    return len(_WORD.findall(question.casefold())) >= 3 and not _LEANS.search(question)


_POSSESSED = re.compile(
    r"\b(?:my|our|mein\w*|unser\w*|mon|ma|mes|notre|nos|mi|mis|nuestr\w+|mi[oae]|nostr\w+|mijn|onze?)\s+(\w+)(?:\s+(\w+))?(?:\s+(\w+))?",
    re.IGNORECASE,
)


def owned(question: str) -> tuple[str, ...]:
    """The words that follow a "my": what the question says is the customer's own."""
    found = _POSSESSED.findall(question.casefold())
    return tuple(word for words in found for word in words if word)


def points(question: str) -> bool:
    """Whether the question has a pronoun that may stand for something said before."""
    return _POINTS.search(question) is not None


def refers_back(question: str) -> bool:
    """Whether the question speaks of something by a pronoun and has little else that says of what: "when does
    it open", but not "how long does it take to get a refund"."""
    return bool(_POINTS.search(question)) and len(shape(question)[1] - _POINTING) <= _FEW


def personal(question: str) -> bool:
    """Whether the question is about one customer: then nobody else may get its answer."""
    return bool(_OWN.search(question) or _NUMBERED.search(question) or find_pii(question))


def shape(question: str) -> tuple[frozenset[str], frozenset[str], tuple[str, ...]]:
    """What a question asks for, the words that say about what (stemmed, without filling words), and these
    in order where the order matters ("from Care to Care Plus").

    Two questions with different shapes never share an answer, however near their meanings seem: "from 50
    EUR" and "from 60 EUR", "inside" and "outside" differ in one word."""
    text = normal(question)
    asks = frozenset(name for name, pattern in _ASKS if re.search(pattern, text))
    words = tuple(
        stem(_ALIKE.get(word) or word)
        for word in _WORD.findall(text)
        if word not in _EMPTY
        and not (asks and word in _ASKING)
        and not ("way" in asks and word in ("can", "could"))
    )
    ordered = words if _DIRECTED.search(text) else ()
    return asks, frozenset(words), ordered


_ASKING = frozenset(
    [
        "much",
        "long",
        "many",
        "often",
        "when",
        "where",
        "who",
        "why",
        "days",
        "weeks",
        "hours",
        "take",
        "takes",
        "way",
    ]
)
_ENDINGS = ("ings", "ing", "ies", "ed", "es", "e", "y")


def stem(word: str) -> str:
    """The word without a regular ending; crude, and the same for both questions."""
    if word[-1].isdigit():
        return word.replace(",", "")
    word = word.removesuffix("'s")
    word = word if word.endswith("ss") or len(word) < 4 else word.removesuffix("s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: len(word) - len(ending)]
    return word

"""Our own customer messages: templates with slots, filled the same way every time from a seed."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import yaml

from models.train.domain import DOMAIN

FOLDER = DOMAIN.examples

Part = Literal["train", "calibration", "test"]

#: Messages the acceptance tests play. They must come out right without having been learnt by heart.
KEPT_OUT = (
    "What's my order status?",
    "I want to cancel my subscription",
    "This is broken and I've been a customer for 5 years, I'm furious",
    "How does your pricing work for enterprise?",
    "cancel my last order, refund it to my card and tell me how long the refund takes",
)

_CHOICE = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")


def plain(text: str) -> str:
    """The text as compared for equality: words only, lower case."""
    return " ".join(re.findall(r"[a-z0-9']+", text.casefold().replace("’", "'")))


_KEPT_OUT = frozenset(plain(text) for text in KEPT_OUT)
#: The eval cases with messages of customers: nothing like them is learnt.
_CASES = DOMAIN.cases
#: From this share of words in common on, a message of four words or more is like another.
_ALIKE = 0.75


def kept_out(text: str) -> bool:
    return plain(text) in _KEPT_OUT


def held_out(text: str) -> bool:
    """Is it kept out, or like what an eval case says?"""
    return kept_out(text) or _like_a_case(text)


def _like_a_case(text: str) -> bool:
    """Is it, but for a word or so, what an eval case says? Two words are anybody's."""
    said = plain(text)
    found = frozenset(said.split())
    if len(found) < 3:
        return False
    exact, by_word = _held_cases()
    if said in exact:
        return True
    # Whoever shares three quarters of the words shares one of any quarter of them and one more: the rarest do.
    rare = sorted(found, key=lambda word: len(by_word.get(word, ())))[: len(found) // 4 + 1]
    return any(
        len(found & words) >= _ALIKE * len(found | words)
        for word in rare
        for words in by_word.get(word, ())
    )


@cache
def _held_cases() -> tuple[frozenset[str], dict[str, list[frozenset[str]]]]:
    """What the cases say, and the sets of words of those of four words or more, by each word."""
    said: set[str] = set()
    for name in ("lanes_300", "mix_100"):
        path = _CASES / f"{name}.yaml"
        if path.exists():
            said |= {plain(text) for text in _texts(yaml.safe_load(path.read_text("utf-8")))}
    by_word: dict[str, list[frozenset[str]]] = {}
    for words in sorted({frozenset(text.split()) for text in said}, key=sorted):
        for word in words if len(words) > 3 else ():
            by_word.setdefault(word, []).append(words)
    return frozenset(said), by_word


def _texts(case: Any) -> Iterable[str]:
    """Every message of a file of cases, however deep."""
    if isinstance(case, Mapping):
        given = cast("Mapping[str, Any]", case)
        if isinstance(given.get("text"), str):
            yield str(given["text"])
        for value in given.values():
            yield from _texts(value)
    elif isinstance(case, list):
        for value in cast("list[Any]", case):
            yield from _texts(value)


@dataclass(frozen=True)
class Message:
    """A customer message with what is true about it."""

    text: str
    label: str
    source: str
    part: Part = "train"


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))


@cache
def slots() -> dict[str, list[str]]:
    return {name: [str(value) for value in values] for name, values in read("slots").items()}


def part_of(template: str) -> Part:
    """Which part a template belongs to, for ever: all its fillings stay together."""
    bucket = int(hashlib.sha256(template.encode()).hexdigest(), 16) % 20
    return "test" if bucket < 2 else "calibration" if bucket == 2 else "train"


def _record(prefix: str, digits: int) -> Callable[[random.Random], str]:
    def make(rng: random.Random) -> str:
        number = str(rng.randrange(10 ** (digits - 1), 10**digits))
        form = rng.random()
        if form < 0.55:
            return f"{prefix}-{number}"
        if form < 0.7:
            return f"{prefix.lower()}-{number}"
        return (
            f"{prefix}{number}"
            if form < 0.78
            else number
            if prefix in ("SB", "INV")
            else f"{prefix}-{number}"
        )

    return make


def _email(rng: random.Random) -> str:
    first, last, domain = (rng.choice(slots()[name]) for name in ("first", "last", "domain"))
    return rng.choice(
        [
            f"{first}.{last}@{domain}",
            f"{first}{rng.randrange(10, 999)}@{domain}",
            f"{last}@{domain}",
        ]
    )


def _phone(rng: random.Random) -> str:
    digits = "".join(str(rng.randrange(10)) for _ in range(7))
    return rng.choice(
        [
            f"+49 1{rng.choice('567')}{rng.randrange(10)} {digits}",
            f"0{rng.randrange(151, 179)}{digits}",
            f"+43 664 {digits}",
        ]
    )


def _address(rng: random.Random) -> str:
    street, town = rng.choice(slots()["street"]), rng.choice(slots()["town"])
    house = f"{rng.randrange(1, 180)}{rng.choice(['', '', '', 'a', 'b'])}"
    postcode = str(rng.randrange(10000, 99999))
    return rng.choice(
        [
            f"{street} {house}, {postcode} {town}",
            f"{street} {house} in {town}",
            f"{street} {house}, {town}",
            f"{house} {street}, {town}",
            f"{street} {house} {postcode} {town}",
            f"{street} {house}",
        ]
    )


_MAKERS: dict[str, Callable[[random.Random], str]] = {
    "order": _record("SB", 5),
    "invoice": _record("INV", 5),
    "sub": _record("SUB", 4),
    "refund": _record("RF", 5),
    "email": _email,
    "phone": _phone,
    "address": _address,
}


def fill(template: str, rng: random.Random) -> tuple[str, dict[str, str]]:
    """One message of a template, and the slot values that went into it."""
    while _CHOICE.search(template):
        template = _CHOICE.sub(
            lambda found: rng.choice(found.group(1).split("|")), template, count=1
        )
    values: dict[str, str] = {}

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        values[name] = _MAKERS[name](rng) if name in _MAKERS else rng.choice(slots()[name])
        return values[name]

    return _SLOT.sub(value, template).strip(), values


_SLANG = {
    "please": "pls",
    "you": "u",
    "are": "r",
    "want to": "wanna",
    "thanks": "thx",
    "because": "cuz",
    "going to": "gonna",
    "order": "ordr",
}
_BEFORE = (
    "hi, ",
    "hello, ",
    "hey ",
    "hi there, ",
    "ok so ",
    "hello! ",
    "excuse me, ",
    "quick question: ",
    "good morning, ",
    "hi team, ",
)
_AFTER = (" thanks", ", thanks!", " please", " asap", ", thank you", "...", " ?", "!")


def roughen(text: str, rng: random.Random, *, keep: Iterable[str] = ()) -> str:
    """The text as people type it: cases, slips, slang, greetings; ``keep`` values stay as they are."""
    keep = [value for value in keep if value]
    if rng.random() < 0.2 and len(text.split()) > 2:
        text = rng.choice(_BEFORE) + text
    if rng.random() < 0.12 and len(text.split()) > 2:
        text += rng.choice(_AFTER)
    if rng.random() < 0.45:
        text = text[:1].upper() + text[1:]
        if text[-1:].isalnum() and rng.random() < 0.6:
            asks = re.match(
                r"(what|how|when|where|who|which|is|are|do|does|can|could|has|did)\b",
                text,
                re.IGNORECASE,
            )
            text += "?" if asks else "."
        return text
    words = text.split(" ")
    for index, word in enumerate(words):
        if any(word.strip(",.?!") in value for value in keep):
            continue
        if rng.random() < 0.15:
            word = _SLANG.get(word, word)
        if word.isalpha() and len(word) > 4 and rng.random() < 0.05:
            at = rng.randrange(1, len(word) - 2)
            word = rng.choice(
                [word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[:at] + word[at + 1 :]]
            )
        words[index] = word
    text = " ".join(words)
    return text.replace("'", "") if rng.random() < 0.2 else text


def messages(
    per_intent: int,
    seed: int,
    *,
    part: Part | None = None,
    rough: bool = True,
    only: str | None = None,
) -> list[Message]:
    """About ``per_intent`` messages of every intent (or one), from our templates and the catalogue."""
    rng = random.Random(seed)
    found: list[Message] = []
    templates: dict[str, list[str]] = read("messages")
    catalogue = DOMAIN.intents
    for name in catalogue.names if only is None else (only,):
        if name == "several_requests":
            pool: list[Message] = list(_several(per_intent, rng))
        else:
            pool = []
            listed = templates.get(name, [])  # what has none is learnt from whole turns
            for template in listed:
                tries = max(1, round(2.0 * per_intent / len(listed)))
                for _ in range(tries if ("(" in template or "{" in template) else 2):
                    text, values = fill(template, rng)
                    if rough:
                        text = roughen(text, rng, keep=values.values())
                    pool.append(Message(text, name, "own", part_of(template)))
        pool += [Message(text, name, "own", "train") for text in catalogue.get(name).examples]
        seen: dict[str, Message] = {}
        for message in pool:
            if not held_out(message.text) and (part is None or message.part == part):
                seen.setdefault(message.text, message)
        chosen = list(seen.values())
        rng.shuffle(chosen)
        found += chosen[:per_intent]
    return found


#: The list of follow-ups that is no intent: they say nothing without the message before them.
LEANING = "leaning"


@cache
def follow_up_templates() -> dict[str, list[str]]:
    listed: dict[str, str] = read("follow_ups")
    return {name: lines.strip().splitlines() for name, lines in listed.items()}


_FILLERS = (
    "ok", "okay", "alright", "right", "hmm", "hm", "well", "so", "and", "but", "oh", "ah", "btw", "also",
    "actually", "sorry", "by the way", "one more thing:", "just", "then", "good,", "great,", "fine,", "wait,",
    "uh", "ok so", "ok and", "hm ok,", "thanks.", "thank you.", "no,", "yes,", "listen,", "quick one:",
)  # fmt: skip
_TRAILERS = (
    " then", " btw", " actually", " by the way", " please", " again", " now", " though", " thanks", " pls", " too",
    " as well", " maybe", " or what", " right", " thx", " as I said", " if possible", " you know",
)  # fmt: skip
#: A yes, a no or a thank-you before these would be half of what they say.
_BARE = frozenset({"affirm", "deny", "thanks", "goodbye", "greeting", LEANING})


def _dressed(text: str, label: str, rng: random.Random) -> str:
    """The text with the small words that people put before and after what they want to say."""
    if rng.random() < 0.25:
        filler = rng.choice(_FILLERS[:6] if label in _BARE else _FILLERS)
        text = f"{filler}{rng.choice([' ', ' ', ', '])}{text}".replace(",,", ",").replace(":,", ":")
    if label not in _BARE and rng.random() < 0.12:
        text = text.rstrip("?.!") + rng.choice(_TRAILERS)
    return text


def follow_ups(per_template: int, seed: int, *, only: str | None = None) -> list[Message]:
    """What is said in the middle of a conversation: at most ``per_template`` messages of each phrase."""
    rng = random.Random(seed)
    found: dict[str, Message] = {}
    for name, templates in follow_up_templates().items():
        if (name == LEANING) is not (only == LEANING) or only not in (None, name):
            continue
        for template in templates:
            for _ in range(per_template):
                text, values = fill(template, rng)
                text = re.sub(r"([?!])[?]$", r"\1", re.sub(r"\s+", " ", text))
                text = roughen(_dressed(text, name, rng), rng, keep=values.values())
                if not held_out(text):
                    found.setdefault(text, Message(text, name, "own", part_of(template)))
    return list(found.values())


@dataclass(frozen=True)
class Request:
    """A request in several steps, with the steps in the order asked for."""

    text: str
    steps: tuple[str, ...]
    part: Part


def requests(count: int, seed: int, *, sizes: Sequence[int] = (2, 2, 2, 3, 3, 4)) -> list[Request]:
    """Requests joined from clauses of different operations; an answer, when asked for, comes last."""
    rng = random.Random(seed)
    return [_request(rng, rng.choice(sizes)) for _ in range(count)]


def _request(rng: random.Random, size: int) -> Request:
    clauses: dict[str, Any] = read_clauses()
    names = [
        name
        for name in clauses
        if name not in ("it", "openers", "joins", "commas", "order_contexts")
    ]
    while True:
        steps: list[str] = []
        parts: list[str] = []
        used: list[str] = []
        about_order = False
        for _ in range(size):
            step = rng.choice([name for name in names if name not in steps])
            follows = clauses["it"].get(step) if about_order and rng.random() < 0.6 else None
            clause = rng.choice(follows or clauses[step])
            used.append(clause)
            steps.append(step)
            parts.append(fill(clause, rng)[0])
            about_order = step in clauses["order_contexts"]
        if "answer" in steps[:-1]:
            at = steps.index("answer")
            # A question first and the work after it is rare; most people ask it last.
            if rng.random() < 0.8 or "it" in parts[at].split():
                continue
        text = rng.choice(clauses["openers"]) + parts[0]
        for index, clause in enumerate(parts[1:], start=2):
            join = rng.choice(clauses["joins"] if index == size else clauses["commas"])
            text += join + clause
        text = roughen(text, rng)
        if not held_out(text):
            held = sum(part_of(clause) == "test" for clause in used) * 2 > len(used)
            return Request(text, tuple(steps), "test" if held else "train")


@cache
def read_clauses() -> dict[str, Any]:
    return read("clauses")


def _several(count: int, rng: random.Random) -> Iterable[Message]:
    for _ in range(3 * count):
        request = _request(rng, rng.choice((2, 2, 2, 3)))
        if request.steps not in {
            ("cancel_order", "request_refund"),
            ("request_refund", "charge_replacement"),
        }:
            part: Part = (
                "calibration" if request.part == "test" and rng.random() < 0.3 else request.part
            )
            yield Message(request.text, "several_requests", "own", part)

"""The engine names no business: its code and prompts hold no noun of the demo shop's."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
ENGINE = ("app", "graphs", "tools", "prompts")
#: What only a shop like Northfell speaks of. "Order" also means a sequence: with these words it does not.
NOUNS = re.compile(
    r"northfell|outfitters|\b(?:SB|INV|RF|SUB|CH)-|\b(?:parcels?|tents?|invoices?|subscriptions?|boots?)\b"
    r"|\border_number\b|\b(?:my|your|an|last) orders?\b|\border (?:number|status)",
    re.IGNORECASE,
)
#: Where one still stands, and why.
ALLOWED = {
    "app/checking.py": "ordinary words that a pattern must not match, in any business",
    "app/config.py": "the domain that is used where none is named",
    "app/roles/__init__.py": "examples in the help of `signalbox role`",
    "app/stores/migrations/versions/0001_shop.py": "the first revision of databases that exist",
    "app/warming.py": "a sentence that is read once, so that the readers are loaded",
    "graphs/corrections.py": "to be taken from the domain's lexicon",
    "graphs/nodes/advise.py": "a ticket's field, to be told by the domain",
    "graphs/reading/offers.py": "function words of questions, in any business",
    "graphs/reading/turns.py": "what people put before a number, in any business",
    "graphs/sameness.py": "to be taken from the domain's lexicon",
    "graphs/validation.py": "promises that no answer may make, in any business",
    "tools/numbers.py": "the shop's number forms, until the reading of values needs them no more",
    "tools/values.py": "the tenant of a customer that names none",
}


def test_the_engine_speaks_of_no_shop() -> None:
    """A noun of the shop's stands only where the list says why; what the list no longer needs is taken out."""
    found = {path: nouns for path in _files() if (nouns := _nouns(ROOT / path))}
    unexplained = {path: nouns for path, nouns in found.items() if path not in ALLOWED}

    assert unexplained == {}
    assert set(ALLOWED) - set(found) == set()


#: Intents and operations of a business that the engine knows by these names as well: the desk's own operations, the
#: roles of intents, and the facts for which it has a sentence of its own.
SHARED = {
    *("hand_off", "create_ticket"),
    *("out_of_scope", "other_person", "bot_question"),
    *("ask_hours", "ask_contact"),
}
#: Where one of the others stands, and why.
NAMED = {"app/roles/__init__.py": "examples in the help of `signalbox role`"}


def test_the_engine_knows_no_intent_of_a_business() -> None:
    """Nothing in it goes by what one business calls its intents and operations."""
    named = re.compile(rf"\b(?:{'|'.join(sorted(_called() - SHARED, key=len, reverse=True))})\b")
    found = {path: names for path in _files() if (names := _nouns(ROOT / path, named))}

    assert {path: names for path, names in found.items() if path not in NAMED} == {}
    assert set(NAMED) - set(found) == set()


def _called() -> set[str]:
    """The intents and operations of both businesses whose names are no ordinary words."""
    names: set[str] = set()
    for file in (ROOT / "domains").glob("*/intents.yaml"):
        for one in yaml.safe_load(file.read_text("utf-8"))["intents"]:
            names |= {one["name"], one.get("operation") or one["name"]}
    return {name for name in names if "_" in name}


def _files() -> Iterator[str]:
    for package in ENGINE:
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in {".py", ".md", ".html", ".js", ".css", ".yaml"}:
                yield path.relative_to(ROOT).as_posix()


def _nouns(path: Path, which: re.Pattern[str] = NOUNS) -> list[str]:
    text = path.read_text("utf-8")
    spoken = _strings(text) if path.suffix == ".py" else [text]
    return sorted({match[0] for each in spoken for match in which.finditer(each)})


def _strings(source: str) -> Iterator[str]:
    """Every string that the code uses; comments and docstrings may explain by an example."""
    tree = ast.parse(source)
    explained = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in explained
        ):
            yield node.value

"""Values that a customer puts right without saying them whole again: "number 14, not 41"."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import JsonValue

from tools.reading.negation import CORRECTED

_SWAPPED = re.compile(
    r"\b(?P<new>\w+)\b(?: (?:at the end|am ende))?[ ,.;]+(?:not|and not|instead of|statt|nicht|pas|niet)\s+(?:the\s+|die\s+)?(?P<old>\w+)\b"
    r"|\b(?:not|nicht|pas|no|non|niet)\s+(?:(?P<same>[^\W\d_]+)\s+)?(?P<old2>\w+)[ ,]+(?:but|sondern|mais|sino|ma|maar)\s+"
    r"(?:(?P=same)\s+)?(?P<new2>\w+)\b",
    re.IGNORECASE,
)


def swapped(before: Mapping[str, JsonValue], words: str) -> dict[str, JsonValue]:
    """The values of before in which one word is corrected: "number 14, not 41". Nothing is put in that was not said,
    and a value that tells of a correction itself ("the left boot, not the right") is not put right."""
    found: dict[str, JsonValue] = {}
    for match in _SWAPPED.finditer(words):
        old, new = match["old"] or match["old2"], match["new"] or match["new2"]
        if any(map(str.isdigit, old)) is not any(map(str.isdigit, new)):
            continue  # a number takes a number's place: "Köln, not 50667" names no other postcode
        for name, value in before.items():
            pattern = rf"(?<!\w){re.escape(old)}(?!\w)"
            if not isinstance(value, str) or match[0].casefold() in value.casefold():
                continue
            if len(re.findall(pattern, value, re.IGNORECASE)) == 1:
                found[name] = re.sub(pattern, lambda _, new=new: new, value, flags=re.IGNORECASE)
            elif old.isdigit() and new.isdigit() and value.endswith(old):
                found[name] = value.removesuffix(old) + new  # "ends in 79 not 78"
    return found


_ONLY_A_NUMBER = re.compile(
    r"(?:\W*(?:h+m+|oh|ok(?:ay)?|no|nope|nein|nee|ne|halt|sorry|wait|actually|it'?s|i mean(?:t)?|ich meine?|number|nr\.?|nummer)\b[\s,.!]*)*"
    r"(?P<number>\d{1,4}\s?[a-z]?)\W*",
    re.IGNORECASE,
)
_HOUSE_NUMBER = re.compile(r"(?<!\w)\d{1,4}\s?[a-z]?(?!\w)", re.IGNORECASE)


#: A street and its number, said again in a few words that ask nothing.
_STREET_AND_NUMBER = re.compile(
    r"(?P<street>[^\W\d_][\w.-]*)\s+(?P<number>\d{1,4}\s?[a-z]?)(?![\w-])", re.IGNORECASE
)
_FEW_WORDS = 8


def renumbered(before: Mapping[str, JsonValue], words: str) -> dict[str, JsonValue]:
    """The address of before with another house number, where nothing but a number is said ("no sorry, 17") or the
    street with it ("sorry wrong number, its Mediapark 7")."""
    said = _ONLY_A_NUMBER.fullmatch(words.strip())
    few = len(words.split()) <= _FEW_WORDS and "?" not in words
    streets = [*_STREET_AND_NUMBER.finditer(words)] if said is None and few else []
    better: dict[str, JsonValue] = {}
    for name, value in before.items():
        if not isinstance(value, str) or "," not in value:
            continue
        places = _HOUSE_NUMBER.findall(value)
        if said is not None and len(places) == 1 and places[0] != said["number"]:
            better[name] = _HOUSE_NUMBER.sub(said["number"], value)
        for one in streets:
            same = re.compile(
                rf"(?<!\w)({re.escape(one['street'])}\s+)\d{{1,4}}\s?[a-z]?(?![\w-])", re.IGNORECASE
            )
            renamed = same.sub(rf"\g<1>{one['number']}", value)
            if len(same.findall(value)) == 1 and renamed != value:
                better[name] = renamed
    return better


_OTHER_NUMBER = re.compile(
    r"(?:(?:house )?(?:number|no\.?|nr\.?|nummer|hausnummer)\s+|(?P<word>[^\W\d_][\w.-]*)\s+)?(?P<number>\d{1,4}\s?[a-z]?)(?![\w-])",
    re.IGNORECASE,
)


def restated(found: Mapping[str, JsonValue], words: str) -> dict[str, JsonValue]:
    """The values whose number is corrected right behind them: "Ring 8, 50674 Köln, no wait, Ring 9"."""
    better: dict[str, JsonValue] = {}
    for name, value in found.items():
        at = words.find(value) if isinstance(value, str) and " " in value else -1
        if at < 0 or not isinstance(value, str):
            continue
        rest = words[at + len(value) :]
        begun = CORRECTED.match(rest)
        said = _OTHER_NUMBER.match(rest, begun.end()) if begun is not None and begun.end() else None
        if said is None:
            continue
        before = rf"(?<!\w)({re.escape(said['word'])}\w*\.?\s+)" if said["word"] else r"(?<!\d)()"
        places = [*re.finditer(rf"{before}\d{{1,4}}\s?[a-z]?(?![\w-])", value, re.IGNORECASE)]
        if len(places) == 1:
            start, end = places[0].end(1), places[0].end()
            better[name] = value[:start] + said["number"] + value[end:]
    return better

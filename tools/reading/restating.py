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


def renumbered(before: Mapping[str, JsonValue], words: str) -> dict[str, JsonValue]:
    """The address of before with another house number, where nothing but a number is said: "no sorry, 17"."""
    said = _ONLY_A_NUMBER.fullmatch(words.strip())
    if said is None:
        return {}
    better: dict[str, JsonValue] = {}
    for name, value in before.items():
        places = _HOUSE_NUMBER.findall(value) if isinstance(value, str) and "," in value else []
        if len(places) == 1 and places[0] != said["number"]:
            better[name] = _HOUSE_NUMBER.sub(said["number"], str(value))
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

"""What a customer wrote, without the mail it answers and without the signature under it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mailparser_reply import EmailReplyParser

#: Those the parser knows of the languages we read.
_LANGUAGES = ("en", "de", "fr", "es", "it", "nl", "pl")
#: Lines of a mail programme above what it cites, which the parser leaves behind.
_SEPARATOR = re.compile(r"^\s*[-_]{3,}.*[-_]{3,}\s*$|^\s*[-_*]{5,}\s*$")


#: A line that closes a letter, where the parser does not know it; names and numbers follow.
_CLOSING = re.compile(
    r"\n[ \t]*(?:best|cheers|kind regards|regards|many thanks|thanks|thank you|thx|lg|mfg|vg|bg|gru(?:ß|ss)|gr(?:ü|ue)(?:ß|ss)e|(?:viele|liebe|beste|sch(?:ö|oe)ne) "
    r"gr(?:ü|ue)(?:ß|ss)e|danke|cordialement|saludos|saluti|groeten|groetjes)[ ,.!]*\n(?P<rest>(?:[ \t]*[^\n]{0,60}(?:\n|$)){1,9})\s*$",
    re.I,
)


@dataclass(frozen=True)
class Mail:
    """One message in its three parts."""

    new_text: str
    quoted_text: str = ""
    signature: str = ""


def split(text: str) -> Mail:
    """The customer's own words, what they cite and how they sign; all of it is new where nothing is cited."""
    if "\n" not in text.strip():
        return Mail(text)
    replies = _parser().read(text).replies
    if not replies:
        return Mail(text)
    own = replies[0].body or ""
    new, cited = _without_citations(own)
    rest = text[text.find(own) + len(own) :] if own in text else ""
    signature = replies[0].signatures or ""
    rest = rest.replace(signature, "", 1)
    if not new.strip():
        return Mail(text)
    closing = _CLOSING.search(new)
    if closing is not None and not signature and _begins_with_a_name(closing["rest"]):
        new, signature = new[: closing.start()].rstrip(), new[closing.start() :].strip()
    return Mail(new, "\n".join(part.strip() for part in (cited, rest) if part.strip()), signature)


def _begins_with_a_name(lines: str) -> bool:
    """Does a name come first? An address under "Thanks" is what was asked for."""
    first = next((line for line in lines.splitlines() if line.strip()), "")
    return bool(first) and not re.search(r"\d|[?!:]", first) and first.strip()[:1].isupper()


def _without_citations(text: str) -> tuple[str, str]:
    """Lines that begin with ">", and the line with a colon that introduces them, are somebody else's."""
    own: list[str] = []
    cited: list[str] = []
    for line in text.splitlines():
        if not line.lstrip().startswith(">"):
            own.append(line)
            continue
        while own and not own[-1].strip():
            own.pop()
        if not cited and own and own[-1].rstrip().endswith(":") and len(own) > 1:
            cited.append(own.pop())
        cited.append(line)
    while own and (not own[-1].strip() or _SEPARATOR.match(own[-1])):
        cited.append(own.pop())
    return ("\n".join(own) if cited else text), "\n".join(cited)


@lru_cache
def _parser() -> EmailReplyParser:
    return EmailReplyParser(languages=list(_LANGUAGES))

"""When a customer says that something else was meant: the one judgement of our work they give unasked."""

from __future__ import annotations

import re

_SAID = re.compile(
    r"^\W*(?:no|nope|nah|wrong|sorry|actually)\b[^.?!]{0,40}?\b(?:i|we) (?:meant|mean|wanted|asked|was asking)\b"
    r"|^\W*(?:no|nope|nah)\b[\s,.!-]+(?:not (?:that|this|the)|(?:the|my) other|that'?s (?:not|wrong)|wrong)\b"
    r"|\b(?:that'?s|that is|this is|it'?s) not what (?:i|we) (?:meant|asked|wanted|said)\b"
    r"|\b(?:i|we) (?:did ?n[o']?t|didn[’']t) (?:ask|mean) (?:for |about )?(?:that|this|the)\b"
    r"|\b(?:you|u) (?:misunderstood|got (?:me|it|that) wrong|did ?n[o'’]?t understand)\b"
    r"|^\W*(?:wrong|incorrect) (?:order|parcel|invoice|plan|subscription|answer|one|item|refund)\b"
    r"|^\W*i meant\b",
    re.IGNORECASE,
)


def corrects(text: str) -> bool:
    """Does this message say that the last one was misunderstood?"""
    return _SAID.search(text[:300].replace("’", "'")) is not None

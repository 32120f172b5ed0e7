"""Texts that give orders to an agent: what a customer may not write, and what a document may not say."""

from __future__ import annotations

import re

INJECTION = re.compile(
    r"""
    \b(ignore|disregard|forget|override|bypass)\b [^.?!]{0,40}
      \b(instruction|instructions|prompt|rule|rules|guideline|guidelines|polic(y|ies)|safety)\b
    | \b(reveal|show|print|repeat|output)\b [^.?!]{0,30} \b(system\s+prompt|hidden\s+prompt|your\s+prompt|your\s+instructions)\b
    | \b(you\s+are\s+now|pretend\s+(to\s+be|you\s+are)|act\s+as)\b [^.?!]{0,40} \b(admin|administrator|developer|dan|root|unrestricted|jailbroken|manager|supervisor)\b
    | \bdeveloper\s+mode\b | \bjailbreak
    | \b(approve|approved)\b [^.?!]{0,30} \b(without|skip|bypass)\b [^.?!]{0,30} \b(approval|review|gate|human)\b
    | <\|im_(start|end)\|>
    """,
    re.IGNORECASE | re.VERBOSE,
)
#: What speaks to whoever reads a text for a customer, not to the customer.
_TO_THE_AGENT = re.compile(
    r"""
    \b(note|message|instructions?|attention)\s+(to|for)\s+(all\s+|any\s+|the\s+)?
      (ai|a\.i\.|assistants?|agents?|chat\s?bots?|bots?|language\s+models?|llms?)\b
    | \b(as|if\s+you\s+are)\s+an?\s+(ai|language\s+model|assistant|chat\s?bot)\b [^.?!]{0,60} \b(must|should|please|reply|answer|say|tell)\b
    | \b(tell|inform|assure|reply\s+to)\s+(the\s+)?(customer|user)s?\s+(that\s+)?
      [^.?!]{0,80} \b(refund\w*|free|approved|guarantee\w*|discount|password|card)\b
    | \bcall\s+(the\s+)?(tool|function|operation|[a-z]+_[a-z_]+)\b
    | \b(system|assistant)\s*:\s | <\s*/?\s*(system|instructions?)\s*>
    """,
    re.IGNORECASE | re.VERBOSE,
)


def instructs(text: str) -> bool:
    """Whether a retrieved text gives instructions to an agent. Such a sentence is data: it is not shown to
    a model, not quoted, and flagged."""
    return bool(INJECTION.search(text) or _TO_THE_AGENT.search(text))

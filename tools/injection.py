"""Texts that give orders to an agent: what a customer may not write, and what a document may not say."""

from __future__ import annotations

import re

from tools.sentences import split

#: The head that knows more than the rules below, and the class of what gives orders.
HEAD, ORDER = "injection", "order"
#: Of a longer text each run of sentences of about this length is read, so that one order in it does not drown.
WINDOW_CHARS = 300
#: What stands in a prompt in place of a text that gives orders.
WITHHELD = "(a text that gives orders; not shown)"

INJECTION = re.compile(
    r"""
    \b(ignore|disregard|forget|override|bypass)\b [^.?!]{0,40}
      \b(instruction|instructions|prompt|rule|rules|guideline|guidelines|polic(y|ies)|safety)\b
    | \b(reveal|show|print|repeat|output)\b [^.?!]{0,30} \b(system\s+prompt|hidden\s+prompt|your\s+prompt|your\s+instructions)\b
    | \b(you\s+are\s+now|pretend\s+(to\s+be|you\s+are)|act\s+as)\b [^.?!]{0,40} \b(admin|administrator|developer|dan|root|unrestricted|jailbroken|manager|supervisor)\b
    | \bdeveloper\s+mode\b | \bjailbreak
    | \b(approve|approved)\b [^.?!]{0,30} \b(without|skip|bypass)\b [^.?!]{0,30} \b(approval|review|gate|human)\b
    | \b(remember|keep|save|store|note)\b [^.?!]{0,20} \b(rule|instruction|command)s?\b [^.?!]{0,30} \bwhen(ever)?\s+i\s+say\b
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


#: What a message brings along from somewhere else: quoted lines, what follows a mail's head, long quotations, tags.
_BROUGHT = re.compile(
    r"""
    ^[ \t]*>.*$
    | ^[ \t]*(?:from|to|subject|von|an|betreff|de|à|objet|para|asunto|da|a|oggetto)\s?:(?s:.*)
    | ["“„«](?s:.{40,}?)["”“»]
    | <\w+>(?s:.*?)(?:</\w+>|\Z)
    """,
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)


def brought_along(text: str) -> str:
    """The parts of a message that somebody else wrote, as far as its form tells: a pasted mail, a quotation."""
    return "\n".join(found.group().lstrip("> \t") for found in _BROUGHT.finditer(text))


def windows_of(text: str) -> tuple[str, ...]:
    """The text in overlapping runs of whole sentences; a short text is one run."""
    if len(text) <= WINDOW_CHARS:
        return (text,)
    sentences = [part for sentence in split(text) for part in _pieces(sentence)]
    found: list[str] = []
    start = 0
    while start < len(sentences):
        end, size = start, 0
        while end < len(sentences) and (end == start or size + len(sentences[end]) <= WINDOW_CHARS):
            size += len(sentences[end]) + 1
            end += 1
        found.append(" ".join(sentences[start:end]))
        if end == len(sentences):
            break
        # The last sentence of a run begins the next, so that two that belong together are read together.
        start = end - 1 if end - start > 1 else end
    return tuple(found) or (text,)


def _pieces(sentence: str) -> list[str]:
    return [sentence[at : at + WINDOW_CHARS] for at in range(0, len(sentence), WINDOW_CHARS)]

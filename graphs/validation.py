"""The output validator's rules: what may not reach a customer."""

from __future__ import annotations

import re

from graphs.state import Draft, Validation
from tools.domain import Customer
from tools.privacy import find_pii

_PROMISES = re.compile(
    r"""
    \b(i|we)\s*(will|'ll|can|have|'ve)\s+(already\s+)?(personally\s+)?
      (refund|refunded|reimburse|compensate|cancel(led)?|replace[d]?|credit(ed)?|waive[d]?|guarantee|escalated)\b
    | \b(full|immediate|instant)\s+refund\b
    | \bguarantee[ds]?\s+(that|you|a|delivery)\b
    | \bfree\s+of\s+charge\s+replacement\b
    | \b(compensation|voucher|discount)\s+(of|worth)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CITATION = re.compile(r"\[(\d+)\]")
_SENTENCE = re.compile(r"(?<=[.!?])(?:\s*\[\d+\])*+(?:\s+|$)")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_META = re.compile(r"as an ai|language model|\bassistant\b:|<\|", re.IGNORECASE)


def validate_draft(draft: Draft, customer: Customer, *, max_chars: int) -> Validation:
    """Problems of a draft, in the order a reviewer would want them; none means it may be sent.

    Templates are written by us and filled from the customer's own records, so only their length is
    checked."""
    problems: list[str] = []
    text = draft.text.strip()
    if not text:
        problems.append("empty")
    if len(text) > max_chars:
        problems.append("too long")
    if draft.source != "template":
        own = {customer.email, customer.phone or "", customer.name}
        source_text = " ".join(p.text for p in draft.passages)
        for span in find_pii(text):
            value = text[span.start : span.end]
            if value not in own and value not in source_text:
                problems.append(f"personal data ({span.kind}) that is not the customer's")
        if not draft.passages and _PROMISES.search(text):
            problems.append("promises something nobody here can promise")
        if _META.search(text):
            problems.append("talks about itself")
        if draft.passages:
            problems += ungrounded(draft)
    return Validation(ok=not problems, problems=tuple(problems))


def ungrounded(draft: Draft) -> list[str]:
    """Sentences of a cited answer that no kept chunk supports.

    A sentence must cite a kept chunk, take its figures from it, and share most of its content words."""
    problems: list[str] = []
    for sentence in _cited_sentences(draft.text):
        cited = [int(n) for n in _CITATION.findall(sentence)]
        bare = _CITATION.sub("", sentence).strip()
        if not bare:
            continue
        if not cited:
            problems.append(f"no source for: {bare[:80]}")
            continue
        if any(n < 1 or n > len(draft.passages) for n in cited):
            problems.append(f"cites a source that was not kept: {sentence[:80]}")
            continue
        support = " ".join(
            f"{draft.passages[n - 1].title} {draft.passages[n - 1].text}" for n in cited
        )
        figures = set(_NUMBER.findall(bare)) - set(_NUMBER.findall(support))
        if figures:
            problems.append(f"figure not in its source: {', '.join(sorted(figures))}")
        elif _overlap(bare, support) < 0.5:
            problems.append(f"not supported by its source: {bare[:80]}")
    return problems


def _cited_sentences(text: str) -> list[str]:
    """Sentences with the citations that follow their full stop."""
    pieces: list[str] = []
    last = 0
    for match in _SENTENCE.finditer(text):
        pieces.append(text[last : match.end()].strip())
        last = match.end()
    pieces.append(text[last:].strip())
    return [p for p in pieces if p]


def _overlap(sentence: str, support: str) -> float:
    words = {w for w in re.findall(r"[a-z]{4,}", sentence.lower())}
    if not words:
        return 1.0
    return len(words & set(re.findall(r"[a-z]{4,}", support.lower()))) / len(words)

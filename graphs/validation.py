"""The output validator's rules: what may not reach a customer."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from graphs.state import Draft, Problem, Validation
from tools.injection import instructs
from tools.ports import Passage
from tools.privacy import find_pii
from tools.values import Customer

_PROMISES = re.compile(
    r"""
    \b(i|we)\s*(will|'ll|can|have|'ve)\s+(already\s+)?(personally\s+)?
      (refund|refunded|reimburse|compensate|cancel(led)?|replace[d]?|credit(ed)?|waive[d]?|guarantee|escalated
       |make\s+an\s+exception)\b
    | \byour\s+(order|refund|money|parcel|replacement)\s+(has\s+been|was|will\s+be|is\s+being)\s+
      (refunded|cancelled|approved|paid|sent|replaced|credited|on\s+your\s+account)\b
    | \b(full|immediate|instant)\s+refund\b
    | \bguarantee[ds]?\s+(that|you|a|delivery)\b
    | \bfree\s+of\s+charge\s+replacement\b
    | \b(compensation|voucher|discount)\s+(of|worth)\b
    | \b(will|to)\s+(definitely|certainly|surely)\s+(arrive|be\s+(there|delivered|refunded))\b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CITATION = re.compile(r"\[(\d+)\]")
_SENTENCE = re.compile(r"(?<=[.!?])(?:\s*\[\d+\])*+(?:\s+|$)|\n+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_META = re.compile(r"as an ai|language model|\bassistant\b:|<\|", re.IGNORECASE)
_RUDE = re.compile(
    r"""
    \b(stupid|idiot\w*|ridiculous|nonsense|shut\s+up|calm\s+down|whatever(?=\s*(?:[.!?]|$))|obviously|as\s+i\s+already\s+(said|told\s+you))\b
    | \b(your\s+own\s+fault|you\s+should\s+have\s+(known|read)|not\s+(my|our)\s+problem|stop\s+(asking|complaining))\b
    | !{2,}
    """,
    re.IGNORECASE | re.VERBOSE,
)
_SHOUTED = re.compile(r"(?:\b[A-Z]{4,}\b[\s,!]+){3,}")
_NEGATION = re.compile(
    r"\b(?:not|(?<!at )no|never|cannot|without|neither|nor|nothing|nobody)\b|n't\b", re.IGNORECASE
)
_UNKNOWN = re.compile(
    r"\b(?:i|we)\s+(?:do\s+not|don't|did\s+not|didn't|could\s+not|couldn't|cannot|can't)\s+"
    r"(?:have|know|find|answer|say)\b|\b(?:no|not\s+any)\s+(?:specific\s+)?(?:information|details)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:['.\u2019-][^\W_]+)*")
_FILLING = frozenset(
    """a an the this that these those is are was were be been being to of in on for with as at by from it
    its or and but if then so not no can could may might will would should do does did has have had you your
    i your we our they their them he his she her there here what which who when where how more most also such
    any some all than into about up out over only other""".split()  # noqa: SIM905 - as words, not as a list
)
_ENDINGS = ("'s", "ings", "ing", "ies", "ied", "ed", "es", "s", "ly")
#: Logistic rule on the share of an answer's words, and of its pairs of neighbouring words, that its sources
#: have, and on whether it says that it does not know. Fitted on groundedness_mtrag (``python -m evals validator``).
SIGNS_WEIGHTS, CONSTANT = (2.4, 3.5, 2.7), -1.4
#: Below this an answer without citations counts as made up.
GROUNDED = 0.4
#: A source sentence with this share of a sentence's words is taken to be the one it restates.
RESTATES = 0.6


def validate_draft(
    draft: Draft, customer: Customer, *, max_chars: int, cited: bool = True
) -> Validation:
    """Problems of a draft, in the order a reviewer would want them; none means it may be sent.

    Templates are written by us and filled from the customer's own records, so only their length is
    checked. Without ``cited`` an answer need not name its sources, only agree with them."""
    text = draft.text.strip()
    problems: list[Problem] = []
    if not text:
        problems.append(Problem(kind="empty", detail="empty"))
    if len(text) > max_chars:
        problems.append(Problem(kind="length", detail="too long"))
    score: float | None = None
    if draft.source != "template":
        problems += [*strangers(draft, customer), *promises(draft), *manners(text)]
        if draft.passages:
            score = groundedness(text, draft.passages)
            problems += ungrounded(draft) if cited else disagreeing(draft, score)
    return Validation(ok=not problems, problems=tuple(problems), groundedness=score)


def strangers(draft: Draft, customer: Customer) -> list[Problem]:
    """Personal data that is neither the customer's own nor printed in a source."""
    own = {customer.email, customer.phone or "", customer.name}
    known = " ".join(p.text for p in draft.passages)
    values = [
        (span.kind, draft.text.strip()[span.start : span.end])
        for span in find_pii(draft.text.strip())
    ]
    return [
        Problem(kind="pii", detail=f"personal data ({kind}) that is not the customer's")
        for kind, value in values
        if value not in own and value not in known
    ]


def promises(draft: Draft) -> list[Problem]:
    """What only an operation or a colleague can do. A source's own words are no promise of ours, unless
    the source speaks to agents."""
    said = _PROMISES.search(draft.text)
    if said is None:
        return []
    known = " ".join(
        sentence
        for p in draft.passages
        for sentence in _SENTENCE.split(p.text)
        if not instructs(sentence)
    )
    if said.group().casefold() in known.casefold():
        return []
    return [Problem(kind="promise", detail="promises something nobody here can promise")]


def manners(text: str) -> list[Problem]:
    problems: list[Problem] = []
    if _META.search(text):
        problems.append(Problem(kind="tone", detail="talks about itself"))
    if (said := _RUDE.search(text)) or (said := _SHOUTED.search(text)):
        problems.append(Problem(kind="tone", detail=f"unfriendly: {said.group().strip()[:40]}"))
    if instructs(text):
        problems.append(Problem(kind="tone", detail="repeats instructions to an agent"))
    return problems


def ungrounded(draft: Draft) -> list[Problem]:
    """Sentences of a cited answer that no kept chunk supports.

    A sentence must cite a kept chunk, take its figures from it, share most of its content words, and not
    say the opposite of the sentence it restates."""
    problems: list[Problem] = []
    for sentence in _cited_sentences(draft.text):
        cited = [int(n) for n in _CITATION.findall(sentence)]
        bare = _CITATION.sub("", sentence).strip()
        if not bare:
            continue
        if not cited:
            problems.append(Problem(kind="citation", detail=f"no source for: {bare[:80]}"))
            continue
        if any(n < 1 or n > len(draft.passages) for n in cited):
            problems.append(
                Problem(
                    kind="citation", detail=f"cites a source that was not kept: {sentence[:80]}"
                )
            )
            continue
        found = unsupported(bare, [draft.passages[n - 1] for n in cited])
        problems += [Problem(kind="ungrounded", detail=found)] if found else []
    return problems


def disagreeing(draft: Draft, score: float) -> list[Problem]:
    """Of an answer that names no sources: figures that none has, the opposite of one, or too little of
    what they say."""
    if _UNKNOWN.search(draft.text) and not _NUMBER.search(draft.text):
        return []
    details = [
        f"not supported by its sources: groundedness {score:.2f}" if score < GROUNDED else "",
        *(
            contradicted(sentence, draft.passages) or new_figures(sentence, draft.passages)
            for sentence in _cited_sentences(draft.text)
        ),
    ]
    return [Problem(kind="ungrounded", detail=detail) for detail in details if detail]


def unsupported(sentence: str, passages: Sequence[Passage]) -> str:
    """What is wrong with a sentence that is said to come from these passages; nothing: an empty text."""
    if found := new_figures(sentence, passages):
        return found
    words = set(content(sentence))
    known = {w for p in passages for w in content(f"{p.title} {p.text}")}
    if words and len(words & known) / len(words) < 0.5:
        return f"not supported by its source: {sentence[:80]}"
    return contradicted(sentence, passages)


def new_figures(sentence: str, passages: Sequence[Passage]) -> str:
    known = {n for p in passages for n in _NUMBER.findall(f"{p.title} {p.text}")}
    figures = set(_NUMBER.findall(sentence)) - known
    return f"figure not in its source: {', '.join(sorted(figures))}" if figures else ""


def contradicted(sentence: str, passages: Sequence[Passage]) -> str:
    """Whether the source sentence that it restates has a "not" more or less."""
    words = set(content(sentence))
    if len(words) < 3:
        return ""
    sources = [s for p in passages for s in _SENTENCE.split(p.text) if s]
    alike = [(len(words & set(content(source))) / len(words), source) for source in sources]
    nearest = max(alike, default=(0.0, ""))
    if nearest[0] < RESTATES:
        return ""
    # Several sentences may say nearly the same, one with a "not" and one without: any of them supports it.
    close = [source for share, source in alike if share >= nearest[0] - 0.1]
    negated = bool(_NEGATION.search(sentence))
    if any(bool(_NEGATION.search(source)) == negated for source in close):
        return ""
    return f"says the opposite of its source: {sentence[:80]}"


def groundedness(text: str, passages: Sequence[Passage]) -> float:
    """How likely it is, 0 to 1, that an answer says only what its passages say."""
    weighed = sum(w * sign for w, sign in zip(SIGNS_WEIGHTS, signs_of(text, passages), strict=True))
    return 1 / (1 + math.exp(-(weighed + CONSTANT)))


def signs_of(text: str, passages: Sequence[Passage]) -> tuple[float, float, float]:
    """Shares of words and of neighbouring words that the passages have; whether it admits not to know."""
    words = content(_CITATION.sub("", text))
    unknown = float(bool(_UNKNOWN.search(text)))
    if not words:
        return 1.0, 1.0, unknown
    known = content(" ".join(f"{p.title}\n{p.text}" for p in passages))
    neighbours = set(pairwise(known))
    own = list(pairwise(words))
    shared = len(set(words) & set(known)) / len(set(words))
    together = sum(pair in neighbours for pair in own) / len(own) if own else shared
    return shared, together, unknown


def content(text: str) -> list[str]:
    """The words that carry meaning, without their regular endings."""
    words = (w.group().casefold().replace("\u2019", "'") for w in _WORD.finditer(text))
    return [_stem(word) for word in words if word not in _FILLING]


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: len(word) - len(ending)]
    return word


def _cited_sentences(text: str) -> list[str]:
    """Sentences with the citations that follow their full stop."""
    pieces: list[str] = []
    last = 0
    for match in _SENTENCE.finditer(text):
        pieces.append(text[last : match.end()].strip())
        last = match.end()
    pieces.append(text[last:].strip())
    return [p for p in pieces if p]

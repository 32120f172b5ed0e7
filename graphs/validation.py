"""The output validator: what may not reach a customer, and why. Everything it judges by is the draft itself and what its
writer was given; the reasons go into the second attempt."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

from graphs import claims, restating
from graphs.state import Draft, Problem, Validation
from tools.injection import instructs
from tools.ports import Passage
from tools.privacy import find_pii
from tools.sentences import split
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
_LIMITS = re.compile(
    rf"\b(?:only|except|unless|solely|exclusively)\b|{_NEGATION.pattern}", re.IGNORECASE
)
#: Behind it stands what follows from the sentence before it.
_INFERS = re.compile(
    r",?\s+(?:so|therefore|thus|hence|which\s+means|that\s+means)\b", re.IGNORECASE
)
_UNKNOWN = re.compile(
    r"\b(?:i|we)\s+(?:do\s+not|don['’]t|did\s+not|didn['’]t|could\s+not|couldn['’]t|cannot|can['’]t)\s+"
    r"(?:have|know|find|answer|say|tell|see)\b|\b(?:no|not\s+any)\s+(?:specific\s+)?(?:information|details)\b"
    r"|\b(?:wei(?:ß|ss)|wissen)\s+(?:ich|wir)\b[^.?!]{0,40}\bnicht\b|\b(?:ich|wir)\s+(?:wei(?:ß|ss)|wissen)\b[^.?!]{0,60}\bnicht\b"
    r"|\bkeine\s+(?:\w+\s+)?(?:information\w*|angabe\w*|auskunft|ausk(?:ü|ue)nfte)\b|\bnicht\s+(?:sagen|beantworten)\b"
    r"|\bne\s+(?:le\s+)?sa(?:is|vons)\s+pas\b|\bpas\s+d['’]informations?\b|\bno\s+(?:lo\s+)?(?:sé|sabemos)\b|\bno\s+(?:tengo|tenemos)\s+informaci(?:ó|o)n"
    r"|\bnon\s+(?:lo\s+)?(?:so|sappiamo)\b|\bnon\s+(?:ho|abbiamo)\s+informazioni|\bweet\s+ik\b[^.?!]{0,40}\bniet\b|\bgeen\s+informatie\b"
    r"|\bn(?:ã|a)o\s+(?:sei|sabemos|tenho\s+informa)",
    re.IGNORECASE,
)
#: What `contradicted` and the shares of words know.
ENGLISH = "en"
#: The sentence that brings a person in.
_PERSON = re.compile(
    r"\b(?:colleague|coll(?:è|e)gue|kolleg\w*|person|compa(?:ñ|n)er\w*|collega|mitarbeiter\w*)\b",
    re.IGNORECASE,
)
_BEHIND = re.compile(r"([.!?…])((?:\s*\[\d+\])+)")
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
        if draft.source == "large":
            problems += invented(draft, customer)
        if draft.passages:
            score = groundedness(text, draft.passages)
            if not (draft.source == "quotes" and verbatim(text, draft.passages)):
                problems += ungrounded(draft) if cited else disagreeing(draft, score)
        elif draft.source == "large" and draft.given:
            problems += stated(draft, customer)
    return Validation(ok=not problems, problems=tuple(problems), groundedness=score)


def verbatim(text: str, passages: Sequence[Passage]) -> bool:
    """Whether the text is nothing but sentences of the sources, each before its own citation: what stands in a row
    of a table without a stop at its end is not one claim with what follows it."""
    pieces = _CITATION.split(text)
    said, cited = pieces[::2], [int(n) for n in pieces[1::2]]
    if said[-1].strip() or not cited or not all(0 < n <= len(passages) for n in cited):
        return False
    sources = [" ".join(passages[n - 1].text.split()) for n in cited]
    return all(
        (bare := " ".join(piece.split())) and bare in source
        for piece, source in zip(said[:-1], sources, strict=True)
    )


def given_to(draft: Draft, customer: Customer) -> str:
    """Everything that the writer may have had from somewhere: what it was given, its sources, who it writes to."""
    sources = (f"{p.title} {p.text}" for p in draft.passages)
    own = (customer.name, customer.email, customer.phone or "")
    return "\n".join([draft.given, *sources, *own])


def invented(draft: Draft, customer: Customer) -> list[Problem]:
    """Links, addresses and names that the writer was not given, and what is no text."""
    given, text = given_to(draft, customer), draft.text
    problems = [
        Problem(kind="link", detail=f"a link or address from nowhere: {each[:60]}")
        for each in claims.strange_links(text, given)
    ]
    problems += [
        Problem(kind="name", detail=f"a name from nowhere: {each}")
        for each in claims.strange_names(text, given)
    ]
    if claims.marked_up(text):
        problems.append(Problem(kind="form", detail="markup or code where words belong"))
    if claims.recites(text):
        problems.append(Problem(kind="form", detail="repeats its instructions"))
    return problems


def stated(draft: Draft, customer: Customer) -> list[Problem]:
    """Of a reply that is to state nothing: every figure, time, favour and matter of law that was not given."""
    given, text = given_to(draft, customer), draft.text
    new = sorted(claims.figures(text) - claims.figures(given))
    problems = (
        [Problem(kind="ungrounded", detail=f"figure from nowhere: {', '.join(new)}")] if new else []
    )
    problems += [
        Problem(kind="promise", detail=f"nobody said so: {each}")
        for each in dict.fromkeys(claims.strange_words(text, given))
    ]
    if said := claims.promised(text, given) or claims.done(text):
        problems.append(Problem(kind="promise", detail=f"promises or reports: {said[:80]}"))
    return problems


def strangers(draft: Draft, customer: Customer) -> list[Problem]:
    """Personal data that is neither the customer's own nor printed in a source."""
    own = {customer.email, customer.phone or "", customer.name}
    known = " ".join([draft.given, *(p.text for p in draft.passages)])
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
        return _beyond_sources(draft) if draft.passages else []
    known = " ".join(
        sentence
        for p in draft.passages
        for sentence in _SENTENCE.split(p.text)
        if not instructs(sentence)
    )
    if said.group().casefold() in known.casefold():
        return []
    return [Problem(kind="promise", detail="promises something nobody here can promise")]


def _beyond_sources(draft: Draft) -> list[Problem]:
    """In any language: a favour that no source speaks of, or at a time that none names."""
    for sentence in _cited_sentences(draft.text):
        numbers = {int(n) for n in _CITATION.findall(sentence)}
        cited = [p.text for n, p in enumerate(draft.passages, 1) if n in numbers]
        sources = " ".join(cited or [p.text for p in draft.passages])
        bare = _CITATION.sub("", sentence)
        if claims.promised(bare, sources) and not claims.FAVOUR.search(sources):
            return [Problem(kind="promise", detail=f"no source promises that: {bare[:80]}")]
        when = [w for w in claims.times(bare) if not draft.foreign and w not in sources.casefold()]
        if when and claims.FAVOUR.search(bare):
            return [Problem(kind="promise", detail=f"no source says when: {', '.join(when)}")]
    return []


def manners(text: str) -> list[Problem]:
    problems: list[Problem] = []
    if _META.search(text):
        problems.append(Problem(kind="tone", detail="talks about itself"))
    if insult := claims.insulting(text):
        problems.append(Problem(kind="tone", detail=f"insults: {insult}"))
    elif (said := _RUDE.search(text)) or (said := _SHOUTED.search(text)):
        problems.append(Problem(kind="tone", detail=f"unfriendly: {said.group().strip()[:40]}"))
    if instructs(text):
        problems.append(Problem(kind="tone", detail="repeats instructions to an agent"))
    return problems


def ungrounded(draft: Draft) -> list[Problem]:
    """Sentences of a cited answer that no kept chunk supports, each with what is wrong."""
    said = _whole(_cited_sentences(draft.text))
    problems = [wrong_with(each, draft) for each in said]
    for place, (one, other) in enumerate(pairwise(said)):
        # A short answer whose reason comes with the sentence behind it is cited there.
        if problems[place] is not None and not _CITATION.search(one) and _ANSWERS.match(one):
            cited = "".join(f" [{n}]" for n in _CITATION.findall(other))
            problems[place] = (
                wrong_with(f"{one.rstrip('.!')}{cited}.", draft) if cited else problems[place]
            )
    return [problem for problem in problems if problem is not None]


_ANSWERS = re.compile(r"\s*(?:no|yes|nein|ja)\b", re.IGNORECASE)


def _whole(sentences: Sequence[str]) -> list[str]:
    """Sentences that an abbreviation cut in two, put together again: none begins with a small letter."""
    whole: list[str] = []
    for each in sentences:
        if whole and each[:1].islower() and not _CITATION.search(whole[-1]):
            whole[-1] = f"{whole[-1]} {each}"
        else:
            whole.append(each)
    return whole


def _known_part(sentence: str) -> str:
    """A sentence without the part that says what is not known."""
    parts = re.split(r"(?<=;)\s+", sentence)
    known = [part for part in parts if not _UNKNOWN.search(part)]
    return " ".join(known) if known and len(known) < len(parts) else sentence


def wrong_with(sentence: str, draft: Draft) -> Problem | None:
    """What is wrong with one sentence of a cited answer.

    It must cite a kept chunk, take its figures from it or from the question, share most of its content words with
    both, and not say the opposite of the sentence it restates. What is not known, is asked, or brings a person in
    needs no source."""
    cited = [int(n) for n in _CITATION.findall(sentence)]
    sentence = _known_part(sentence)
    bare = re.sub(r"\s+([.!?…])", r"\1", _CITATION.sub("", sentence)).strip()
    if not content(bare):
        return None
    if not cited:
        return _uncited(bare, draft)
    if any(n < 1 or n > len(draft.passages) for n in cited):
        return Problem(kind="citation", detail=f"cites a source that was not kept: {sentence[:80]}")
    sources = [draft.passages[n - 1] for n in cited]
    given = re.sub(r"\b\d{4}-\d\d-\d\d\b", " ", draft.given)  # Today is no figure of an answer.
    foreign = draft.foreign and any(p.language == ENGLISH for p in sources)
    soon = [each for each in claims.times(bare) if each not in given_text(draft, sources)]
    if soon:
        return Problem(kind="promise", detail=f"nobody said so: {soon[0]}")
    found = unsupported(bare, sources, question=given, foreign=foreign, english=not draft.foreign)
    return Problem(kind="ungrounded", detail=found) if found else None


def given_text(draft: Draft, sources: Sequence[Passage]) -> str:
    """What a sentence may take a time from, as it is compared: small letters."""
    return " ".join([draft.given, *(f"{p.title} {p.text}" for p in sources)]).casefold()


def _uncited(bare: str, draft: Draft) -> Problem | None:
    lacks = Problem(kind="citation", detail=f"no source for: {bare[:80]}")
    if claims.figures(bare) - claims.figures(draft.given):
        return lacks
    if _UNKNOWN.search(bare) or _PERSON.search(bare) or bare.endswith("?"):
        return None
    return lacks


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


def unsupported(
    sentence: str,
    passages: Sequence[Passage],
    *,
    question: str = "",
    foreign: bool = False,
    english: bool = True,
) -> str:
    """What is wrong with a sentence that is said to come from these passages; nothing: an empty text."""
    if any(sentence in " ".join(p.text.split()) for p in passages):
        return ""  # Word for word.
    if found := new_figures(sentence, passages, question):
        return found
    if foreign:
        return ""  # Words of another language tell nothing; its figures and promises do.
    said = _INFERS.split(sentence)[0]
    if found := (
        restating.other_day(sentence, passages)
        or restating.other_unit(sentence, passages)
        or restating.other_figure(said, passages)
        or restating.opposite(said, passages)
        or restating.affirms_alone(sentence, passages)
    ):
        return found
    if not english:
        return ""  # What follows knows the words of one language.
    words = set(content(sentence))
    known = {w for p in passages for w in content(f"{p.title} {p.text}")} | set(content(question))
    if words and len(words & known) / len(words) < 0.5:
        return f"not supported by its source: {sentence[:80]}"
    return contradicted(reason_of(said), passages) or overreaching(sentence, passages)


def reason_of(sentence: str) -> str:
    """What a sentence restates: behind a yes or no, and behind what it concludes first and then gives the reason of."""
    bare = re.sub(r"^\s*(?:no|yes)\b[,:]?\s+|^\s*without\s+\w+,\s*", "", sentence, flags=re.I)
    _, colon, reason = bare.partition(": ")
    return reason if colon and len(content(reason)) >= 3 else bare


def overreaching(sentence: str, passages: Sequence[Passage]) -> str:
    """Whether it says of something that its source does not name what the source says with a limit."""
    if _LIMITS.search(sentence):
        return ""
    known = {w.casefold() for p in passages for w in _WORD.findall(f"{p.title} {p.text}")}
    if not claims.proper(sentence) - known:
        return ""
    words = set(content(sentence))
    limited = (s for p in passages for s in split(p.text) if _LIMITS.search(s))
    if any(len(words & set(content(source))) >= 2 for source in limited):
        return f"its source says that with a limit: {sentence[:80]}"
    return ""


def new_figures(sentence: str, passages: Sequence[Passage], question: str = "") -> str:
    known = claims.figures(" ".join([question, *(f"{p.title} {p.text}" for p in passages)]))
    figures = claims.figures(sentence) - known
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
    return split(cited_in_place(text))


def cited_in_place(text: str) -> str:
    """The text with each citation before its sentence's full stop, where it belongs to one sentence only."""
    return _BEHIND.sub(r"\2\1", text)


def says_unknown(text: str) -> bool:
    """Whether a reply says that it does not know, and nothing else that has a source."""
    return bool(_UNKNOWN.search(text)) and not _CITATION.search(text)

"""What an answer is made of where no large model writes it: the pruner's sentences and the nearest ones, put together."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from graphs.sameness import points, refers_back
from graphs.understanding.clauses import split
from tools.ports import Passage
from tools.records import Item, Lexicon, RecordView
from tools.sentences import split as sentences_of

#: The language that the articles are written in; the pruner reads no other.
ENGLISH = "en"
#: What the pruner's probability counts beside the nearness. Fitted on the 66 answers; see docs/answers.md.
PRUNED = 0.2
#: A question the pruner found an answer to is refused below this nearness all the same, and one it found none
#: to is answered from the upper line on.
DOUBTED, CERTAIN = 0.22, 0.40
#: Where the heads are sure that it is a question to the articles, less nearness will do.
ASKED = 0.36
#: A best sentence that scores below this is about another thing than the question's.
BESIDE = 0.20
#: The same in a language that only the nearness reads: a question to articles in another language is never as
#: near to them as one to articles in its own.
FOREIGN, NATIVE = 0.30, 0.38
#: What it counts that a sentence is about what the question names, or about something else that is sold.
SAME_THING, OTHER_THING = 0.08, -0.2
#: What is so near answers a question that is known to be asked just so, whatever things it names.
ASKED_SO = 0.55
#: A sentence with less than this share of the best one's score is said beside it for no reason.
SHARE = 0.75
#: Sentences that share so many of their words say the same.
TWINS = 0.7
#: What it counts that a sentence is in the article that was quoted last, where a question follows that answer.
SAME_ARTICLE = 0.08
#: What is among the nearest of one reading of such a question only is taken to be so near by the other.
UNSEEN = 0.6
#: So far ahead of all that was not said yet must be what is said a second time.
TOLD = 1.1
#: What a question's own words count that others stand before.
BARE = 0.9
PARTS = 3

_WORD = re.compile(r"[^\W_]+")
_ASKS = re.compile(
    r"\?|\b(?:who|what|whats|when|where|which|why|how|can|could|may|do|does|is|are|will|would|need|recommend|"
    r"wer|was|wann|wo|welche\w*|warum|wie|kann|darf|muss|gibt|ist|sind|"
    r"qui|quoi|quand|où|quel\w*|pourquoi|comment|combien|puis-je|"
    r"qué|cuándo|dónde|cuál\w*|cómo|cuánt\w*|puedo|cosa|quando|dove|quale|perché|come|quanto|posso|"
    r"wat|wanneer|waar|welke|waarom|hoe|mag)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Line:
    """A sentence that may be said."""

    passage: Passage
    text: str
    score: float
    needs: str = ""  #: The sentence before it that it cannot be read without.


@dataclass(frozen=True)
class Part:
    """One question of a message."""

    text: str
    before: str = ""  #: The clause that it cannot be understood without.

    @property
    def whole(self) -> str:
        return f"{self.before} {self.text}".strip()


#: A further question of so few words is about what the one before it is about.
_CURT = 6


def parts_of(question: str) -> list[Part]:
    """The questions of a message, each with what it leans on; one is itself."""
    found: list[Part] = []
    before = ""
    for clause in split(question):
        words = len(clause.text.split())
        if _ASKS.search(clause.text) and words >= 3:
            further = bool(found) and (words <= _CURT or points(clause.text))
            leans = bool(before) and (further or refers_back(clause.text))
            found.append(Part(clause.text, before if leans else ""))
        before = clause.text
    return found[:PARTS] if len(found) > 1 else [Part(question)]


def core_of(question: str) -> str:
    """The one question in a message that tells a story around it, where it can be understood without; else the whole."""
    told = sentences_of(question)
    marked = [one for one in told if one.rstrip().endswith("?")]
    asking = marked or [one for one in told if _ASKS.search(one)]
    if (
        len(told) < 2
        or len(asking) != 1
        or refers_back(asking[0])
        or len(asking[0].split()) < _CORE
    ):
        return question
    return asking[0]


#: A question of fewer words says too little without the rest.
_CORE = 4
#: What the question alone counts beside the message that it stands in.
CORE = 0.95


def nearer(
    whole: Sequence[Passage], core: Sequence[Passage], *, weight: float = CORE
) -> tuple[Passage, ...]:
    """Each sentence by what it is nearer to: the message, or the question in it."""
    best: dict[tuple[str, str], Line] = {}
    for found, counts in ((whole, 1.0), (core, weight)):
        for line in lines_of(found):
            key = (line.passage.id, line.text)
            known = best.get(key)
            score = counts * line.score
            if known is None or known.score < score:
                best[key] = replace(line, score=score, needs=known.needs if known else line.needs)
    return _by_passage(list(best.values()))


@dataclass(frozen=True)
class Leaning:
    """What a question is about without saying so itself."""

    before: str = ""  #: The words before it.
    titles: tuple[
        str, ...
    ] = ()  #: What was spoken of: articles, else the customer's record or wish.
    said: str = ""  #: The reply that it follows.
    articles: frozenset[str] = frozenset()  #: What that reply quoted.


def called(view: RecordView) -> str:
    """What a record is, without its number and its state: "Care Plus plan", "Ridgeline Tent 2P"."""
    pieces = [piece.strip() for piece in re.split(r"[,()]", view.label.replace(view.id, ""))]
    of_it = [piece for piece in pieces if piece and view.state not in piece]
    return ", ".join(item.name for item in view.items[:2]) or " ".join(of_it[:2])


def worded(question: str, lexicon: Lexicon) -> str:
    """The question with the kind of what it names: articles speak of tents, customers of "the Ridgeline"."""
    named = _things(question, lexicon)
    said = {_bare(word) for word in _WORD.findall(question)}
    kinds = [item.words for item in lexicon.catalogue if item.id in named and item.words]
    if not kinds or any(_bare(word) in said for words in kinds for word in words):
        return question
    first = {words[0] for words in kinds}
    return f"{question} ({first.pop()})" if len(first) == 1 else question


def together(
    kept: Sequence[Passage],
    near: Sequence[Passage],
    question: str,
    lexicon: Lexicon,
    *,
    english: bool,
    native: bool = False,
    asked: bool = False,
) -> tuple[Passage, ...]:
    """The passages to answer from, best first, their sentences weighed by both; nothing where it is not known.

    Without near ones, as long as they cannot be searched, the pruner's stand as they are. ``native``: there are
    articles in the question's own language, so that more is asked of what is near; ``asked``: it surely is a question
    to the articles."""
    if not near:
        return tuple(kept) if english else ()
    lines = _weighed(kept if english else (), near, question, lexicon)
    best = max(line.score for line in lines)
    nearest = max(help_ for p in near for help_ in p.helps)
    if not english:
        known = best >= (NATIVE if native else FOREIGN)
    else:
        known = _known(best, nearest, pruned=bool(kept), asked=asked)
    if not known:
        return ()
    return _by_passage([line for line in lines if line.score > 0])


@dataclass(frozen=True)
class Readings:
    """What is near to a question that follows an answer, each way it can be read."""

    joined: Sequence[Passage]  #: Behind the messages that it leans on.
    titled: Sequence[
        Passage
    ]  #: Behind what the last answer was about: "Using a stove safely: in the porch?".
    bare: Sequence[Passage]  #: By its own words.


def in_context(near: Readings, said: str, articles: Collection[str]) -> tuple[Passage, ...]:
    """The sentences that are near to a question that follows an answer, in the articles that were just quoted
    before others. What was said already (``said``) is said again only where nothing else comes near."""
    passages: dict[str, Passage] = {}
    needed: dict[tuple[str, str], str] = {}
    scores: list[dict[tuple[str, str], float]] = []
    for found in (near.joined, near.titled, near.bare):
        lines = lines_of(found)
        for line in lines:
            passages.setdefault(line.passage.id, line.passage)
            key = (line.passage.id, line.text)
            needed[key] = needed.get(key) or line.needs
        scores.append({(line.passage.id, line.text): line.score for line in lines})
    joined, titled, bare = scores

    def score(key: tuple[str, str]) -> float:
        here = [one[key] for one in (joined, titled) if key in one]
        if not articles:  # What a record or a wish is called says more than the words before.
            return max(titled.get(key, 0.0), BARE * max(joined.get(key, 0.0), bare.get(key, 0.0)))
        both = sum(here) / 2 if len(here) == 2 else sum(here) * (1 + UNSEEN) / 2
        if both and passages[key[0]].source in articles:
            both += SAME_ARTICLE
        return max(both, BARE * bare.get(key, 0.0))

    weighed = [Line(passages[key[0]], key[1], score(key), needs) for key, needs in needed.items()]
    new = max((line.score for line in weighed if line.text not in said), default=0.0)
    return _by_passage(
        [
            line
            for line in weighed
            if line.score > 0 and (line.text not in said or line.score > TOLD * new)
        ]
    )


def _known(best: float, nearest: float, *, pruned: bool, asked: bool) -> bool:
    """Whether what was found answers the question, rather than "I do not know"."""
    if pruned:
        return nearest >= DOUBTED and best >= BESIDE
    return best >= (ASKED if asked else CERTAIN)


def _weighed(
    kept: Sequence[Passage], near: Sequence[Passage], question: str, lexicon: Lexicon
) -> list[Line]:
    asked = _things(question, lexicon)
    found: dict[tuple[str, str], Line] = {}
    for passages, weight in ((near, 1.0), (kept, PRUNED)):
        for passage in passages:
            for place, text in enumerate(passage.sentences):
                needs = _needed(passage, place)
                helps = passage.helps[place] if place < len(passage.helps) else passage.score
                key = (passage.id, text)
                line = found.get(key) or Line(passage, text, 0.0, needs)
                found[key] = replace(
                    line, score=line.score + weight * helps, needs=line.needs or needs
                )
    return [_about(line, asked, lexicon) for line in found.values()]


def _needed(passage: Passage, place: int) -> str:
    before = passage.needs[place] if place < len(passage.needs) else -1
    return passage.sentences[before] if before >= 0 else ""


def _about(line: Line, asked: frozenset[str], lexicon: Lexicon) -> Line:
    if not asked or line.score <= 0 or line.score >= ASKED_SO:
        return line
    said = _things(line.text, lexicon)
    titled = _things(line.passage.title, lexicon)
    # "The jacket" of an article on down jackets is a down jacket.
    said = (said & titled) or said or titled
    if not said:
        return line
    return replace(line, score=line.score + (SAME_THING if said & asked else OTHER_THING))


def _things(text: str, lexicon: Lexicon) -> frozenset[str]:
    """Ids of what is sold that the text names best; everything of a kind where it names the kind."""
    said = {_bare(word) for word in _WORD.findall(text)}
    common = {_bare(word) for word in lexicon.common}
    shared = [(len((said & _names(item)) - common), item.id) for item in lexicon.catalogue]
    most = max((count for count, _ in shared), default=0)
    return frozenset(id_ for count, id_ in shared if count == most) if most else frozenset()


def _names(item: Item) -> frozenset[str]:
    words = _WORD.findall(" ".join([item.name, *item.words]))
    return frozenset(_bare(word) for word in words if len(word) > 2 or word[0].isdigit())


def _bare(word: str) -> str:
    folded = word.casefold()
    return folded[:-1] if len(folded) > 3 and folded.endswith("s") else folded


def _by_passage(lines: Sequence[Line]) -> tuple[Passage, ...]:
    """The lines in their passages, in the order of the text; the best passage first."""
    by: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda one: -one.score):
        by.setdefault(line.passage.id, []).append(line)
    return tuple(_passage(of_one) for of_one in by.values())


def _passage(lines: Sequence[Line]) -> Passage:
    passage = lines[0].passage
    scores = {line.text: line.score for line in lines}
    needs = {line.text: line.needs for line in lines}
    for needed in list(needs.values()):
        if needed:
            scores.setdefault(needed, 0.0)
    texts = sorted(scores, key=lambda text: (passage.text.find(text[:60]), text))
    return passage.model_copy(
        update={
            "score": round(max(scores.values()), 4),
            "sentences": tuple(texts),
            "helps": tuple(round(scores[text], 4) for text in texts),
            "needs": tuple(
                texts.index(needs[text]) if needs.get(text) in scores else -1 for text in texts
            ),
        }
    )


def of_parts(found: Sequence[Sequence[Passage]], each: int = 2) -> tuple[Passage, ...]:
    """What was found for each part of a question, so that none crowds another out."""
    answered = [one for one in found if one]
    if len(answered) < 2:
        return tuple(answered[0]) if answered else ()
    best = max(max(p.helps, default=p.score) for one in answered for p in one)
    kept: dict[tuple[str, str], Line] = {}
    for one in answered:
        for line in chosen(one, each):
            kept.setdefault(
                (line.passage.id, line.text),
                replace(line, score=max(line.score, (SHARE + 0.01) * best)),
            )
    return _by_passage(list(kept.values()))


def lines_of(passages: Iterable[Passage]) -> list[Line]:
    """Every sentence there is, with what it helps."""
    return [
        Line(p, text, p.helps[n] if n < len(p.helps) else p.score, _needed(p, n))
        for p in passages
        for n, text in enumerate(p.sentences or (p.text,))
    ]


def chosen(passages: Sequence[Passage], most: int, *, share: float = SHARE) -> list[Line]:
    """The best lines, none twice and none far below the best, each with the one it needs; in the order a person
    would say them: what answers best first, and what stands before it in the same text before it."""
    ranked = sorted(lines_of(passages), key=lambda one: -one.score)
    known = {(line.passage.id, line.text): line for line in ranked}
    taken: list[Line] = []
    for line in ranked:
        if len(taken) >= most or (taken and line.score < share * ranked[0].score):
            break
        if any(_twins(line.text, other.text) for other in taken):
            continue
        before = known.get((line.passage.id, line.needs))
        if before is not None and before not in taken:
            taken.append(before)
        taken.append(line)
    order = list(dict.fromkeys(line.passage.id for line in taken))
    return sorted(
        taken,
        key=lambda one: (
            order.index(one.passage.id),
            one.passage.sentences.index(one.text) if one.passage.sentences else 0,
        ),
    )


def _twins(one: str, other: str) -> bool:
    a, b = ({_bare(word) for word in _WORD.findall(text)} for text in (one, other))
    return len(a & b) / max(len(a | b), 1) >= TWINS

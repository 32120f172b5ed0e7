"""From scored chunks to what is worth reading: floor, duplicates, sentences with their neighbours, budget."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from app.knowledge.documents import tokens_in
from tools.injection import instructs
from tools.ports import Passage

#: A chunk this close to another says the same: the newer one is kept.
SAME = 0.96
TOKEN_BUDGET = 320
#: A chunk far below the best one is noise even when it passes the floor.
SHARE_OF_BEST = 0.2
LEANS_BACK = re.compile(
    r"^(?:it|its|they|them|their|this|that|these|those|he|she|however|otherwise|then|also|but|and|or|so|"
    r"instead|in that case|in this case|if so|if not|until then|after that|afterwards|there|both|each|"
    r"the same|such)\b",
    re.IGNORECASE,
)
#: "The 30 days begin ...": which days they are, the sentence before says.
NAMES_BEFORE = re.compile(
    r"^(?:the|these|those)\s+(?:\d+|two|three|other|same|rest)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Scored:
    """A passage with the probability that it, and each of its sentences, helps with the question."""

    passage: Passage
    probability: float
    sentences: tuple[str, ...]
    probabilities: tuple[float, ...]  #: One for each sentence.


def select(
    scored: Sequence[Scored],
    vectors: Mapping[str, Sequence[float]],
    places: Mapping[str, int],
    *,
    keep: int | None,
    noise: float,
    sentence_floor: float,
    budget: int = TOKEN_BUDGET,
) -> list[Passage]:
    """At most ``keep`` passages (None: what the budget holds) with their kept sentences: best document
    first, its chunks in order."""
    above = sorted((s for s in scored if s.probability >= noise), key=lambda s: -s.probability)
    if keep is not None:
        above = [s for s in above if s.probability >= SHARE_OF_BEST * above[0].probability]
    chosen = without_duplicates(above, vectors)[:keep]
    kept = within(chosen, sentence_floor, budget, each=keep is not None)
    documents = list(dict.fromkeys(s.passage.source for s in chosen))
    order = sorted(
        (s for s in chosen if kept[s.passage.id]),
        key=lambda s: (documents.index(s.passage.source), places.get(s.passage.id, 0)),
    )
    return [with_sentences(s, sorted(kept[s.passage.id])) for s in order]


def with_sentences(scored: Scored, places: Sequence[int]) -> Passage:
    return scored.passage.model_copy(
        update={
            "score": round(scored.probability, 4),
            "sentences": tuple(scored.sentences[place] for place in places),
            "helps": tuple(round(scored.probabilities[place], 4) for place in places),
            "needs": needed_by(scored.sentences, places),
        }
    )


def without_duplicates(
    ranked: Sequence[Scored], vectors: Mapping[str, Sequence[float]]
) -> list[Scored]:
    """Of passages that say the same, the newest, at the place of the best."""
    kept: list[Scored] = []
    for candidate in ranked:
        twin = next((n for n, other in enumerate(kept) if alike(candidate, other, vectors)), None)
        if twin is None:
            kept.append(candidate)
        elif age(candidate) > age(kept[twin]):
            kept[twin] = candidate
    return kept


def alike(one: Scored, other: Scored, vectors: Mapping[str, Sequence[float]]) -> bool:
    if one.passage.text.split() == other.passage.text.split():
        return True
    a, b = vectors.get(one.passage.id), vectors.get(other.passage.id)
    return a is not None and b is not None and sum(x * y for x, y in zip(a, b, strict=True)) > SAME


def age(scored: Scored) -> date:
    return scored.passage.updated or date.min


def within(
    chosen: Sequence[Scored], sentence_floor: float, budget: int, *, each: bool
) -> dict[str, set[int]]:
    """Places of the sentences to keep, by probability; with ``each`` every passage's best one first, else
    whatever the budget holds. A sentence that gives instructions to an agent is never kept."""
    kept: dict[str, set[int]] = {s.passage.id: set() for s in chosen}
    wanted: list[tuple[bool, float, Scored, int]] = []
    for s in chosen:
        usable = [place for place, text in enumerate(s.sentences) if not instructs(text)]
        if not usable:
            continue
        best = max(usable, key=lambda place: s.probabilities[place])
        wanted += [
            (each and place == best, s.probabilities[place], s, place)
            for place in usable
            if not each or place == best or s.probabilities[place] >= sentence_floor
        ]
    spent = 0
    for _, _, s, place in sorted(wanted, key=lambda want: (not want[0], -want[1])):
        needed = {
            number
            for number in with_neighbours(s.sentences, place) - kept[s.passage.id]
            if not instructs(s.sentences[number])
        }
        cost = sum(tokens_in(s.sentences[number]) for number in needed)
        if spent and spent + cost > budget:
            continue
        kept[s.passage.id] |= needed
        spent += cost
    return kept


def with_neighbours(sentences: Sequence[str], place: int) -> set[int]:
    """A sentence and those before it that it cannot be read without."""
    needed = {place}
    listed = sentences[place].startswith(("- ", "| "))
    first = place
    if listed:
        # An item means nothing without the line that introduces its list.
        while first > 0 and sentences[first].startswith(("- ", "| ")):
            first -= 1
        if sentences[first].endswith(":"):
            needed.add(first)
    elif place > 0 and (LEANS_BACK.match(sentences[place]) or NAMES_BEFORE.match(sentences[place])):
        needed.add(place - 1)
    if sentences[place].endswith(":"):
        after = place + 1
        while after < len(sentences) and sentences[after].startswith(("- ", "| ")):
            needed.add(after)
            after += 1
    return needed


def needed_by(sentences: Sequence[str], kept: Sequence[int]) -> tuple[int, ...]:
    """For each kept sentence the place, among the kept, of the one before that it cannot be read without;
    -1 where there is none."""
    return tuple(
        max(
            (kept.index(n) for n in with_neighbours(sentences, place) if n < place and n in kept),
            default=-1,
        )
        for place in kept
    )

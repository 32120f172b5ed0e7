"""Answers given before, for the same question asked again.

Kept in the process: losing them costs an answer, sharing them would put one more store between a changed
article and the customer. A replica that has not heard of an answer writes its own; nothing waits for another.
What is shared is the register: what people see at the desk, and what they withdrew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from app.stores.answers import Source, id_of
from graphs.sameness import normal, shape
from tools.ports import Encoder, KnownAnswer, Passage, PortError

#: Below this two questions are not the same, whatever words they share. Set on the `tune` half of
#: domains/northfell/evals/answer_cache.yaml; the words decide, the cosine only guards against odd coincidences.
NEAR = 0.85
CAPACITY = 1000

Scope = tuple[str, ...]  #: Tenant and audience first.
Shape = tuple[frozenset[str], frozenset[str], tuple[str, ...]]


class Register(Protocol):
    """Where it is written down what is given again, and what people withdrew."""

    async def keep(
        self, id: str, scope: Sequence[str], question: str, text: str, sources: Sequence[Source]
    ) -> bool:
        """Whether this may be kept."""
        ...

    async def serve(self, id: str, tenant: str, questions: Sequence[str], text: str) -> bool:
        """Whether this may be given again."""
        ...


@dataclass(frozen=True)
class Kept:
    """An answer with what its question looks like."""

    answer: KnownAnswer
    scope: Scope
    shape: Shape
    vector: tuple[float, ...] | None


class ProcessAnswers:
    """The most recent answers, at most ``capacity``; ``semantic`` also serves other wordings."""

    def __init__(
        self,
        encoder: Encoder,
        how: Literal["exact", "semantic"] = "semantic",
        *,
        near: float = NEAR,
        capacity: int = CAPACITY,
        register: Register | None = None,
    ) -> None:
        self.encoder = encoder
        self.how = how
        self.near = near
        self.capacity = capacity
        self.register = register
        self.kept: OrderedDict[tuple[Scope, str], Kept] = OrderedDict()

    async def find(self, question: str, scope: Scope) -> KnownAnswer | None:
        found = await self._nearest(question, scope)
        if found is None or self.register is None:
            return found
        wordings = [normal(question), normal(found.question)]
        id = id_of(scope, wordings[-1])
        try:
            if await self.register.serve(id, scope[0], wordings, found.text):
                return found
        except PortError:
            return None  # Nobody knows whether it was withdrawn; it is written anew.
        self.kept.pop((scope, wordings[-1]), None)
        return None

    async def _nearest(self, question: str, scope: Scope) -> KnownAnswer | None:
        key = (scope, normal(question))
        if key in self.kept:
            self.kept.move_to_end(key)
            return self.kept[key].answer.model_copy(update={"how": "exact", "nearness": 1.0})
        if self.how == "exact":
            return None
        asked = shape(question)
        # The words decide first: they are free, and no vector is made where none could be near.
        alike = [one for one in self.kept.values() if one.scope == scope and one.shape == asked]
        if not alike or (vector := await self.meaning(question)) is None:
            return None
        nearest = max(alike, key=lambda one: cosine(one.vector, vector))
        nearness = cosine(nearest.vector, vector)
        if nearness < self.near:
            return None
        return nearest.answer.model_copy(update={"how": "semantic", "nearness": round(nearness, 4)})

    async def keep(
        self, question: str, scope: Scope, text: str, passages: Sequence[Passage]
    ) -> None:
        if not await self._allowed(question, scope, text, passages):
            return
        answer = KnownAnswer(question=question, text=text, passages=tuple(passages), how="exact")
        vector = await self.meaning(question) if self.how == "semantic" else None
        # What another version of the knowledge answered will not be asked for again.
        for key, one in list(self.kept.items()):
            if one.scope != scope and one.scope[:2] == scope[:2]:
                del self.kept[key]
        self.kept[scope, normal(question)] = Kept(answer, scope, shape(question), vector)
        while len(self.kept) > self.capacity:
            self.kept.popitem(last=False)

    async def _allowed(
        self, question: str, scope: Scope, text: str, passages: Sequence[Passage]
    ) -> bool:
        if self.register is None:
            return True
        sources = {p.source: Source(source=p.source, title=p.title) for p in passages}
        wording = normal(question)
        try:
            return await self.register.keep(
                id_of(scope, wording), scope, question, text, [*sources.values()]
            )
        except PortError:
            return False

    async def meaning(self, question: str) -> tuple[float, ...] | None:
        try:
            [vector] = await self.encoder.embed([question])
        except PortError:
            return None
        return tuple(vector)


def cosine(one: Sequence[float] | None, other: Sequence[float]) -> float:
    """Of unit vectors; of a question whose vector could not be made, nothing is near."""
    return sum(a * b for a, b in zip(one, other, strict=True)) if one else -1.0

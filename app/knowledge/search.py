"""`signalbox retrieve`: questions by the line, the ranked documents of each."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from app.knowledge.index import Way
from app.knowledge.knowledge import HybridKnowledge
from app.roles import Answer


class Said(BaseModel):
    """An earlier message."""

    model_config = ConfigDict(extra="ignore")
    role: str = "user"
    text: str


class Asked(BaseModel):
    """One line of the input."""

    model_config = ConfigDict(extra="ignore")
    query: str | None = None
    history: tuple[Said | str, ...] = ()

    def turns(self) -> list[str]:
        """Everything that was said, oldest first; the last is the question. ValueError: there is none."""
        said = [each if isinstance(each, str) else each.text for each in self.history]
        if self.query is not None and said[-1:] != [self.query]:
            said.append(self.query)
        if not said:
            raise ValueError("query: Field required")
        return said


def answer_for(
    knowledge: HybridKnowledge, *, limit: int, way: Way, audience: str, tenant: str | None
) -> Answer:
    """What answers one line: a document's id is its file's name, or the row's own id."""

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        try:
            asked = Asked.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ValueError(f"{place}: {first['msg']}") from error
        *history, query = asked.turns()
        found = await knowledge.documents(
            query,
            limit=limit,
            audience=audience,
            tenant=tenant,
            history=history,
            way=way,
        )
        return {
            "ids": [each.document for each in found],
            "scores": [round(each.score, 6) for each in found],
            "chunks": [
                {
                    "id": each.chunk,
                    "document": each.document,
                    "source": each.source,
                    "title": each.title,
                    "text": each.text,
                    "score": round(each.score, 6),
                }
                for each in found
            ],
        }

    return answer

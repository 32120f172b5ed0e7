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
    query: str
    history: tuple[Said | str, ...] = ()


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
        found = await knowledge.documents(
            asked.query,
            limit=limit,
            audience=audience,
            tenant=tenant,
            history=[said if isinstance(said, str) else said.text for said in asked.history],
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

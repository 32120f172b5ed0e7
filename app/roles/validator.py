"""The role `validator`: whether a draft may be sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from app.roles import Answer
from app.roles.alone import NOBODY
from app.roles.lines import Input, read_input
from tools.ports import Passage

if TYPE_CHECKING:
    from app.config import Settings


class Source(Input):
    text: str
    title: str = ""


def _sources(value: Any) -> Any:
    if isinstance(value, list):
        return [{"text": one} if isinstance(one, str) else one for one in value]  # type: ignore[reportUnknownVariableType]
    return value


class Person(Input):
    name: str = ""
    email: str = ""
    phone: str | None = None


class ValidatorInput(Input):
    text: str
    passages: Annotated[list[Source], BeforeValidator(_sources)] = []
    customer: Person | None = None


@asynccontextmanager
async def validator(settings: Settings) -> AsyncGenerator[Answer]:
    from graphs.context import Limits
    from graphs.state import Draft
    from graphs.validation import validate_draft

    limits = Limits()

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        asked = read_input(ValidatorInput, row)
        passages = tuple(
            Passage(id=str(n), text=p.text, title=p.title, source="")
            for n, p in enumerate(asked.passages, 1)
        )
        person = asked.customer.model_dump() if asked.customer is not None else {}
        found = validate_draft(
            Draft(text=asked.text, source="large", passages=passages),
            NOBODY.model_copy(update=person),
            max_chars=limits.reply_chars,
            # Of an answer that names no source at all, the sources are asked for support, not the citations.
            cited="[" in asked.text,
        )
        return {
            "ok": found.ok,
            "problems": [problem.detail for problem in found.problems],
            "kinds": [problem.kind for problem in found.problems],
            "groundedness": None if found.groundedness is None else round(found.groundedness, 4),
        }

    yield answer

"""The role `extractor`: an operation's arguments, from the customer's words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from app.roles import Answer
from app.roles.alone import context_alone
from app.roles.lines import Input, Said, read_input

if TYPE_CHECKING:
    from app.config import Settings


class ExtractorInput(Input):
    operation: str | dict[str, Any]
    text: str | None = None
    history: list[Said] = []
    today: str | None = None
    timezone: str | None = None
    locale: str | None = None
    records: Any = None

    @property
    def said(self) -> list[tuple[bool, str]]:
        """Everything said, oldest first, and whether the customer said it."""
        last = [(True, self.text)] if self.text is not None else []
        return [*((one.by_customer, one.text) for one in self.history), *last]


@asynccontextmanager
async def extractor(settings: Settings) -> AsyncGenerator[Answer]:
    from app.extracting import extracted, seen_from, target_of

    async with context_alone(settings) as context:

        async def answer(row: dict[str, Any]) -> dict[str, Any]:
            asked = read_input(ExtractorInput, row)
            target = target_of(asked.operation, context.operations)
            if not any(by_customer for by_customer, _ in asked.said):
                raise ValueError("text: there are no words of the customer")
            when = seen_from(asked.today, asked.timezone, asked.locale, context.clock.now())
            return await extracted(
                target,
                asked.said,
                when,
                small=context.small,
                encoder=context.encoder,
                records=asked.records,
            )

        yield answer

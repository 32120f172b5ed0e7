"""The role `consequence`: how bad an operation is if it runs twice or by mistake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from app.models.encoder import OnnxEncoder
from app.releases import live_manifest
from app.roles import Answer
from app.roles.lines import Input, read_input, rounded

if TYPE_CHECKING:
    from app.config import Settings


def _names(value: Any) -> Any:
    """Argument names, from a list of names, of described arguments, a mapping or a JSON schema."""
    if isinstance(value, Mapping):
        return list(value.get("properties", value))  # type: ignore[reportUnknownArgumentType]
    if isinstance(value, list):
        return [one.get("name", "") if isinstance(one, Mapping) else one for one in value]  # type: ignore[reportUnknownVariableType]
    return value


class ConsequenceInput(Input):
    name: str = Field(min_length=1)
    description: str | None = ""
    method: str | None = None
    arguments: Annotated[list[str] | None, BeforeValidator(_names)] = None


@asynccontextmanager
async def consequence(settings: Settings) -> AsyncGenerator[Answer]:
    from graphs.consequences import described, settle

    manifest = await asyncio.to_thread(live_manifest, settings)
    encoder = OnnxEncoder(manifest)
    line, believed = manifest.write_line, manifest.class_line

    async def answer(row: dict[str, Any]) -> dict[str, Any]:
        asked = read_input(ConsequenceInput, row)
        text = described(asked.name, asked.description or "", asked.method, asked.arguments or ())
        choice = await encoder.classify("consequence", text)
        judged = settle(choice.probabilities, text, line=line, believed=believed)
        return {
            "class": judged.consequence.value,
            "probabilities": rounded(choice.probabilities),
            "write": judged.write,
            "abstain": not judged.sure,
            "reason": judged.reason,
        }

    yield answer

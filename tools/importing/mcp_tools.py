"""An MCP server's tools as they were when a person confirmed them: kept in a file, compared with what is there now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue

from tools.importing.openapi import argument_name
from tools.importing.schemas import NotUsable, Schemas


class Tool(BaseModel):
    """One tool, as its server describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    schema_: dict[str, JsonValue] = {}
    reads: bool = False  #: The server's hints: for the proposal, and never trusted alone.
    destroys: bool = True
    repeatable: bool = False

    @property
    def digest(self) -> str:
        """Changes whenever its schema, its description or its hints do."""
        told = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def names(self) -> dict[str, str]:
        """Argument -> the tool's own name of it."""
        properties = self.schema_.get("properties")
        given = properties if isinstance(properties, Mapping) else {}
        return {argument_name(str(name)): str(name) for name in given}

    def arguments(self) -> dict[str, Any]:
        """What it takes, as one object schema on its own. Raises KeyError where it cannot be used."""
        try:
            made = Schemas(self.schema_).inline(self.schema_, "request")
        except NotUsable as error:
            raise KeyError(f"the tool {self.name} cannot be used: {error}") from None
        own = {theirs: ours for ours, theirs in self.names().items()}
        properties: Mapping[str, Any] = made.get("properties") or {}
        return {
            "type": "object",
            "properties": {own[name]: one for name, one in properties.items()},
            "required": [own[name] for name in made.get("required") or () if name in own],
            "additionalProperties": False,
        }


class Confirmed(BaseModel):
    """The file: the tools of one server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: tuple[Tool, ...] = ()

    def find(self, name: str) -> Tool | None:
        return next((one for one in self.tools if one.name == name), None)


def changed(confirmed: Confirmed, live: Sequence[Tool]) -> dict[str, str]:
    """The confirmed tools that are not what they were, and how: they are off until confirmed again."""
    now = {one.name: one for one in live}
    found: dict[str, str] = {}
    for one in confirmed.tools:
        if one.name not in now:
            found[one.name] = "is not there any more"
        elif now[one.name].digest != one.digest:
            found[one.name] = "has changed since it was confirmed"
    return found


def file_of(system: str) -> str:
    return f"tools-{system}.json"

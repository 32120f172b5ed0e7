"""JSON Schema as API documents write it: references inlined, OpenAPI's dialect brought to 2020-12, bounded in size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from jsonpointer import JsonPointer, JsonPointerException

Direction = Literal["request", "response"]

#: Values in one operation's schema with every reference written out.
MOST_PARTS = 6_000
#: So deep nobody says a value, and no reply speaks of one.
DEEPEST = 12
#: Of no use to whoever fills or reads a value.
_DROPPED = frozenset({"discriminator", "externalDocs", "deprecated", "$schema", "$id", "$anchor"})
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")


class NotUsable(ValueError):
    """A part of the document cannot be used, and why."""


class Schemas:
    """The document's schemas, by reference."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document

    def follow(self, node: Any) -> Any:
        """A node of the document with a reference at its top followed. Raises NotUsable."""
        followed: list[str] = []
        while isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
            reference = str(cast("Mapping[str, Any]", node)["$ref"])
            if reference in followed:
                raise NotUsable(f"the reference {reference} leads back to itself")
            followed.append(reference)
            node = self._at(reference)
        return cast("Any", node)

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#"):
            # Nothing that a document names is ever fetched: not from the web, not from this machine.
            raise NotUsable(
                f"the reference {reference} leads out of the document; bundle it into one file"
            )
        try:
            return JsonPointer(reference[1:]).resolve(self._document)
        except (JsonPointerException, TypeError):
            raise NotUsable(f"there is nothing at the reference {reference}") from None

    def inline(self, schema: Any, direction: Direction) -> dict[str, Any]:
        """The schema on its own. What contains itself is cut where it begins again: anything goes there."""
        return _Inlining(self, direction).of(schema, (), 0)


class _Inlining:
    """One schema being written out, with how much of it there is so far."""

    def __init__(self, schemas: Schemas, direction: Direction) -> None:
        self._schemas = schemas
        self._direction = direction
        self._parts = 0

    def of(self, schema: Any, inside: tuple[str, ...], depth: int) -> dict[str, Any]:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise NotUsable(f"its schema has more than {MOST_PARTS:,} parts written out")
        if schema is True or depth > DEEPEST or not isinstance(schema, Mapping):
            return {}
        given = cast("Mapping[str, Any]", schema)
        reference = given.get("$ref")
        if isinstance(reference, str):
            if reference in inside:
                return {}
            target = self._schemas._at(reference)  # pyright: ignore[reportPrivateUsage]
            made = self.of(target, (*inside, reference), depth)
            beside = {k: v for k, v in given.items() if k in ("description", "default", "title")}
            name = {"x-name": reference.rpartition("/")[2]} if "x-name" not in made else {}
            return {**made, **beside, **name}
        return self._written(given, inside, depth)

    def _written(
        self, given: Mapping[str, Any], inside: tuple[str, ...], depth: int
    ) -> dict[str, Any]:
        made = {k: v for k, v in given.items() if k not in _DROPPED and k not in _LISTS}
        properties = given.get("properties")
        if isinstance(properties, Mapping):
            kept: dict[str, Any] = {}
            for name, one in cast("Mapping[str, Any]", properties).items():
                part = self.of(one, inside, depth + 1)
                if not part.get("readOnly" if self._direction == "request" else "writeOnly"):
                    kept[name] = part
            made["properties"] = kept
            needed = given.get("required")
            if isinstance(needed, list):
                made["required"] = [n for n in cast("list[Any]", needed) if n in kept]
        for key in ("items", "additionalProperties", "not"):
            if isinstance(given.get(key), Mapping):
                made[key] = self.of(given[key], inside, depth + 1)
        for key in _LISTS:
            if isinstance(given.get(key), list):
                made[key] = [self.of(one, inside, depth + 1) for one in given[key]]
        return _merged(_modern(made))


def _modern(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0's own words in those of JSON Schema."""
    for bound, other in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if schema.get(bound) is True and other in schema:
            schema[bound] = schema.pop(other)
        elif isinstance(schema.get(bound), bool):
            del schema[bound]
    if schema.pop("nullable", False) and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    if "example" in schema:
        schema.setdefault("examples", [schema.pop("example")])
    if isinstance(schema.get("examples"), Mapping):
        schema["examples"] = list(cast("Mapping[str, Any]", schema["examples"]).values())
    return schema


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """``allOf`` of objects as the one object it describes, which is what people fill in."""
    parts = cast("list[dict[str, Any]]", schema.get("allOf") or [])
    if not parts or any(p.get("anyOf") or p.get("oneOf") or p.get("not") for p in parts):
        return schema
    made = {k: v for k, v in schema.items() if k != "allOf"}
    for part in parts:
        for key, value in part.items():
            if key == "properties":
                made["properties"] = {**value, **made.get("properties", {})}
            elif key == "required":
                made["required"] = list(dict.fromkeys([*value, *made.get("required", [])]))
            else:
                made.setdefault(key, value)
    return made


def kind_of(schema: Mapping[str, Any]) -> str:
    """The schema's one type, null aside; ``any`` where it says none, or several."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kinds = [k for k in cast("list[str]", kind) if k != "null"]
        kind = kinds[0] if len(kinds) == 1 else None
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "any"

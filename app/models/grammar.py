"""JSON schemas as GBNF grammars, so that a small model can only write what was asked for.

Objects have a fixed shape: every property, in the schema's order, without white space. That is the form the
adapters are trained on, and it leaves the model nothing to decide but the values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

#: Beyond this many words of the input nothing can be copied; keeps the grammar and its cost bounded.
COPY_WORDS = 300
#: Integer ranges up to this size are spelled out, so that a value outside them cannot be written.
SPELLED_RANGE = 200
#: Stripped from the ends of a copied run: "SB-10482." is about SB-10482.
EDGE_PUNCTUATION = ".,;:!?()[]{}<>\"'`“”„’‘«»…#*"
_DEFAULT_STRING = 200
_DEFAULT_ITEMS = 8


class SchemaNotSupported(ValueError):
    """The schema uses something that has no grammar here."""


def literal(text: str) -> str:
    """``text`` as a GBNF literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return f'"{escaped}"'


def one_of(texts: Sequence[str]) -> str:
    """A grammar that allows exactly one of ``texts``."""
    return "root ::= " + " | ".join(literal(text) for text in texts)


def quotes_grammar(quotes: Sequence[str], *, least: int = 1, most: int = 3) -> str:
    """A grammar for ``least`` to ``most`` of ``quotes`` in their order, none twice, a space between."""
    count = len(quotes)
    least = min(least, count)
    rules = [f"q{i} ::= {literal(quote)}" for i, quote in enumerate(quotes)]

    def follow(depth: int, after: int) -> str:
        """Alternatives from quote ``after`` on, when ``depth`` quotes may still come."""
        ways = [
            f"q{i} more{depth - 1}x{i + 1}" if depth > 1 and i + 1 < count else f"q{i}"
            for i in range(after, count)
            # The last quotes cannot begin what must still have others behind it.
            if i + 1 < count or most - depth + 1 >= least
        ]
        return " | ".join(ways)

    rules.insert(0, f"root ::= {follow(most, 0)}")
    for depth in range(most - 1, 0, -1):
        # After ``most - depth`` quotes the next one is still owed while fewer than ``least`` were written.
        ending = "" if most - depth < least else "?"
        rules += [
            f'more{depth}x{after} ::= (" " ({follow(depth, after)})){ending}'
            for after in range(1, count)
        ]
    return "\n".join(rules)


def schema_grammar(schema: Mapping[str, Any], input: str) -> str:
    """The grammar of ``schema``; properties marked ``x-copy`` can only be runs of words of ``input``."""
    return _Grammar(schema, input).text()


def copyable(input: str) -> str:
    """The part of a role's input that values may be copied from: the customer's words, where it marks them."""
    before, mark, after = input.partition("message:")
    return after if mark and (not before or before.endswith("\n")) else input


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Grammar:
    def __init__(self, schema: Mapping[str, Any], input: str) -> None:
        self._schema = schema
        self._words = copyable(input).split()[:COPY_WORDS]
        self._rules: dict[str, str] = {}
        self._copy: str | None = None

    def text(self) -> str:
        root = self._expression(self._schema)
        lines = [f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._rules.items())]
        return "\n".join(lines)

    def _rule(self, name: str, body: str) -> str:
        self._rules.setdefault(name, body)
        return name

    def _expression(self, schema: Mapping[str, Any]) -> str:
        if reference := schema.get("$ref"):
            return self._expression(self._resolved(str(reference)))
        if "const" in schema:
            return literal(_json(schema["const"]))
        if "enum" in schema:
            return self._alternatives([literal(_json(value)) for value in schema["enum"]])
        for key in ("anyOf", "oneOf", "allOf"):
            if key in schema:
                # "x-copy" may stand beside the alternatives, as pydantic writes extra keys of a nullable field.
                marks = {k: v for k, v in schema.items() if k in ("x-copy", "maxLength")}
                parts = cast("list[dict[str, Any]]", schema[key])
                return self._alternatives([self._expression({**marks, **part}) for part in parts])
        kind = schema.get("type")
        if isinstance(kind, list):
            kinds = cast("list[str]", kind)
            return self._alternatives([self._expression({**schema, "type": k}) for k in kinds])
        match kind:
            case "null":
                return literal("null")
            case "boolean":
                return '("true" | "false")'
            case "integer":
                return self._integer(schema)
            case "number":
                return self._rule("number", '"-"? [0-9]{1,9} ("." [0-9]{1,4})?')
            case "string":
                return self._string(schema)
            case "array":
                return self._array(schema)
            case "object":
                return self._object(schema)
            case _:
                raise SchemaNotSupported(f"no grammar for {_json(dict(schema))}")

    def _resolved(self, reference: str) -> Mapping[str, Any]:
        node: Any = self._schema
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        return node

    def _alternatives(self, parts: Sequence[str]) -> str:
        # null first costs nothing and keeps the text the same whatever order the schema had.
        unique = list(dict.fromkeys(parts))
        return unique[0] if len(unique) == 1 else "(" + " | ".join(unique) + ")"

    def _object(self, schema: Mapping[str, Any]) -> str:
        properties = cast("dict[str, dict[str, Any]]", schema.get("properties", {}))
        parts: list[str] = []
        for index, (name, value) in enumerate(properties.items()):
            opening = ("{" if index == 0 else ",") + _json(name) + ":"
            parts += [literal(opening), self._expression(value)]
        return " ".join([*parts, literal("}")]) if parts else literal("{}")

    def _array(self, schema: Mapping[str, Any]) -> str:
        if "prefixItems" in schema:
            fixed = [self._expression(one) for one in schema["prefixItems"]]
            return " ".join(['"["', ' "," '.join(fixed), '"]"'])
        item = self._expression(schema.get("items", {"type": "string"}))
        name = self._rule(f"item{len(self._rules)}", item)
        least, most = int(schema.get("minItems", 0)), int(schema.get("maxItems", _DEFAULT_ITEMS))
        if most == 0:
            return literal("[]")
        further = f'("," {name}){{{max(least - 1, 0)},{most - 1}}}' if most > 1 else ""
        items = f"{name} {further}".strip()
        return f'"[" ({items}){"?" if least == 0 else ""} "]"'

    def _integer(self, schema: Mapping[str, Any]) -> str:
        low, high = schema.get("minimum"), schema.get("maximum")
        if "exclusiveMinimum" in schema:
            low = int(schema["exclusiveMinimum"]) + 1
        if "exclusiveMaximum" in schema:
            high = int(schema["exclusiveMaximum"]) - 1
        if low is not None and high is not None and 0 <= int(high) - int(low) <= SPELLED_RANGE:
            return self._alternatives([literal(str(n)) for n in range(int(low), int(high) + 1)])
        sign = "" if low is not None and int(low) >= 0 else '"-"? '
        digits = len(str(abs(int(high)))) if high is not None else 9
        return f'{sign}("0" | [1-9] [0-9]{{0,{digits - 1}}})'

    def _string(self, schema: Mapping[str, Any]) -> str:
        if schema.get("x-copy"):
            if not self._copy:
                self._copy = self._copied_run()
            return self._copy
        character = self._rule("character", r'[^"\\\x00-\x1f] | "\\" ["\\/n]')
        length = int(schema.get("maxLength", _DEFAULT_STRING))
        return f'"\\"" {character}{{{int(schema.get("minLength", 0))},{length}}} "\\""'

    def _copied_run(self) -> str:
        """A rule for any contiguous run of the input's words; its size grows linearly with the input."""
        starts: list[str] = []
        runs: dict[str, str] = {}
        for index, word in enumerate(self._words):
            last = index == len(self._words) - 1
            rest = "" if last else f'" " run{index + 1}'
            ending = word.rstrip(EDGE_PUNCTUATION)
            begin = word.lstrip(EDGE_PUNCTUATION)
            whole = ending.lstrip(EDGE_PUNCTUATION)
            if index:
                ways = [_quoted(ending)] if ending else []
                if rest:
                    ways.append(f"{_quoted(word)} {rest}")
                # A trailing word of bare punctuation must still be reachable as the end of a rule.
                runs[f"run{index}"] = " | ".join(ways or [_quoted(word)])
            if whole:
                starts.append(_quoted(whole))
                if rest:
                    starts.append(f"{_quoted(begin)} {rest}")
        if not starts:
            return literal("null")
        self._rules |= runs
        run = '"\\"" (' + " | ".join(dict.fromkeys(starts)) + ') "\\""'
        return self._rule("copied", f'"null" | {run}')


def _quoted(word: str) -> str:
    """A word as it stands inside a JSON string, as a GBNF literal."""
    return literal(_json(word)[1:-1])

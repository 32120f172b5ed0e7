"""YAML and JSON from others: read without being blown up, with the line of everything in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from tools.importing.problems import FilesInvalid, Problem

M = TypeVar("M", bound=BaseModel)

#: Larger than any document of a company's API that we have seen; one that is larger is cut to what is needed.
MOST_BYTES = 20 * 1024 * 1024
#: Values in a document with every alias written out.
MOST_NODES = 2_000_000
DEEPEST = 200


class _Loader(yaml.CSafeLoader):
    """YAML 1.2's plain values: ``no`` is Norwegian, ``12:30`` and ``2026-11-30`` are text."""

    yaml_implicit_resolvers: dict[Any, Any] = {}


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    (
        "float",
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$",
        "-+0123456789.",
    ),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


@dataclass(frozen=True)
class Read:
    """A file's value, and where each part of it stands."""

    name: str
    value: Any
    _root: Any = field(default=None, repr=False)

    def line(self, path: Sequence[Any]) -> int | None:
        """The line of the deepest part of the path that is there."""
        node = self._root
        if node is None:
            return None
        line = node.start_mark.line + 1
        for step in path:
            following = _child(node, step)
            if following is None:
                break
            node, line = following
        return line

    def with_value(self, value: Any) -> Read:
        """The same file, its value changed and its lines kept."""
        return Read(self.name, value, self._root)

    def problem(self, path: Sequence[Any], text: str, *, grave: bool = True) -> Problem:
        return Problem(self.name, text, self.line(path), grave)


def _child(node: Any, step: Any) -> tuple[Any, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        one = node.value[step]
        return one, one.start_mark.line + 1
    return None


def read_file(content: bytes, name: str) -> Read:
    """A YAML or JSON file. Raises FilesInvalid with the line of what cannot be read, or is too much."""
    if len(content) > MOST_BYTES:
        most = MOST_BYTES // (1024 * 1024)
        raise _refused(name, f"is larger than {most} MB: keep only the operations you need in it")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused(name, "is not UTF-8 text: save it as UTF-8") from None
    if name.endswith(".json") or text.lstrip()[:1] == "{":
        return _read_json(text, name)
    return _read_yaml(text, name)


def _read_json(text: str, name: str) -> Read:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise FilesInvalid([Problem(name, f"is not JSON: {error.msg}", error.lineno)]) from None
    except RecursionError:
        raise _refused(name, f"is nested more than {DEEPEST} deep") from None
    if _depth(value) > DEEPEST:
        raise _refused(name, f"is nested more than {DEEPEST} deep")
    return Read(name, value)


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        depth += 1
        following: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                following += cast("dict[str, Any]", one).values()
            elif isinstance(one, list):
                following += cast("list[Any]", one)
        level = following
    return depth


def _read_yaml(text: str, name: str) -> Read:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        _bounded(root, name)
        value = loader.construct_document(root) if root is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        raise FilesInvalid([Problem(name, f"is not YAML: {error.problem}", line)]) from None
    except yaml.YAMLError as error:
        raise _refused(name, f"is not YAML: {error}") from None
    except RecursionError:
        raise _refused(name, f"is nested more than {DEEPEST} deep") from None
    finally:
        loader.dispose()
    return Read(name, value, root)


def _bounded(root: Any, name: str) -> None:
    """Refuse what is small on disk and huge in memory: aliases of aliases, and a value inside itself."""
    sizes: dict[int, int] = {}
    inside: set[int] = set()

    def size(node: Any, depth: int) -> int:
        if depth > DEEPEST:
            raise FilesInvalid(
                [Problem(name, f"is nested more than {DEEPEST} deep", node.start_mark.line + 1)]
            )
        key = id(node)
        if key in inside:
            text = "a value contains itself through an alias: write it out"
            raise FilesInvalid([Problem(name, text, node.start_mark.line + 1)])
        if key not in sizes:
            inside.add(key)
            parts: list[Any] = []
            if isinstance(node, yaml.MappingNode):
                parts = [part for pair in node.value for part in pair]
                _no_key_twice(node, name)
            elif isinstance(node, yaml.SequenceNode):
                parts = list(node.value)
            sizes[key] = 1 + sum(size(part, depth + 1) for part in parts)
            inside.discard(key)
        if sizes[key] > MOST_NODES:
            text = (
                f"its aliases stand for more than {MOST_NODES:,} values: write out what is needed"
            )
            raise FilesInvalid([Problem(name, text, node.start_mark.line + 1)])
        return sizes[key]

    if root is not None:
        size(root, 0)


def _no_key_twice(node: Any, name: str) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                text = f"{key.value!r} is given twice: the first one would be lost"
                raise FilesInvalid([Problem(name, text, key.start_mark.line + 1)])
            seen.add(key.value)


def _refused(name: str, text: str) -> FilesInvalid:
    return FilesInvalid([Problem(name, text)])


def validated(model: type[M], read: Read) -> M:
    """The file as its model. Raises FilesInvalid with a line and a sentence for everything that is wrong."""
    value: Any = {} if read.value is None else read.value
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise FilesInvalid(
            read.problem(_path(each["loc"], value), _sentence(each)) for each in error.errors()
        ) from None


def _path(loc: Sequence[Any], value: Any) -> list[Any]:
    """pydantic's location without the names of union members, which are not in the file."""
    kept: list[Any] = []
    for step in loc:
        if isinstance(value, Mapping):
            if step in value:
                value = cast("Mapping[Any, Any]", value)[step]
                kept.append(step)
        elif (
            isinstance(value, list)
            and isinstance(step, int)
            and step < len(cast("list[Any]", value))
        ):
            value = cast("list[Any]", value)[step]
            kept.append(step)
    return kept


def _sentence(error: Mapping[str, Any]) -> str:
    where = ".".join(str(step) for step in error["loc"] if not str(step).startswith("function-"))
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is no such key; look for a spelling mistake"
    elif error["type"] == "missing":
        message = "is missing"
    return f"{where}: {message}" if where else message

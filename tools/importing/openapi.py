"""OpenAPI documents, 3.0 and 3.1: which operations there are, what each takes and gives, and which cannot be used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from pydantic import JsonValue

from tools.importing.problems import FilesInvalid, Problem
from tools.importing.schemas import NotUsable, Schemas, kind_of
from tools.importing.yaml_files import Read, read_file

Place = Literal["path", "query", "header", "cookie", "body"]
Media = Literal["json", "form", "xml", "text"]

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
#: More than any one company's support needs; a document of all of a platform is cut to what is used.
MOST_OPERATIONS = 5_000

_PLACES: tuple[Place, ...] = ("path", "query", "header", "cookie")
#: Names that pydantic keeps for itself.
_KEPT = frozenset({"schema", "json", "copy", "dict", "validate", "construct", "model_config"})


@dataclass(frozen=True)
class Source:
    """Where in the request an argument goes."""

    place: Place
    name: str
    schema: Mapping[str, Any]
    style: str = ""
    explode: bool = True
    whole: bool = False  #: It is the whole body.
    within: tuple[str, ...] = ()  #: The objects of the body that it is inside of, outermost first.


@dataclass(frozen=True)
class ApiOperation:
    """One operation of the document."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    sources: Mapping[str, Source]  #: By the argument's name.
    required: frozenset[str]
    media: Media | None = None
    root: str = ""  #: The outermost element of an XML body.
    answer: Mapping[str, Any] = field(default_factory=dict[str, Any])  #: Schema of what comes back.
    example: JsonValue = None  #: An answer as the document shows it.
    statuses: tuple[int, ...] = ()  #: Of success, as declared.
    security: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    deprecated: bool = False
    tags: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        return f"{self.method.upper()} {self.path}"

    def arguments(self) -> dict[str, Any]:
        """One object schema of everything that it takes."""
        return {
            "type": "object",
            "properties": {name: dict(source.schema) for name, source in self.sources.items()},
            "required": [name for name in self.sources if name in self.required],
            "additionalProperties": False,
        }

    @property
    def digest(self) -> str:
        """Changes whenever what it takes or says of itself does."""
        told = [self.called, self.summary, self.description, repr(self.arguments())]
        return hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Document:
    """A company's API as its document describes it."""

    name: str
    title: str
    servers: tuple[str, ...]
    security: Mapping[str, Mapping[str, Any]]
    operations: Mapping[str, ApiOperation]
    refused: Mapping[str, str]  #: What cannot be used, by its method and path: why.

    def find(self, wanted: str) -> ApiOperation | None:
        """By its id, its id in snake case, or ``POST /path``."""
        if wanted in self.operations:
            return self.operations[wanted]
        method, _, path = wanted.partition(" ")
        for one in self.operations.values():
            if snake(one.id) == snake(wanted) or (one.method, one.path) == (method.lower(), path):
                return one
        return None


def read_document(content: bytes, name: str) -> Document:
    """The document. Raises FilesInvalid where it cannot be read as a whole; single operations are refused with
    a reason instead."""
    return document_of(read_file(content, name))


def document_of(read: Read) -> Document:
    """The document that a file holds."""
    root = read.value
    if not isinstance(root, Mapping):
        raise FilesInvalid([Problem(read.name, "is no OpenAPI document: it is not an object")])
    document = cast("Mapping[str, Any]", root)
    version = str(document.get("openapi", ""))
    if not re.match(r"^3\.[012](\.|$)", version):
        found = version or ("Swagger 2" if "swagger" in document else "none")
        text = f"needs OpenAPI 3.0 or 3.1, and this is {found}: convert it first"
        raise FilesInvalid([read.problem(["openapi"], text)])
    paths = _mapping(document.get("paths"))
    if not paths:
        raise FilesInvalid([read.problem(["paths"], "there are no paths in it")])
    _not_too_many(paths, read)
    return _Reading(read, document).document()


def _not_too_many(paths: Mapping[str, Any], read: Read) -> None:
    number = sum(
        1
        for item in paths.values()
        if isinstance(item, Mapping)
        for method in METHODS
        if method in item
    )
    if number > MOST_OPERATIONS:
        text = (
            f"has {number:,} operations, and {MOST_OPERATIONS:,} are the most: keep those you need"
        )
        raise FilesInvalid([read.problem(["paths"], text)])


class _Reading:
    """One document on its way to operations."""

    def __init__(self, read: Read, document: Mapping[str, Any]) -> None:
        self._read = read
        self._root = document
        self._schemas = Schemas(document)

    def document(self) -> Document:
        operations: dict[str, ApiOperation] = {}
        refused: dict[str, str] = {}
        for method, path, item, declared in self._declared(refused):
            called = f"{method.upper()} {path}"
            try:
                one = self._operation(method, path, item, declared)
            except NotUsable as error:
                refused[called] = str(error)
                continue
            if one.id in operations:
                refused[called] = (
                    f"its operationId {one.id} is taken by {operations[one.id].called}"
                )
                continue
            operations[one.id] = one
        components = _mapping(self._root.get("components"))
        schemes = _mapping(components.get("securitySchemes"))
        info = _mapping(self._root.get("info"))
        return Document(
            name=self._read.name,
            title=str(info.get("title", "")),
            servers=_servers(self._root.get("servers")),
            security={name: _mapping(self._safe(one)) for name, one in schemes.items()},
            operations=operations,
            refused=refused,
        )

    def _safe(self, node: Any) -> Any:
        try:
            return self._schemas.follow(node)
        except NotUsable:
            return {}

    def _declared(
        self, refused: dict[str, str]
    ) -> Iterator[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]:
        for path, given in cast("Mapping[str, Any]", self._root["paths"]).items():
            if str(path).startswith("x-"):
                continue
            try:
                item = _mapping(self._schemas.follow(given))
            except NotUsable as error:
                refused[str(path)] = str(error)
                continue
            for method in METHODS:
                declared = item.get(method)
                if isinstance(declared, Mapping):
                    yield method, str(path), item, cast("Mapping[str, Any]", declared)

    def _operation(
        self, method: str, path: str, item: Mapping[str, Any], declared: Mapping[str, Any]
    ) -> ApiOperation:
        if not path.startswith("/") or "://" in path:
            raise NotUsable("its path does not begin with a slash")
        sources: dict[str, Source] = {}
        required: set[str] = set()
        for one in self._parameters(item, declared):
            name = _free(argument_name(str(one["name"])), sources)
            sources[name] = self._parameter(one)
            if one.get("required") or one["in"] == "path":
                required.add(name)
        placed = {s.name for s in sources.values() if s.place == "path"}
        if missing := sorted(set(re.findall(r"{([^}]+)}", path)) - placed):
            raise NotUsable(f"its path asks for {', '.join(missing)}, which it does not declare")
        media, root = self._body(declared.get("requestBody"), sources, required)
        statuses, answer, example = self._answer(declared.get("responses"))
        security = cast("list[Any]", declared.get("security", self._root.get("security")) or [])
        schemes = [name for one in security for name in _mapping(one)]
        return ApiOperation(
            id=str(declared.get("operationId") or snake(f"{method} {path}")),
            method=method,
            path=path,
            summary=_line(declared.get("summary")),
            description=_line(declared.get("description")),
            sources=sources,
            required=frozenset(required),
            media=media,
            root=root,
            answer=answer,
            example=example,
            statuses=statuses,
            security=tuple(dict.fromkeys(map(str, schemes))),
            servers=_servers(declared.get("servers") or item.get("servers")),
            deprecated=bool(declared.get("deprecated")),
            tags=tuple(str(tag) for tag in declared.get("tags") or ()),
        )

    def _parameters(
        self, item: Mapping[str, Any], declared: Mapping[str, Any]
    ) -> list[Mapping[str, Any]]:
        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for given in (*(item.get("parameters") or ()), *(declared.get("parameters") or ())):
            one = _mapping(self._schemas.follow(given))
            if "name" not in one or one.get("in") not in _PLACES:
                raise NotUsable("one of its parameters has no name, or is nowhere we know")
            if one["in"] == "header" and str(one["name"]).lower() in _OURS:
                continue
            found[(str(one["name"]), str(one["in"]))] = one
        return list(found.values())

    def _parameter(self, one: Mapping[str, Any]) -> Source:
        content = _mapping(one.get("content"))
        declared: Any = one.get("schema")
        if content:
            declared = _mapping(next(iter(content.values()))).get("schema")
        schema = self._schemas.inline(declared or {"type": "string"}, "request")
        if "description" not in schema and one.get("description"):
            schema["description"] = _line(one["description"])
        if "example" in one:
            schema.setdefault("examples", [one["example"]])
        style = str(one.get("style") or ("form" if one["in"] in ("query", "cookie") else "simple"))
        return Source(
            place=one["in"],
            name=str(one["name"]),
            schema=schema,
            style="json" if content else style,
            explode=bool(one.get("explode", style == "form")),
        )

    def _body(
        self, given: Any, sources: dict[str, Source], required: set[str]
    ) -> tuple[Media | None, str]:
        body = _mapping(self._schemas.follow(given))
        content = _mapping(body.get("content"))
        if not content:
            return None, ""
        media, declared = _medium(content)
        schema = self._schemas.inline(_mapping(declared).get("schema") or {}, "request")
        if schema.get("properties") == {} and not schema.get("additionalProperties"):
            return None, ""  # Some documents give every look-up an empty form.
        root = str(_mapping(schema.get("xml")).get("name") or schema.get("x-name") or "root")
        needed = bool(body.get("required", False))
        properties = _mapping(schema.get("properties"))
        if kind_of(schema) == "object" and properties and not _several(schema):
            # A body that may be left out is left out as a whole; one that is begun has to be whole.
            _take_apart(schema, (), True, sources, required)
        else:
            argument = _free("body", sources)
            sources[argument] = Source("body", "", schema, whole=True)
            if needed:
                required.add(argument)
        return media, root

    def _answer(self, given: Any) -> tuple[tuple[int, ...], Mapping[str, Any], JsonValue]:
        responses = _mapping(given)
        by_status = {str(code): one for code, one in responses.items()}
        good = sorted(int(code) for code in by_status if re.fullmatch(r"2\d\d", code))
        chosen: Any = by_status.get(str(good[0])) if good else by_status.get("2XX")
        try:
            response = _mapping(self._schemas.follow(chosen))
            content = _mapping(response.get("content"))
            if not content:
                return tuple(good), {}, None
            _, declared = _medium(content)
            shown = _mapping(declared)
            schema = self._schemas.inline(shown.get("schema") or {}, "response")
        except NotUsable:
            return tuple(good), {}, None  # What cannot be described may still be read.
        example = shown.get("example")
        if example is None and (shown_all := _mapping(shown.get("examples"))):
            example = _mapping(self._safe(next(iter(shown_all.values())))).get("value")
        return tuple(good), schema, example


#: So deep are objects of a body taken apart into arguments of their own.
_DEEPEST = 3


def _take_apart(
    schema: Mapping[str, Any],
    within: tuple[str, ...],
    needed: bool,
    sources: dict[str, Source],
    required: set[str],
) -> None:
    """The properties of a body as arguments; those of an object inside it by its name and theirs."""
    here = cast("list[str]", schema.get("required") or [])
    for name, one in _mapping(schema.get("properties")).items():
        inner = needed and name in here
        whole = kind_of(one) == "object" and one.get("properties") and not _several(one)
        if whole and len(within) < _DEEPEST:
            _take_apart(one, (*within, name), inner, sources, required)
            continue
        argument = _free(argument_name("_".join((*within, name))), sources)
        sources[argument] = Source("body", name, one, within=within)
        if inner:
            required.add(argument)


#: Headers that the client sets, whatever a document says.
_OURS = frozenset({"accept", "content-type", "authorization", "host", "content-length"})


def _medium(content: Mapping[str, Any]) -> tuple[Media, Any]:
    """The media type we speak best of those offered. Raises NotUsable where we speak none."""
    for media, pattern in (
        ("json", r"^application/(?:[\w.+-]+\+)?json|^\*/\*$|^application/\*$"),
        ("form", r"^application/x-www-form-urlencoded"),
        ("xml", r"^(?:application|text)/(?:[\w.+-]+\+)?xml"),
        ("text", r"^text/plain"),
    ):
        for name, declared in content.items():
            if re.match(pattern, str(name)):
                return cast("Media", media), declared
    raise NotUsable(f"it takes or gives {', '.join(map(str, content))}, which is not spoken here")


def _several(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("oneOf") or schema.get("anyOf"))


def _mapping(node: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", node) if isinstance(node, Mapping) else {}


def _line(text: Any) -> str:
    return " ".join(str(text).split()) if text else ""


def _servers(given: Any) -> tuple[str, ...]:
    """The addresses of servers, their variables filled with their defaults."""
    found: list[str] = []
    for one in cast("list[Any]", given) if isinstance(given, list) else []:
        url = str(_mapping(one).get("url", ""))
        for name, variable in _mapping(_mapping(one).get("variables")).items():
            url = url.replace(f"{{{name}}}", str(_mapping(variable).get("default", "")))
        if url:
            found.append(url.rstrip("/"))
    return tuple(found)


def snake(name: str) -> str:
    """``extendRental``, ``extend-rental`` and ``POST /extend/rental`` in one spelling."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", apart.lower()).strip("_")


def argument_name(name: str) -> str:
    """A parameter's name as an argument's: ``filter[status]`` is ``filter_status``."""
    made = re.sub(r"\W+", "_", name).strip("_") or "value"
    if made[0].isdigit() or made in _KEPT or made.startswith("model_"):
        made = f"the_{made}"
    return made


def _free(name: str, taken: Mapping[str, object]) -> str:
    """The name, or the next one like it that is not taken: a path and a body may both have an ``id``."""
    made, number = name, 2
    while made in taken:
        made, number = f"{name}_{number}", number + 1
    return made

"""A company's HTTP API: requests made of its OpenAPI document, answers bounded in time and size."""

# The XML library carries no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import quote, urlsplit
from xml.parsers.expat import ExpatError

import httpx
import xmltodict
from pydantic import JsonValue

from app.outside.guard import Guard
from tools.importing.calls import Call, Reply
from tools.importing.declared import Api, Auth
from tools.importing.expressions import Expressions
from tools.importing.openapi import ApiOperation, Document, Source, snake
from tools.importing.schemas import kind_of
from tools.ports import BackendUnavailable, NotSent, Uncertain

#: What can only happen before the first byte of a request has left.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: Answers of a server, or of what stands before it, that is not itself at the moment.
_UNWELL = frozenset({429, 500, 502, 503, 504})
_MOST_REDIRECTS = 3


class TooLarge(BackendUnavailable):
    """The answer is larger than the domain allows."""


class HttpSystem:
    """One API, as operations ask it."""

    def __init__(
        self,
        name: str,
        document: Document,
        declared: Api,
        expressions: Expressions,
        *,
        guard: Guard | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        base = declared.base_url or next(iter(document.servers), "")
        if urlsplit(base).scheme not in ("http", "https"):
            raise ValueError(f"{name}: give `base_url`: {base or 'the document'} names no server")
        self._name = name
        self._document = document
        self._declared = declared
        self._expressions = expressions
        self._guard = guard or Guard(name)
        self._base = base.rstrip("/") + "/"
        self._transport = transport
        self._origin = _origin(httpx.URL(self._base))
        self._opening = threading.Lock()
        self._opened: httpx.Client | None = None

    def close(self) -> None:
        """Connections go; the next call opens new ones."""
        with self._opening:
            if self._opened is not None:
                self._opened.close()
            self._opened = None

    @property
    def _client(self) -> httpx.Client:
        with self._opening:
            if self._opened is None:
                declared = self._declared
                self._opened = httpx.Client(
                    base_url=self._base,
                    timeout=httpx.Timeout(
                        declared.timeout, connect=min(3.0, declared.timeout), pool=3
                    ),
                    headers={"user-agent": "signalbox", **declared.headers},
                    auth=_auth(declared.auth),
                    follow_redirects=False,
                    transport=self._transport,
                )
            return self._opened

    @property
    def name(self) -> str:
        return self._name

    @property
    def problem(self) -> str | None:
        """Why it is not asked just now; None where it is."""
        return self._guard.problem

    def argument_schema(self, operation: str) -> dict[str, Any]:
        return self._found(operation).arguments()

    def ready(self) -> None:
        self._guard.ready()

    def read(self, call: Call) -> Reply:
        operation = self._found(call.operation)

        def ask() -> Reply:
            try:
                reply = self._asked(self._request(operation, call), follow=True)
            except httpx.HTTPError as error:
                raise BackendUnavailable(f"{self._name}: {type(error).__name__}") from error
            if reply.status in _UNWELL:
                raise BackendUnavailable(f"{self._name} answered {reply.status}")
            return reply

        return self._guard.read(ask)

    def write(self, call: Call) -> Reply:
        operation = self._found(call.operation)
        request = self._request(operation, call)

        def send() -> Reply:
            try:
                return self._asked(request, follow=False)
            except _NOT_SENT as error:
                raise NotSent(f"{self._name}: {type(error).__name__}") from error
            except (httpx.HTTPError, BackendUnavailable) as error:
                raise Uncertain(f"{self._name}: {type(error).__name__}") from error

        return self._guard.write(send)

    # --- one request ----------------------------------------------------------------------------

    def _found(self, operation: str) -> ApiOperation:
        found = self._document.find(operation)
        if found is not None:
            return found
        why = self._document.refused.get(operation)
        near = [o.id for o in self._document.operations.values() if snake(operation) in snake(o.id)]
        hint = f"cannot be used: {why}" if why else "is not in the document"
        raise KeyError(
            f"{operation} {hint}{'; did you mean ' + near[0] + '?' if near and not why else ''}"
        )

    def _request(self, operation: ApiOperation, call: Call) -> httpx.Request:
        path = operation.path
        query: list[tuple[str, str]] = []
        headers: dict[str, str] = {}
        cookies: dict[str, str] = {}
        body: dict[str, Any] = {}
        whole: Any = None
        for argument, value in call.values.items():
            source = operation.sources.get(argument)
            if source is None:
                raise NotSent(f"{operation.id} has no argument {argument}")
            match source.place:
                case "path":
                    path = path.replace(f"{{{source.name}}}", _segment(value))
                case "query":
                    query += _query(source, value)
                case "header":
                    headers[source.name] = _text(value)
                case "cookie":
                    cookies[source.name] = _text(value)
                case "body":
                    if source.whole:
                        whole = value
                    else:
                        _put(body, source, value)
        if "{" in path:
            raise NotSent(f"{operation.id} lacks a part of its path")
        for extra in call.extra:
            if extra.place == "header":
                headers[extra.name] = extra.value
            elif extra.place == "query":
                query.append((extra.name, extra.value))
            elif extra.place == "body":
                body[extra.name] = extra.value
            else:
                source = operation.sources[extra.name]
                if source.place == "body":
                    _put(body, source, extra.value)
                elif source.place == "header":
                    headers[source.name] = extra.value
                else:
                    query.append((source.name, extra.value))
        if (said := self._declared.as_customer) is not None and call.customer:
            headers[said.header] = self._expressions.text(said.value, {"customer": call.customer})
        content, kind = _body(operation, body, whole)
        if kind:
            headers["content-type"] = kind
        headers["accept"] = "application/json, */*;q=0.5"
        try:
            return self._client.build_request(
                operation.method.upper(),
                path.lstrip("/"),
                params=cast("Any", query) or None,
                headers=headers,
                cookies=cookies or None,
                content=content,
            )
        except (ValueError, TypeError, httpx.InvalidURL) as error:
            raise NotSent(f"{operation.id}: {error}") from error

    def _asked(self, request: httpx.Request, *, follow: bool) -> Reply:
        for _ in range(_MOST_REDIRECTS):
            response = self._client.send(request, stream=True)
            try:
                if not response.has_redirect_location:
                    return Reply(status=response.status_code, content=self._content(response))
                following = response.next_request
            finally:
                response.close()
            if not follow or following is None:
                raise Uncertain(f"{self._name} points elsewhere")
            if _origin(following.url) != self._origin or following.method != request.method:
                # What belongs to one host is not told to another.
                raise BackendUnavailable(f"{self._name} points to {following.url.host}")
            request = following
        raise BackendUnavailable(f"{self._name} points in circles")

    def _content(self, response: httpx.Response) -> Any:
        read, parts = 0, list[bytes]()
        for part in response.iter_bytes():
            read += len(part)
            if read > self._declared.largest:
                raise TooLarge(f"{self._name} answered more than {self._declared.largest:,} bytes")
            parts.append(part)
        content = b"".join(parts)
        return _parsed(content, response.headers.get("content-type", ""))


def _auth(declared: Auth | None) -> Callable[[httpx.Request], httpx.Request] | None:
    if declared is None:
        return None
    if declared.basic is not None:
        user, password = declared.basic.user, declared.basic.password.get_secret_value()
        basic = httpx.BasicAuth(user, password)
        return lambda request: next(basic.auth_flow(request))

    def sign(request: httpx.Request) -> httpx.Request:
        if declared.bearer is not None:
            request.headers["authorization"] = f"Bearer {declared.bearer.get_secret_value()}"
        elif declared.key is not None:
            value = declared.key.value.get_secret_value()
            if hasattr(declared.key, "header"):
                request.headers[getattr(declared.key, "header")] = value  # noqa: B009
            else:
                name = str(getattr(declared.key, "query"))  # noqa: B009
                request.url = request.url.copy_merge_params({name: value})
        return request

    return sign


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _text(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ",".join(_text(one) for one in value)
    text = json.dumps(value) if isinstance(value, dict) else "" if value is None else str(value)
    if any(char in text for char in "\r\n\0"):
        raise NotSent("a value holds a line break where none may be")
    return text


def _segment(value: JsonValue) -> str:
    text = _text(value)
    if text in ("", ".", ".."):
        raise NotSent("a value in a path may not be empty or lead elsewhere")
    return quote(text, safe="")


def _query(source: Source, value: JsonValue) -> list[tuple[str, str]]:
    if source.style == "json":
        return [(source.name, json.dumps(value))]
    if isinstance(value, list):
        if source.explode:
            return [(source.name, _text(one)) for one in value]
        glue = {"spaceDelimited": " ", "pipeDelimited": "|"}.get(source.style, ",")
        return [(source.name, glue.join(_text(one) for one in value))]
    if isinstance(value, dict):
        if source.style == "deepObject":
            return [(f"{source.name}[{key}]", _text(one)) for key, one in value.items()]
        if source.explode:
            return [(key, _text(one)) for key, one in value.items()]
        return [(source.name, ",".join(f"{key},{_text(one)}" for key, one in value.items()))]
    return [(source.name, _text(value))]


def _put(body: dict[str, Any], source: Source, value: JsonValue) -> None:
    for name in source.within:
        body = body.setdefault(name, {})
    body[source.name] = value


def _body(operation: ApiOperation, body: Mapping[str, Any], whole: Any) -> tuple[bytes | None, str]:
    if operation.media is None and not body:
        return None, ""
    value: Any = whole if whole is not None else dict(body)
    if (
        operation.media is not None
        and value == {}
        and not any(
            s.place == "body" and name in operation.required
            for name, s in operation.sources.items()
        )
    ):
        return None, ""
    match operation.media:
        case "form":
            from urllib.parse import urlencode

            return urlencode(_flat(value)).encode(), "application/x-www-form-urlencoded"
        case "xml":
            text = str(xmltodict.unparse({operation.root: _xml(value)}))
            return text.encode(), "application/xml"
        case "text":
            return str(value).encode(), "text/plain; charset=utf-8"
        case _:
            return json.dumps(value, ensure_ascii=False).encode(), "application/json"


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as forms write them: ``address[city]``, ``items[0][sku]``."""
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        pairs = [(f"{prefix}[{key}]" if prefix else key, one) for key, one in given.items()]
    elif isinstance(value, list):
        pairs = [(f"{prefix}[{n}]", one) for n, one in enumerate(cast("list[Any]", value))]
    else:
        return [(prefix, _text(value))]
    return [flat for name, one in pairs for flat in _flat(one, name)]


def _xml(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _xml(one) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_xml(one) for one in cast("list[Any]", value)]
    return _text(value)


def _parsed(content: bytes, kind: str) -> Any:
    """An answer as JSON values; what cannot be read says nothing."""
    if not content.strip():
        return None
    if "xml" in kind:
        try:
            parsed = dict(xmltodict.parse(content, disable_entities=True) or {})
        except (ExpatError, ValueError) as error:
            raise BackendUnavailable("the answer is not XML") from error
        return next(iter(parsed.values()), None) if len(parsed) == 1 else parsed
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        if "json" in kind:
            raise BackendUnavailable("the answer is not JSON") from error
        return content.decode("utf-8", "replace")


__all__ = ["HttpSystem", "TooLarge", "kind_of"]

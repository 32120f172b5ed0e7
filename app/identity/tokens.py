"""Tokens of the company's own login: JSON Web Tokens with pinned algorithms, or a user's id with its HMAC."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import jwt
from pydantic import JsonValue

from tools.importing.declared import Hmac, Identity, Jwt
from tools.ports import BackendUnavailable
from tools.values import Clock, Customer, Record

log = logging.getLogger(__name__)

MOST_CHARACTERS = 8_192
#: Keys are kept so long, and asked for again no sooner, whatever `kid` a stranger makes up.
KEYS_KEPT, KEYS_ASKED = 3_600.0, 30.0
_MOST_BYTES = 256 * 1024


class NotKnown(Exception):
    """This is not a valid token of the login. Log in again."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class Expired(NotKnown):
    """This session has expired. Log in again."""


class Known(Record):
    """What a token that holds says of the customer."""

    id: str
    name: str = ""
    email: str = ""
    tenant: str | None = None
    facts: dict[str, JsonValue] = {}

    def of(self, customer: Customer) -> Customer:
        """The customer with what the token adds; what the business itself says comes first."""
        return customer.model_copy(
            update={
                "name": customer.name or self.name or self.id,
                "email": customer.email or self.email,
                "tenant": self.tenant or customer.tenant,
                "facts": {**self.facts, **customer.facts},
            }
        )


class Reader(Protocol):
    """Reads one kind of token; synchronous, for a thread."""

    def read(self, token: str) -> Known:
        """Raises NotKnown, or BackendUnavailable where the login's keys cannot be had."""
        ...


class Keyring(Protocol):
    """Public keys by their ids."""

    def key(self, kid: str | None) -> jwt.PyJWK:
        """The key with this id, or the only one. Raises NotKnown or BackendUnavailable."""
        ...


def at_https(url: str, what: str) -> str:
    """The address where it is one to trust keys from: https, or this machine. Raises ValueError."""
    parts = urlsplit(url)
    loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or (
        parts.scheme != "https" and not (parts.scheme == "http" and loopback)
    ):
        raise ValueError(f"{what} by https, and {url} is not")
    return url


def fetched(url: str, transport: httpx.BaseTransport | None = None) -> bytes:
    """A small document of the login's. No redirect is followed. Raises httpx.HTTPError or ValueError."""
    with (
        httpx.Client(timeout=5, follow_redirects=False, transport=transport) as client,
        client.stream("GET", url) as answer,
    ):
        answer.raise_for_status()
        content = b""
        for part in answer.iter_bytes():
            content += part
            if len(content) > _MOST_BYTES:
                raise ValueError("it is too large")
    return content


class KeySet:
    """The login's public keys by their ids, fetched when they are old or one is new."""

    def __init__(
        self,
        url: str,
        *,
        seconds: Callable[[], float] = time.monotonic,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._url = at_https(url, "the login's keys come")
        self._seconds = seconds
        self._transport = transport
        self._fetching = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched: float | None = None
        self._asked: float | None = None

    def key(self, kid: str | None) -> jwt.PyJWK:
        """The key with this id, or the only one. Raises NotKnown or BackendUnavailable."""
        with self._fetching:
            now = self._seconds()
            old = self._fetched is None or now - self._fetched > KEYS_KEPT
            new = kid is not None and kid not in self._keys
            if (old or new) and (self._asked is None or now - self._asked > KEYS_ASKED):
                self._asked = now
                self._fetch(now)
            if not self._keys:
                raise BackendUnavailable("the login's keys cannot be had")
            if kid is None and len(self._keys) == 1:
                return next(iter(self._keys.values()))
            if kid is None or kid not in self._keys:
                raise NotKnown
            return self._keys[kid]

    def _fetch(self, now: float) -> None:
        try:
            found = jwt.PyJWKSet.from_json(fetched(self._url, self._transport).decode())
        except (httpx.HTTPError, ValueError, jwt.PyJWTError) as error:
            # The keys that are known stay good; a rotation is seen with the next try.
            log.warning("the login's keys at %s cannot be read: %s", self._url, error)
            return
        self._keys = {str(key.key_id or ""): key for key in found.keys if not _symmetric(key)}
        self._fetched = now


def _symmetric(key: jwt.PyJWK) -> bool:
    return key.key_type == "oct"


class JwtReader:
    """JSON Web Tokens: signature, algorithm, issuer, audience, times and lifetime."""

    def __init__(
        self, declared: Jwt, *, clock: Clock | None = None, keys: Keyring | None = None
    ) -> None:
        self._declared = declared
        self._clock = clock or Clock()
        self._keys: Keyring | None = keys
        if keys is None and declared.jwks is not None:
            self._keys = KeySet(declared.jwks)

    def read(self, token: str) -> Known:
        return self._known(self.claims(token))

    def claims(self, token: str) -> dict[str, Any]:
        """What a token that holds says. Raises NotKnown, or BackendUnavailable where its keys cannot be had."""
        if len(token) > MOST_CHARACTERS:
            raise NotKnown
        declared = self._declared
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            # What may sign is ours to say: never `none`, never what the token itself would like.
            if algorithm not in declared.accepted:
                raise NotKnown
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(header.get("kid")),
                algorithms=[algorithm],
                audience=declared.audience,
                issuer=declared.issuer,
                leeway=declared.leeway,
                options={
                    "require": ["exp", "iss", "aud", declared.id],
                    # By our own clock, below.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError as error:
            log.info("a token of %s is not taken: %s", declared.issuer, error)
            raise NotKnown from error
        self._in_time(claims)
        return claims

    def _key(self, kid: Any) -> Any:
        if self._keys is not None:
            return self._keys.key(None if kid is None else str(kid))
        assert self._declared.secret is not None
        return self._declared.secret.get_secret_value()

    def _in_time(self, claims: dict[str, Any]) -> None:
        now, leeway = self._clock.now().timestamp(), self._declared.leeway
        ends, begins = _moment(claims, "exp"), _moment(claims, "iat")
        if ends is None or ends + leeway < now:
            raise Expired
        for name in ("nbf", "iat"):
            starts = _moment(claims, name)
            if starts is not None and starts - leeway > now:
                raise NotKnown
        if (
            ends - (begins if begins is not None else now)
            > self._declared.longest_hours * 3600 + leeway
        ):
            raise NotKnown

    def _known(self, claims: dict[str, Any]) -> Known:
        declared = self._declared
        identity = claims[declared.id]
        if (
            isinstance(identity, bool)
            or not isinstance(identity, str | int)
            or not str(identity).strip()
        ):
            raise NotKnown
        tenant = None
        if declared.tenant is not None:
            tenant = claims.get(declared.tenant)
            if not isinstance(tenant, str) or not tenant:
                raise NotKnown
        return Known(
            id=_storable(str(identity)),
            name=_text(claims, declared.name),
            email=_text(claims, declared.email),
            tenant=tenant,
            facts={
                fact: claims[claim] for fact, claim in declared.facts.items() if claim in claims
            },
        )


class HmacReader:
    """``USER_ID:HEX``: the id that the company's page knows, with its HMAC-SHA256."""

    def __init__(self, declared: Hmac) -> None:
        self._secret = declared.secret.get_secret_value().encode()

    def read(self, token: str) -> Known:
        identity, _, given = token.rpartition(":")
        if not identity or len(token) > MOST_CHARACTERS:
            raise NotKnown
        right = hmac.new(self._secret, identity.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right.encode(), given.strip().lower().encode()):
            raise NotKnown
        return Known(id=_storable(identity))


def reader_of(identity: Identity | None, clock: Clock | None = None) -> Reader | None:
    """What reads the tokens of the domain's login; None where it has none."""
    if identity is None:
        return None
    readers: list[Reader] = []
    if identity.jwt is not None:
        readers.append(JwtReader(identity.jwt, clock=clock))
    if identity.hmac is not None:
        readers.append(HmacReader(identity.hmac))
    return _Any(readers) if readers else None


class _Any:
    """A login that gives both kinds of token."""

    def __init__(self, readers: list[Reader]) -> None:
        self._readers = readers

    def read(self, token: str) -> Known:
        failure: NotKnown = NotKnown()
        for reader in self._readers:
            try:
                return reader.read(token)
            except NotKnown as error:
                failure = error if isinstance(error, Expired) else failure
        raise failure


def _moment(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotKnown
    if not math.isfinite(value):
        raise NotKnown
    return float(value)


def _text(claims: dict[str, Any], claim: str | None) -> str:
    value = claims.get(claim) if claim is not None else None
    return " ".join(value.split())[:200] if isinstance(value, str) else ""


def _storable(identity: str) -> str:
    identity = identity.strip()
    if not identity or len(identity) > 64 or not identity.isprintable():
        raise NotKnown
    return identity


__all__ = [
    "Expired",
    "HmacReader",
    "JwtReader",
    "KeySet",
    "Keyring",
    "Known",
    "NotKnown",
    "Reader",
    "reader_of",
]

"""Operators of the company's own login: OpenID Connect, with the issuer's keys found by its discovery document."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx
import jwt

from app.identity.tokens import (
    KEYS_ASKED,
    KEYS_KEPT,
    JwtReader,
    KeySet,
    NotKnown,
    at_https,
    fetched,
)
from tools.importing.declared import Jwt
from tools.ports import BackendUnavailable
from tools.values import Clock, Record, ReviewerRole

log = logging.getLogger(__name__)

DISCOVERY = "/.well-known/openid-configuration"


class NoRole(NotKnown):
    """Your account has no role at this desk. Ask whoever runs it for one."""


@dataclass(frozen=True)
class OperatorClaims:
    """What of a token says who somebody is and what they may do."""

    name: str = "sub"
    role: str = "roles"  #: A path of claims: ``realm_access.roles``. Its value is a text or a list.
    admin: str = "signalbox-admin"
    agent: str = "signalbox-agent"
    tenant: str | None = None  #: Without one, an operator sees every tenant.


class Recognised(Record):
    """The operator whom a token names."""

    name: str
    role: ReviewerRole
    tenant: str | None = None


class Discovered:
    """The issuer's keys, at the address that its discovery document gives; looked for anew after an hour."""

    def __init__(
        self,
        issuer: str,
        *,
        seconds: Callable[[], float] = time.monotonic,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._issuer = at_https(issuer, "the operators' issuer is reached")
        self._seconds = seconds
        self._transport = transport
        self._looking = threading.Lock()
        self._at: str | None = None
        self._keys: KeySet | None = None
        self._told: Mapping[str, Any] = {}
        self._found: float | None = None
        self._asked: float | None = None

    def key(self, kid: str | None) -> jwt.PyJWK:
        """The key with this id. Raises NotKnown, or BackendUnavailable while the issuer cannot be reached."""
        return self._known().key(kid)

    def endpoint(self, name: str) -> str:
        """An address that the discovery document gives. Raises BackendUnavailable while the issuer cannot be
        reached, or gives none that is safe to be sent to."""
        self._known()
        try:
            return at_https(str(self._told.get(name, "")), f"the issuer's {name} is")
        except ValueError as error:
            raise BackendUnavailable(f"the operators' login has no {name}") from error

    def _known(self) -> KeySet:
        with self._looking:
            now = self._seconds()
            old = self._found is None or now - self._found > KEYS_KEPT
            if old and (self._asked is None or now - self._asked > KEYS_ASKED):
                self._asked = now
                self._look(now)
            if self._keys is None:
                raise BackendUnavailable("the operators' login cannot be reached")
            return self._keys

    def _look(self, now: float) -> None:
        address = self._issuer.rstrip("/") + DISCOVERY
        try:
            told: Any = json.loads(fetched(address, self._transport))
            at = _keys_address(told, self._issuer)
            self._told = told
            # The same address keeps its keys; another has keys of its own.
            if at != self._at:
                self._keys = KeySet(at, seconds=self._seconds, transport=self._transport)
                self._at = at
        except (httpx.HTTPError, ValueError) as error:
            log.warning("the operators' login at %s cannot be used: %s", address, error)
            return
        self._found = now


def _keys_address(told: Any, issuer: str) -> str:
    """Where a discovery document says the keys are. Raises ValueError where it is another issuer's."""
    if not isinstance(told, Mapping):
        raise ValueError("it is no object")
    document = cast("Mapping[str, Any]", told)
    if document.get("issuer") != issuer:
        raise ValueError(f"its issuer is {document.get('issuer')!r}, not {issuer!r}")
    at = document.get("jwks_uri")
    if not isinstance(at, str):
        raise ValueError("it names no jwks_uri")
    return at_https(at, "the issuer's keys come")


class OperatorLogin:
    """Reads operators' bearer tokens: signature, pinned algorithm, issuer, audience, times; then name and role."""

    def __init__(
        self, declared: Jwt, claims: OperatorClaims, keys: Discovered, *, clock: Clock | None = None
    ) -> None:
        self._reader = JwtReader(declared, clock=clock, keys=keys)
        self._claims = claims

    def read(self, token: str) -> Recognised:
        """Synchronous, for a thread. Raises NotKnown, NoRole, or BackendUnavailable where keys cannot be had."""
        told = self._reader.claims(token)
        return Recognised(
            name=_name(told.get(self._claims.name)),
            role=self._role(told),
            tenant=self._tenant(told),
        )

    def _role(self, told: Mapping[str, Any]) -> ReviewerRole:
        found: Any = told
        for part in self._claims.role.split("."):
            found = (
                cast("Mapping[str, Any]", found).get(part) if isinstance(found, Mapping) else None
            )
        # A text is one role: an admin is never found inside of another word.
        roles = [found] if isinstance(found, str) else found
        if not isinstance(roles, list):
            raise NoRole
        if self._claims.admin in roles:
            return "admin"
        if self._claims.agent in roles:
            return "agent"
        raise NoRole

    def _tenant(self, told: Mapping[str, Any]) -> str | None:
        if self._claims.tenant is None:
            return None
        tenant = told.get(self._claims.tenant)
        if not isinstance(tenant, str) or not tenant.strip():
            raise NoRole("Your account belongs to no tenant of this desk.")
        return tenant.strip()


def _name(given: Any) -> str:
    name = " ".join(given.split()) if isinstance(given, str) else ""
    if not name or len(name) > 120 or not name.isprintable():
        raise NotKnown
    return name


def is_token(given: str) -> bool:
    """Whether it has the form of a signed token; our own keys have no dots."""
    return given.count(".") == 2 and given.startswith("ey")


__all__ = ["Discovered", "NoRole", "OperatorClaims", "OperatorLogin", "Recognised", "is_token"]

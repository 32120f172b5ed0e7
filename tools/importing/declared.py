"""What ``domain.yaml`` says of the outside: the systems that are asked, the company's own login, its customers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SecretStr, model_validator

from tools.importing.problems import Problem
from tools.importing.yaml_files import Read


class Part(BaseModel):
    """A part of the file: a key that is not known is a spelling mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Basic(Part):
    user: str
    password: SecretStr


class Header(Part):
    header: str
    value: SecretStr


class Query(Part):
    query: str
    value: SecretStr


class Auth(Part):
    """How we say who we are to a system: one of these."""

    bearer: SecretStr | None = None
    basic: Basic | None = None
    key: Header | Query | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Auth:
        if sum(one is not None for one in (self.bearer, self.basic, self.key)) != 1:
            raise ValueError("say exactly one of bearer, basic, key")
        return self


class AsCustomer(Part):
    """A header by which the system learns for whom it is asked."""

    header: str
    value: str = "{{ customer.id }}"


class Api(Part):
    """A company's HTTP API."""

    openapi: str  #: The document, a file of the domain's folder.
    base_url: str | None = None  #: By default the document's first server.
    auth: Auth | None = None
    as_customer: AsCustomer | None = None
    headers: dict[str, str] = {}
    timeout: float = Field(default=5, gt=0, le=20)  #: Seconds for one answer.
    largest: int = Field(default=1_000_000, ge=1_000, le=20_000_000)  #: Bytes of one answer.


class Mcp(Part):
    """An MCP server: a command that is started, or an address."""

    command: tuple[str, ...] = ()
    environment: dict[str, SecretStr] = {}
    url: str | None = None
    auth: Auth | None = None
    headers: dict[str, str] = {}
    as_customer: str | None = None  #: The argument by which tools learn for whom they are asked.
    timeout: float = Field(default=10, gt=0, le=20)
    largest: int = Field(default=1_000_000, ge=1_000, le=20_000_000)

    @model_validator(mode="after")
    def _one_way(self) -> Mcp:
        if bool(self.command) == (self.url is not None):
            raise ValueError("say either `command` (stdio) or `url` (streamable HTTP)")
        return self


class Jwt(Part):
    """Signed tokens of the company's own login."""

    jwks: str | None = None  #: Where its public keys are.
    secret: SecretStr | None = None  #: Or the secret that both sides share.
    algorithms: tuple[
        Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256", "HS512"],
        ...,
    ] = ()
    issuer: str
    audience: str
    leeway: int = Field(default=30, ge=0, le=300)
    longest_hours: float = Field(default=24, gt=0)  #: A token that lives longer is not accepted.
    id: str = "sub"
    name: str | None = "name"
    email: str | None = "email"
    tenant: str | None = None  #: The claim with the tenant, where one login serves several.
    facts: dict[str, str] = {}  #: Fact -> claim.

    @model_validator(mode="after")
    def _one_kind_of_key(self) -> Jwt:
        if (self.jwks is None) == (self.secret is None):
            raise ValueError("say either `jwks` or `secret`")
        shared = [a for a in self.algorithms if a.startswith("HS")]
        if self.jwks is not None and shared:
            # A public key that is taken for a shared secret lets everybody sign.
            raise ValueError(f"{shared[0]} needs a shared secret, and there is none")
        if self.secret is not None and len(shared) != len(self.algorithms):
            raise ValueError("a shared secret signs with HS256 or HS512 and nothing else")
        if self.secret is not None and len(self.secret.get_secret_value()) < 32:
            raise ValueError("the secret needs at least 32 characters")
        return self

    @property
    def accepted(self) -> tuple[str, ...]:
        if self.algorithms:
            return self.algorithms
        return ("HS256",) if self.secret is not None else ("RS256", "ES256")


class Hmac(Part):
    """The user's id with its HMAC-SHA256, as chat widgets are given it."""

    secret: SecretStr = Field(min_length=32)


class Identity(Part):
    """How a request says which customer it is for."""

    jwt: Jwt | None = None
    hmac: Hmac | None = None


class CustomerSource(Part):
    """The operation that tells about a customer, and what of it counts."""

    operation: str
    system: str | None = None
    arguments: dict[str, JsonValue] = {}
    at: str | None = None
    name: str = "name"
    email: str | None = "email"
    phone: str | None = None
    since: str | None = None
    facts: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], str] = {}


class DemoCustomer(Part):
    """Somebody whom a visitor may be, to try things out."""

    id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    email: str = ""
    since: date | None = None
    facts: dict[str, JsonValue] = {}


class Outside(Part):
    """The parts of ``domain.yaml`` that concern other systems and people."""

    systems: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], Api | Mcp] = {}
    identity: Identity | None = None
    customer: CustomerSource | None = None
    demo: tuple[DemoCustomer, ...] = ()


_PLACE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def with_environment(read: Read, environment: Mapping[str, str]) -> tuple[Read, list[Problem]]:
    """The file with ``${NAME}`` and ``${NAME:-default}`` filled in, and what is not set."""
    problems: list[Problem] = []

    def filled(value: Any, path: tuple[Any, ...]) -> Any:
        if isinstance(value, dict):
            given = cast("dict[str, Any]", value)
            return {k: filled(v, (*path, k)) for k, v in given.items()}
        if isinstance(value, list):
            return [filled(v, (*path, n)) for n, v in enumerate(cast("list[Any]", value))]
        if not isinstance(value, str):
            return value

        def one(match: re.Match[str]) -> str:
            found = environment.get(match[1]) or cast("str | None", match[2])
            if found is None:
                text = f"the environment does not set {match[1]}: set it, or write ${{{match[1]}:-…}} with a default"
                problems.append(read.problem(list(path), text))
                return "unset"
            return found

        return _PLACE.sub(one, value)

    return read.with_value(filled(read.value, ())), problems

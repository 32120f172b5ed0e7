"""Every setting, read once: the only module that looks at the environment or at ``.env``."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, JsonValue, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.models.metering import PACKAGED_PRICES, read_prices
from app.models.profiles import LlmServer, RoleProfile, embedded_profiles
from tools.values import ReviewerRole, person_named

#: Roles of the large model; the others belong to the small one.
LARGE_ROLES = frozenset({"planner", "synthesizer", "judge"})

#: Read by the tests, the evals and the image, not by the settings.
TESTING = frozenset(
    {"SIGNALBOX_REQUIRE", "SIGNALBOX_TEST_POSTGRES", "SIGNALBOX_TEST_REDIS", "SIGNALBOX_DATA"}
)

#: The embedding model that needs nothing installed; every other name is one of sentence-transformers.
EMBEDDED_MODEL = "all-MiniLM-L6-v2 int8"

#: Where this repository is, or was installed to.
ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "domains" / "northfell"


def _of_the_domain(name: str) -> Callable[[dict[str, Any]], Path]:
    """What a domain's folder holds under this name, unless a setting says otherwise."""
    return lambda given: given.get("domain", DEMO) / name


def _pairs(value: Any) -> Any:
    """``name=value, name=value`` as a mapping; JSON objects are left to pydantic."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("{"):
        import json

        return json.loads(text)
    pairs = [part.strip() for part in text.split(",") if part.strip()]
    if any("=" not in pair for pair in pairs):
        raise ValueError("write it as name=value, name=value or as a JSON object")
    return {name.strip(): rest.strip() for name, rest in (pair.split("=", 1) for pair in pairs)}


def _words(value: Any) -> Any:
    """``one, another`` as a tuple."""
    if not isinstance(value, str):
        return value
    return tuple(word for part in value.split(",") if (word := part.strip()))


class Settings(BaseSettings):
    """Where everything is and how much of it is allowed; ``.env.example`` documents each one."""

    model_config = SettingsConfigDict(
        env_prefix="SIGNALBOX_",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
        frozen=True,
    )

    # The web server
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    shutdown_seconds: int = Field(default=20, ge=1, le=300)
    drain_seconds: float = Field(default=0, ge=0, le=300)
    #: How it is reached from outside: behind TLS cookies are Secure, and its host is one we answer for.
    public_url: str = ""
    hosts: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    internals: Literal["auto", "open", "keyed"] = "auto"
    header_seconds: float = Field(default=10, gt=0)
    body_seconds: float = Field(default=60, gt=0)
    connections: int = Field(default=1000, ge=1)

    #: The business: a folder, found from here or from where Signalbox was installed.
    domain: Path = DEMO

    # Where things are kept
    data_dir: Path = Path("data")
    database_url: str = ""
    knowledge_dir: Path = Field(default_factory=_of_the_domain("knowledge"))
    qdrant_url: str | None = None
    qdrant_api_key: SecretStr | None = None
    embedding_model: str = EMBEDDED_MODEL
    pruner: str = ""
    pruner_floor: float = Field(default=0.3, ge=0, le=1)
    answer_cache: Literal["off", "exact", "semantic"] = "semantic"

    # The business rules
    rules: Path = Field(default_factory=_of_the_domain("rules.yaml"))

    # Small models
    small_server: Literal["auto", "embedded", "ollama"] = "auto"
    ollama_host: str | None = None
    ollama_models: Annotated[dict[str, str], NoDecode] = {}
    roles: dict[str, dict[str, JsonValue]] = {}
    class_declared: bool = False
    router: Path | None = None

    # The large model
    llm_base_url: str | None = None
    llm_api_key: SecretStr | None = None
    llm_model: str | None = None
    llm_local: bool = (
        False  #: The server is the business's own: nothing said to it leaves the house.
    )
    #: Asked in this order where the one before does not answer.
    llm_models: tuple[LlmServer, ...] = ()
    llm_first_seconds: float = Field(default=8, gt=0)
    llm_reply_seconds: float = Field(default=25, gt=0)
    #: What may be spent on large models, in the price file's currency; 0: whatever it costs.
    llm_day_budget: float = Field(default=0, ge=0, allow_inf_nan=False)
    llm_customer_budget: float = Field(default=0, ge=0, allow_inf_nan=False)
    llm_turn_budget: float = Field(default=0, ge=0, allow_inf_nan=False)
    prices: Path = PACKAGED_PRICES

    # The payment service
    payments_url: str | None = None
    payments_keys_hours: float = Field(default=0, ge=0)
    payments_settle_minutes: float = Field(default=0, ge=0)

    # Who may do what
    secret: SecretStr | None = None
    operators: Annotated[dict[str, SecretStr], NoDecode] = {}
    # Operators of the company's own login (OpenID Connect)
    oidc_issuer: str | None = None
    oidc_audience: str | None = None
    oidc_algorithm: Literal["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"] = "RS256"
    oidc_name_claim: str = "sub"
    oidc_role_claim: str = "roles"
    oidc_admin: str = "signalbox-admin"
    oidc_agent: str = "signalbox-agent"
    oidc_tenant_claim: str | None = None
    #: The desk's own client at the login: with it, its page sends operators there.
    oidc_client: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_scope: str = "openid profile email"
    #: A demo login on an address that others can reach has to be meant: both of these say so.
    demo_login: Literal["local", "open"] = "local"
    demo_login_really: Literal["no", "yes"] = "no"
    session_hours: float = Field(default=12, gt=0, le=24 * 365)

    # Limits
    rates: Annotated[dict[str, str], NoDecode] = {}
    redis_url: SecretStr | None = None
    message_chars: int = Field(default=4000, ge=1)
    body_bytes: int = Field(default=64 * 1024, ge=1024)
    upload_bytes: int = Field(default=25 * 1024 * 1024, ge=1024)
    approval_ttl_hours: float = Field(default=24, gt=0)
    require_keys: bool = False
    turn_key_hours: float = Field(default=24, gt=0)
    action_key_days: int = Field(default=90, ge=1)
    retention_days: int = Field(default=90, ge=1)
    conversation_days: int = Field(default=365, ge=0)
    label_days: int = Field(default=730, ge=1)

    # Watching the decisions
    operator_tenants: Annotated[dict[str, str], NoDecode] = {}
    shadow: Path | None = None
    shadow_share: float = Field(default=0.1, ge=0, le=1)
    drift_window: int = Field(default=500, ge=100, le=5000)
    drift_days: float = Field(default=7, gt=0)
    drift_alpha: float = Field(default=0.01, gt=0, lt=0.5)

    # What `langgraph dev` runs on: the demo world in memory, or what `signalbox serve` runs on.
    studio: Literal["demo", "real"] = "demo"

    # Traces
    langfuse_public_key: str | None = Field(
        default=None, validation_alias=AliasChoices("LANGFUSE_PUBLIC_KEY", "langfuse_public_key")
    )
    langfuse_secret_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("LANGFUSE_SECRET_KEY", "langfuse_secret_key")
    )
    langfuse_base_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("LANGFUSE_BASE_URL", "LANGFUSE_HOST", "langfuse_base_url"),
    )

    #: Any OpenTelemetry collector; its other standard variables (headers, service name) are read as well.
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "otel_exporter_otlp_endpoint"),
    )
    #: The same for traces alone, with the whole path.
    otel_exporter_otlp_traces_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "otel_exporter_otlp_traces_endpoint"
        ),
    )
    langfuse_tracing_environment: str | None = Field(
        default=None,
        validation_alias=AliasChoices(
            "LANGFUSE_TRACING_ENVIRONMENT", "langfuse_tracing_environment"
        ),
    )

    _split_pairs = field_validator(
        "ollama_models", "operators", "operator_tenants", "rates", mode="before"
    )(_pairs)
    _split_words = field_validator("hosts", "trusted_proxies", mode="before")(_words)

    @field_validator("rates")
    @classmethod
    def _rates_can_be_counted(cls, rates: dict[str, str]) -> dict[str, str]:
        from app.rates import checked

        return dict(checked(rates))

    @field_validator("public_url")
    @classmethod
    def _public_url_is_one(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("write it as https://support.example")
        return url.rstrip("/")

    @field_validator("domain")
    @classmethod
    def _domain_is_there(cls, folder: Path) -> Path:
        found = [one for one in (folder, ROOT / folder) if one.is_dir()]
        if not found:
            raise ValueError(f"{folder} is no folder: name the folder of a business")
        return found[0].resolve()

    @field_validator("shadow")
    @classmethod
    def _candidate_is_there(cls, folder: Path | None) -> Path | None:
        if folder is not None and not (folder / "manifest.json").is_file():
            raise ValueError(f"{folder} has no manifest.json: name a folder that training wrote")
        return folder

    @field_validator("prices")
    @classmethod
    def _prices_can_be_read(cls, path: Path) -> Path:
        read_prices(path)
        return path

    @field_validator("operators")
    @classmethod
    def _keys_worth_guessing(cls, keys: dict[str, SecretStr]) -> dict[str, SecretStr]:
        people: set[str] = set()
        for named, key in keys.items():
            name, _ = operator_named(named)
            if not name or len(key.get_secret_value()) < 12:
                raise ValueError(f"the operator key of {named!r} needs at least 12 characters")
            people.add(person_named(name))
        # Approvals by two persons are worth nothing if one person can be two.
        if len(people) < len(keys):
            raise ValueError("an operator is named twice")
        if len({key.get_secret_value() for key in keys.values()}) < len(keys):
            raise ValueError("two operators have the same key")
        return keys

    @field_validator("secret")
    @classmethod
    def _secret_worth_signing_with(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < 16:
            raise ValueError("needs at least 16 characters")
        return secret

    @property
    def reachable(self) -> bool:
        """Can others than this machine reach the server?"""
        return self.host not in ("127.0.0.1", "localhost", "::1")

    @property
    def secure(self) -> bool:
        """Is it reached over TLS?"""
        return self.public_url.startswith("https://")

    @property
    def internals_keyed(self) -> bool:
        """Do metrics and details need a key? On this machine alone they do not, unless it is said."""
        if self.internals == "auto":
            return self.reachable or bool(self.public_url)
        return self.internals == "keyed"

    @property
    def answers_for(self) -> frozenset[str]:
        """Hosts that requests may name; ``*``: any, where nobody said which."""
        named = {*self.hosts, *filter(None, [urlsplit(self.public_url).hostname])}
        if self.reachable and not named:
            return frozenset({"*"})
        return frozenset({*named, "localhost", "127.0.0.1", "::1", self.host})

    @property
    def demo_login_is_meant(self) -> bool:
        return not self.reachable or (self.demo_login, self.demo_login_really) == ("open", "yes")

    @property
    def database(self) -> str:
        """The SQL store's URL: what was set, or a SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'signalbox.db'}"

    @property
    def replicable(self) -> bool:
        """Is the database one that several processes can share?"""
        return self.checkpoints.startswith("postgresql://")

    @property
    def checkpoints(self) -> str:
        """Where LangGraph keeps its state: a SQLite file of its own, or the same PostgreSQL."""
        scheme, _, rest = self.database.partition("://")
        if scheme.split("+")[0] in {"postgres", "postgresql"}:
            return f"postgresql://{rest}"
        return str(self.data_dir.absolute() / "checkpoints.db")

    @property
    def small_models(self) -> Literal["embedded", "ollama"]:
        """Which server answers for the small roles: Ollama as soon as its host is set."""
        if self.small_server != "auto":
            return self.small_server
        return "ollama" if self.ollama_host else "embedded"

    @property
    def hosted_llm(self) -> bool:
        """Is a large model configured, or does the embedded one stand in for it?"""
        return bool(self.llm_chain)

    @property
    def llm_chain(self) -> tuple[LlmServer, ...]:
        """The large models, first the one to be asked first; empty where the embedded one stands in."""
        if self.llm_model is None:
            return self.llm_models
        first = LlmServer(
            model=self.llm_model,
            base_url=self.llm_base_url,
            api_key=self.llm_api_key,
            local=self.llm_local,
        )
        return (first, *self.llm_models)

    @property
    def llm_leaves(self) -> bool:
        """Does what the large model is asked leave the house?"""
        return any(not each.local for each in self.llm_chain)

    def staying(self) -> Settings:
        """The same with the business's own models only."""
        kept = tuple(each for each in self.llm_chain if each.local)
        return self.model_copy(
            update={
                "llm_model": None,
                "llm_base_url": None,
                "llm_api_key": None,
                "llm_models": kept,
            }
        )

    @property
    def profiles(self) -> dict[str, RoleProfile]:
        """How each role is served: built in, moved to the configured servers, then changed by ``roles``."""
        profiles = embedded_profiles()
        unknown = set(self.roles) - set(profiles)
        if unknown:
            raise ValueError(f"SIGNALBOX_ROLES names unknown roles: {', '.join(sorted(unknown))}")
        for role, profile in profiles.items():
            moved: dict[str, Any] = {}
            if role in LARGE_ROLES and self.hosted_llm:
                moved = {
                    "server": "openai",
                    "model": self.llm_chain[0].model,
                    "timeout": self.llm_reply_seconds,
                }
            elif role not in LARGE_ROLES and self.small_models == "ollama":
                moved = {"server": "ollama", "model": self.ollama_models.get(role)}
            fields = profile.model_dump() | moved | self.roles.get(role, {})
            profiles[role] = RoleProfile.model_validate(fields)
        return profiles

    @model_validator(mode="after")
    def _profiles_are_valid(self) -> Settings:
        # A wrong role or field should stop the start, not the first turn that needs it.
        _ = self.profiles
        return self

    @model_validator(mode="after")
    def _each_model_once(self) -> Settings:
        named = [each.named for each in self.llm_chain]
        if len(set(named)) < len(named):
            raise ValueError("SIGNALBOX_LLM_MODELS names a model of one server twice")
        return self

    @model_validator(mode="after")
    def _tenants_of_known_operators(self) -> Settings:
        names = {operator_named(named)[0] for named in self.operators} or {"demo"}
        unknown = sorted(set(self.operator_tenants) - names)
        if unknown:
            raise ValueError(
                f"SIGNALBOX_OPERATOR_TENANTS names unknown operators: {', '.join(unknown)}"
            )
        return self

    @model_validator(mode="after")
    def _keys_outlive_what_uses_them(self) -> Settings:
        # A retried turn or a late approval must still find the action it belongs to.
        if self.action_key_days * 24 < max(self.turn_key_hours, self.approval_ttl_hours):
            raise ValueError(
                "SIGNALBOX_ACTION_KEY_DAYS must be longer than the keys of turns and approvals"
            )
        return self

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Settings:
        # What stands as .env.example shows it is not set.
        given = {
            f"SIGNALBOX_{name.upper()}"
            for name, field in type(self).model_fields.items()
            if name.startswith("oidc_") and getattr(self, name) != field.default
        }
        for needed in ("SIGNALBOX_OIDC_ISSUER", "SIGNALBOX_OIDC_AUDIENCE"):
            if given and needed not in given:
                raise ValueError(
                    f"{', '.join(sorted(given))} set, and {needed} is not: operators sign in with "
                    "both or with keys alone"
                )
        if self.oidc_issuer is not None:
            parts = urlsplit(self.oidc_issuer)
            loopback = parts.hostname in ("127.0.0.1", "localhost", "::1")
            if not parts.hostname or (parts.scheme != "https" and not loopback) or parts.query:
                raise ValueError(
                    f"SIGNALBOX_OIDC_ISSUER is an https address, and {self.oidc_issuer!r} is none"
                )
            if self.oidc_client is None and self.oidc_client_secret is not None:
                raise ValueError(
                    "SIGNALBOX_OIDC_CLIENT_SECRET is set, and SIGNALBOX_OIDC_CLIENT is not"
                )
            if self.oidc_admin == self.oidc_agent:
                raise ValueError("SIGNALBOX_OIDC_ADMIN and SIGNALBOX_OIDC_AGENT are the same role")
        return self

    @property
    def langfuse(self) -> bool:
        """Are traces sent to Langfuse?"""
        return bool(self.langfuse_public_key and self.langfuse_secret_key)


def operator_named(named: str) -> tuple[str, ReviewerRole]:
    """``olga:admin`` as the name and the role; without a role, an agent."""
    name, _, role = named.partition(":")
    if role not in ("", "agent", "admin"):
        raise ValueError(f"the operator {named!r} has an unknown role; it is agent or admin")
    return name.strip(), "admin" if role == "admin" else "agent"


@dataclass(frozen=True)
class Keys:
    """What sessions are signed with, and who may act as an operator."""

    secret: str
    operators: dict[str, str]  #: Name -> key.
    demo: bool  #: The operator key was generated here, for trying things out.
    roles: dict[str, ReviewerRole] = field(default_factory=dict[str, ReviewerRole])
    tenants: dict[str, str] = field(default_factory=dict[str, str])  #: Who sees only one.


def load_keys(settings: Settings) -> Keys:
    """The keys that were set; what was not is generated once and kept in the data folder."""
    secret = settings.secret.get_secret_value() if settings.secret else None
    operators: dict[str, str] = {}
    roles: dict[str, ReviewerRole] = {}
    for named, key in settings.operators.items():
        name, role = operator_named(named)
        operators[name], roles[name] = key.get_secret_value(), role
    # Where operators come from the company's login there is no key that everybody who reads a log has.
    demo = not operators and settings.oidc_issuer is None
    if demo:
        operators["demo"] = _kept(settings.data_dir / "operator-key", "sb-demo-", entropy=15)
        roles["demo"] = "admin"
    return Keys(
        secret=secret or _kept(settings.data_dir / "secret", entropy=32),
        operators=operators,
        demo=demo,
        roles=roles,
        tenants=dict(settings.operator_tenants),
    )


def _kept(path: Path, prefix: str = "", *, entropy: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Written elsewhere and linked into place: another process sees the whole value or none.
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(prefix + secrets.token_urlsafe(entropy))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    return path.read_text(encoding="utf-8").strip()


def unknown_settings(env_file: Path = Path(".env")) -> list[tuple[str, str | None]]:
    """What is set under our prefix and nobody reads, each with the setting that was probably meant."""
    import difflib

    from dotenv import dotenv_values

    known = {f"SIGNALBOX_{name.upper()}" for name in Settings.model_fields}
    given = {*os.environ, *(dotenv_values(env_file) if env_file.is_file() else ())}
    unknown = {name for name in given if name.startswith("SIGNALBOX_")} - known - TESTING

    def near(name: str) -> str | None:
        # Without the prefix, which would make everything alike.
        bare = [each.removeprefix("SIGNALBOX_") for each in known]
        found = difflib.get_close_matches(name.removeprefix("SIGNALBOX_"), bare, 1)
        return f"SIGNALBOX_{found[0]}" if found else None

    return [(name, near(name)) for name in sorted(unknown)]


def server_at(settings: Settings) -> Path:
    """The file in which a running server says where it can be reached."""
    return settings.data_dir / "server-url"


def prepare_environment(settings: Settings, env_file: Path = Path(".env")) -> None:
    """Make the folder that everything else is kept in, and let OpenTelemetry see its variables in `.env`."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    # What customers wrote is nobody's on this machine but ours; of another's folder nothing is changed.
    with contextlib.suppress(PermissionError):
        settings.data_dir.chmod(0o700)
    if env_file.is_file():
        for name, value in dotenv_values(env_file).items():
            if name.startswith("OTEL_") and value:
                os.environ.setdefault(name, value)


def environment() -> Mapping[str, str]:
    """What ``${NAME}`` in a domain's files may stand for: the environment, and ``.env`` behind it."""
    kept = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    return {**kept, **os.environ}

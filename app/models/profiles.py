"""One profile per role: which server and model answers it, how long it may take, when it is believed."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Server = Literal["embedded", "ollama", "openai"]


class LlmServer(BaseModel):
    """One large model, and where it is served."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1)
    base_url: str | None = None  #: None: the client library's own.
    api_key: SecretStr | None = None
    local: bool = False  #: The business's own: nothing said to it leaves the house.

    @property
    def named(self) -> str:
        """What health and logs call it; a URL may hold a secret, its host does not."""
        host = urlsplit(self.base_url).netloc.rpartition("@")[2] if self.base_url else ""
        return f"{self.model} at {host}" if host else self.model


class RoleProfile(BaseModel):
    """How one role is served."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: Server = "embedded"
    model: str | None = None  #: Model name on the server; None: the server's default for the role.
    adapter: str | None = None  #: Role whose adapter is used, when it is not the role's own.
    timeout: float = Field(
        default=8.0, gt=0.0
    )  #: Seconds for one decision, waiting for a restart included.
    threshold: float = Field(
        default=0.5, ge=0.0, le=1.0
    )  #: Below this probability the role abstains.
    #: Who decides when the model is down, late or malformed.
    fallback: Literal["none", "rules", "encoder", "large", "human"] = "none"


def embedded_profiles() -> dict[str, RoleProfile]:
    """The profiles of a Signalbox without any configuration."""
    return {
        "router": RoleProfile(threshold=0.6, fallback="large"),
        "extractor": RoleProfile(timeout=12.0, fallback="rules"),
        "evaluator": RoleProfile(threshold=0.6, fallback="rules"),
        "consequence": RoleProfile(threshold=0.8, fallback="human"),
        "validator": RoleProfile(threshold=0.6),
        "formatter": RoleProfile(timeout=15.0),
        "planner": RoleProfile(timeout=60.0, fallback="human"),
        "synthesizer": RoleProfile(timeout=60.0, fallback="human"),
        "judge": RoleProfile(timeout=60.0, fallback="human"),
    }

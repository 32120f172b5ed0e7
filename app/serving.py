"""The models of a process: opened from what is live, and exchanged for what is promoted while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from app.config import Settings
from app.domains import domain_of
from app.health import Checks, check
from app.models.chain import ChainedLargeModel
from app.models.embedded import EmbeddedServer, EmbeddedSmallModel
from app.models.encoder import OnnxEncoder
from app.models.large import ChatLargeModel, EmbeddedLargeModel
from app.models.manifest import Manifest, base_model, sha256_of
from app.models.metering import Meter, read_prices
from app.models.profiles import LlmServer
from app.models.release import ReleaseError, Releases
from app.models.trial import Trial
from app.releases import opened_releases
from app.spending import Budgets
from tools.domain import Domain
from tools.ports import LargeModel, SmallModel

log = logging.getLogger(__name__)

#: How long what was exchanged is kept for the turns that began with it: longer than any role's time-out.
KEPT_SECONDS = 180.0
#: How long a new model server may take to load.
LOADS_WITHIN = 60.0


@dataclass
class Models:
    """Who answers which role."""

    small: SmallModel
    large: LargeModel
    encoder: OnnxEncoder
    manifest: Manifest
    server: EmbeddedServer | None
    trial: Trial | None = None

    def health(self) -> Checks:
        """The artefacts that were refused, the candidate in the shadow, and the embedded models' server."""
        refused = {
            f"{kind} {role}".strip(): why for (kind, role), why in self.manifest.refused.items()
        }
        found = {"artefacts": check("; ".join(refused.values()) or None)}
        if refused:
            found["artefacts"]["refused"] = refused
        if self.trial is not None:
            found["shadow"] = check(self.trial.problem, digest=self.trial.digest)
        if self.server is not None:
            now = self.server.status()
            ready = now["state"] == "ready"
            found["embedded model"] = {"status": "ok" if ready else "degraded", **now}
        return found


def resident(settings: Settings, domain: Domain) -> Settings:
    """The settings that hold for this business: where its data stays in the house, so do its models."""
    return settings.staying() if domain.profile.residency == "local" else settings


class Serving:
    """The models that decide. A release with the same adapters is served by the same child process."""

    def __init__(
        self, settings: Settings, releases: Releases, budgets: Budgets | None = None
    ) -> None:
        self.budgets = budgets or Budgets()
        self.domain = domain_of(settings)
        self.settings = resident(settings, self.domain)
        self.releases = releases
        self.meter = Meter(read_prices(settings.prices))
        self.models: Models
        self._base = base_model()
        self._stack, self._server_stack = AsyncExitStack(), AsyncExitStack()
        self._adapters: dict[str, tuple[Path, str]] | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self._old: list[AsyncExitStack] = []

    async def __aenter__(self) -> Self:
        manifest = await asyncio.to_thread(self.releases.manifest, base=self._base)
        from app.knowledge.opening import folder_of

        encoder = OnnxEncoder(manifest, shared=folder_of(self.settings))
        trial = await asyncio.to_thread(self._trial, manifest)
        try:
            server = await self._server(manifest, trial, self._server_stack)
            self._adapters = _adapters(manifest, trial)
            self._begin(encoder.warm())
            self.models = self._models(manifest, encoder, trial, server, self._stack)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._background:
            task.cancel()
        for stack in (self._stack, self._server_stack, *self._old):
            await stack.aclose()

    @asynccontextmanager
    async def exchange(self) -> AsyncGenerator[Models]:
        """The models of what is live by now. They take the old ones' place when the block ends well.

        Raises ReleaseError where something is refused that was not before; then the old ones stay."""
        before = self.models
        manifest = await asyncio.to_thread(self.releases.manifest, base=self._base)
        if worse := set(manifest.refused) - set(before.manifest.refused):
            raise ReleaseError("; ".join(manifest.refused[key] for key in sorted(worse)))
        trial = await asyncio.to_thread(self._trial, manifest)
        adapters = _adapters(manifest, trial)
        async with AsyncExitStack() as new, AsyncExitStack() as new_server:
            server = before.server
            if server is not None and adapters != self._adapters:
                server = await self._server(manifest, trial, new_server)
                assert server is not None
                await server.ready(within=LOADS_WITHIN)
            # Vectors are the same whoever reads them: computed once for both.
            encoder = before.encoder.with_heads(manifest)
            models = self._models(manifest, encoder, trial, server, new)
            yield models
            self._retire(self._stack)
            self._stack = new.pop_all()
            if server is not before.server:
                self._retire(self._server_stack)
                self._server_stack, self._adapters = new_server.pop_all(), adapters
            self.models = models

    # --- parts ---------------------------------------------------------------------------------

    def _timeout_for(self, role: str) -> float:
        profiles = self.settings.profiles
        if role in profiles:
            return profiles[role].timeout
        return self.settings.llm_reply_seconds if self.settings.hosted_llm else 30.0

    async def _server(
        self, manifest: Manifest, trial: Trial | None, stack: AsyncExitStack
    ) -> EmbeddedServer | None:
        if "embedded" not in {p.server for p in self.settings.profiles.values()}:
            return None
        adapters = manifest.adapter_paths() | (trial.adapter_paths() if trial else {})
        return await stack.enter_async_context(EmbeddedServer(self._base, adapters))

    def _models(
        self,
        manifest: Manifest,
        encoder: OnnxEncoder,
        trial: Trial | None,
        server: EmbeddedServer | None,
        stack: AsyncExitStack,
    ) -> Models:
        settings = self.settings
        small = self._small(manifest, server, stack)
        large: ChainedLargeModel | EmbeddedLargeModel
        if settings.hosted_llm:
            large = ChainedLargeModel(
                {each.named: self._hosted(each) for each in settings.llm_chain},
                spent=self.budgets.spent,
            )
        else:
            assert server is not None
            large = EmbeddedLargeModel(
                server, timeout_for=self._timeout_for, heard=self.meter.heard
            )
        stack.push_async_callback(large.aclose)
        if trial is not None and trial.problem is None:
            beside = self._small(trial.manifest, server, stack, trial)
            trial = replace(trial, encoder=encoder.with_heads(trial.manifest), small=beside)
            if "planner" in trial.adapters and not settings.hosted_llm:
                assert server is not None
                planner = EmbeddedLargeModel(
                    server, timeout_for=self._timeout_for, served_as=trial.served_as
                )
                stack.push_async_callback(planner.aclose)
                trial = replace(trial, large=planner)
        return Models(small, large, encoder, manifest, server, trial)

    def _hosted(self, server: LlmServer) -> ChatLargeModel:
        return ChatLargeModel(
            server.model,
            base_url=server.base_url,
            api_key=server.api_key.get_secret_value() if server.api_key else "",
            timeout_for=self._timeout_for,
            silence=self.settings.llm_first_seconds,
            heard=self.meter.heard,
            local=server.local,
        )

    def _small(
        self,
        manifest: Manifest,
        server: EmbeddedServer | None,
        stack: AsyncExitStack,
        trial: Trial | None = None,
    ) -> SmallModel:
        settings, profiles = self.settings, self.settings.profiles
        if settings.small_models == "ollama":
            from app.models.ollama import OllamaSmallModel, role_model

            ollama = OllamaSmallModel(
                settings.ollama_host or "http://127.0.0.1:11434",
                manifest=manifest,
                model_for=lambda role: profiles[role].model or role_model(role),
                prompt_for=manifest.prompt_for,
                timeout_for=self._timeout_for,
            )
            stack.push_async_callback(ollama.aclose)
            return ollama
        assert server is not None
        return EmbeddedSmallModel(
            server,
            manifest,
            prompt_for=manifest.prompt_for,
            timeout_for=self._timeout_for,
            served_as=trial.served_as if trial else lambda role: role,
        )

    def _trial(self, live: Manifest) -> Trial | None:
        """The candidate that SIGNALBOX_SHADOW names; with its problem, where it cannot be tried."""
        settings = self.settings
        if settings.shadow is None:
            return None
        trial = Trial.of(settings.shadow, live, self._base, self.domain)
        if trial.problem is None and trial.adapters and settings.small_models == "ollama":
            trial = replace(
                trial,
                problem="an adapter is tried beside the live one by the embedded server only: leave it out of "
                "the candidate, or try it without SIGNALBOX_OLLAMA_HOST",
            )
        if trial.problem is not None:
            log.warning("the candidate in %s is not tried: %s", settings.shadow, trial.problem)
        return trial

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        self._background.add(started := asyncio.create_task(work))
        started.add_done_callback(self._background.discard)

    def _retire(self, stack: AsyncExitStack) -> None:
        self._old.append(stack)
        self._begin(self._close_later(stack))

    async def _close_later(self, stack: AsyncExitStack) -> None:
        await asyncio.sleep(KEPT_SECONDS)
        self._old.remove(stack)
        await stack.aclose()


def _adapters(manifest: Manifest, trial: Trial | None) -> dict[str, tuple[Path, str]]:
    """What a server has loaded; the same file under another content is another adapter."""
    paths = manifest.adapter_paths() | (trial.adapter_paths() if trial else {})
    return {role: (path, sha256_of(path)) for role, path in paths.items()}


@asynccontextmanager
async def open_models(settings: Settings) -> AsyncGenerator[Models]:
    """The model servers that the settings name, running inside the block."""
    with opened_releases(settings) as releases:
        async with Serving(settings, releases) as serving:
            yield serving.models

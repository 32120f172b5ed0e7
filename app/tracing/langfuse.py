"""Langfuse's own API, through its own client: prompts, scores and datasets. Never called while a turn waits."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING, Any

import prompts
from app.tracing import Targets
from app.tracing.export import CLOUD, PromptLinks
from tools.ports import PortError

if TYPE_CHECKING:
    from langfuse.api import LangfuseAPI

    from app.stores.traces import Score

#: How long one call may take.
SECONDS = 10.0
#: So many scores go in one request.
BATCH = 100
#: So many dataset items come in one.
PAGE = 50
#: Before our prompts' names, in a project that may hold others'.
PREFIX = "signalbox-"


class LangfuseRefused(PortError):
    """Langfuse cannot be reached, or did not take what it was sent."""


class Langfuse:
    """The part of the API that we use."""

    def __init__(self, targets: Targets) -> None:
        # Two seconds to import: whoever makes one does so in a thread, or is a command.
        import httpx
        from langfuse.api import LangfuseAPI, NotFoundError
        from langfuse.api.core import ApiError

        self._absent, self._errors = NotFoundError, (ApiError, httpx.HTTPError)
        self._api: LangfuseAPI = LangfuseAPI(
            base_url=(targets.langfuse_url or CLOUD).rstrip("/"),
            x_langfuse_public_key=targets.public_key,
            username=targets.public_key,
            password=targets.secret_key,
            timeout=SECONDS,
        )
        self._environment = targets.environment

    # --- prompts ---------------------------------------------------------------------------------

    def link_prompts(self, links: PromptLinks) -> None:
        """Make sure that Langfuse has every prompt in the version we use, and learn by which number."""
        for name in prompts.names():
            prompt = prompts.load(name)
            links[name, prompt.version] = PREFIX + name, self._version(prompt)

    def _version(self, prompt: prompts.Prompt) -> int:
        from langfuse.api import CreateTextPromptRequest, CreateTextPromptType

        name, label = PREFIX + prompt.name, f"v-{prompt.version}"
        try:
            return self._api.prompts.get(name, label=label).version
        except self._absent:
            pass
        except self._errors as error:
            raise LangfuseRefused(_why(error)) from error
        # In Langfuse's way of writing variables.
        shown = Template(prompt.text).safe_substitute(
            {variable: f"{{{{{variable}}}}}" for variable in prompt.variables}
        )
        try:
            made = self._api.prompts.create(
                request=CreateTextPromptRequest(
                    name=name,
                    type=CreateTextPromptType.TEXT,
                    prompt=shown,
                    labels=[label],
                    tags=["signalbox"],
                    commit_message=f"{prompt.purpose} ({prompt.version})",
                )
            )
        except self._errors as error:
            raise LangfuseRefused(_why(error)) from error
        return made.version

    # --- scores ----------------------------------------------------------------------------------

    def send(self, scores: Sequence[Score]) -> None:
        """Say these of their traces. Said again they replace what was said before: ids follow from what
        they are of."""
        from langfuse.api import CreateScoreRequest

        for start in range(0, len(scores), BATCH):
            request = [
                CreateScoreRequest(
                    id=score_id(each),
                    trace_id=each.trace,
                    name=each.name,
                    value=each.value,
                    data_type=each.kind,  # pyright: ignore[reportArgumentType] - its enumeration of the same
                    comment=each.comment or None,
                    environment=self._environment,
                )
                for each in scores[start : start + BATCH]
            ]
            try:
                self._api.scores.create(request=request)
            except self._errors as error:
                raise LangfuseRefused(_why(error)) from error

    # --- datasets --------------------------------------------------------------------------------

    def put_items(self, dataset: str, items: Sequence[Mapping[str, Any]]) -> None:
        """Put items into a dataset, which is made where there is none; an item of the same id is replaced."""
        try:
            self._api.datasets.create(
                name=dataset, description="Messages that people labelled, from Signalbox."
            )
            for item in items:
                self._api.dataset_items.create(dataset_name=dataset, **item)
        except self._errors as error:
            raise LangfuseRefused(_why(error)) from error

    def items(self, dataset: str) -> Iterator[Any]:
        """Every item of a dataset that is not archived."""
        page = 1
        while True:
            try:
                found = self._api.dataset_items.list(dataset_name=dataset, page=page, limit=PAGE)
            except self._errors as error:
                raise LangfuseRefused(_why(error)) from error
            yield from (
                each for each in found.data if str(each.status).rpartition(".")[2] == "ACTIVE"
            )
            if page >= found.meta.total_pages:
                return
            page += 1


def score_id(score: Score) -> str:
    """The same for the same thing said of the same trace."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"signalbox:{score.trace}:{score.name}"))


def _why(error: Exception) -> str:
    status = getattr(error, "status_code", None)
    return f"Langfuse answers {status}" if status else f"Langfuse cannot be reached: {error}"

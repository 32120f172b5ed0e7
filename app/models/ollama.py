"""The small model on Ollama: models made from our adapters, or any stock model prompted for its role."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from app.models import ollama_wire as wire
from app.models import scoring
from app.models.embedded import parsed_object, prompt_text
from app.models.grammar import EDGE_PUNCTUATION, copyable
from app.models.manifest import Manifest
from app.models.metering import SmallCall, note
from tools.ports import Choice, Filled, ModelOutputInvalid


def role_model(role: str) -> str:
    """The name `signalbox ollama create` gives the model of a role."""
    return f"signalbox-{role}"


class OllamaSmallModel:
    """Every role on an Ollama server; nothing is imported or connected before the first request."""

    def __init__(
        self,
        host: str,
        *,
        manifest: Manifest | None = None,
        model_for: Callable[[str], str] = role_model,
        prompt_for: Callable[[str], str | None] = lambda role: None,
        timeout_for: Callable[[str], float] = lambda role: 15.0,
        keep_alive: str = "30m",
    ) -> None:
        self._host = host
        self._manifest = manifest
        self._model_for = model_for
        self._prompt_for = prompt_for
        self._timeout_for = timeout_for
        self._keep_alive = keep_alive
        self._clients: dict[float, Any] = {}

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice:
        started = time.perf_counter()
        labels = self._labels(role)
        if labels is not None:
            untrained = [option for option in options if option not in labels]
            if untrained:
                raise ModelOutputInvalid(f"The {role} model knows no option {untrained}.")
            probabilities = await self._by_label(role, input, {o: labels[o] for o in options})
        else:
            probabilities = await self._by_spelling(role, input, options)
        return Choice(
            option=max(probabilities, key=probabilities.__getitem__),
            probabilities=probabilities,
            model=self._model_for(role),
            version=self._version(role),
            adapter=self._adapter(role),
            ms=(time.perf_counter() - started) * 1000,
        )

    async def _by_label(self, role: str, input: str, asked: Mapping[str, str]) -> dict[str, float]:
        """One token of a model trained on single-token labels. No ``format``: a JSON string would begin with
        a quotation mark, which the model never saw in training."""
        reply = await self._ask(role, input, format=None, tokens=1, logprobs=True)
        considered: Mapping[str, float] = reply.steps[0].considered if reply.steps else {}
        if not set(asked.values()) & set(considered):
            raise ModelOutputInvalid(
                f"{self._model_for(role)} answered {reply.text[:40]!r}, none of the {role} labels."
            )
        entry = self._manifest.adapters[role] if self._manifest else None
        return scoring.tempered(
            scoring.single_token(asked, considered), entry.temperature if entry else 1.0
        )

    async def _by_spelling(self, role: str, input: str, options: Sequence[str]) -> dict[str, float]:
        """A prompted model writes the option as a JSON string; its probabilities follow from the tokens."""
        reply = await self._ask(
            role, input, format=wire.enum_format(options), tokens=40, logprobs=True
        )
        written = {json.dumps(option, ensure_ascii=False): option for option in options}
        if reply.text.strip() not in written:
            raise ModelOutputInvalid(
                f"{self._model_for(role)} answered {reply.text[:80]!r}, none of the options."
            )
        if not reply.steps:
            # An Ollama without logprobs: the choice is known, how sure it was is not.
            chosen = written[reply.text.strip()]
            return scoring.normalised({o: 1.0 if o == chosen else 0.5 for o in options})
        spelled = scoring.spelled(list(written), reply.steps)
        return {written[text]: share for text, share in spelled.items()}

    async def fill(self, role: str, input: str, schema: dict[str, Any]) -> Filled:
        started = time.perf_counter()
        reply = await self._ask(
            role, input, format=wire.plain_schema(schema), tokens=320, logprobs=True
        )
        values = parsed_object(reply.text, truncated=reply.done_reason == "length")
        logprobs = [step.considered[step.token] for step in reply.steps]
        return Filled(
            values=_copied_only(values, schema, input),
            model=self._model_for(role),
            version=self._version(role),
            adapter=self._adapter(role),
            probability=min(math.exp(sum(logprobs)), 1.0),
            ms=(time.perf_counter() - started) * 1000,
        )

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str:
        reply = await self._ask(role, input, format=None, tokens=max_tokens, logprobs=False)
        if reply.done_reason == "length":
            raise ModelOutputInvalid(f"The {role} did not finish within {max_tokens} tokens.")
        return reply.text.strip()

    # --- requests ------------------------------------------------------------------------------

    async def _ask(
        self,
        role: str,
        input: str,
        *,
        format: Mapping[str, Any] | None,
        tokens: int,
        logprobs: bool,
    ) -> wire.Reply:
        model = self._model_for(role)
        async with wire.errors_explained(self._host, model):
            client = self._client(self._timeout_for(role))
            if self._adapted(role):
                request = wire.generate_request(
                    model,
                    prompt_text(input),
                    format=format,
                    tokens=tokens,
                    logprobs=logprobs,
                    keep_alive=self._keep_alive,
                )
                reply = wire.reply_of(await client.generate(**request), chat=False)
                note(SmallCall(model, reply.usage, role))
                return reply
            chat = wire.chat_request(
                model,
                self._prompt_for(role),
                input,
                format=format,
                tokens=tokens,
                logprobs=logprobs,
                keep_alive=self._keep_alive,
            )
            reply = wire.reply_of(await client.chat(**chat), chat=True)
            note(SmallCall(model, reply.usage, role))
            return reply

    def _client(self, seconds: float) -> wire.Client:
        # The client takes its time-out at construction only; roles share one by time-out.
        if seconds not in self._clients:
            import ollama

            self._clients[seconds] = ollama.AsyncClient(host=self._host, timeout=seconds)
        return self._clients[seconds]

    async def aclose(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    # --- roles ---------------------------------------------------------------------------------

    def _adapted(self, role: str) -> bool:
        """Whether the role's model is one we made from its adapter."""
        trained = self._manifest is not None and role in self._manifest.adapters
        return trained and self._model_for(role).split(":")[0].startswith("signalbox")

    def _labels(self, role: str) -> dict[str, str] | None:
        if self._manifest and self._adapted(role):
            return self._manifest.adapters[role].labels
        return None

    def _adapter(self, role: str) -> str:
        if self._manifest and self._adapted(role):
            return self._manifest.adapters[role].version
        return ""

    def _version(self, role: str) -> str:
        if adapter := self._adapter(role):
            return adapter
        text = f"{self._model_for(role)}\0{self._prompt_for(role) or ''}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _copied_only(
    values: Mapping[str, Any], schema: Mapping[str, Any], input: str
) -> dict[str, Any]:
    """The values, with a property marked ``x-copy`` set to null when it does not stand in the input."""
    words = [word.strip(EDGE_PUNCTUATION) for word in copyable(input).split()]
    result = dict(values)
    properties = cast("dict[str, dict[str, Any]]", schema.get("properties", {}))
    for name, wanted in properties.items():
        value = result.get(name)
        if wanted.get("x-copy") and isinstance(value, str):
            run = [word.strip(EDGE_PUNCTUATION) for word in value.split()]
            stands = run and any(
                words[at : at + len(run)] == run for at in range(len(words) - len(run) + 1)
            )
            result[name] = value.strip() if stands else None
    return result

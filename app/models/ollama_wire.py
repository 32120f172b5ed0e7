"""What goes over the wire to Ollama and back, in one place: request bodies, answers, and what errors mean."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol, cast

import httpx

from app.models.metering import Usage
from app.models.scoring import Step
from tools.ports import ModelOutputInvalid, ModelUnavailable

#: The most alternatives Ollama tells per token.
TOP_LOGPROBS = 20


class Reply(NamedTuple):
    """An answer of /api/chat or /api/generate in our words."""

    text: str
    steps: list[Step]
    done_reason: str
    usage: Usage


class Client(Protocol):
    """The part of ``ollama.AsyncClient`` that decisions need."""

    def chat(self, **request: Any) -> Awaitable[Any]: ...
    def generate(self, **request: Any) -> Awaitable[Any]: ...


def chat_request(
    model: str,
    system: str | None,
    user: str,
    *,
    format: Mapping[str, Any] | None,
    tokens: int,
    logprobs: bool,
    keep_alive: str,
) -> dict[str, Any]:
    """A request to a stock model that is told its role by a prompt."""
    messages = [{"role": "user", "content": user}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return {
        "model": model,
        "messages": messages,
        "format": dict(format) if format is not None else None,
        "think": False,
        "stream": False,
        "keep_alive": keep_alive,
        "options": _options(tokens),
        **_logprobs(logprobs),
    }


def generate_request(
    model: str,
    prompt: str,
    *,
    format: Mapping[str, Any] | None,
    tokens: int,
    logprobs: bool,
    keep_alive: str,
) -> dict[str, Any]:
    """A request to a model made from one of our adapters: the raw training format, no template."""
    return {
        "model": model,
        "prompt": prompt,
        "raw": True,
        "format": dict(format) if format is not None else None,
        "stream": False,
        "keep_alive": keep_alive,
        "options": _options(tokens),
        **_logprobs(logprobs),
    }


def enum_format(options: Sequence[str]) -> dict[str, Any]:
    """A schema that allows exactly one of ``options``, as a JSON string."""
    return {"type": "string", "enum": list(options)}


def plain_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema without our own marks, every property required; Ollama has no grammar for copied runs."""
    plain = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if "properties" in plain:
        properties = cast("dict[str, dict[str, Any]]", plain["properties"])
        plain["properties"] = {name: plain_schema(value) for name, value in properties.items()}
        plain["required"] = list(properties)
        plain["additionalProperties"] = False
    return plain


def _options(tokens: int) -> dict[str, Any]:
    return {"temperature": 0, "seed": 0, "num_predict": tokens, "num_ctx": 2048}


def _logprobs(wanted: bool) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": TOP_LOGPROBS} if wanted else {}


def reply_of(response: Any, *, chat: bool) -> Reply:
    """The answer in our words; raises ModelUnavailable while the model is still loading."""
    text = str((response.message.content if chat else response.response) or "")
    done_reason = str(response.done_reason or "")
    if not response.done or done_reason in ("load", "unload"):
        raise ModelUnavailable("Ollama is still loading the model: ask again in a moment.")
    steps = [
        Step(
            token=str(one.token),
            considered={
                **{
                    str(other.token): float(other.logprob)
                    for other in reversed(cast("list[Any]", one.top_logprobs or []))
                },
                str(one.token): float(one.logprob),
            },
        )
        for one in cast("list[Any]", response.logprobs or [])
    ]
    # Of a prompt that Ollama has in its cache it says no number.
    usage = Usage(int(response.prompt_eval_count or 0), int(response.eval_count or 0))
    return Reply(text, steps, done_reason, usage)


@asynccontextmanager
async def errors_explained(host: str, model: str) -> AsyncGenerator[None]:
    """Turn what the client raises into the ports' errors, each saying what to do."""
    import ollama
    from pydantic import ValidationError

    try:
        yield
    except ConnectionError as error:
        raise ModelUnavailable(
            f"No Ollama answers at {host}: start it with `ollama serve`, or correct the host."
        ) from error
    except httpx.TimeoutException as error:
        raise ModelUnavailable(
            f"Ollama at {host} did not answer in time with {model}: it may be loading or overloaded "
            "(`ollama ps` shows what runs)."
        ) from error
    except httpx.HTTPError as error:
        raise ModelUnavailable(f"The connection to Ollama at {host} broke: {error}.") from error
    except ollama.ResponseError as error:
        if error.status_code == 404:
            raise ModelUnavailable(
                f"Ollama at {host} has no model {model}: make the role models with `signalbox ollama create`, "
                f"or fetch a stock model with `ollama pull {model}`."
            ) from error
        if error.status_code == 400:
            raise ModelOutputInvalid(f"Ollama refused the request: {error.error}") from error
        raise ModelUnavailable(
            f"Ollama at {host} answered {error.status_code} for {model}: {error.error}"
        ) from error
    except (ValidationError, json.JSONDecodeError) as error:
        raise ModelOutputInvalid(
            f"Something answers at {host}, but not as Ollama does: {error}"
        ) from error

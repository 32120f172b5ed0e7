"""The large model through any OpenAI-compatible server; with none configured, the embedded one."""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from app.models import ollama_wire
from app.models.embedded import MODEL, EmbeddedServer, neutral, parsed_object
from app.models.grammar import quotes_grammar, schema_grammar
from app.models.metering import LlmCall, Usage, is_masked, note
from app.models.reply import Said, seconds_to_wait
from tools.ports import Filled, ModelOutputInvalid, ModelUnavailable, PortError
from tools.values import Clock

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable, RunnableConfig
    from langchain_openai import ChatOpenAI

#: What the embedded model may write at most when it is not bound to quotes: it rambles, and slowly.
_EMBEDDED_TOKENS = 160
_FILL_TOKENS = 600
#: Sentences of an answer where the embedded model stands in: the pruner's best, taken over as they are; 0
#: lets the model choose among them. ``python -m evals answers`` compares the two.
EXTRACTED = 3
#: The port's own wrapper traces the call; the graph's callbacks would trace it a second time.
_UNTRACED: RunnableConfig = {"callbacks": []}


@dataclass
class LlmCalls:
    """How many times the large model was called within a turn, and what that used."""

    made: int = 0
    usage: Usage = field(default_factory=Usage)


def _unheard(call: LlmCall) -> None:
    """Nobody counts this model's calls."""


_counted: ContextVar[tuple[LlmCalls, ...]] = ContextVar("llm_calls", default=())


@contextmanager
def counting_calls() -> Generator[LlmCalls]:
    """Count the large model's calls made inside, in this task and in tasks it starts."""
    calls = LlmCalls()
    token = _counted.set((*_counted.get(), calls))
    try:
        yield calls
    finally:
        _counted.reset(token)


class ModelBusy(ModelUnavailable):
    """The large model's server asks to be left alone."""

    def __init__(self, message: str, seconds: float | None) -> None:
        super().__init__(message)
        self.seconds = seconds  #: For how long; None: it did not say.


class ModelUnreadable(ModelOutputInvalid):
    """What the large model's server sent is no answer of a model."""


#: What reading a reply that is no reply raises, from a client library that expects one.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


@asynccontextmanager
async def _errors_explained(name: str) -> AsyncGenerator[None]:
    """Whatever a server does becomes one of the port's errors, in our own words: its own may hold anything."""
    import httpx2
    import openai
    from langchain_core.exceptions import ModelError

    try:
        yield
    except PortError:
        raise
    except TimeoutError as error:
        raise ModelUnavailable(f"The large model {name} did not answer in time.") from error
    except (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError) as error:
        raise ModelOutputInvalid(f"The large model {name} did not finish its answer.") from error
    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        raise ModelOutputInvalid(
            f"The large model {name} refused the request ({error.status_code})."
        ) from error
    except openai.RateLimitError as error:
        wait = seconds_to_wait(error.response.headers.get("retry-after"), Clock())
        raise ModelBusy(f"The large model {name} has too much to do.", wait) from error
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        raise ModelUnavailable(
            f"The large model {name} refused our key: check the API key and base URL in the settings."
        ) from error
    except openai.NotFoundError as error:
        raise ModelUnavailable(
            f"The server knows no model {name}: check the model name and base URL in the settings."
        ) from error
    except openai.APIStatusError as error:
        wait = seconds_to_wait(error.response.headers.get("retry-after"), Clock())
        raise ModelBusy(
            f"The large model {name} cannot be reached ({error.status_code}).", wait
        ) from error
    except (openai.OpenAIError, ModelError, httpx2.HTTPError) as error:
        raise ModelUnavailable(
            f"The large model {name} cannot be reached ({type(error).__name__})."
        ) from error
    except _UNREADABLE as error:
        raise ModelUnreadable(
            f"The large model {name} sent what is no answer ({type(error).__name__})."
        ) from error


@dataclass
class _Ending:
    """How a reply ended."""

    reason: str = ""
    said: bool = False

    def check(self, role: str, *, cut_off: bool = False) -> None:
        """Raises ModelOutputInvalid where it is no whole reply."""
        if self.reason == "content_filter":
            raise ModelOutputInvalid(f"The {role}'s answer was stopped by the server's filter.")
        if self.reason == "length" and cut_off:
            raise ModelOutputInvalid(f"The {role}'s answer was cut off at the token limit.")
        if not self.said:
            raise ModelUnreadable(f"The {role}'s answer is empty, or none.")


class ChatLargeModel:
    """The large model on an OpenAI-compatible server."""

    stands_in = False  #: It is the generative small model, in a large one's place.

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str = "",
        timeout_for: Callable[[str], float] = lambda role: 60.0,
        silence: float = math.inf,
        heard: Callable[[LlmCall], None] = _unheard,
        local: bool = False,
    ) -> None:
        """``silence``: seconds without a word after which the server is given up. ``local``: it is our own."""
        self.name = model
        self._local = local
        self._silence = silence
        self._base_url = base_url
        self._api_key = api_key
        self._timeout_for = timeout_for
        self._heard = heard
        self._chat: ChatOpenAI | None = None
        self._http: Any = None
        self._building = asyncio.Lock()
        self.calls = 0

    async def warm(self) -> None:
        """Load the client library in the background of the start; the first answer then does not wait."""
        await asyncio.to_thread(_import_client)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = self._chat = None

    async def write(
        self,
        role: str,
        system: str,
        user: str,
        *,
        quotes: Sequence[str] = (),
        bare: str = "",
        max_tokens: int = 400,
    ) -> AsyncIterator[str]:
        ending = _Ending()
        async with self._metered(role) as usage:
            bound = self._bound_for_writing(role, quotes, max_tokens)
            pieces = self._pieces(
                role, bound, self._messages(role, system, user, bare), usage, ending
            )
            said = Said(max_tokens)
            # Closed also when the reader goes away, so that the server stops writing.
            async with aclosing(pieces):
                async for piece in pieces:
                    if text := said.take(piece):
                        yield text
            if text := said.rest():
                yield text
            ending.check(role, cut_off=bool(quotes))

    async def fill(
        self,
        role: str,
        system: str,
        user: str,
        schema: dict[str, Any],
        *,
        bare: str = "",
        narrow: dict[str, Any] | None = None,
    ) -> Filled:
        started = time.perf_counter()
        schema = self._schema(schema, narrow)
        ending, said = _Ending(), Said(_FILL_TOKENS)
        async with self._metered(role) as usage:
            bound = self._bound_for_filling(role, bare or user, schema)
            # Read piece by piece as well: a server that says nothing is left sooner than one that is slow.
            pieces = self._pieces(
                role, bound, self._messages(role, system, user, bare), usage, ending
            )
            async with aclosing(pieces):
                text = "".join([said.take(piece) async for piece in pieces]) + said.rest()
            ending.check(role)
            values = self._values(role, schema, text, truncated=ending.reason == "length")
        return Filled(
            values=values,
            model=self.name,
            version=self._version(role, system),
            adapter=self._adapter(role),
            ms=(time.perf_counter() - started) * 1000,
        )

    async def _pieces(
        self,
        role: str,
        bound: Awaitable[Runnable[Any, Any]],
        messages: list[tuple[str, str]],
        usage: Usage,
        ending: _Ending,
    ) -> AsyncGenerator[str]:
        """What the server writes, as it comes, in bounds of time."""
        now = asyncio.get_running_loop().time
        deadline, silence = now() + self._timeout_for(role), self._silence
        async with asyncio.timeout_at(min(deadline, now() + silence)):
            chat = await bound
        self._count(role)
        stream = cast("AsyncGenerator[Any]", chat.astream(messages, config=_UNTRACED))
        async with aclosing(stream):
            while True:
                # Bounded chunk by chunk: around a yield it would count the reader's time too.
                async with asyncio.timeout_at(min(deadline, now() + silence)):
                    chunk = await anext(stream, None)
                if chunk is None:
                    return
                usage.take(chunk.usage_metadata)
                ending.reason = str(chunk.response_metadata.get("finish_reason") or ending.reason)
                if text := str(chunk.text):
                    ending.said = True
                    yield text

    # --- what the embedded variant does otherwise ------------------------------------------------

    def _errors(self) -> Any:
        return _errors_explained(self.name)

    def _adapter(self, role: str) -> str:
        return ""

    def _version(self, role: str, system: str) -> str:
        return hashlib.sha256(f"{self.name}\0{system}".encode()).hexdigest()[:12]

    def _messages(self, role: str, system: str, user: str, bare: str) -> list[tuple[str, str]]:
        return [("system", system), ("human", user)] if system else [("human", user)]

    def _schema(self, schema: dict[str, Any], narrow: dict[str, Any] | None) -> dict[str, Any]:
        return schema

    def _values(
        self, role: str, schema: dict[str, Any], text: str, *, truncated: bool
    ) -> dict[str, Any]:
        return parsed_object(text, truncated=truncated)

    async def _bound_for_writing(
        self, role: str, quotes: Sequence[str], max_tokens: int
    ) -> Runnable[Any, Any]:
        return (await self._client()).bind(max_tokens=max_tokens)

    async def _bound_for_filling(
        self, role: str, user: str, schema: dict[str, Any]
    ) -> Runnable[Any, Any]:
        form = {"name": role, "schema": ollama_wire.plain_schema(schema), "strict": True}
        # As an extra field: given by its name the client parses the reply itself, in a way of its own.
        asked = {"response_format": {"type": "json_schema", "json_schema": form}}
        return (await self._client()).bind(max_tokens=_FILL_TOKENS, extra_body=asked)

    # --- the client ------------------------------------------------------------------------------

    def _count(self, role: str) -> None:
        self.calls += 1
        for calls in _counted.get():
            calls.made += 1

    @asynccontextmanager
    async def _metered(self, role: str) -> AsyncGenerator[Usage]:
        """A call: its tokens are put in by the caller, how it ended is told to whoever counts."""
        call = LlmCall(
            role, self.name, local=self._local, masked=is_masked(), stands_in=self.stands_in
        )
        try:
            async with self._errors():
                yield call.usage
            call.ending = "ok"
        except ModelUnavailable as error:
            call.ending = "timeout" if isinstance(error.__cause__, TimeoutError) else "unavailable"
            raise
        except ModelOutputInvalid:
            call.ending = "refused"
            raise
        finally:
            for calls in _counted.get():
                calls.usage.add(call.usage)
            note(call)
            self._heard(call)

    async def _client(self) -> ChatOpenAI:
        async with self._building:
            if self._chat is None:
                self._chat = await self._built(self._base_url, self._api_key, retries=0)
            return self._chat

    async def _built(self, base_url: str | None, key: str, *, retries: int) -> ChatOpenAI:
        await asyncio.to_thread(_import_client)
        import openai
        from langchain_openai import ChatOpenAI
        from pydantic import SecretStr

        from app.models.bounds import bounded

        if self._http is None:
            # Our own: the library shares one between all instances and event loops of a process.
            self._http = openai.DefaultAsyncHttpxClient(event_hooks={"response": [bounded]})
        return ChatOpenAI(
            model=self.name,
            base_url=base_url,
            api_key=SecretStr(key or "none"),
            temperature=0,
            max_retries=retries,
            http_async_client=self._http,
            stream_usage=True,
        )


class EmbeddedLargeModel(ChatLargeModel):
    """The same client pointed at the embedded server, held to grammars, because the model is tiny."""

    stands_in = True

    def __init__(
        self,
        server: EmbeddedServer,
        *,
        timeout_for: Callable[[str], float] = lambda role: 60.0,
        heard: Callable[[LlmCall], None] = _unheard,
        extractive: int = EXTRACTED,
        served_as: Callable[[str], str] = lambda role: role,
    ) -> None:
        super().__init__(MODEL, timeout_for=timeout_for, heard=heard, local=True)
        self._served_as = served_as  # As the small model's: a candidate's adapter has another name.
        self._server = server
        self._extractive = extractive
        self._built_for = ""

    async def write(
        self,
        role: str,
        system: str,
        user: str,
        *,
        quotes: Sequence[str] = (),
        bare: str = "",
        max_tokens: int = 400,
    ) -> AsyncIterator[str]:
        if role == "synthesizer" and quotes and self._extractive:
            self._count(role)
            async with self._metered(role):
                pass  # Sentences taken over as they are: no token was read or written.
            for place, word in enumerate(" ".join(quotes[: self._extractive]).split(" ")):
                yield f" {word}" if place else word
            return
        async for token in super().write(
            role, system, user, quotes=quotes, bare=bare, max_tokens=max_tokens
        ):
            yield token

    def _adapter(self, role: str) -> str:
        return self._server.adapter_version(self._served_as(role)) or ""

    def _version(self, role: str, system: str) -> str:
        return self._adapter(role) or super()._version(role, system)

    def _messages(self, role: str, system: str, user: str, bare: str) -> list[tuple[str, str]]:
        # The adapter is the instruction: it was trained without a system turn. And for a model this
        # small every token of instructions costs more time than it brings sense.
        if bare or self._server.has_adapter(self._served_as(role)):
            return [("human", neutral(bare or user))]
        return super()._messages(role, neutral(system), neutral(user), bare)

    def _schema(self, schema: dict[str, Any], narrow: dict[str, Any] | None) -> dict[str, Any]:
        return narrow or schema

    def _list_of(self, role: str, schema: dict[str, Any]) -> str | None:
        """The only property of a schema whose value a trained role writes without the braces."""
        properties = schema.get("properties", {})
        alone = next(iter(properties)) if len(properties) == 1 else None
        is_list = alone is not None and properties[alone].get("type") == "array"
        return alone if is_list and self._server.has_adapter(self._served_as(role)) else None

    def _values(
        self, role: str, schema: dict[str, Any], text: str, *, truncated: bool
    ) -> dict[str, Any]:
        if name := self._list_of(role, schema):
            text = f'{{"{name}":{text}}}'
        return super()._values(role, schema, text, truncated=truncated)

    def _errors(self) -> Any:
        return self._watched()

    @asynccontextmanager
    async def _watched(self) -> AsyncGenerator[None]:
        try:
            async with _errors_explained(self.name):
                yield
        except ModelUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                self._server.suspect()
            raise

    async def _bound_for_writing(
        self, role: str, quotes: Sequence[str], max_tokens: int
    ) -> Runnable[Any, Any]:
        given = [neutral(quote) for quote in quotes]
        grammar = quotes_grammar(given, least=2) if given else None
        tokens = max_tokens if given else min(max_tokens, _EMBEDDED_TOKENS)
        return await self._bound(role, grammar, tokens)

    async def _bound_for_filling(
        self, role: str, user: str, schema: dict[str, Any]
    ) -> Runnable[Any, Any]:
        if name := self._list_of(role, schema):
            schema = schema["properties"][name]
        return await self._bound(role, schema_grammar(schema, neutral(user)), _FILL_TOKENS)

    async def _bound(self, role: str, grammar: str | None, tokens: int) -> Runnable[Any, Any]:
        extra: dict[str, Any] = {
            "lora": self._server.lora(self._served_as(role)),
            "id_slot": self._server.large_slot,
            "cache_prompt": True,
        }
        if grammar:
            extra["grammar"] = grammar
        return (await self._client()).bind(max_tokens=tokens, extra_body=extra)

    async def _client(self) -> ChatOpenAI:
        endpoint = await self._server.ready(within=self._timeout_for("synthesizer"))
        async with self._building:
            # A restarted server listens elsewhere.
            if self._chat is None or self._built_for != endpoint.address:
                self._chat = await self._built(f"{endpoint.address}/v1", endpoint.key, retries=0)
                self._built_for = endpoint.address
            return self._chat


def _import_client() -> None:
    import langchain_openai

    cast("Any", langchain_openai).ChatOpenAI  # noqa: B018 - its package imports lazily

"""The embedded small model: a supervised llama.cpp child process, and the roles on top of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, cast

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from app.models import embedded_server, scoring
from app.models.grammar import one_of, schema_grammar
from app.models.manifest import Manifest, ManifestError, sha256_of
from app.models.metering import SmallCall, Usage, note
from tools.ports import Choice, Filled, ModelOutputInvalid, ModelUnavailable

log = logging.getLogger(__name__)

#: The name the embedded base model goes by in decisions, traces and /info.
MODEL = "smollm2-135m-instruct"
#: Without a system turn, which the model's own template would add to every request. It is the format the
#: adapters are trained in.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: How many tokens' probabilities are asked for; well above the number of labels of any role.
_CONSIDERED = 64
#: A life shorter than this counts as a failed start, and the next one waits longer.
_STABLE_SECONDS = 20.0
#: So many time-outs in a row mean a wedged model, even when /health still answers.
_TIMEOUTS_IN_A_ROW = 3


class _Died(Exception):
    """The child process ended or was ended."""


class Endpoint(NamedTuple):
    """Where the embedded server listens now; changes with every restart."""

    address: str
    key: str


class EmbeddedServer:
    """A llama.cpp server in a child process: started, watched, restarted, and never left behind.

    Entering does not wait for the model to load: callers do, each at most its own time-out.
    """

    def __init__(
        self,
        model: Path,
        adapters: Mapping[str, Path] | None = None,
        *,
        context: int = 3072,
        slots: int = 3,
        start_timeout: float = 60.0,
        probe_timeout: float = 1.0,
    ) -> None:
        if not model.exists():
            raise FileNotFoundError(f"The base model {model} does not exist: run `make install`.")
        files = list(dict.fromkeys((adapters or {}).values()))
        self._adapter_ids = {role: files.index(path) for role, path in (adapters or {}).items()}
        self._adapter_count = len(files)
        self._slots = slots
        self._start_timeout = start_timeout
        self._probe_timeout = probe_timeout
        self._order = embedded_server.StartOrder(
            model=str(model),
            adapters=[str(path) for path in files],
            context=context,
            slots=slots,
            key=secrets.token_urlsafe(24),
            chat_template=CHAT_TEMPLATE,
        )
        self._ready = asyncio.Event()
        self._client: httpx.AsyncClient | None = None
        self._address = ""
        self._process: asyncio.subprocess.Process | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._probes: set[asyncio.Task[None]] = set()
        self._last_words: deque[str] = deque(maxlen=20)
        self._timeouts = 0
        self._starts = 0
        self._last_error: str | None = None

    # --- life ----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._supervision = asyncio.create_task(self._supervise(), name="embedded model server")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._supervision:
            self._supervision.cancel()
            await asyncio.wait([self._supervision, *self._probes])
        for probe in self._probes:
            probe.cancel()

    async def _supervise(self) -> None:
        while True:
            attempts = AsyncRetrying(
                retry=retry_if_exception_type((_Died, ModelUnavailable)),
                wait=wait_exponential(multiplier=0.1, max=30.0),
                before_sleep=self._note,
            )
            async for attempt in attempts:
                with attempt:
                    await self._live()

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._last_error = str(error)
        log.warning("embedded model server: %s; starting it again", error)

    async def _live(self) -> None:
        """One life of the child, from start to death; raises unless the life was a long one."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # This file's folder must not be on the path: its names shadow packages.
            embedded_server.__file__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C is for the agent, which finishes its turns first and then ends the child.
            start_new_session=True,
        )
        self._process = process
        self._starts += 1
        reading = asyncio.create_task(self._listen(process))
        client: httpx.AsyncClient | None = None
        try:
            self._address = await self._started(process)
            client = httpx.AsyncClient(
                base_url=self._address,
                headers={"Authorization": f"Bearer {self._order['key']}"},
                limits=httpx.Limits(max_connections=16, max_keepalive_connections=16),
                trust_env=False,
            )
            self._client, self._timeouts = client, 0
            self._ready.set()
            born = time.monotonic()
            code = await process.wait()
            if time.monotonic() - born < _STABLE_SECONDS:
                raise _Died(f"it ended with code {code}")
            self._last_error = f"it ended with code {code}"
            log.warning("embedded model server ended with code %s; starting it again", code)
        finally:
            self._ready.clear()
            self._client = None
            await _end(process)
            await reading
            if client:
                await client.aclose()

    async def _started(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdin
        assert process.stdout
        try:
            async with asyncio.timeout(self._start_timeout):
                process.stdin.write(json.dumps(self._order).encode() + b"\n")
                await process.stdin.drain()
                while line := await process.stdout.readline():
                    # llama.cpp may print lines of its own.
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        return str(json.loads(line)["address"])
        except TimeoutError:
            raise _Died(f"it did not start within {self._start_timeout:.0f} s") from None
        except OSError as error:
            raise _Died(f"it could not be started ({error})") from error
        await process.wait()
        words = " ".join(self._last_words)[-300:]
        raise _Died(f"it ended with code {process.returncode} while starting: {words}")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Keep the child's last words, and its pipe from filling up."""
        assert process.stderr
        while line := await process.stderr.readline():
            self._last_words.append(line.decode(errors="replace").strip())

    # --- state ---------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.returncode is None else None

    def status(self) -> dict[str, Any]:
        """What /ready and /info say about the server."""
        state: Literal["ready", "starting", "restarting", "off"] = "off"
        if self._supervision:
            state = "starting" if self._starts <= 1 else "restarting"
        if self._ready.is_set():
            state = "ready"
        return {
            "state": state,
            "restarts": max(self._starts - 1, 0),
            "pid": self.pid,
            "last_error": self._last_error,
        }

    async def ready(self, *, within: float) -> Endpoint:
        """Wait until the model is loaded; raises ModelUnavailable after ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._ready.wait()
        except TimeoutError:
            raise ModelUnavailable(self._explained("is not ready")) from None
        return Endpoint(self._address, self._order["key"])

    async def healthy(self) -> bool:
        """Whether the child answers now; bounded by the probe's time-out."""
        if not self._client:
            return False
        try:
            response = await self._client.get("/health", timeout=self._probe_timeout)
        except httpx.HTTPError:
            return False
        return response.status_code == 200

    def suspect(self) -> None:
        """A request timed out: look whether the child hangs, and end it if so, without making anyone wait."""
        self._timeouts += 1
        process = self._process
        if process and process.returncode is None:
            probe = asyncio.create_task(self._probe(process))
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)

    async def _probe(self, process: asyncio.subprocess.Process) -> None:
        if self._timeouts < _TIMEOUTS_IN_A_ROW and await self.healthy():
            return
        if process is self._process and process.returncode is None:
            self._ready.clear()
            self._last_error = "it hung and was ended"
            log.warning("embedded model server hangs; ending it")
            process.kill()

    def _explained(self, what: str) -> str:
        because = f" (last: {self._last_error})" if self._last_error else ""
        return f"The embedded model server {what}{because}."

    # --- requests ------------------------------------------------------------------------------

    def lora(self, role: str) -> list[dict[str, float]]:
        """The ``lora`` field for a role. Sent always: without it the slot keeps another adapter's state."""
        chosen = self._adapter_ids.get(role)
        return [
            {"id": index, "scale": 1.0 if index == chosen else 0.0}
            for index in range(self._adapter_count)
        ]

    def has_adapter(self, role: str) -> bool:
        return role in self._adapter_ids

    def adapter_version(self, role: str) -> str | None:
        """Digest of the adapter a role runs on."""
        chosen = self._adapter_ids.get(role)
        if chosen is None:
            return None
        return sha256_of(Path(self._order["adapters"][chosen]))[:12]

    def slot(self, role: str) -> int:
        """The slot of a small role. The last one is the large model's: lower ones come first in a batch."""
        small = max(self._slots - 1, 1)
        index = self._adapter_ids.get(role)
        return (index if index is not None else len(role)) % small

    @property
    def large_slot(self) -> int:
        return self._slots - 1

    async def post(self, path: str, body: Mapping[str, Any], *, within: float) -> dict[str, Any]:
        """One request. If the child dies meanwhile, the request is made again once it is back, within the
        same time: requests only compute, so asking twice is harmless."""
        sent = False
        try:
            async with asyncio.timeout(within):
                while True:
                    await self._ready.wait()
                    client = self._client
                    if client is None:
                        await asyncio.sleep(0.01)
                        continue
                    sent = True
                    try:
                        response = await client.post(path, json=body, timeout=None)
                    except httpx.HTTPError as error:
                        sent = False
                        self._last_error = f"{type(error).__name__} {error}".strip()
                        # The child is dying: the supervisor notices in a moment and clears the event.
                        await asyncio.sleep(0.05)
                        continue
                    except RuntimeError:
                        # The client was closed between being picked up and being used.
                        sent = False
                        await asyncio.sleep(0.05)
                        continue
                    break
        except TimeoutError:
            if sent:
                self.suspect()
            what = "did not answer" if sent else "was not back"
            raise ModelUnavailable(self._explained(f"{what} within {within:.1f} s")) from None
        self._timeouts = 0
        return self._checked(response)

    @staticmethod
    def _checked(response: httpx.Response) -> dict[str, Any]:
        if response.status_code == 400:
            # Too long a prompt, a grammar it cannot parse: asking again would not help.
            raise ModelOutputInvalid(
                f"The embedded model refused the request: {response.text[:300]}"
            )
        if response.status_code != 200:
            raise ModelUnavailable(
                f"The embedded model server answered {response.status_code}: {response.text[:300]}"
            )
        return cast("dict[str, Any]", response.json())


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the child: politely by closing its input, else by force."""
    if process.stdin:
        process.stdin.close()
    if process.returncode is None:
        try:
            async with asyncio.timeout(1.0):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def neutral(text: str) -> str:
    """The text with the model's control tokens broken up, so that a customer cannot open a turn."""
    return text.replace("<|", "< |")


def prompt_text(input: str, system: str | None = None) -> str:
    """The raw prompt: exactly the training format when there is no system prompt."""
    opening = f"<|im_start|>system\n{neutral(system)}<|im_end|>\n" if system else ""
    return f"{opening}<|im_start|>user\n{neutral(input)}<|im_end|>\n<|im_start|>assistant\n"


class EmbeddedSmallModel:
    """The roles on the embedded server: with their adapter where there is one, else by prompt."""

    def __init__(
        self,
        server: EmbeddedServer,
        manifest: Manifest,
        *,
        prompt_for: Callable[[str], str | None] = lambda role: None,
        timeout_for: Callable[[str], float] = lambda role: 8.0,
        served_as: Callable[[str], str] = lambda role: role,
    ) -> None:
        self._server = server
        self._served_as = (
            served_as  # Under another name where a candidate runs beside the live one.
        )
        self._manifest = manifest
        self._prompt_for = prompt_for
        self._timeout_for = timeout_for

    async def choose(self, role: str, input: str, options: Sequence[str]) -> Choice:
        started = time.perf_counter()
        entry = self._manifest.adapters.get(role)
        labels = entry.labels if entry and self._server.has_adapter(self._served_as(role)) else None
        if labels is not None:
            untrained = [option for option in options if option not in labels]
            if untrained:
                raise ModelOutputInvalid(f"The {role} adapter knows no option {untrained}.")
            asked = {option: labels[option] for option in options}
            steps = await self._complete(role, input, one_of(list(asked.values())), 1, _CONSIDERED)
            probabilities = scoring.single_token(asked, steps.steps[0].considered)
        else:
            longest = max(len(option) for option in options)
            steps = await self._complete(role, input, one_of(options), longest + 2, _CONSIDERED)
            probabilities = scoring.spelled(options, steps.steps)
        probabilities = scoring.tempered(probabilities, entry.temperature if entry else 1.0)
        return Choice(
            option=max(probabilities, key=probabilities.__getitem__),
            probabilities=probabilities,
            model=MODEL,
            version=self._version(role),
            adapter=self._adapter(role),
            ms=(time.perf_counter() - started) * 1000,
        )

    async def fill(self, role: str, input: str, schema: dict[str, Any]) -> Filled:
        started = time.perf_counter()
        grammar = schema_grammar(schema, neutral(input))
        written = await self._complete(role, input, grammar, 320, 1)
        values = parsed_object(written.text, truncated=written.truncated)
        logprobs = [step.considered.get(step.token, 0.0) for step in written.steps]
        return Filled(
            values=values,
            model=MODEL,
            version=self._version(role),
            adapter=self._adapter(role),
            probability=min(math.exp(sum(logprobs)), 1.0),
            ms=(time.perf_counter() - started) * 1000,
        )

    async def write(self, role: str, input: str, *, max_tokens: int = 80) -> str:
        written = await self._complete(role, input, None, max_tokens, 0)
        if written.truncated:
            raise ModelOutputInvalid(f"The {role} did not finish within {max_tokens} tokens.")
        return written.text.strip()

    async def _complete(
        self, role: str, input: str, grammar: str | None, tokens: int, considered: int
    ) -> _Written:
        if (why := self._manifest.refusal("lora", role)) is not None:
            # The base model without it would answer too, and mean nothing by it.
            raise ManifestError(why)
        adapted = self._server.has_adapter(self._served_as(role))
        body: dict[str, Any] = {
            "prompt": prompt_text(input, None if adapted else self._prompt_for(role)),
            "n_predict": tokens,
            "temperature": 0,
            "n_probs": considered,
            "cache_prompt": True,
            "lora": self._server.lora(self._served_as(role)),
            "id_slot": self._server.slot(self._served_as(role)),
        }
        if grammar is not None:
            body["grammar"] = grammar
        answer = await self._server.post("/completion", body, within=self._timeout_for(role))
        note(SmallCall(MODEL, used_by(answer), role))
        return written_of(answer)

    def _version(self, role: str) -> str:
        prompt = self._prompt_for(role) or ""
        return self._adapter(role) or hashlib.sha256(prompt.encode()).hexdigest()[:12]

    def _adapter(self, role: str) -> str:
        entry = self._manifest.adapters.get(role)
        return entry.version if entry and self._server.has_adapter(self._served_as(role)) else ""


class _Written(NamedTuple):
    """What the server wrote, token by token."""

    text: str
    steps: list[scoring.Step]
    truncated: bool


def used_by(answer: Mapping[str, Any]) -> Usage:
    """The tokens of a /completion answer; what came from the server's cache is among those read."""
    timings: Mapping[str, Any] = answer.get("timings") or {}
    read, written, cached = (
        int(each or 0)
        for each in (
            answer.get("tokens_evaluated"),
            answer.get("tokens_predicted"),
            timings.get("cache_n"),
        )
    )
    return Usage(read, written, min(cached, read))


def written_of(answer: Mapping[str, Any]) -> _Written:
    """The server's /completion answer in our words."""
    try:
        steps = [
            scoring.Step(
                token=str(one["token"]),
                considered={
                    str(other["token"]): float(other["logprob"])
                    for other in reversed(one.get("top_logprobs", []))
                }
                | {str(one["token"]): float(one["logprob"])},
            )
            for one in answer.get("completion_probabilities", [])
        ]
        return _Written(str(answer["content"]), steps, answer.get("stop_type") == "limit")
    except (KeyError, TypeError, ValueError) as error:
        raise ModelOutputInvalid(f"The embedded model's answer has no {error}.") from error


def parsed_object(text: str, *, truncated: bool) -> dict[str, Any]:
    """The JSON object a model wrote, which must be complete."""
    if truncated:
        raise ModelOutputInvalid("The model's answer was cut off at the token limit.")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelOutputInvalid("The model's answer is not JSON.") from error
    if not isinstance(values, dict):
        raise ModelOutputInvalid("The model's answer is not a JSON object.")
    return cast("dict[str, Any]", values)

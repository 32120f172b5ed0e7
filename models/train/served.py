"""Measuring an adapter as it is served: exported, loaded by llama.cpp, one thread, greedy."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import http.client
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from models.train import lora

if TYPE_CHECKING:
    from models.train.adapters import Recipe, Sample


class Served:
    """A llama.cpp server in this process with one adapter on the base model."""

    def __init__(self, adapter: Path) -> None:
        import xllamacpp

        settings: Any = xllamacpp.CommonParams()
        settings.model.path = str(lora.base_folder() / lora.BASE_FILE)
        settings.n_parallel = 1
        settings.n_ctx = 1024
        settings.verbosity = 0
        settings.cpuparams.n_threads = 1
        settings.cpuparams_batch.n_threads = 1
        # The host cache matches by tokens alone and would answer from another adapter's state.
        settings.cache_ram_mib = 0
        settings.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter.resolve()), 0.0)]
        self._server: Any = xllamacpp.Server(settings)
        host, port = self._server.listening_address.split("//")[1].split(":")
        self._connection = http.client.HTTPConnection(host, int(port), timeout=120)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def complete(
        self, input: str, *, tokens: int, considered: int, scale: float = 1.0
    ) -> dict[str, Any]:
        from models.train.adapters import PROMPT

        body = {
            "prompt": PROMPT.format(input=input),
            "n_predict": tokens,
            "temperature": 0,
            "n_probs": considered,
            "cache_prompt": False,
            "lora": [{"id": 0, "scale": scale}],
        }
        self._connection.request(
            "POST", "/completion", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise RuntimeError(f"llama.cpp answered {answer.status}: {text[:300]}")
        return json.loads(text)


def probabilities(answer: dict[str, Any], labels: dict[str, str]) -> dict[str, float]:
    """Each option's share of the probability of all labels."""
    seen = {
        entry["token"]: math.exp(entry["logprob"])
        for entry in answer["completion_probabilities"][0]["top_logprobs"]
    }
    shares = {option: seen.get(token, 1e-9) for option, token in labels.items()}
    whole = sum(shares.values())
    return {option: share / whole for option, share in shares.items()}


def measure(plan: Recipe, adapter: Path) -> dict[str, Any]:
    """Figures on the plan's held-out samples; ``temperature`` is among them."""
    with Served(adapter) as server:
        server.complete("warm up", tokens=1, considered=1)
        figures = _labels(plan, plan.labels, server) if plan.labels else _objects(plan.held, server)
    return {"held_out": len(plan.held), "threads": 1, **figures}


def _timed(ask: Callable[[], dict[str, Any]], times: list[float]) -> dict[str, Any]:
    started = time.perf_counter()
    answer = ask()
    times.append((time.perf_counter() - started) * 1000)
    return answer


def _speed(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "ms_median": round(statistics.median(ordered)),
        "ms_p95": round(ordered[int(0.95 * (len(ordered) - 1))]),
    }


def _labels(plan: Recipe, labels: dict[str, str], server: Served) -> dict[str, Any]:
    times: list[float] = []
    shares: list[dict[str, float]] = []
    for sample in plan.held:
        answer = _timed(
            lambda sample=sample: server.complete(
                sample.input, tokens=1, considered=len(labels) + 24
            ),
            times,
        )
        shares.append(probabilities(answer, labels))
    chosen = [max(share, key=share.__getitem__) for share in shares]
    right = [a == sample.answer for a, sample in zip(chosen, plan.held, strict=True)]
    # Every other sample sets the temperature, so that the rest can say whether it is a good one.
    scale = temperature(shares[::2], [sample.answer for sample in plan.held[::2]])
    mistakes: dict[str, int] = {}
    for a, sample in zip(chosen, plan.held, strict=True):
        if a != sample.answer:
            pair = f"{sample.answer} > {a}"
            mistakes[pair] = mistakes.get(pair, 0) + 1
    return {
        "temperature": scale,
        "accuracy": round(statistics.mean(right), 4),
        "mistakes": dict(sorted(mistakes.items(), key=lambda item: -item[1])[:12]),
        "groups": {
            name: round(statistics.mean(right[part]), 4) for name, part in plan.groups.items()
        },
        **_speed(times),
    }


def temperature(shares: Sequence[dict[str, float]], truth: Sequence[str]) -> float:
    """The temperature under which the true options are likeliest."""

    def loss(scale: float) -> float:
        total = 0.0
        for share, option in zip(shares, truth, strict=True):
            raised = {name: max(p, 1e-9) ** (1 / scale) for name, p in share.items()}
            total -= math.log(max(raised[option] / sum(raised.values()), 1e-12))
        return total

    return min((round(0.3 + 0.05 * step, 2) for step in range(75)), key=loss)


def _objects(held: Sequence[Sample], server: Served) -> dict[str, Any]:
    times: list[float] = []
    exact = invalid = invented = values = 0
    fields: dict[str, list[bool]] = {}
    wrong: list[list[str]] = []
    for sample in held:
        answer = _timed(
            lambda sample=sample: server.complete(sample.input, tokens=120, considered=1), times
        )
        try:
            got = json.loads(answer["content"])
        except json.JSONDecodeError:
            invalid += 1
            continue
        wanted = json.loads(sample.answer)
        exact += got == wanted
        if got != wanted and len(wrong) < 8:
            wrong.append([sample.input, sample.answer, answer["content"]])
        if isinstance(wanted, dict) and isinstance(got, dict):
            for name, value in wanted.items():
                fields.setdefault(name, []).append(got.get(name) == value)
            for value in got.values():
                values += isinstance(value, str)
                invented += (
                    isinstance(value, str)
                    and value not in sample.input
                    and value not in wanted.values()
                )
    return {
        "temperature": 1.0,
        "decoding": "greedy, no grammar",
        "exact": round(exact / len(held), 4),
        "invalid_json": invalid,
        "invented_values": f"{invented} of {values}",
        "fields": {
            name: [round(statistics.mean(hits), 3), len(hits)]
            for name, hits in sorted(fields.items())
        },
        "wrong": wrong,
        **_speed(times),
    }

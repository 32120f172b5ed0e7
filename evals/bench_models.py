"""How much the model gateway adds to a bare HTTP call of the same prompt: `python -m evals.bench_models`.

Each decision and its bare call are made in turn on the same server, so that what else the machine does
burdens both alike. The ratio of the medians is the figure to compare.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import time
from pathlib import Path
from typing import Any

from app.models.embedded import EmbeddedServer, EmbeddedSmallModel, prompt_text
from app.models.grammar import one_of, schema_grammar
from app.models.manifest import base_model, load_manifest

MESSAGES = [
    "where is my order SB-10482",
    "I was charged twice for the stove, what now?",
    "please send order SB-10711 to Lindenweg 4, 20095 Hamburg",
    "can I pause Care Plus for two months",
    "the tent arrived with a broken pole, I want my money back",
]
OPTIONS = ["order", "account", "other"]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order_number": {"type": ["string", "null"], "x-copy": True},
        "reason": {"enum": ["damaged", "late", "other", None]},
    },
}


def resident_mb(pid: int | None) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


async def run(rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each request, by kind and way (``choose bare``, ``choose gateway``, ...)."""
    base = base_model()
    manifest = load_manifest(base=base)
    began = time.perf_counter()
    async with EmbeddedServer(base, manifest.adapter_paths()) as server:
        address, key = await server.ready(within=60)
        print(f"start to ready        {time.perf_counter() - began:6.2f} s")
        host, _, port = address.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)

        def bare(body: dict[str, Any]) -> float:
            started = time.perf_counter()
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
            connection.request("POST", "/completion", json.dumps(body), headers)
            connection.getresponse().read()
            return (time.perf_counter() - started) * 1000

        model = EmbeddedSmallModel(server, manifest, timeout_for=lambda role: 60.0)
        router = manifest.adapters.get("router")
        labels = (router.labels if router else None) or dict(zip(OPTIONS, OPTIONS, strict=True))
        times: dict[str, list[float]] = {}
        for number in range(rounds):
            text = f"{MESSAGES[number % len(MESSAGES)]} ({number})"
            common: dict[str, Any] = {
                "prompt": prompt_text(text),
                "temperature": 0,
                "cache_prompt": False,
                "id_slot": 0,
            }
            choosing = {
                **common,
                "n_predict": 1 if router else 9,
                "n_probs": 64,
                "grammar": one_of(list(labels.values())),
                "lora": server.lora("router"),
            }
            filling = {
                **common,
                "n_predict": 320,
                "n_probs": 1,
                "grammar": schema_grammar(SCHEMA, text),
                "lora": server.lora("extractor"),
            }
            # A different first request each round: the second of a pair must not find the prompt cached.
            for name, body in (("choose", choosing), ("fill", filling)):
                for way in ("bare", "gateway") if number % 2 else ("gateway", "bare"):
                    if way == "bare":
                        took = await asyncio.to_thread(bare, body)
                    else:
                        # Another role's request in between takes the prompt out of the slot.
                        await asyncio.to_thread(
                            bare, {**common, "prompt": "x", "n_predict": 1, "lora": server.lora("")}
                        )
                        started = time.perf_counter()
                        if name == "choose":
                            await model.choose("router", text, list(labels))
                        else:
                            await model.fill("extractor", text, SCHEMA)
                        took = (time.perf_counter() - started) * 1000
                    times.setdefault(f"{name} {way}", []).append(took)
        connection.close()
        for name in ("choose", "fill"):
            for way in ("bare", "gateway"):
                values = times[f"{name} {way}"]
                p50, p95 = statistics.median(values), quantile(values, 0.95)
                print(f"{name:6} {way:8} p50 {p50:7.1f} ms   p95 {p95:7.1f} ms")
            ratio = statistics.median(times[f"{name} gateway"]) / statistics.median(
                times[f"{name} bare"]
            )
            print(f"{name:6} gateway / bare   {ratio:.3f}")
        print(
            f"adapters {len(manifest.adapters)}, resident memory {resident_mb(server.pid):.0f} MB"
        )
        return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    asyncio.run(run(parser.parse_args().rounds))


if __name__ == "__main__":
    main()

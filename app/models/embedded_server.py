"""The embedded llama.cpp server as a program of its own, so that its crash or hang is not the agent's.

Reads one JSON line (the start order) from standard input, writes one JSON line (its address) to standard
output, and exits as soon as standard input closes: it cannot outlive the process that started it.
"""

# Only the standard library and xllamacpp: every further import would lengthen each restart.
import importlib
import json
import os
import sys
from typing import Any, TypedDict


class StartOrder(TypedDict):
    """What to load and how; comes through standard input, because arguments show in the process list."""

    model: str
    adapters: list[str]
    context: int
    slots: int
    key: str
    chat_template: str


def parameters(order: StartOrder) -> Any:
    """The server's settings for a start order."""
    xllamacpp = _engine()
    params = xllamacpp.CommonParams()
    params.model.path = order["model"]
    params.model_alias = {"embedded"}
    # One pool of KV cells for all slots: a long prompt may take most of it, while small decisions take little.
    params.n_ctx = order["context"]
    params.n_parallel = order["slots"]
    params.kv_unified = True
    # Small batches, so that a decision in a lower slot gets its turn between two pieces of a long prompt.
    params.n_batch = params.n_ubatch = 128
    # More threads spin against each other as soon as another process is busy: 10 times slower.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.n_threads_http = 4
    # The host prompt cache matches by tokens alone and would answer from another adapter's state.
    params.cache_ram_mib = 0
    # Scale 0.0: a request that names no adapter runs on the plain base.
    params.lora_adapters = [
        xllamacpp.CommonAdapterLoraInfo(path, 0.0) for path in order["adapters"]
    ]
    params.lora_init_without_apply = True
    params.api_keys = [order["key"]]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.use_jinja = True
    params.chat_template = order["chat_template"]
    params.ui = False
    params.verbosity = 0
    params.warmup = True
    return params


def _engine() -> Any:
    return importlib.import_module(
        "xllamacpp"
    )  # Not a plain import: its compiled part has no types.


def main() -> None:
    """Serve until standard input closes."""
    order: StartOrder = json.loads(sys.stdin.buffer.readline())
    server = _engine().Server(parameters(order))
    print(json.dumps({"address": server.listening_address}), flush=True)  # noqa: T201 - the protocol
    sys.stdin.buffer.read()
    # Nothing to save; a generation in progress would hold up an orderly end.
    os._exit(0)


if __name__ == "__main__":
    main()

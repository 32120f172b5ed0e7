"""The kinds of backend that the crash eval writes to, and how the customers of each business speak."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

#: How a message begins -> its intent; and what a model would read from one.
Speech = tuple[Mapping[str, str], Callable[[str], dict[str, str]]]


@dataclass(frozen=True)
class Kind:
    """Where a run's effects live."""

    business: Literal["northfell", "halden"]
    #: Some effects are in our own books, in the ledger's database.
    ours: bool = True
    #: Some are in another system.
    outside: bool = True


#: The shop with its own money, and with a payment service that takes keys or does not; then the provider's REST
#: service: writes that take a key, writes that are found by our reference, writes that only the record's state tells of.
KINDS = {
    "books": Kind("northfell", outside=False),
    "keys": Kind("northfell"),
    "no-keys": Kind("northfell"),
    "rest-key": Kind("halden", ours=False),
    "rest-reference": Kind("halden", ours=False),
    "rest-state": Kind("halden", ours=False),
}


#: Where the provider's service listens in this eval, handed on to every process that is started from here.
PROVIDER = "CRASH_EVAL_PROVIDER"
PROVIDER_KEY = "the-key-of-the-crash-eval"


def provider_port() -> int:
    """One for all runs of this process, as what is forked later has the address loaded already."""
    if PROVIDER not in os.environ:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            os.environ[PROVIDER] = str(probe.getsockname()[1])
    return int(os.environ[PROVIDER])


def provider_environment() -> dict[str, str]:
    """What the provider's ``domain.yaml`` reads."""
    return {"HALDEN_API": f"http://127.0.0.1:{provider_port()}", "HALDEN_KEY": PROVIDER_KEY}


def speech_of(business: str) -> Speech:
    """How its customers write in this eval."""
    if business == "northfell":
        from evals import crash_shop

        return crash_shop.OPENINGS, crash_shop.values_in
    from evals import crash_provider

    return crash_provider.OPENINGS, crash_provider.values_in

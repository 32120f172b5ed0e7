"""How much one address, customer, thread or operator may ask for: counted by `limits`, in this process or in Redis."""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from limits import RateLimitItem, parse_many
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import (
    MovingWindowRateLimiter,
    RateLimiter,
    SlidingWindowCounterRateLimiter,
)
from limits.errors import StorageError

log = logging.getLogger(__name__)

#: What is counted: requests of an address, its log-ins and its wrong keys; requests of a customer, their turns
#: and their calls of the large model; turns of a thread; requests of an operator.
Kind = Literal["ip", "login", "keys", "customer", "turns", "cost", "thread", "operator"]

DEFAULTS: Mapping[str, str] = {
    "ip": "3000/minute",
    "login": "60/minute",
    # Each window is longer than the one before: who goes on guessing waits longer and longer.
    "keys": "5/10 second; 15/5 minute; 40/hour",
    "customer": "600/minute",
    "turns": "120/minute",
    "thread": "60/minute",
    "cost": "300/hour",
    "operator": "1200/minute",
}


@dataclass(frozen=True)
class Standing:
    """How one who asks stands in the narrowest of their windows."""

    kind: Kind
    limit: int
    remaining: int
    reset: int  #: Seconds until the window is free again.
    allowed: bool = True

    @property
    def headers(self) -> dict[str, str]:
        told = {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset),
        }
        return told if self.allowed else {**told, "Retry-After": str(self.reset)}


@dataclass(frozen=True)
class _Limiters:
    """Two ways of counting in one place."""

    cheap: RateLimiter
    exact: RateLimiter

    @classmethod
    def on(cls, storage: MemoryStorage | RedisStorage) -> _Limiters:
        return cls(SlidingWindowCounterRateLimiter(storage), MovingWindowRateLimiter(storage))


class Rates:
    """Counts and refuses; where Redis cannot be reached each process counts for itself."""

    def __init__(self, rules: Mapping[str, str], redis_url: str | None = None) -> None:
        given = {**DEFAULTS, **rules}
        self._rules: dict[str, list[RateLimitItem]] = {
            kind: [] if rule == "off" else parse_many(rule) for kind, rule in given.items()
        }
        self._redis = (
            RedisStorage(
                f"async+{redis_url}",
                wrap_exceptions=True,
                implementation="redispy",
                key_prefix="signalbox",
                socket_timeout=0.5,
                socket_connect_timeout=0.5,
            )
            if redis_url
            else None
        )
        self._here = _Limiters.on(MemoryStorage())
        self._shared = _Limiters.on(self._redis) if self._redis is not None else None
        self._without_until = 0.0

    async def spend(self, kind: Kind, who: str, cost: int = 1) -> Standing | None:
        """Count what is asked for; None where this is not limited."""
        return await self._told(kind, who, cost)

    async def standing(self, kind: Kind, who: str) -> Standing | None:
        """The same, and nothing is counted."""
        return await self._told(kind, who, 0)

    async def _told(self, kind: Kind, who: str, cost: int) -> Standing | None:
        items = self._rules[kind]
        if not items:
            return None
        if self._shared is not None and time.monotonic() >= self._without_until:
            try:
                return await self._counted(self._shared, kind, items, who, cost)
            except StorageError as error:
                log.warning("Redis cannot be reached, limits are this process's own: %s", error)
                self._without_until = time.monotonic() + 5
        return await self._counted(self._here, kind, items, who, cost)

    async def _counted(
        self,
        limiters: _Limiters,
        kind: Kind,
        items: list[RateLimitItem],
        who: str,
        cost: int,
    ) -> Standing:
        # Of wrong keys each one is remembered: that tells exactly when the next may be tried.
        limiter = limiters.exact if kind == "keys" else limiters.cheap
        found: list[Standing] = []
        for item in items:
            allowed = (
                await limiter.hit(item, kind, who, cost=cost)
                if cost
                else await limiter.test(item, kind, who)
            )
            stats = await limiter.get_window_stats(item, kind, who)
            reset = max(1, math.ceil(stats.reset_time - time.time()))
            found.append(Standing(kind, item.amount, max(stats.remaining, 0), reset, allowed))
        refused = [each for each in found if not each.allowed]
        return (
            max(refused, key=lambda each: each.reset)
            if refused
            else min(found, key=lambda each: each.remaining / each.limit)
        )

    async def close(self) -> None:
        if self._redis is not None:
            bridge: Any = self._redis.bridge  # `limits` has no way to close what it opened.
            await bridge.storage.aclose()


def address_of(host: str | None) -> str:
    """An address as it is counted: of IPv6 the network that one household has."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return host or "unknown"
    if address.version == 6 and not address.is_loopback:
        return str(ipaddress.ip_network(f"{address}/64", strict=False))
    return str(address)


def checked(rules: Mapping[str, str]) -> Mapping[str, str]:
    """The rules as they were given; raises ValueError for a kind or a form that there is none of."""
    for kind, rule in rules.items():
        if kind not in DEFAULTS:
            raise ValueError(f"{kind!r} is not counted; what is: {', '.join(DEFAULTS)}")
        if rule != "off":
            try:
                parse_many(rule)
            except ValueError:
                raise ValueError(
                    f"{kind}: {rule!r} is no limit; write it as 60/minute, or off"
                ) from None
    return rules

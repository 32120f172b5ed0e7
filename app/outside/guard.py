"""How a system that is down is left alone: retries for reads, and a circuit that opens after several failures."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from purgatory import SyncCircuitBreakerFactory
from purgatory.domain.model import OpenedState
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_random_exponential

from tools.ports import BackendUnavailable, NotSent

T = TypeVar("T")

#: So many failures in a row open the circuit, and for so long nobody is sent against the wall.
FAILURES, SECONDS = 5, 15.0
#: A read is asked again so often, and no longer than so many seconds after the first time.
ATTEMPTS, PATIENCE = 3, 8.0


class Guard:
    """The circuit of one system."""

    def __init__(
        self,
        name: str,
        *,
        failures: int = FAILURES,
        seconds: float = SECONDS,
        attempts: int = ATTEMPTS,
    ) -> None:
        self._name = name
        self._circuits = SyncCircuitBreakerFactory(default_threshold=failures, default_ttl=seconds)
        self._attempts = attempts
        self._why = ""  #: What it failed with last.

    def read(self, ask: Callable[[], T]) -> T:
        """Ask, and again where that may help. Raises BackendUnavailable."""
        again = Retrying(
            stop=stop_after_attempt(self._attempts) | stop_after_delay(PATIENCE),
            wait=wait_random_exponential(multiplier=0.1, max=1),
            retry=retry_if_exception_type(BackendUnavailable),
            reraise=True,
        )
        try:
            return again(lambda: self._through(ask))
        except OpenedState as error:
            raise BackendUnavailable(self._left_alone) from error

    def write(self, send: Callable[[], T]) -> T:
        """Send once. Raises NotSent or Uncertain."""
        try:
            return self._through(send)
        except OpenedState as error:
            raise NotSent(self._left_alone) from error

    def ready(self) -> None:
        """Raises NotSent while the circuit is open."""
        context = self._circuits.get_breaker(self._name).context
        opened = context.opened_at
        if context.state == "opened" and opened is not None and time.time() < opened + context.ttl:
            raise NotSent(self._left_alone)

    @property
    def problem(self) -> str | None:
        """Why the system is not asked just now; None where it is."""
        try:
            self.ready()
        except NotSent as error:
            return str(error)
        return None

    @property
    def _left_alone(self) -> str:
        return f"{self._name} is left alone for a while{self._why and f' ({self._why})'}"

    def _through(self, call: Callable[[], T]) -> T:
        with self._circuits.get_breaker(self._name):
            try:
                return call()
            except Exception as error:
                self._why = str(error)
                raise

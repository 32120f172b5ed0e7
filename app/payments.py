"""The payment service over HTTP: every answer is classed as done, declined, not sent or uncertain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from app.health import Checks, check
from tools.ports import BackendUnavailable, PaymentNotSent, PaymentRefused, PaymentUncertain
from tools.values import Clock, Payment, PaymentOrder

#: Together shorter than the ledger's lease of an outside effect.
TIMEOUT = httpx.Timeout(10, connect=3, pool=3)

#: Answers below 500 after which the service may still do what it was asked, or has done it.
UNDECIDED = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}

KEY_TAKEN = (
    "The payment service refuses the request or its key (422): somebody has to look into its books."
)

#: What can only happen before the first byte of a request has left.
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class _Listed(BaseModel):
    payments: list[Payment]


def _unheard() -> None:
    """Nobody wants to know when a request has been sent."""


class HttpPayments:
    """The payment service that ``SIGNALBOX_PAYMENTS_URL`` names."""

    def __init__(
        self,
        url: str,
        clock: Clock | None = None,
        *,
        keys_kept: timedelta = timedelta(0),
        settles_within: timedelta | None = None,
        sent: Callable[[], None] = _unheard,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        """``keys_kept``: how long the service remembers a key, zero when it takes none.
        ``settles_within``: when a payment that is not listed was certainly not made; None is never.
        ``sent``: called when a request has left and its answer has not come."""
        self._clock = clock or Clock()
        self._keys_kept = keys_kept
        self._settles_within = settles_within
        self._sent = sent
        self._client = httpx.Client(base_url=url, timeout=timeout)

    def __enter__(self) -> HttpPayments:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def keyed(self, since: datetime) -> bool:
        return self._clock.now() < since + self._keys_kept

    def absent(self, since: datetime) -> bool:
        settled = self._settles_within
        return settled is not None and self._clock.now() >= since + settled

    def pay(self, order: PaymentOrder, key: str) -> Payment:
        body = order.model_dump(mode="json", include={"reference", "amount", "currency", "method"})
        try:
            answer = self._client.post(
                f"/{order.kind}s",
                json=body,
                headers={"Idempotency-Key": key},
                extensions={"trace": self._trace},
            )
        except NOT_SENT as error:
            raise PaymentNotSent from error
        except httpx.HTTPError as error:
            raise PaymentUncertain from error
        if answer.is_success:
            return _payment(answer, order)
        if answer.is_client_error and answer.status_code not in UNDECIDED:
            raise PaymentRefused
        if answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
            # Whatever was paid under this key was not this order: asking again will not change that.
            raise PaymentUncertain(KEY_TAKEN)
        raise PaymentUncertain(f"The payment service answered {answer.status_code}.")

    def find(self, reference: str) -> list[Payment]:
        try:
            answer = self._client.get("/payments", params={"reference": reference})
            answer.raise_for_status()
            return _Listed.model_validate_json(answer.content).payments
        except (httpx.HTTPError, ValidationError) as error:
            raise BackendUnavailable from error

    def ready(self) -> None:
        try:
            self.find("ready")
        except BackendUnavailable as error:
            raise PaymentNotSent from error

    async def health(self) -> Checks:
        """Whether it answers; without it nothing is paid and everything else goes on."""
        try:
            await asyncio.to_thread(self.ready)
        except BackendUnavailable as error:
            return {"payments": check(str(error))}
        return {"payments": check(None)}

    def _trace(self, event: str, _: dict[str, Any]) -> None:
        if event.endswith(".send_request_body.complete"):
            self._sent()


def _payment(answer: httpx.Response, order: PaymentOrder) -> Payment:
    try:
        payment = Payment.model_validate_json(answer.content)
    except ValidationError as error:
        raise PaymentUncertain from error
    if not payment.settles(order):
        # Something was paid, but not this: only a look at the books can tell what.
        raise PaymentUncertain
    return payment

"""Operators sign in at the desk's page through the company's login: OpenID Connect's authorization code, with PKCE."""

# The library carries no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer

from app.identity.operators import Discovered, NoRole, OperatorLogin
from app.identity.tokens import NotKnown
from tools.ports import BackendUnavailable

log = logging.getLogger(__name__)

#: What is remembered of a sign-in while somebody is at the login, in a signed cookie of the browser that began it.
COOKIE = "signalbox_sign_in"
#: How long that may take, in seconds.
MOST_SECONDS = 600
#: How long the login is waited for when a code is exchanged, in seconds.
EXCHANGE_SECONDS = 10.0


class NotCompleted(Exception):
    """The sign-in was not completed. Please try again."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


@dataclass(frozen=True)
class Begun:
    """Where the browser goes, and what it brings back."""

    url: str
    cookie: str


class DeskSignIn:
    """Sends an operator to the login and brings back a token that opens the desk. Keeps nothing: the token is the
    page's, and ends by itself."""

    def __init__(
        self,
        login: OperatorLogin,
        issuer: Discovered,
        *,
        client: str,
        client_secret: str | None,
        scope: str,
        secret: str,
    ) -> None:
        """``secret``: what signs the cookie."""
        self._login = login
        self._issuer = issuer
        self._client = client
        self._client_secret = client_secret
        self._scope = scope
        self._kept = URLSafeTimedSerializer(secret, salt="signalbox.desk-sign-in")

    async def begin(self, back: str, room: str) -> Begun:
        """``back``: our address that the login returns to. Raises BackendUnavailable while it cannot be reached."""
        from authlib.common.security import generate_token

        endpoint = await asyncio.to_thread(self._issuer.endpoint, "authorization_endpoint")
        verifier = generate_token(48)
        async with self._session(back) as session:
            url, state = session.create_authorization_url(endpoint, code_verifier=verifier)
        return Begun(url, self._kept.dumps([state, verifier, room]))

    async def finish(self, came: str, back: str, cookie: str) -> tuple[str, str]:
        """The token and the room, from the address that the login returned to. Raises NotCompleted, NoRole and
        BackendUnavailable."""
        import httpx2  # What the library speaks HTTP with.
        from authlib.common.errors import AuthlibBaseError

        try:
            state, verifier, room = self._kept.loads(cookie, max_age=MOST_SECONDS)
        except (BadData, ValueError) as error:
            raise NotCompleted from error
        endpoint = await asyncio.to_thread(self._issuer.endpoint, "token_endpoint")
        try:
            async with self._session(back, state=state) as session:
                given: dict[str, Any] = await session.fetch_token(
                    endpoint, authorization_response=came, code_verifier=verifier, state=state
                )
        except (AuthlibBaseError, ValueError) as error:
            log.info("a sign-in at the desk was not completed: %s", error)
            raise NotCompleted from error
        except httpx2.HTTPError as error:
            log.warning("the operators' login gives no tokens: %s", type(error).__name__)
            raise BackendUnavailable("the operators' login cannot be reached") from error
        return await asyncio.to_thread(self._usable, given), room

    def _usable(self, given: dict[str, Any]) -> str:
        """The token that opens the desk: the one that is made for our audience."""
        refused: NotKnown = NotKnown()
        for name in ("access_token", "id_token"):
            token = given.get(name)
            if not isinstance(token, str):
                continue
            try:
                self._login.read(token)
            except NoRole:
                raise
            except NotKnown as error:
                refused = error
            else:
                return token
        log.warning("what the operators' login gave is not for this desk: %s", refused)
        raise NotCompleted("Your login gave no token for this desk. Ask whoever runs it.")

    def _session(self, back: str, *, state: str | None = None) -> Any:
        # Loaded where somebody signs in: no start waits for it.
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        return AsyncOAuth2Client(
            self._client,
            self._client_secret,
            # A client without a secret proves itself by PKCE alone.
            token_endpoint_auth_method="client_secret_basic" if self._client_secret else "none",
            scope=self._scope,
            redirect_uri=back,
            code_challenge_method="S256",
            state=state,
            timeout=EXCHANGE_SECONDS,
            follow_redirects=False,
        )


__all__ = ["COOKIE", "MOST_SECONDS", "Begun", "DeskSignIn", "NotCompleted"]

"""Operators sign in at the desk's page by the company's login: a real provider on this machine, and a real browser."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import ValidationError

from app.config import Settings
from app.main import create_app

from .conftest import over, served

CLIENT = "the-desk"
BACK = "/desk/login/callback"


class Provider:
    """A login that knows one client, gives each code once, and holds it to its PKCE challenge."""

    def __init__(self) -> None:
        self.url = ""
        self.key = rsa.generate_private_key(65537, 2048)
        self.roles: list[str] = ["signalbox-admin"]
        self.audience = CLIENT
        self.refuses = ""
        self.broken = False
        self.codes: dict[str, str] = {}
        self.asked: list[dict[str, str]] = []
        self.app = FastAPI()
        self.app.get("/.well-known/openid-configuration")(self.described)
        self.app.get("/certs")(self.certs)
        self.app.get("/authorize")(self.authorize)
        self.app.post("/token")(self.token)

    def described(self) -> dict[str, str]:
        at = {"jwks_uri": "certs", "authorization_endpoint": "authorize", "token_endpoint": "token"}
        return {"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in at.items()}}

    def certs(self) -> dict[str, Any]:
        to_jwk = jwt.algorithms.RSAAlgorithm.to_jwk
        return {"keys": [{**to_jwk(self.key.public_key(), as_dict=True), "kid": "k1"}]}

    def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        if self.refuses:
            given = {"error": self.refuses}
        else:
            given = {"code": f"code-{len(self.codes)}"}
            self.codes[given["code"]] = asked["code_challenge"]
        back = urlencode({**given, "state": asked["state"]})
        return RedirectResponse(f"{asked['redirect_uri']}?{back}", 303)

    async def token(self, request: Request) -> Response:
        if self.broken:
            return Response("<html>down</html>", 502)
        form = {name: one[0] for name, one in parse_qs((await request.body()).decode()).items()}
        challenge = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if challenge != urlsafe_b64encode(digest).decode().rstrip("="):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = datetime.now(UTC)
        told = {
            "iss": self.url,
            "aud": self.audience,
            "sub": "u-17",
            "roles": self.roles,
            "iat": now,
            "exp": now + timedelta(minutes=10),
        }
        signed = jwt.encode(told, self.key, algorithm="RS256", headers={"kid": "k1"})
        # As many do: an access token that only the login itself can read, beside an ID token.
        given = {"access_token": "opaque", "id_token": signed, "token_type": "Bearer"}
        return JSONResponse(given)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    made = Provider()
    async with served(made.app) as running:
        made.url = running.url
        yield made


def settings_of(tmp_path, **given: object) -> Settings:
    return Settings(
        _env_file=None, data_dir=tmp_path / "data", secret="a secret for the tests", **given
    )  # type: ignore[reportCallIssue]


@pytest.fixture
def settings(tmp_path, provider):
    return settings_of(tmp_path, oidc_issuer=provider.url, oidc_audience=CLIENT, oidc_client=CLIENT)


@pytest.fixture
def app(settings, desk):
    return create_app(settings, over(desk))


async def came_back(client: httpx.AsyncClient, provider: Provider, room: str = "inbox") -> str:
    """Where the browser is at the end of a sign-in."""
    sent = await client.get("/desk/login", params={"room": room})
    async with httpx.AsyncClient() as elsewhere:
        returned = await elsewhere.get(sent.headers["location"])
    answer = await client.get(
        urlsplit(returned.headers["location"])._replace(netloc="", scheme="").geturl()
    )
    return answer.headers["location"]


async def test_somebody_with_a_role_comes_back_to_the_room(client, provider):
    at = await came_back(client, provider, "models")
    token = parse_qs(urlsplit(at).fragment)["token"][0]
    answer = await client.get("/v1/operator", headers={"X-API-Key": token})

    assert urlsplit(at).path == "/desk/models"
    assert answer.json()["name"] == "u-17"
    assert answer.json()["role"] == "admin"


async def test_the_login_is_asked_to_come_back_here(client, provider):
    await came_back(client, provider)

    assert provider.asked[0]["redirect_uri"] == f"http://localhost{BACK}"
    assert "openid" in provider.asked[0]["scope"].split()


async def test_a_room_that_is_none_leads_nowhere_else(client, provider):
    at = await came_back(client, provider, "//evil.example/desk")

    assert at.startswith("/desk#token=")


async def test_a_code_works_in_the_browser_that_asked_for_it(client, provider):
    """Another's answer, a repeated one and a forged state open nothing."""
    sent = await client.get("/desk/login")
    async with httpx.AsyncClient() as elsewhere:
        returned = await elsewhere.get(sent.headers["location"])
    back = urlsplit(returned.headers["location"])
    cookie = client.cookies.get("signalbox_sign_in")
    client.cookies.clear()
    stranger = await client.get(f"{BACK}?{back.query}")
    client.cookies.set("signalbox_sign_in", cookie, path="/desk/login")
    forged = await client.get(f"{BACK}?code=code-0&state=made-up")

    for answer in (stranger, forged):
        assert "not+completed" in answer.headers["location"]
        assert "token" not in answer.headers["location"]


async def test_a_code_is_good_once(client, provider):
    sent = await client.get("/desk/login")
    async with httpx.AsyncClient() as elsewhere:
        returned = await elsewhere.get(sent.headers["location"])
    cookie = client.cookies.get("signalbox_sign_in")
    query = urlsplit(returned.headers["location"]).query
    first = await client.get(f"{BACK}?{query}")
    client.cookies.set("signalbox_sign_in", cookie, path="/desk/login")
    second = await client.get(f"{BACK}?{query}")

    assert "#token=" in first.headers["location"]
    assert "#notice=" in second.headers["location"]


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ({"refuses": "access_denied"}, "not+completed"),
        ({"roles": ["staff"]}, "no+role"),
        ({"audience": "another"}, "no+token+for+this+desk"),
        ({"broken": True}, "notice="),
    ],
)
async def test_what_goes_wrong_is_said_at_the_door(client, provider, trouble, says):
    for name, value in trouble.items():
        setattr(provider, name, value)
    at = await came_back(client, provider)

    assert at.startswith("/desk#notice=")
    assert says in at


async def test_a_login_that_is_away_is_said_at_the_door(tmp_path, desk, free_port):
    settings = settings_of(
        tmp_path,
        oidc_issuer=f"http://127.0.0.1:{free_port}",
        oidc_audience=CLIENT,
        oidc_client=CLIENT,
    )
    async with served(create_app(settings, over(desk))) as running, httpx.AsyncClient() as client:
        answer = await client.get(f"{running.url}/desk/login")

    assert "cannot+be+reached" in answer.headers["location"]


async def test_without_a_client_nobody_is_sent_anywhere(tmp_path, desk, provider):
    settings = settings_of(tmp_path, oidc_issuer=provider.url, oidc_audience=CLIENT)
    async with served(create_app(settings, over(desk))) as running, httpx.AsyncClient() as client:
        asked = await client.get(f"{running.url}/desk/login")
        page = await client.get(f"{running.url}/desk")

    assert asked.status_code == 404
    assert "company's login" not in page.text


def test_a_clients_secret_without_a_client_is_refused(tmp_path):
    given = {"oidc_issuer": "https://id.example", "oidc_audience": "a", "oidc_client_secret": "s"}
    with pytest.raises(ValidationError, match="SIGNALBOX_OIDC_CLIENT is not"):
        settings_of(tmp_path, **given)


@pytest.mark.browser
async def test_one_click_opens_the_desk(live, provider):
    """And the token does not stay in the address, nor in the history."""
    from .browser import chromium, playwright

    async with chromium() as browser:
        page = await browser.new_page()
        page.set_default_timeout(8000)
        await page.goto(f"{live.url}/desk/answers")
        await page.get_by_role("link", name="Sign in with your company's login").click()
        await playwright.expect(page.locator("#me")).to_contain_text("u-17, admin")
        address = page.url
        await page.reload()
        await playwright.expect(page.locator("#me")).to_contain_text("u-17, admin")

    assert address == f"{live.url}/desk/answers"

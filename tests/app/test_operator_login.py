"""Operators of the company's own login: a real issuer on this machine, its discovery, its keys, and their rotation."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from app.config import Settings, load_keys
from app.identity.operators import Discovered, NoRole, OperatorClaims, OperatorLogin
from app.identity.tokens import Expired, NotKnown
from app.main import create_app
from tools.importing.declared import Jwt
from tools.ports import BackendUnavailable

from .conftest import over

AUDIENCE = "signalbox"


class Issuer:
    """A company's identity provider: it describes itself, shows its keys, and signs."""

    def __init__(self) -> None:
        self.keys = {"k1": rsa.generate_private_key(65537, 2048)}
        self.told: dict[str, object] = {}
        self.down = False
        self.asked: list[str] = []
        issuer = self

        class Shown(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                found = issuer.answer(self.path)
                self.send_response(200 if found is not None and not issuer.down else 503)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Shown)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/realms/desk"

    def answer(self, path: str) -> object:
        if path == "/realms/desk/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/certs", **self.told}
        if path.endswith("/certs"):
            to_jwk = jwt.algorithms.RSAAlgorithm.to_jwk
            return {
                "keys": [
                    {**to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
                    for kid, key in self.keys.items()
                ]
            }
        return None

    def token(self, kid: str = "k1", *, algorithm: str = "RS256", **claims: object) -> str:
        now = datetime.now(UTC)
        told = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "u-17",
            "email": "olga@company.example",
            "roles": ["signalbox-agent"],
            "iat": now,
            "exp": now + timedelta(minutes=10),
            **claims,
        }
        kept = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(kept, self.keys[kid], algorithm=algorithm, headers={"kid": kid})

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.close()


def settings_of(tmp_path, **given: object) -> Settings:
    return Settings(
        _env_file=None, data_dir=tmp_path / "data", secret="a secret for the tests", **given
    )  # type: ignore[reportCallIssue]


@pytest.fixture
def settings(tmp_path, issuer):
    """A desk whose operators are of the company's login, and one who has a key."""
    return settings_of(
        tmp_path,
        oidc_issuer=issuer.url,
        oidc_audience=AUDIENCE,
        oidc_name_claim="email",
        operators={"piet:admin": "the-key-of-piet"},
    )


@pytest.fixture
def app(settings, desk):
    return create_app(settings, over(desk))


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# --- at the door ----------------------------------------------------------------------------------


async def test_a_token_with_a_role_opens_the_desk(client, issuer):
    assert (await client.get("/v1/decisions", headers=bearer(issuer.token()))).status_code == 200


async def test_a_claim_makes_an_admin_and_another_does_not(client, issuer):
    """What only an admin may do is refused to an agent of the same login."""
    agent = await client.get("/v1/knowledge", headers=bearer(issuer.token()))
    admin = await client.get(
        "/v1/knowledge", headers=bearer(issuer.token(roles=["staff", "signalbox-admin"]))
    )

    assert agent.status_code == 403
    assert admin.status_code != 403


async def test_an_approval_is_decided_in_the_name_that_the_token_gives(client, issuer, desk, ana):
    await client.post("/v1/chat", json={"text": "refund it"}, headers=ana)
    listed = await client.get("/v1/approvals", headers=bearer(issuer.token()))
    action = listed.json()["approvals"][0]["id"]
    decided = await client.post(
        f"/v1/approvals/{action}", json={"decision": "approve"}, headers=bearer(issuer.token())
    )

    assert decided.json()["reviewer"] == "olga@company.example"


async def test_a_key_goes_on_beside_the_login(client):
    answer = await client.get("/v1/decisions", headers={"X-API-Key": "the-key-of-piet"})

    assert answer.status_code == 200


async def test_somebody_without_a_role_is_told_so(client, issuer):
    """The company knows them; the desk has nothing for them to do."""
    for roles in (None, [], ["staff"], "signalbox-administrator", {"signalbox-admin": True}, 1):
        answer = await client.get("/v1/decisions", headers=bearer(issuer.token(roles=roles)))

        assert answer.status_code == 403
        assert "no role" in answer.json()["detail"]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another-service"},
        {"aud": None},
        {"iss": "https://elsewhere.example"},
        {"exp": None},
        {"exp": datetime.now(UTC) - timedelta(minutes=5)},
        {"exp": datetime.now(UTC) + timedelta(days=90)},
        {"nbf": datetime.now(UTC) + timedelta(hours=1)},
        {"email": None},
        {"email": "  "},
    ],
)
async def test_a_token_that_does_not_hold_is_refused(client, issuer, claims):
    answer = await client.get("/v1/decisions", headers=bearer(issuer.token(**claims)))

    assert answer.status_code == 401


def signed_with_the_public_key(issuer: Issuer) -> str:
    """What a verifier takes that lets the token say how it is signed; made by hand, for the library makes none."""
    payload = issuer.token().split(".")[1]
    header = b64encode(b'{"alg":"HS256","typ":"JWT","kid":"k1"}').decode().rstrip("=")
    public = issuer.keys["k1"].public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    seal = hmac.new(pem, f"{header}.{payload}".encode(), hashlib.sha256).digest()
    return f"{header}.{payload}.{urlsafe_b64encode(seal).decode().rstrip('=')}"


async def test_the_algorithm_is_pinned(client, issuer):
    """Neither another strength, nor nobody's signature, nor the public key taken for a secret."""
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": "k1"})
    for token in (issuer.token(algorithm="RS512"), unsigned, signed_with_the_public_key(issuer)):
        assert (await client.get("/v1/decisions", headers=bearer(token))).status_code == 401


async def test_tokens_tried_one_after_the_other_have_to_wait(client, issuer):
    """They count as wrong keys do."""
    wrong = [issuer.token(aud=f"guess-{n}") for n in range(8)]
    answers = [
        (await client.get("/v1/decisions", headers=bearer(each))).status_code for each in wrong
    ]

    assert answers[0] == 401
    assert answers[-1] == 429


async def test_while_the_issuer_is_away_it_is_said(client, issuer):
    """That is no wrong key, and keys of ours still open."""
    issuer.down = True
    away = await client.get("/v1/decisions", headers=bearer(issuer.token()))
    own = await client.get("/v1/decisions", headers={"X-API-Key": "the-key-of-piet"})

    assert (away.status_code, own.status_code) == (503, 200)
    assert "cannot be reached" in away.json()["detail"]


# --- the issuer's keys ----------------------------------------------------------------------------


class Seconds:
    """A clock for what is fetched when."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def login_of(issuer: Issuer, seconds: Seconds, **claims: str) -> OperatorLogin:
    declared = Jwt(
        jwks=issuer.url, algorithms=("RS256",), issuer=issuer.url, audience=AUDIENCE, id="sub"
    )
    return OperatorLogin(
        declared, OperatorClaims(**claims), Discovered(issuer.url, seconds=seconds)
    )


def test_a_new_key_is_seen_and_an_old_one_ends(issuer):
    """A token signed with a key that is not known has the keys fetched again; after an hour the old one is gone."""
    seconds = Seconds()
    login = login_of(issuer, seconds)
    old = issuer.token()
    assert login.read(old).name == "u-17"
    issuer.keys["k2"] = rsa.generate_private_key(65537, 2048)
    seconds.now += 60
    assert login.read(issuer.token("k2")).role == "agent"
    assert login.read(old).role == "agent"
    del issuer.keys["k1"]
    seconds.now += 3700

    with pytest.raises(NotKnown):
        login.read(old)
    assert login.read(issuer.token("k2")).role == "agent"


def test_made_up_key_ids_do_not_make_us_ask_again_and_again(issuer):
    seconds = Seconds()
    login = login_of(issuer, seconds)
    login.read(issuer.token())
    asked = len(issuer.asked)
    issuer.keys["stranger"] = issuer.keys["k1"]
    made_up = issuer.token("stranger")
    del issuer.keys["stranger"]
    for _ in range(20):
        with pytest.raises(NotKnown):
            login.read(made_up)

    assert len(issuer.asked) == asked


def test_known_keys_stay_good_while_the_issuer_is_away(issuer):
    seconds = Seconds()
    login = login_of(issuer, seconds)
    login.read(issuer.token())
    issuer.down = True
    seconds.now += 4000

    assert login.read(issuer.token()).role == "agent"


@pytest.mark.parametrize(
    "told",
    [
        {"issuer": "https://elsewhere.example"},  # Another's document.
        {"jwks_uri": "http://keys.example/certs"},  # Keys that anybody on the way may change.
        {"jwks_uri": None},
    ],
)
def test_a_discovery_that_cannot_be_trusted_is_not_used(issuer, told):
    issuer.told = told
    with pytest.raises(BackendUnavailable):
        login_of(issuer, Seconds()).read(issuer.token())


def test_roles_may_lie_deeper_and_a_tenant_may_be_asked_for(issuer):
    """As some providers nest them; who has no tenant sees nobody's."""
    login = login_of(issuer, Seconds(), role="realm_access.roles", admin="chief", tenant="org")
    nested = {"realm_access": {"roles": ["chief"]}, "roles": None}
    found = login.read(issuer.token(**nested, org="north"))

    assert (found.role, found.tenant) == ("admin", "north")
    with pytest.raises(NoRole):
        login.read(issuer.token(**nested))


def test_an_expired_session_is_told_from_a_wrong_one(issuer):
    ended = datetime.now(UTC) - timedelta(minutes=5)
    with pytest.raises(Expired):
        login_of(issuer, Seconds()).read(issuer.token(exp=ended))


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"oidc_issuer": "https://id.example"}, "SIGNALBOX_OIDC_AUDIENCE is not"),
        ({"oidc_audience": "signalbox"}, "SIGNALBOX_OIDC_ISSUER is not"),
        ({"oidc_role_claim": "groups"}, "SIGNALBOX_OIDC_ISSUER is not"),
        ({"oidc_issuer": "http://id.example", "oidc_audience": "a"}, "https address"),
        ({"oidc_issuer": "id.example", "oidc_audience": "a"}, "https address"),
        (
            {"oidc_issuer": "https://id.example", "oidc_audience": "a", "oidc_algorithm": "HS256"},
            "RS256",
        ),
        (
            {"oidc_issuer": "https://id.example", "oidc_audience": "a", "oidc_admin": "signalbox-agent"},
            "same role",
        ),
    ],
)  # fmt: skip
def test_half_a_login_is_refused_at_the_start(tmp_path, given, says):
    with pytest.raises(ValidationError, match=says):
        settings_of(tmp_path, **given)


def test_with_the_companys_login_there_is_no_demo_key(tmp_path):
    """It is printed at the start, and everybody who reads the log would have it."""
    keys = load_keys(settings_of(tmp_path, oidc_issuer="https://id.example", oidc_audience="a"))

    assert (keys.operators, keys.demo) == ({}, False)
    assert load_keys(settings_of(tmp_path)).demo


def test_without_a_login_a_token_is_a_wrong_key(tmp_path):
    app = create_app(settings_of(tmp_path))

    assert app.state.operator_login is None

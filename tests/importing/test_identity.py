"""The company's own login: what is taken, and every way in which it is not."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from app.identity.tokens import Expired, HmacReader, JwtReader, KeySet, NotKnown, reader_of
from tools.importing.declared import Hmac, Identity, Jwt
from tools.ports import BackendUnavailable
from tools.values import Clock, Customer

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
CLOCK = Clock(lambda: AT)
SECRET = "a-secret-that-both-sides-know-" + "0123456789" * 4
CLAIMS = {
    "sub": "R-1",
    "name": "Ida  Berg",
    "tier": "gold",
    "iss": "https://www.fjell.example",
    "aud": "support",
    "iat": AT.timestamp(),
    "exp": (AT + timedelta(hours=1)).timestamp(),
}


def declared(**more) -> Jwt:
    return Jwt.model_validate(
        {
            "issuer": "https://www.fjell.example",
            "audience": "support",
            "facts": {"membership": "tier"},
            **more,
        }
    )


SHARED = declared(secret=SECRET)


def signed(key: object = SECRET, algorithm: str = "HS256", kid: str | None = None, **claims) -> str:
    headers = {} if kid is None else {"kid": kid}
    told = {k: v for k, v in {**CLAIMS, **claims}.items() if v is not None}
    return jwt.encode(told, key, algorithm=algorithm, headers=headers)


def test_claims_give_id_name_and_facts():
    known = JwtReader(SHARED, clock=CLOCK).read(signed())

    assert (known.id, known.name, known.facts) == ("R-1", "Ida Berg", {"membership": "gold"})


def test_what_the_business_says_comes_first():
    """The token fills in what the customer operation leaves open, and the id stands in for a name."""
    known = JwtReader(SHARED, clock=CLOCK).read(signed(name=None))
    customer = known.of(Customer(id="R-1", tenant="fjell", name="", facts={"membership": "basic"}))

    assert (customer.name, customer.facts) == ("R-1", {"membership": "basic"})


@pytest.mark.parametrize(
    "token",
    [
        # Nobody signed it.
        jwt.encode(CLAIMS, None, algorithm="none"),
        # Signed with something else.
        signed("another-secret-of-more-than-32-characters-and-so-on"),
        # Of another strength than is pinned.
        signed(algorithm="HS512"),
        # For somebody else, from somebody else.
        signed(aud="shop"),
        signed(iss="https://evil.example"),
        # Without an end, without a customer, without an audience.
        signed(exp=None),
        signed(sub=None),
        signed(aud=None),
        # Not yet.
        signed(nbf=(AT + timedelta(minutes=5)).timestamp()),
        # Issued in days to come, or for a year.
        signed(iat=(AT + timedelta(hours=2)).timestamp()),
        signed(exp=(AT + timedelta(days=365)).timestamp()),
        # An id that is none.
        signed(sub="  "),
        signed(sub="x" * 100),
        # Not a token at all, or a very long one.
        "hello",
        "a.b.c",
        "x" * 100_000,
    ],
)
def test_a_token_that_does_not_hold_is_not_taken(token):
    with pytest.raises(NotKnown):
        JwtReader(SHARED, clock=CLOCK).read(token)


def test_clocks_may_differ_a_little():
    reader = JwtReader(SHARED, clock=CLOCK)

    assert reader.read(signed(exp=(AT - timedelta(seconds=20)).timestamp())).id == "R-1"
    with pytest.raises(Expired):
        reader.read(signed(exp=(AT - timedelta(seconds=40)).timestamp()))


def test_a_claim_may_name_the_tenant():
    reader = JwtReader(declared(secret=SECRET, tenant="org"), clock=CLOCK)

    assert reader.read(signed(org="fjell-north")).tenant == "fjell-north"
    with pytest.raises(NotKnown):
        reader.read(signed())


@pytest.mark.parametrize(
    "wrong",
    [
        {"jwks": "https://x.example/keys", "secret": SECRET},
        {},
        {"jwks": "https://x.example/keys", "algorithms": ["HS256"]},
        {"secret": SECRET, "algorithms": ["RS256"]},
        {"secret": "short"},
        {"secret": SECRET, "algorithms": ["none"]},
    ],
)
def test_a_login_that_could_be_fooled_is_refused(wrong):
    with pytest.raises(ValidationError):
        declared(**wrong)


# --- public keys ----------------------------------------------------------------------------------


class Login:
    """A company's login: keys that it signs with, and where it shows their public halves."""

    def __init__(self) -> None:
        self.keys = {"k1": rsa.generate_private_key(65537, 2048)}
        self.asked, self.down = 0, False
        login = self

        class Shown(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                login.asked += 1
                self.send_response(503 if login.down else 200)
                self.end_headers()
                self.wfile.write(json.dumps(login.shown()).encode())

            def log_message(self, format: str, *args: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Shown)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"

    def shown(self) -> dict:
        to_jwk = jwt.algorithms.RSAAlgorithm.to_jwk
        return {
            "keys": [
                {**to_jwk(key.public_key(), as_dict=True), "kid": kid, "alg": "RS256"}
                for kid, key in self.keys.items()
            ]
        }

    def public(self, kid: str) -> bytes:
        return (
            self.keys[kid]
            .public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )


@pytest.fixture(scope="module")
def login():
    made = Login()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def reader(login):
    login.keys = {"k1": login.keys.get("k1") or next(iter(login.keys.values()))}
    login.asked, login.down = 0, False
    seconds = Seconds()
    made = JwtReader(declared(jwks=login.url), clock=CLOCK, keys=KeySet(login.url, seconds=seconds))
    made.seconds = seconds  # type: ignore[attr-defined]
    return made


def test_a_key_of_the_login_is_taken_and_kept(login, reader):
    for _ in range(3):
        assert reader.read(signed(login.keys["k1"], "RS256", "k1")).id == "R-1"

    assert login.asked == 1


def test_a_new_key_is_fetched_and_strangers_cannot_make_us_ask(login, reader):
    """Rotation is seen; made-up ids cost the login one question in half a minute."""
    reader.read(signed(login.keys["k1"], "RS256", "k1"))
    login.keys["k2"] = rsa.generate_private_key(65537, 2048)
    reader.seconds.now += 31
    assert reader.read(signed(login.keys["k2"], "RS256", "k2")).id == "R-1"
    for n in range(5):
        with pytest.raises(NotKnown):
            reader.read(signed(login.keys["k1"], "RS256", f"made-up-{n}"))

    assert login.asked == 2


def test_a_key_with_the_name_of_another_signs_nothing(login, reader):
    stranger = rsa.generate_private_key(65537, 2048)
    with pytest.raises(NotKnown):
        reader.read(signed(stranger, "RS256", "k1"))


def test_a_public_key_is_no_shared_secret(login, reader):
    """The old trick: HS256 under the public key, which everybody has."""
    header = {"alg": "HS256", "typ": "JWT", "kid": "k1"}
    parts = [jwt.utils.base64url_encode(json.dumps(p).encode()) for p in (header, CLAIMS)]
    body = b".".join(parts)
    mac = hmac.new(login.public("k1"), body, hashlib.sha256).digest()
    token = b".".join([body, jwt.utils.base64url_encode(mac)]).decode()
    with pytest.raises(NotKnown):
        reader.read(token)


def test_a_login_that_is_down_keeps_those_in_whose_key_is_known(login, reader):
    token = signed(login.keys["k1"], "RS256", "k1")
    reader.read(token)
    login.down = True
    reader.seconds.now += 4000

    assert reader.read(token).id == "R-1"
    with pytest.raises(BackendUnavailable):
        JwtReader(declared(jwks=login.url), clock=CLOCK).read(token)


def test_keys_come_by_https():
    with pytest.raises(ValueError, match="https"):
        KeySet("http://login.example/keys")


# --- as chat widgets do it ------------------------------------------------------------------------


def test_an_id_with_its_hmac_is_taken():
    right = hmac.new(SECRET.encode(), b"R:1", hashlib.sha256).hexdigest()
    reader = HmacReader(Hmac.model_validate({"secret": SECRET}))

    assert reader.read(f"R:1:{right}").id == "R:1"
    for wrong in (f"R:2:{right}", "R:1:", "R:1", f":{right}", right):
        with pytest.raises(NotKnown):
            reader.read(wrong)


def test_a_domain_may_have_no_login_of_its_own():
    assert reader_of(None) is None
    assert reader_of(Identity()) is None

"""Servers that cannot be reached in ways of their own: their name is unknown, their certificate has run out."""

from __future__ import annotations

import datetime
import socket
import ssl
import threading
import time
from collections.abc import Generator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.models.large import ChatLargeModel
from app.payments import HttpPayments
from tools.ports import ModelUnavailable, PaymentNotSent
from tools.values import PaymentOrder

ORDER = PaymentOrder(reference="act_1", kind="refund", amount=Decimal(5), method="card")


def expired(folder: Path) -> Path:
    """A certificate for this machine that was good until yesterday, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=90))
        .not_valid_after(now - datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "expired.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture
def ran_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """A server whose certificate is trusted and over."""
    file = expired(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch) -> str:
    """A name that no resolver knows any more."""

    def nobody(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    return "http://localhost:9"


@pytest.mark.parametrize("where", ["ran_out", "unknown"])
async def test_a_large_model_is_unavailable_at_once(where: str, request) -> None:
    """A typed error, by which every role goes to its fallback."""
    url = request.getfixturevalue(where)
    model = ChatLargeModel("m", base_url=f"{url}/v1", timeout_for=lambda role: 10.0)
    await model.warm()  # The client's libraries take their time, once.
    started = time.monotonic()
    with pytest.raises(ModelUnavailable):
        async for _ in model.write("synthesizer", "Be brief.", "How long?"):
            pass
    await model.aclose()
    assert time.monotonic() - started < 9


@pytest.mark.parametrize("where", ["ran_out", "unknown"])
def test_a_payment_is_not_sent(where: str, request) -> None:
    """So the approval and the key stay as they were, and it may be tried again."""
    url = request.getfixturevalue(where)
    with HttpPayments(url) as payments, pytest.raises(PaymentNotSent):
        payments.pay(ORDER, "k1")

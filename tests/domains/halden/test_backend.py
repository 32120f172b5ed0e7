"""Halden's service keeps its contract: the document is its own, keys and references count once."""

from __future__ import annotations

import json

import httpx

from domains.halden.backend.api import create_backend
from tests.domains.halden.conftest import HALDEN


def test_the_document_is_the_services_own(tmp_path):
    """openapi.json is what the service says about itself."""
    app = create_backend(tmp_path / "h.sqlite", "key")

    assert json.loads((HALDEN / "openapi.json").read_text()) == app.openapi()


async def test_only_a_resettable_service_is_put_back(tmp_path):
    """What was changed is as at the start again; a service that is not started for evals has no such path."""

    def client_of(name: str, **options: bool) -> httpx.AsyncClient:
        app = create_backend(tmp_path / name, "key", **options)
        headers = {"Authorization": "Bearer key"}
        transport = httpx.ASGITransport(app=app)
        return httpx.AsyncClient(transport=transport, base_url="http://halden", headers=headers)

    async with client_of("e.sqlite", resettable=True) as client:
        new = {"email": "new@mail.example"}
        (await client.patch("/customers/H-1001/contact", json=new)).raise_for_status()
        wrong = await client.post("/reset", headers={"Authorization": "Bearer other"})
        assert wrong.status_code == 401
        assert (await client.get("/customers/H-1001")).json()["email"] == "new@mail.example"

        assert (await client.post("/reset")).status_code == 204
        assert (await client.get("/customers/H-1001")).json()["email"] == "maja@mail.example"
    async with client_of("s.sqlite") as client:
        assert (await client.post("/reset")).status_code == 404


def test_a_request_without_the_key_is_refused(service):
    assert httpx.get(f"{service.url}/customers/H-1001").status_code == 401
    wrong = {"Authorization": "Bearer something-else"}
    assert httpx.get(f"{service.url}/customers/H-1001", headers=wrong).status_code == 401


def test_a_key_counts_once(service):
    """A second request under the same key gets the first answer; another request is a conflict."""

    def book(size: str, key: str) -> httpx.Response:
        return service.client.post(
            "/sims/S-3001/data-packs", json={"size": size}, headers={"Idempotency-Key": key}
        )

    first, again, other = book("gb_5", "k1"), book("gb_5", "k1"), book("gb_1", "k1")
    assert first.json() == again.json()
    assert other.status_code == 409
    assert service.get("/sims/S-3001/usage")["data_gb"] == 25.0


def test_a_key_is_answered_as_before_whatever_came_after(service):
    """A pack that was booked is not called refused because its SIM was blocked since."""

    def book() -> httpx.Response:
        return service.client.post(
            "/sims/S-3001/data-packs", json={"size": "gb_1"}, headers={"Idempotency-Key": "k"}
        )

    first = book()
    assert service.client.put("/sims/S-3001/block", json={"because": "lost"}).status_code == 200

    assert book().json() == first.json()


def test_a_reference_finds_what_was_written(service):
    """A write that takes a client reference is found by it, and by no other."""
    dispute = {"amount": 39.9, "reason": "twice", "client_reference": "ours-1"}
    service.client.post("/invoices/F-5012/disputes", json=dispute).raise_for_status()

    path = "/customers/H-1001/disputes?client_reference="
    assert [d["amount"] for d in service.get(path + "ours-1")["data"]] == [39.9]
    assert service.get(path + "ours-2")["data"] == []


def test_six_customers_have_different_worries(service):
    """The demo has a double charge, an outage, a late line, a weak one, empty data and a block."""
    charges = [line["code"] for line in service.get("/invoices/F-5012")["lines"]]
    assert charges.count("fibre_250") == 2
    assert service.get("/outages?postcode=24105")["data"][0]["kind"] == "fault"
    assert service.get("/lines/L-2003")["status"] == "ordered"
    assert service.get("/lines/L-2004")["signal"] == "weak"
    assert service.get("/sims/S-3005/usage")["left_gb"] == 0.1
    assert service.get("/sims/S-3006")["status"] == "blocked"

"""Documents of five styles of public APIs: every operation is read or refused with its reason, and makes a domain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.beginning import Sources, begin
from app.checking import check_folder
from app.domains import load_domain
from app.example_server import sample
from app.outside.http import HttpSystem
from tests.importing.conftest import HERE
from tools.importing.calls import Call
from tools.importing.declared import Api
from tools.importing.expressions import Expressions
from tools.importing.openapi import METHODS, Document, read_document

DOCUMENTS = HERE / "documents"
#: What cannot be used of each, and a part of the reason that is given; all else must be read.
REFUSED: dict[str, dict[str, str]] = {
    "payments.json": {"POST /v1/files": "multipart/form-data"},
    "messaging.yaml": {
        "GET /2010-04-01/Accounts/{AccountSid}/Recordings/{Sid}.json": "does not declare"
    },
    "shop.yaml": {"POST /store/uploads": "multipart/form-data"},
    "helpdesk.yaml": {
        "POST /api/v2/uploads": "application/binary",
        "POST /api/v2/imports/tickets": "leads out of the document",
    },
    "booking.yaml": {
        "POST /bookings/{booking_id}/confirm": "taken by POST /bookings/{booking_id}/cancel",
        "GET /rooms": "leads out of the document",
    },
}


def document(name: str) -> Document:
    return read_document((DOCUMENTS / name).read_bytes(), name)


def declared(name: str) -> set[str]:
    """Every operation that a document declares, read in the plainest way."""
    root = yaml.safe_load((DOCUMENTS / name).read_text())
    items = root.get("components", {}).get("pathItems", {})
    found: set[str] = set()
    for path, item in root["paths"].items():
        if "$ref" in item:
            item = items[item["$ref"].rpartition("/")[2]]
        found |= {f"{method.upper()} {path}" for method in item if method in METHODS}
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_every_operation_is_read_or_refused_with_its_reason(name):
    made = document(name)
    read = {one.called for one in made.operations.values()}

    assert read | set(made.refused) == declared(name)
    assert set(made.refused) == set(REFUSED[name])
    for called, why in REFUSED[name].items():
        assert why in made.refused[called]


def values_for(made: Document, operation: str) -> dict[str, Any]:
    """A value for everything that an operation takes."""
    sources = made.operations[operation].sources
    return {name: sample(source.schema) for name, source in sources.items()}


@pytest.mark.parametrize(
    ("name", "operation"),
    [(name, one) for name in REFUSED for one in document(name).operations],
)
def test_a_request_can_be_made_of_every_operation_that_is_read(name, operation):
    """With a value for all that it takes; the address has no part left to fill in, and names the API's host."""
    made = document(name)
    system = HttpSystem(
        "api", made, Api(openapi=name, base_url="https://api.example/v2"), Expressions()
    )
    try:
        found = made.operations[operation]
        sent = system._request(found, Call(operation=operation, values=values_for(made, operation)))
    finally:
        system.close()

    assert sent.method == found.method.upper()
    assert str(sent.url).startswith("https://api.example/v2/")
    assert not re.search(r"%7B|[{}]", sent.url.path)
    assert bool(sent.content) == any(s.place == "body" for s in found.sources.values())


#: The class that a careful person writes for each; the proposal may be graver and never milder.
CAREFUL = {
    "payments.json": {
        "get_charges": "safe",
        "get_charges_charge": "safe",
        "post_charges_charge": "retry_safe",
        "post_refunds": "irreversible",
        "get_customers_customer": "safe",
        "delete_customers_customer": "irreversible",
        "delete_subscriptions_subscription_exposed_id": "irreversible",
    },
    "messaging.yaml": {
        "list_message": "safe",
        "create_message": "retry_unsafe",
        "fetch_message": "safe",
        "update_message": "retry_safe",
        "delete_message": "irreversible",
        "fetch_message_body": "safe",
    },
    "shop.yaml": {
        "get_orders": "safe",
        "get_orders_id": "safe",
        "post_orders_id_transfer_cancel": "irreversible",
        "post_carts_id": "retry_safe",
        "delete_carts_id_line_items_line_id": "irreversible",
        "post_returns": "retry_unsafe",
    },
    "helpdesk.yaml": {
        "list_tickets_requested": "safe",
        "create_ticket": "retry_unsafe",
        "show_ticket": "safe",
        "update_ticket": "retry_safe",
        "delete_ticket": "irreversible",
        "bulk_delete_tickets": "irreversible",
        "export_tickets": "safe",
    },
    "booking.yaml": {
        "get_slots": "safe",
        "get_bookings": "safe",
        "create_booking": "retry_unsafe",
        "get_booking": "safe",
        "change_booking": "retry_safe",
        "cancel_booking": "irreversible",
        "reserve_stay": "retry_unsafe",
    },
}
GRAVITY = ("safe", "retry_safe", "retry_unsafe", "irreversible")


@pytest.mark.parametrize("name", REFUSED)
def test_no_class_is_proposed_too_mild(name):
    """From method and words alone, with no model at hand."""
    begun = begin("company", Sources(((DOCUMENTS / name).read_bytes(), name)))
    proposed = {one.name: one.consequence.value for one in begun.proposals}
    careful = CAREFUL[name]

    assert set(proposed) == set(careful)
    milder = {n for n in careful if GRAVITY.index(proposed[n]) < GRAVITY.index(careful[n])}
    assert milder == set()


@pytest.mark.parametrize("name", REFUSED)
def test_each_document_makes_a_domain_that_loads(name, tmp_path: Path, monkeypatch):
    """Everything confirmed as proposed, records too: what is proposed is fit for use."""
    begun = begin(
        "company", Sources(((DOCUMENTS / name).read_bytes(), f"openapi{Path(name).suffix}"))
    )
    for path, content in begun.files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    for variable, value in {"API": "http://127.0.0.1:9", "KEY": "k", "USER": "u"}.items():
        monkeypatch.setenv(f"COMPANY_{variable}", value)
    monkeypatch.setenv("COMPANY_PASSWORD", "p")
    file = tmp_path / "operations.yaml"
    written = yaml.safe_load(file.read_text())
    for kind in written["records"].values():
        del kind["proposed"]
    for one in written["operations"].values():
        one["consequence"] = one["consequence"]["proposed"]
    file.write_text(yaml.safe_dump(written))

    assert [str(one) for one in check_folder(tmp_path) if one.grave] == []
    domain = load_domain(tmp_path)
    assert set(CAREFUL[name]) <= set(domain.operations)

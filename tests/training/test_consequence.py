"""Training of the consequence head: where labels come from, and that a service stays on one side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from domains.northfell.operations import OPERATIONS
from graphs.consequences import CLASSES, described, signs
from models.train import consequence
from models.train.consequence import Example, Table
from models.train.data import DataMissing


def a_rest_row(method: str, operation: str, summary: str) -> dict[str, str]:
    return {
        "provider": "medusa",
        "api": "store",
        "method": method,
        "operation": operation,
        "summary": summary,
        "description": f"{summary}.",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Data sets in the shape of the public ones, with rows of our own."""
    said = {"read_only": False, "idempotent": True}
    sets = {
        "actions_azure_mcp/tools.jsonl": [
            {
                "name": "shelf_list",
                "area": "shelf",
                "description": "List",
                "labels": {"read_only": True},
            },
            {"name": "shelf_delete", "area": "shelf", "description": "Delete", "labels": said},
            {"name": "shelf_set", "area": "shelf", "description": "Set", "labels": said},
            {
                "name": "shelf_create",
                "area": "shelf",
                "description": "Create",
                "labels": {"read_only": False, "idempotent": False},
            },
        ],
        "actions_rest_medusa/medusa.jsonl": [
            a_rest_row("GET", "GetCarts", "List carts"),
            a_rest_row("DELETE", "DeleteCartsId", "Delete a cart"),
            a_rest_row("POST", "PostCarts", "Create a cart"),
            a_rest_row("POST", "PostCartsId", "Update a cart"),
            a_rest_row("POST", "PostOrdersIdCancel", "Cancel an order"),
            a_rest_row("POST", "PostProductsSearch", "Search products"),
        ],
        "actions_rest_stripe_twilio/stripe.jsonl": [],
        "actions_rest_stripe_twilio/twilio.jsonl": [],
        "actions_sgd_intents/intents.jsonl": [
            {
                "service": service,
                "intent": intent,
                "description": intent,
                "is_transactional": writes,
                "required_slots": ["amount"],
            }
            for service, intent, writes in (
                ("Banks_1", "TransferMoney", True),
                ("Banks_12", "CheckBalance", False),
                ("Music_2", "PlaySong", True),
                ("Hotels_1", "ReserveRoom", True),
            )
        ],
    }
    for name, rows in sets.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path


def test_the_labels_of_the_public_sets_become_classes(folder):
    """Reads are safe; what is gone or costs money is irreversible; what can be repeated is retry safe."""
    found = {e.name: e.label for e in consequence.examples(folder) if e.source != "own"}

    assert found == {
        "shelf_list": "safe",
        "shelf_delete": "irreversible",
        "shelf_set": "retry_safe",
        "shelf_create": "retry_unsafe",
        "GetCarts": "safe",
        "DeleteCartsId": "irreversible",
        "PostCarts": "retry_unsafe",
        "PostCartsId": "retry_safe",
        "PostOrdersIdCancel": "irreversible",
        "PostProductsSearch": "safe",
        "TransferMoney": "irreversible",
        "CheckBalance": "safe",
        "PlaySong": "retry_safe",
        "ReserveRoom": "retry_unsafe",
    }


def test_our_operations_and_the_written_ones_are_learnt(folder):
    """Every operation of the shop with its declared class, and at least sixty written ones."""
    own = [e for e in consequence.examples(folder) if e.source == "own"]

    shop = {e.name: e.label for e in own if e.service == "own shop"}
    assert shop == {name: op.consequence.value for name, op in OPERATIONS.items()}
    assert len({e.name for e in own}) - len(shop) >= 60
    assert {e.label for e in own} == set(CLASSES)


def test_a_service_is_on_one_side_of_every_split(folder):
    """Paraphrases of a service stay with it; nothing held back is learnt."""
    rows = consequence.examples(folder)

    assert {e.service for e in rows if e.name in ("TransferMoney", "CheckBalance")} == {"sgd Banks"}
    assert "sgd Banks" in consequence.HELD_BACK
    by_service: dict[str, set[bool]] = {}
    for row in rows:
        by_service.setdefault(row.service, set()).add(row.service in consequence.HELD_BACK)
    assert all(len(sides) == 1 for sides in by_service.values())
    assert {True} in by_service.values()


def test_a_rest_operation_is_also_shown_without_its_method(folder):
    """The head must not lean on a method it will not always be told."""
    shown = [e for e in consequence.examples(folder) if e.name == "PostOrdersIdCancel"]

    assert {e.method for e in shown} == {True, False}


def test_missing_data_says_what_to_do(tmp_path):
    """The message names the option that is wrong."""
    with pytest.raises(DataMissing, match="--data"):
        consequence.examples(tmp_path)


def test_the_line_lets_at_most_the_wanted_share_of_writes_pass():
    """The costly error is bounded where the line is drawn; what admits itself needs no line."""
    rows = [
        Example(
            "s", "own", described("a", "Deletes the file." if n == 0 else ""), "irreversible", "a"
        )
        for n in range(1000)
    ]
    table = Table(rows, np.zeros((1000, 384), np.float32), [signs(row.text) for row in rows])
    chance = np.linspace(0.0, 1.0, 1000)
    said = np.stack([1 - chance, chance / 3, chance / 3, chance / 3], axis=1)

    line = consequence.write_line(table, said)

    missed = [not one.write for one in consequence.judged(table, said, line)]
    assert 0 < sum(missed) <= (1 - consequence.WANTED_RECALL) * 1000 + 1e-9
    assert not missed[0]

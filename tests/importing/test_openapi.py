"""OpenAPI documents of five styles, written anew, and documents that mean harm."""

from __future__ import annotations

import json

import pytest
import yaml

from app.outside.http import HttpSystem
from tools.importing.arguments import Shape, arguments_model
from tools.importing.calls import Call, Extra
from tools.importing.declared import Api
from tools.importing.expressions import Expressions
from tools.importing.openapi import Document, read_document
from tools.importing.problems import FilesInvalid
from tools.ports import NotSent


def document(paths: dict, version: str = "3.1.0", **more) -> Document:
    return read_document(
        json.dumps({"openapi": version, "paths": paths, **more}).encode(), "a.json"
    )


def body(schema: dict, media: str = "application/json") -> dict:
    return {"required": True, "content": {media: {"schema": schema}}}


# Payments: form bodies with nested objects and lists, keys in a header, ids in paths.
PAYMENTS = document(
    {
        "/v1/refunds": {
            "post": {
                "operationId": "PostRefunds",
                "requestBody": body(
                    {
                        "type": "object",
                        "required": ["charge"],
                        "properties": {
                            "charge": {"type": "string", "maxLength": 500},
                            "metadata": {
                                "type": "object",
                                "properties": {"note": {"type": "string"}},
                            },
                            "expand": {"type": "array", "items": {"type": "string"}},
                        },
                    },
                    "application/x-www-form-urlencoded",
                ),
                "responses": {"200": {"description": "Done"}},
            }
        }
    }
)
# Messaging: 3.0's nullable and boolean bounds, capital letters, a suffix in the path.
MESSAGING = document(
    {
        "/Accounts/{Sid}/Messages.json": {
            "parameters": [
                {"name": "Sid", "in": "path", "required": True, "schema": {"type": "string"}}
            ],
            "post": {
                "operationId": "CreateMessage",
                "requestBody": body(
                    {
                        "type": "object",
                        "required": ["To"],
                        "properties": {
                            "To": {"type": "string", "format": "phone-number"},
                            "ValidityPeriod": {
                                "type": "integer",
                                "minimum": 0,
                                "exclusiveMinimum": True,
                                "nullable": True,
                            },
                        },
                    },
                    "application/x-www-form-urlencoded",
                ),
                "responses": {"201": {"description": "Sent"}},
            },
        }
    },
    version="3.0.1",
)
# Shop: references, allOf, read-only fields, a schema that contains itself, a deep query.
SHOP = document(
    {
        "/carts/{id}/items": {
            "post": {
                "operationId": "add-item",
                "parameters": [
                    {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
                    {
                        "name": "filter",
                        "in": "query",
                        "style": "deepObject",
                        "schema": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                ],
                "requestBody": body({"$ref": "#/components/schemas/NewItem"}),
                "responses": {"200": {"description": "The cart"}},
            }
        }
    },
    components={
        "schemas": {
            "Base": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string", "readOnly": True}},
            },
            "NewItem": {
                "allOf": [
                    {"$ref": "#/components/schemas/Base"},
                    {
                        "type": "object",
                        "required": ["sku", "address"],
                        "properties": {
                            "sku": {"type": "string"},
                            "quantity": {"type": "integer", "minimum": 1, "maximum": 20},
                            "address": {
                                "type": "object",
                                "required": ["city"],
                                "properties": {
                                    "city": {"type": "string"},
                                    "zip": {"type": "string"},
                                },
                            },
                            "parts": {
                                "type": "array",
                                "items": {"$ref": "#/components/schemas/NewItem"},
                            },
                        },
                    },
                ]
            },
        }
    },
)
# Helpdesk: YAML, no operation ids, a body under one key, an XML way besides.
HELPDESK = read_document(
    b"""
openapi: 3.0.3
servers: [{url: "https://{sub}.desk.example/api", variables: {sub: {default: help}}}]
paths:
  /tickets/{ticket_id}:
    put:
      summary: Update a ticket
      parameters: [{name: ticket_id, in: path, required: true, schema: {type: integer}}]
      requestBody:
        content:
          application/xml: {schema: {type: object}}
          application/json:
            schema: {type: object, properties: {ticket: {type: object, properties: {status: {type: string, enum: [open, "on", solved]}}}}}
      responses: {"200": {description: fine}}
  /upload:
    post:
      operationId: upload
      requestBody: {content: {multipart/form-data: {schema: {type: object}}}}
      responses: {default: {description: fine}}
""",
    "desk.yaml",
)
# Booking: XML only.
BOOKING = document(
    {
        "/book": {
            "post": {
                "operationId": "book",
                "requestBody": body(
                    {
                        "type": "object",
                        "xml": {"name": "Booking"},
                        "properties": {"guests": {"type": "integer"}, "room": {"type": "string"}},
                    },
                    "application/xml",
                ),
                "responses": {"200": {"description": "Booked"}},
            }
        }
    }
)


def request(made: Document, operation: str, *extra: Extra, **values):
    declared = Api(openapi="a.json", base_url="https://api.example/base")
    system = HttpSystem("api", made, declared, Expressions())
    try:
        found = made.find(operation)
        assert found is not None
        return system._request(found, Call(operation=operation, values=values, extra=extra))
    finally:
        system.close()


def test_forms_hold_nested_values():
    """As payment APIs want them; the key goes into its header."""
    sent = request(
        PAYMENTS,
        "PostRefunds",
        Extra(place="header", name="Idempotency-Key", value="k-1"),
        charge="ch_1",
        metadata_note="a b",
        expand=["charge"],
    )

    assert sent.content == b"charge=ch_1&metadata%5Bnote%5D=a+b&expand%5B0%5D=charge"
    assert sent.headers["idempotency-key"] == "k-1"


def test_the_older_dialect_is_read():
    schema = MESSAGING.operations["CreateMessage"].arguments()["properties"]["ValidityPeriod"]

    assert schema == {"type": ["integer", "null"], "exclusiveMinimum": 0}


def test_objects_are_taken_apart_and_put_together():
    """What is read-only is not asked for; a schema inside itself is cut; references are inlined."""
    operation = SHOP.find("add_item")
    assert operation is not None
    assert set(operation.sources) == {
        "id",
        "filter",
        "sku",
        "quantity",
        "address_city",
        "address_zip",
        "parts",
    }
    assert operation.required == {"id", "sku", "address_city"}
    sent = request(SHOP, "add_item", id="a/b", sku="X", address_city="Bergen", filter={"kind": "x"})

    assert sent.url.raw_path == b"/base/carts/a%2Fb/items?filter%5Bkind%5D=x"
    assert json.loads(sent.content) == {"sku": "X", "address": {"city": "Bergen"}}


def test_an_operation_without_an_id_is_named_by_its_path():
    operation = HELPDESK.find("PUT /tickets/{ticket_id}")
    assert operation is not None
    assert (operation.id, HELPDESK.servers) == (
        "put_tickets_ticket_id",
        ("https://help.desk.example/api",),
    )
    sent = request(HELPDESK, operation.id, ticket_id=7, ticket_status="solved")

    assert json.loads(sent.content) == {"ticket": {"status": "solved"}}


def test_what_is_not_spoken_is_refused_with_its_reason():
    assert "multipart/form-data" in HELPDESK.refused["POST /upload"]


def test_xml_is_spoken():
    sent = request(BOOKING, "book", guests=2, room="A & B")

    assert b"<Booking><guests>2</guests><room>A &amp; B</room></Booking>" in sent.content


@pytest.mark.parametrize("value", ["", "..", "."])
def test_a_path_is_never_left(value):
    with pytest.raises(NotSent):
        request(SHOP, "add_item", id=value, sku="X", address_city="Y")


def test_a_header_holds_one_line():
    made = document(
        {
            "/x": {
                "get": {
                    "operationId": "x",
                    "parameters": [
                        {"name": "X-Note", "in": "header", "schema": {"type": "string"}}
                    ],
                    "responses": {},
                }
            }
        }
    )
    with pytest.raises(NotSent):
        request(made, "x", X_Note="a\r\nX-Admin: 1")


# --- arguments ------------------------------------------------------------------------------------


def test_arguments_are_held_to_their_schemas():
    model = arguments_model(
        "Book",
        {
            "guests": Shape({"type": "integer", "minimum": 1, "maximum": 8}, required=True),
            "day": Shape({"type": "string", "format": "date"}),
            "code": Shape({"type": "string", "pattern": "^(a+)+$"}),
            "rooms": Shape({"type": "array", "items": {"type": "object", "required": ["n"]}}),
        },
    )

    assert model.model_validate({"guests": "2", "day": "2026-12-01"}).model_dump()["guests"] == 2
    for wrong in (
        {"guests": 9},
        {"guests": 2, "day": "soon"},
        {"guests": 2, "rooms": [{}]},
        # A pattern that would think for years is given a moment.
        {"guests": 2, "code": "a" * 60 + "!"},
        {"guests": 2, "else": 1},
        {},
    ):
        with pytest.raises(ValueError, match="validation error"):
            model.model_validate(wrong)


# --- harm -----------------------------------------------------------------------------------------

OK = {"get": {"operationId": "fine", "responses": {"200": {"description": "x"}}}}


@pytest.mark.parametrize(
    "reference",
    [
        "https://evil.example/schema.json#/A",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "other.yaml#/A",
        "#/components/schemas/Nowhere",
        "#/components/schemas/Loop",
    ],
)
def test_references_that_lead_away_are_refused_and_the_rest_goes_on(reference):
    made = document(
        {
            "/bad": {
                "post": {"operationId": "bad", "requestBody": {"$ref": reference}, "responses": {}}
            },
            "/fine": OK,
        },
        components={"schemas": {"Loop": {"$ref": "#/components/schemas/Loop"}}},
    )

    assert (list(made.operations), list(made.refused)) == (["fine"], ["POST /bad"])


def test_references_of_references_do_not_explode():
    """Twenty schemas that each hold the next one twice stand for a million."""
    schemas = {
        f"S{n}": {
            "type": "object",
            "properties": {side: {"$ref": f"#/components/schemas/S{n + 1}"} for side in ("a", "b")},
        }
        for n in range(20)
    } | {"S20": {"type": "string"}}
    made = document(
        {
            "/x": {
                "post": {
                    "operationId": "x",
                    "requestBody": body({"$ref": "#/components/schemas/S0"}),
                    "responses": {},
                }
            }
        },
        components={"schemas": schemas},
    )

    assert "parts" in made.refused["POST /x"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (yaml.safe_dump({"swagger": "2.0", "paths": {}}), "convert it"),
        ("[1, 2]", "not an object"),
        ("openapi: 3.1.0\npaths: {}", "no paths"),
        ("openapi: 3.1.0\nopenapi: 3.0.0", "line 2: 'openapi' is given twice"),
        ("openapi: [", "is not YAML"),
        ('{"openapi": ', "is not JSON"),
        ("a: &a\n  b: *a", "contains itself"),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}", "nested"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "\n".join(
                f"{c}: &{c} [{','.join(['*' + p] * 9)}]"
                for p, c in zip("abcdefgh", "bcdefghi", strict=True)
            ),
            "aliases",
        ),
    ],
)
def test_a_document_that_means_harm_gets_a_clear_error(content, says):
    with pytest.raises(FilesInvalid, match=says):
        read_document(content.encode(), "hostile.yaml")


def test_ten_thousand_operations_are_too_many():
    paths = {f"/p{n}": OK for n in range(10_000)}
    with pytest.raises(FilesInvalid, match="10,000 operations"):
        document(paths)

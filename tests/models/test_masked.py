"""What leaves for a model of somebody else's: read at a real HTTP server."""

from __future__ import annotations

import json
from collections.abc import Generator

import pytest

from app.models.large import ChatLargeModel
from app.models.masked import MaskedLargeModel
from tests.graphs.world import World
from tests.models.fake_openai import FakeOpenAI, fake_openai
from tools.ports import BackendUnavailable, PortError


@pytest.fixture
def hosted() -> Generator[FakeOpenAI]:
    with fake_openai() as fake:
        yield fake


@pytest.fixture
def ana() -> World:
    return World("ana")


async def test_nothing_personal_leaves_and_the_reply_comes_back_whole(
    hosted: FakeOpenAI, ana: World
) -> None:
    """Name, address of the records, and what the message itself says."""
    inner = ChatLargeModel("gpt", base_url=hosted.base_url)
    model = MaskedLargeModel(inner, ana.customer, ana.backend)
    address = "Lindenweg 14, 50674 Köln"
    said = f"{ana.customer.name} of {address} moves to Am Ufer 9, mail {ana.customer.email}"
    hosted.pieces = ["It goes to [ADD", "RESS_1], [PERSON_1]."]

    pieces = model.write("synthesizer", "Be kind.", said)
    reply = "".join([piece async for piece in pieces])
    sent = json.dumps(hosted.requests[0], ensure_ascii=False)

    for value in (ana.customer.name, "Lindenweg", "Am Ufer", ana.customer.email, "Köln"):
        assert value not in sent
    assert reply == f"It goes to {address}, {ana.customer.name}."
    await inner.aclose()


async def test_a_message_with_an_address_is_planned(hosted: FakeOpenAI, ana: World) -> None:
    """Masked; the values of the plan are what they stand for."""
    inner = ChatLargeModel("gpt", base_url=hosted.base_url)
    model = MaskedLargeModel(inner, ana.customer, ana.backend)
    hosted.pieces = ['{"steps": ["change [ADDRESS_1]"]}']
    schema = {"type": "object", "properties": {"steps": {"type": "array"}}}

    filled = await model.fill("planner", "Plan.", "address to Lindenweg 4, resend it", schema)

    assert "Lindenweg 4" not in json.dumps(hosted.requests)
    assert filled.values == {"steps": ["change Lindenweg 4"]}
    await inner.aclose()


async def test_where_the_records_cannot_be_read_nothing_leaves(
    hosted: FakeOpenAI, ana: World
) -> None:
    """Their values could not be told from other words."""
    ana.backend.before["records"].append(BackendUnavailable())
    model = MaskedLargeModel(
        ChatLargeModel("gpt", base_url=hosted.base_url), ana.customer, ana.backend
    )
    with pytest.raises(PortError):
        await anext(model.write("synthesizer", "", "Hello"))

    assert hosted.requests == []

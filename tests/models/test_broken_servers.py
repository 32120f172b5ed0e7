"""A large model's server that does what it should not: a typed error in time, and nothing of what it said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import UTC, datetime

import pytest

from app.models.chain import ChainedLargeModel
from app.models.large import ChatLargeModel, ModelBusy, ModelUnreadable
from app.models.reply import Said, seconds_to_wait
from tests.models.fake_openai import GARBAGE, FakeOpenAI, fake_openai
from tools.ports import LargeModel, ModelOutputInvalid, ModelUnavailable, PortError
from tools.values import Clock

SCHEMA = {"type": "object", "properties": {"steps": {"type": "array"}}}


@pytest.fixture
def hosted() -> Generator[FakeOpenAI]:
    with fake_openai() as fake:
        yield fake


@pytest.fixture
async def model(hosted: FakeOpenAI) -> AsyncGenerator[Callable[[str], ChatLargeModel]]:
    opened: list[ChatLargeModel] = []

    def made(name: str) -> ChatLargeModel:
        opened.append(
            ChatLargeModel(
                name, base_url=hosted.base_url, timeout_for=lambda role: 10.0, silence=1.5
            )
        )
        return opened[-1]

    await made("warm").warm()
    yield made
    for each in opened:
        await each.aclose()


async def written(model: LargeModel, *, max_tokens: int = 50) -> str:
    pieces = model.write("synthesizer", "Be brief.", "How long?", max_tokens=max_tokens)
    return "".join([piece async for piece in pieces])


# The client library warns of what it reads nevertheless.
@pytest.mark.filterwarnings("ignore:Pydantic serializer")
@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("asks", ["write", "fill"])
async def test_what_is_no_answer_is_a_typed_error(model, name: str, asks: str) -> None:
    """Whatever comes with status 200, written or filled."""
    with pytest.raises(PortError) as told:
        await (
            written(model(name))
            if asks == "write"
            else model(name).fill("planner", "Plan.", "x", SCHEMA)
        )

    assert isinstance(told.value, ModelUnreadable | ModelUnavailable)
    assert "TESTKEY" not in str(told.value)
    assert "html" not in str(told.value).replace(name, "").lower()


@pytest.mark.parametrize("name", ["broken", "locked", "unknown", "strict", "busy", "tired"])
async def test_the_words_of_a_server_stay_out_of_the_error(model, name: str) -> None:
    with pytest.raises(PortError) as told:
        await written(model(name))

    for secret in ("sk-leak", "org-SECRET", "/srv/"):
        assert secret not in str(told.value)


@pytest.mark.parametrize("name", ["busy", "tired"])
async def test_a_server_that_asks_for_time_is_not_waited_for(
    hosted: FakeOpenAI, model, name: str
) -> None:
    """Twenty seconds are asked for; the error carries them, the customer does not wait them."""
    asked, began = len(hosted.requests), time.perf_counter()
    with pytest.raises(ModelBusy) as told:
        await written(model(name))

    assert told.value.seconds == 20
    assert time.perf_counter() - began < 20
    assert len(hosted.requests) == asked + 1


@pytest.mark.parametrize("name", ["slow", "stalling"])
async def test_silence_is_given_up(model, name: str) -> None:
    """Before the first word, and after it; long before the ten seconds that the whole reply has."""
    began = time.perf_counter()
    with pytest.raises(ModelUnavailable, match="in time"):
        await written(model(name))

    assert time.perf_counter() - began < 10


async def test_an_endless_reply_is_broken_off_on_our_side(hosted: FakeOpenAI, model) -> None:
    """Whatever the server makes of the token limit."""
    with pytest.raises(ModelOutputInvalid, match="more than"):
        await written(model("endless"), max_tokens=50)

    sent = hosted.sent
    await asyncio.sleep(0.2)
    assert sent < 200_000
    hosted.pieces = ["x"]


async def test_a_reply_stopped_by_a_filter_is_none(model) -> None:
    with pytest.raises(ModelOutputInvalid, match="filter"):
        await written(model("filtered"))


async def test_reasoning_is_not_said(hosted: FakeOpenAI, model) -> None:
    """In tags that come in pieces as well; a plan is read behind it."""
    hosted.pieces = [
        "<thi",
        "nk>The customer is <b>rude</b>",
        ".</thin",
        "k>\n\nHello",
        " you < me.",
    ]
    assert await written(model("gpt")) == "Hello you < me."

    hosted.pieces = ["<think>cancel</think>", '{"steps": ["cancel"]}']
    filled = await model("gpt").fill("planner", "Plan.", "x", SCHEMA)
    assert filled.values == {"steps": ["cancel"]}


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        (["I think.", "</think>Hello."], "cannot be told"),  # Opened where nobody saw it.
        (["x" * 401], "more than"),
        (["<think>", "y" * 70_000], "come to an end"),
    ],
)
def test_a_reply_that_cannot_be_used(pieces: list[str], error: str) -> None:
    said = Said(max_tokens=50)
    for piece in pieces[:-1]:
        said.take(piece)
    with pytest.raises(ModelOutputInvalid, match=error):
        said.take(pieces[-1])


def test_reasoning_without_an_end_is_nothing() -> None:
    said = Said(max_tokens=50)
    assert said.take("<think>hm") + said.rest() == ""


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("20", 20),
        ("0.5", 0.5),
        ("-3", 0),
        ("Fri, 20 Nov 2026 12:01:00 GMT", 60),
        ("soon", None),
        (None, None),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(
    header: str | None, seconds: float | None
) -> None:
    clock = Clock(now=lambda: datetime(2026, 11, 20, 12, tzinfo=UTC))
    assert seconds_to_wait(header, clock) == seconds


# --- a chain of models --------------------------------------------------------------------------


def chained(model: Callable[[str], ChatLargeModel], *names: str) -> ChainedLargeModel:
    return ChainedLargeModel({f"{n} {name}": model(name) for n, name in enumerate(names)})


async def test_the_next_model_answers_where_one_does_not(hosted: FakeOpenAI, model) -> None:
    """In the same turn, whatever is wrong with the first."""
    for name in ("busy", "html", "slow", "locked", "broken"):
        chain = chained(model, name, "gpt")
        assert await written(chain) == "Hello there."
        assert list(chain.health().values())[1] == "ok"


async def test_a_broken_connection_is_tried_once_more_and_only_while_all_was_well(
    hosted: FakeOpenAI, free_port: int
) -> None:
    """Two connections for the first turn, one for the second; the budget is what worked before."""
    dead = ChatLargeModel("gone", base_url=f"http://127.0.0.1:{free_port}/v1")
    chain = ChainedLargeModel({"gone": dead})
    for calls in (2, 3):
        with pytest.raises(ModelUnavailable):
            await written(chain)
        assert dead.calls == calls
    await chain.aclose()


async def test_a_model_that_fails_is_left_alone(hosted: FakeOpenAI, model) -> None:
    """Three silent turns; from then on nobody waits for it."""
    chain = chained(model, "slow")
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="in time"):
            await written(chain)
    asked = len(hosted.requests)
    with pytest.raises(ModelUnavailable, match="left alone"):
        await written(chain)

    assert len(hosted.requests) == asked
    assert chain.health() == {"0 slow": "left alone: does not answer in time"}


async def test_a_busy_model_is_left_alone_for_as_long_as_it_asks(hosted: FakeOpenAI, model) -> None:
    """After one answer, without another request."""
    chain = chained(model, "busy")
    for error in ("too much to do", "left alone", "left alone"):
        with pytest.raises(ModelUnavailable, match=error):
            await written(chain)

    assert len(hosted.requests) == 1


async def test_what_one_customer_wrote_takes_the_model_from_nobody(
    hosted: FakeOpenAI, model
) -> None:
    """Refused requests are of the request, not of the server."""
    chain = chained(model, "strict")
    for _ in range(5):
        with pytest.raises(ModelOutputInvalid):
            await written(chain)

    assert chain.health() == {"0 strict": "ok"}
    assert len(hosted.requests) == 5


async def test_a_reply_that_breaks_off_is_not_begun_again(hosted: FakeOpenAI, model) -> None:
    """The customer has read its beginning."""
    chain = chained(model, "stalling", "gpt")
    reply = chain.write("synthesizer", "", "Hi")
    assert await anext(reply) == "Hello"
    with pytest.raises(ModelUnavailable):
        await anext(reply)

    assert [asked["model"] for asked in hosted.requests] == ["stalling"]


async def test_with_a_budget_spent_no_model_is_asked(hosted: FakeOpenAI, model) -> None:
    """The fallback of the turn's lane answers, as where a model is down."""

    async def spent() -> str:
        return "customer"

    chain = ChainedLargeModel({"gpt": model("gpt")}, spent=spent)
    with pytest.raises(ModelUnavailable, match="customer's budget"):
        await written(chain)

    assert hosted.requests == []

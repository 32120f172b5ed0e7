"""The large model on an OpenAI-compatible server, and the embedded one standing in for it."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress

import pytest

from app.models.embedded import CHAT_TEMPLATE, EmbeddedServer, prompt_text
from app.models.large import ChatLargeModel, EmbeddedLargeModel, counting_calls
from app.models.manifest import Manifest, base_model
from app.models.metering import LlmCall
from tests.models.fake_openai import FakeOpenAI, fake_openai
from tools.ports import LargeModel, ModelOutputInvalid, ModelUnavailable, PortError

SCHEMA = {
    "type": "object",
    "properties": {
        "steps": {"type": "array", "items": {"enum": ["get_order", "cancel_order"]}, "maxItems": 3}
    },
}
QUOTES = [
    "Free shipping starts at 60 EUR. [1]",
    "Standard delivery takes 3-5 working days. [2]",
    "Returns are possible within 30 days. [3]",
    'Say "hello" to us. [4]',
]


@pytest.fixture
def hosted() -> Generator[FakeOpenAI]:
    with fake_openai() as fake:
        yield fake


@pytest.fixture
async def embedded(server: EmbeddedServer) -> AsyncGenerator[EmbeddedLargeModel]:
    model = EmbeddedLargeModel(server, extractive=0)
    await model.warm()
    yield model
    await model.aclose()


async def written(model: LargeModel, *, quotes: list[str] | None = None) -> str:
    pieces = model.write("synthesizer", "Be brief.", "How long is delivery?", quotes=quotes or [])
    return "".join([piece async for piece in pieces])


async def test_a_reply_is_streamed_and_counted(hosted: FakeOpenAI) -> None:
    """Pieces arrive as the server sends them; a turn knows how many calls it made."""
    model = ChatLargeModel("gpt", base_url=hosted.base_url, api_key="k")
    assert isinstance(model, LargeModel)

    with counting_calls() as turn:
        pieces = [p async for p in model.write("synthesizer", "Be brief.", "Hi", quotes=QUOTES)]
        with counting_calls() as inner:
            await asyncio.create_task(anext(model.write("judge", "", "Hi")))

    assert pieces == hosted.pieces
    assert (turn.made, inner.made, model.calls) == (2, 1, 2)
    assert hosted.requests[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    assert "grammar" not in hosted.requests[0]
    await model.aclose()


async def test_a_plan_is_asked_for_by_schema(hosted: FakeOpenAI) -> None:
    """The server gets a strict JSON schema."""
    hosted.pieces = ['{"steps":["get_order"]}']
    model = ChatLargeModel("gpt", base_url=hosted.base_url)

    filled = await model.fill("planner", "Plan.", "cancel it", SCHEMA)

    assert filled.values == {"steps": ["get_order"]}
    form = hosted.requests[0]["response_format"]["json_schema"]
    assert (form["name"], form["strict"]) == ("planner", True)
    assert form["schema"]["additionalProperties"] is False
    await model.aclose()


@pytest.mark.parametrize(
    ("name", "error", "advice"),
    [
        ("broken", ModelUnavailable, "cannot be reached"),
        ("locked", ModelUnavailable, "check the API key"),
        ("unknown", ModelUnavailable, "check the model name and base URL"),
        ("strict", ModelOutputInvalid, "refused the request"),
        ("slow", ModelUnavailable, "did not answer in time"),
        ("truncated", ModelOutputInvalid, "cut off|did not finish"),
    ],
)
async def test_errors_say_what_to_do(
    hosted: FakeOpenAI, name: str, error: type[Exception], advice: str
) -> None:
    """Each failure of the server becomes one of the port's errors."""
    hosted.pieces = ['{"steps":[]}']
    model = ChatLargeModel(
        name, base_url=hosted.base_url, timeout_for=lambda role: 2.0 if name == "slow" else 30.0
    )
    await model.warm()

    with pytest.raises(error, match=advice):
        await model.fill("planner", "Plan.", "x", SCHEMA)
    await model.aclose()


async def test_every_call_is_told_with_its_tokens_and_its_ending(hosted: FakeOpenAI) -> None:
    """Streamed or not; a time-out and a refusal are calls too, under what they were."""
    heard: list[LlmCall] = []
    answers = {"gpt": '{"steps":[]}', "slow": '{"steps":[]}', "strict": "", "broken": ""}
    for name, pieces in answers.items():
        hosted.pieces = [pieces]
        model = ChatLargeModel(
            name,
            base_url=hosted.base_url,
            timeout_for=lambda role, name=name: 0.5 if name == "slow" else 30.0,
            heard=heard.append,
        )
        await model.warm()
        with suppress(PortError):
            await model.fill("planner", "Plan.", "x", SCHEMA)
        if name == "gpt":
            with counting_calls() as turn:
                await written(model)
        await model.aclose()

    assert [(each.model, each.role, each.ending) for each in heard] == [
        ("gpt", "planner", "ok"),
        ("gpt", "synthesizer", "ok"),
        ("slow", "planner", "timeout"),
        ("strict", "planner", "refused"),
        ("broken", "planner", "unavailable"),
    ]
    assert (heard[0].usage.read, heard[0].usage.written) == (12, 3)
    streamed = heard[1].usage
    assert (streamed.read, streamed.written, streamed.cached) == (12, 3, 4)
    assert turn.usage == streamed


async def test_a_server_that_is_down_is_unavailable(free_port: int) -> None:
    """Nothing listens there."""
    model = ChatLargeModel("gpt", base_url=f"http://127.0.0.1:{free_port}/v1")

    with pytest.raises(ModelUnavailable, match="cannot be reached"):
        await written(model)
    await model.aclose()


@pytest.mark.models
async def test_the_embedded_model_says_only_what_is_quoted(embedded: EmbeddedLargeModel) -> None:
    """One to three of the quotes, in their order, none twice, character for character."""
    allowed = {
        " ".join(chosen) for count in (1, 2, 3) for chosen in itertools.combinations(QUOTES, count)
    }

    assert await written(embedded, quotes=QUOTES) in allowed


async def test_where_the_embedded_model_stands_in_the_best_quotes_are_the_answer() -> None:
    """Word by word, as they are, and no server is asked."""
    model = EmbeddedLargeModel(EmbeddedServer(base_model()), extractive=2)

    assert await written(model, quotes=QUOTES) == " ".join(QUOTES[:2])
    assert model.calls == 1


@pytest.mark.models
async def test_the_embedded_model_plans_by_grammar(embedded: EmbeddedLargeModel) -> None:
    """With its adapter, and without one, the plan keeps to the schema."""
    for role in ("planner", "unadapted"):
        values = (await embedded.fill(role, "Plan.", "cancel my last order", SCHEMA)).values

        assert list(values) == ["steps"]
        assert set(values["steps"]) <= {"get_order", "cancel_order"}  # type: ignore[arg-type]


@pytest.mark.models
async def test_a_user_message_alone_is_the_training_format(server: EmbeddedServer) -> None:
    """The chat endpoint adds no system turn."""
    body = {"messages": [{"role": "user", "content": "hi"}]}

    answer = await server.post("/apply-template", body, within=10)

    assert answer["prompt"] == prompt_text("hi")
    assert "system" not in CHAT_TEMPLATE


@pytest.mark.models
async def test_a_child_killed_while_it_writes_is_an_error_and_then_forgotten(
    manifest: Manifest,
) -> None:
    """The broken reply is the port's error; the next one comes from the restarted child's new address."""
    async with EmbeddedServer(base_model(), manifest.adapter_paths()) as server:
        model = EmbeddedLargeModel(server, extractive=0)
        await model.warm()
        reply = model.write("synthesizer", "", "Tell a long story.")
        await anext(reply)
        assert server.pid

        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(ModelUnavailable):
            _ = [piece async for piece in reply]

        await asyncio.sleep(0.2)
        assert await written(model, quotes=["Yes. [1]"]) == "Yes. [1]"
        await model.aclose()

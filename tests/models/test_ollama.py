"""The small model on Ollama, against a server that speaks its documented API."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import pytest

from app.models.embedded import prompt_text
from app.models.manifest import Manifest, ManifestError, base_model
from app.models.ollama import OllamaSmallModel, role_model
from app.models.ollama_create import create_models, modelfile
from tests.models.fake_ollama import FakeOllama, fake_ollama
from tools.ports import ModelOutputInvalid, ModelUnavailable, SmallModel

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"order_number": {"type": ["string", "null"], "x-copy": True}},
}


@pytest.fixture
def ollama() -> Generator[FakeOllama]:
    with fake_ollama() as fake:
        yield fake


@pytest.fixture
async def trained(ollama: FakeOllama, manifest: Manifest) -> AsyncGenerator[OllamaSmallModel]:
    """Roles on models made from our adapters."""
    model = OllamaSmallModel(ollama.host, manifest=manifest)
    yield model
    await model.aclose()


@pytest.fixture
async def stock(ollama: FakeOllama) -> AsyncGenerator[OllamaSmallModel]:
    """Roles on a model named like the role, told by a prompt."""
    model = OllamaSmallModel(
        ollama.host,
        model_for=lambda role: role,
        prompt_for=lambda role: "Decide.",
        timeout_for=lambda role: 2.0 if role == "slow" else 30.0,
    )
    yield model
    await model.aclose()


def test_it_is_the_port(trained: OllamaSmallModel) -> None:
    """The graphs see it as a SmallModel."""
    assert isinstance(trained, SmallModel)


async def test_a_trained_model_gets_the_raw_training_format(
    trained: OllamaSmallModel, ollama: FakeOllama
) -> None:
    """One token, no template, no schema; its label's probability is the option's."""
    choice = await trained.choose("router", "Where is it?", ["order", "account"])

    assert choice.probabilities == pytest.approx({"order": 0.75, "account": 0.25})
    path, asked = ollama.requests[-1]
    assert path == "/api/generate"
    assert asked["model"] == "signalbox-router"
    assert asked["prompt"] == prompt_text("Where is it?")
    assert (asked["raw"], asked["options"]["num_predict"]) == (True, 1)
    assert (asked["logprobs"], asked["top_logprobs"]) == (True, 20)
    assert "format" not in asked
    assert asked["keep_alive"] == "30m"


async def test_a_trained_model_that_names_no_label_is_invalid(
    trained: OllamaSmallModel, ollama: FakeOllama
) -> None:
    """A model of another training must not be read as a choice."""
    ollama.tokens = [{"banana": 1.0}]

    with pytest.raises(ModelOutputInvalid, match="none of the router labels"):
        await trained.choose("router", "Hi", ["order", "account"])


async def test_a_stock_model_is_held_to_the_options_by_a_schema(
    stock: OllamaSmallModel, ollama: FakeOllama
) -> None:
    """The option is a JSON string of several tokens; the probabilities come from where options part."""
    ollama.tokens = [{'"': 1.0}, {"no": 0.6, "yes": 0.4}, {'"': 1.0}]

    choice = await stock.choose("small", "Is it?", ["yes", "no"])

    assert choice.option == "no"
    assert choice.probabilities == pytest.approx({"yes": 0.4, "no": 0.6})
    path, asked = ollama.requests[-1]
    assert path == "/api/chat"
    assert asked["format"] == {"type": "string", "enum": ["yes", "no"]}
    assert asked["messages"] == [
        {"role": "system", "content": "Decide."},
        {"role": "user", "content": "Is it?"},
    ]
    assert asked["think"] is False


async def test_a_server_without_logprobs_gives_an_unsure_choice(
    stock: OllamaSmallModel, ollama: FakeOllama
) -> None:
    """The option is known, but not how sure the model was: no threshold above a half accepts it."""
    ollama.text = '"no"'

    choice = await stock.choose("old", "Is it?", ["yes", "no", "maybe"])

    assert choice.option == "no"
    assert choice.probabilities["no"] <= 0.5


async def test_a_filled_value_that_does_not_stand_in_the_input_becomes_null(
    stock: OllamaSmallModel, ollama: FakeOllama
) -> None:
    """Ollama has no grammar for copied runs, so an invented number is dropped here."""
    ollama.tokens, found = [{"x": 1.0}], []
    for text in ('{"order_number":"SB-10482"}', '{"order_number":"SB-1048"}'):
        ollama.text = text
        found.append((await stock.fill("small", "Where is #SB-10482?", SCHEMA)).values)

    assert found == [{"order_number": "SB-10482"}, {"order_number": None}]
    assert ollama.last["format"]["required"] == ["order_number"]
    assert "x-copy" not in str(ollama.last["format"])


async def test_text_is_written(stock: OllamaSmallModel, ollama: FakeOllama) -> None:
    """Free text needs neither schema nor probabilities."""
    ollama.text = " Hello. "

    assert await stock.write("small", "Greet", max_tokens=9) == "Hello."
    assert ollama.last["options"]["num_predict"] == 9


@pytest.mark.parametrize(
    ("model", "error", "advice"),
    [
        (
            "missing",
            ModelUnavailable,
            r"no model missing: .*`signalbox ollama create`.*`ollama pull missing`",
        ),
        ("broken", ModelUnavailable, r"answered 500 .*terminated"),
        ("slow", ModelUnavailable, r"did not answer in time with slow.*`ollama ps`"),
        ("loading", ModelUnavailable, r"still loading"),
        ("truncated", ModelOutputInvalid, r"cut off"),
        ("strict", ModelOutputInvalid, r"refused the request: invalid JSON schema"),
        ("foreign", ModelOutputInvalid, r"not as Ollama does"),
    ],
)
async def test_errors_say_what_to_do(
    stock: OllamaSmallModel,
    ollama: FakeOllama,
    model: str,
    error: type[Exception],
    advice: str,
) -> None:
    """Each failure becomes the port's error with the operator's next step."""
    # A complete object, which only the done_reason tells to be cut off.
    ollama.text = '{"order_number":"12"}'

    with pytest.raises(error, match=advice):
        await stock.fill(model, "12", SCHEMA)


async def test_a_server_that_is_down_says_how_to_start_it(free_port: int) -> None:
    """Nothing listens there."""
    model = OllamaSmallModel(f"http://127.0.0.1:{free_port}")

    with pytest.raises(ModelUnavailable, match=r"No Ollama answers at .*`ollama serve`"):
        await model.choose("router", "Hi", ["a", "b"])
    await model.aclose()


@pytest.mark.slow
async def test_role_models_are_folded_uploaded_and_created(
    ollama: FakeOllama, manifest: Manifest, tmp_path: Path
) -> None:
    """The uploaded file is the folded one, under the name the adapter of the role asks for."""
    seen: list[tuple[str, str, float]] = []

    made = await create_models(
        ollama.host,
        ["router"],
        base=base_model(),
        manifest=manifest,
        folder=tmp_path,
        progress=lambda *step: seen.append(step),
    )
    await asyncio.sleep(0)

    assert made == [role_model("router")]
    asked = ollama.last
    file = tmp_path / "signalbox-router.gguf"
    digest = asked["files"][file.name]
    assert ollama.blobs[digest] == file.stat().st_size
    assert asked["model"] == "signalbox-router"
    assert "<|im_start|>" in asked["template"]
    assert {step for _, step, _ in seen} >= {
        "folding the adapter in",
        "uploading",
        "success",
        "ready",
    }
    assert "FROM ./x.gguf" in modelfile("./x.gguf")


async def test_a_role_without_adapter_cannot_be_created(
    ollama: FakeOllama, manifest: Manifest
) -> None:
    """Neither can one model for all roles, unless an adapter was trained on all of them."""
    with pytest.raises(ManifestError, match=r"no adapter for all \(it has: .*router"):
        await create_models(ollama.host, [], True, base=base_model(), manifest=manifest)

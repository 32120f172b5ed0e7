"""The token reader: what runs in numpy is what was trained, and its file keeps it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.models.classifier import Confidence, read, write
from app.models.encoder import OnnxEncoder
from app.models.reader import Reader
from models.train import classifier

torch = pytest.importorskip("torch")

from models.train import reader  # noqa: E402 - needs torch

CHANCE = np.random.default_rng(3)


def some_states(tokens: int) -> np.ndarray:
    return CHANCE.normal(size=(tokens, reader.WIDTH)).astype(np.float32)


def test_numpy_repeats_the_network() -> None:
    torch.manual_seed(3)
    network = reader.Network(5).eval()
    messages = [some_states(tokens) for tokens in (3, 9, 40)]

    with torch.no_grad():
        asked = network(*reader.padded([m.astype(np.float16) for m in messages]))[:, 0].numpy()
    found = np.stack([reader.reader_of(network).score(m) for m in messages])

    np.testing.assert_allclose(found[:, 1] - found[:, 0], asked, atol=2e-3)
    np.testing.assert_allclose(found.sum(1), 0, atol=1e-5)


def test_what_is_learnt_is_in_the_tokens() -> None:
    """One token of many tells the class; the mean hardly shows it."""
    angry = np.arange(480) % 2
    states = [some_states(12).astype(np.float16) for _ in angry]
    for one, is_angry in zip(states, angry, strict=True):
        one[CHANCE.integers(12), 0] = 12.0 if is_angry else -12.0
    targets = np.column_stack([angry, np.full(len(angry), np.nan)]).astype(np.float32)

    found = reader.fit(states[80:], targets[80:], seed=3, epochs=30)

    guessed = [int(found.score(one.astype(np.float32)).argmax()) for one in states[:80]]
    assert np.mean(np.array(guessed) == angry[:80]) > 0.9


async def test_a_classifier_keeps_its_reader(tmp_path: Path) -> None:
    """Through its file, and up to the encoder that hands it the token states."""
    texts = ["thank you so much", "lovely, thanks", "this is a disgrace", "what a disgrace, really"]
    encoder = OnnxEncoder()
    vectors = np.array(await encoder.embed(texts), np.float32)
    torch.manual_seed(3)
    made = classifier.fit(
        texts, vectors, ["calm", "calm", "angry", "angry"], ("calm", "angry"), examples=False
    )
    made = classifier.weighed(made, 0.5)
    plain = made.margins(vectors[0], texts[0])
    with_reader = replace(made, reader=reader.reader_of(reader.Network(3).eval()))
    write(with_reader, tmp_path / "head.safetensors")

    from safetensors.numpy import load_file

    kept = read(
        load_file(tmp_path / "head.safetensors"),
        ("calm", "angry"),
        blend=made.blend,
        confidence=Confidence(),
    )
    encoder.adopt("mood", kept, "1")
    states = await encoder.states(texts[0])

    assert isinstance(kept.reader, Reader)
    assert states.shape[1] == reader.WIDTH
    assert not np.allclose(kept.margins(vectors[0], texts[0], states), plain, atol=1e-4)
    choice = await encoder.classify("mood", texts[0])
    shares = kept.confidence.shares(kept.margins(vectors[0], texts[0], states))
    assert choice.probabilities["angry"] == pytest.approx(float(shares[1]), abs=1e-3)

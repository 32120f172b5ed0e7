"""The encoder's file: what is read of it is what the engine reads, and what is put into it comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.models.four_bits import (
    NotFourBits,
    as_blocks,
    as_file,
    layout_of,
    read_blocks,
    with_others,
)
from app.models.multilingual import packaged_model

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def content() -> bytes:
    return packaged_model()


def test_a_matrix_of_the_file_comes_back_as_it_was(content: bytes) -> None:
    """Read and told again in four bits it is the same, but where a block's largest weight has a twin of other sign."""
    span = layout_of(content).tensors["l7.fo.w"]
    blocks = np.frombuffer(content, np.uint8, span.size, span.start)
    weights = read_blocks(blocks, (384, 1536))

    again = read_blocks(as_blocks(weights), (384, 1536))

    assert np.abs(weights).max() > 0.1
    assert np.abs(again - weights).max() < 1e-3


def test_weights_between_the_steps_go_to_the_nearest(content: bytes) -> None:
    """At most half a step away, the largest exactly; a block of nothing stays nothing."""
    given = np.concatenate([np.linspace(-0.8, 0.7, 32), np.zeros(32)]).astype(np.float32)

    told = read_blocks(as_blocks(given.reshape(2, 32)), (2, 32)).reshape(-1)

    assert np.abs(told - given).max() <= 0.051
    assert told[0] == pytest.approx(-0.8, abs=1e-3)
    assert not told[32:].any()


def test_the_vocabulary_is_read_with_its_scores(content: bytes) -> None:
    pieces = layout_of(content, pieces=True).pieces

    assert [text for text, _ in pieces[:4]] == ["<s>", "<pad>", "</s>", "<unk>"]
    assert len(pieces) > 250_000
    assert dict(pieces)["▁Paket"] < 0


def test_other_matrices_stand_in_their_place_and_nowhere_else(content: bytes) -> None:
    span = layout_of(content).tensors["l11.q.w"]
    other = np.zeros((span.size // 18, 18), np.uint8)

    made = with_others(content, {"l11.q.w": other})

    assert len(made) == len(content)
    assert not any(made[span.start : span.start + span.size])
    assert made[: span.start] == content[: span.start]
    assert made[span.start + span.size :] == content[span.start + span.size :]


@pytest.mark.parametrize(
    "given", [{"l11.q.w": np.zeros((3, 18), np.uint8)}, {"l12.q.w": np.zeros(18)}]
)
def test_a_matrix_that_does_not_fit_is_refused(content: bytes, given: dict[str, object]) -> None:
    with pytest.raises(NotFourBits, match="does not fit"):
        with_others(content, given)


@pytest.mark.parametrize("broken", [b"", b"E5S1", b"GGUF" + bytes(100), b"E5S1" + b"\xff" * 200])
def test_a_file_of_another_kind_is_refused(broken: bytes) -> None:
    with pytest.raises(NotFourBits):
        layout_of(broken)


def test_content_is_read_from_a_path() -> None:
    with as_file(b"four bits") as path:
        assert Path(path).read_bytes() == b"four bits"
    assert not Path(path).exists()

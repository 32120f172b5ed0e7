"""Fine-tuning of the multilingual sentence encoder on what customers write: LoRA on its upper layers, rounded to four
bits while it learns, and merged.

Three things are learnt at once, from every domain that is given: which intent a message has, behind what the agent said;
which known questions ask for the same; which sentence answers a question. docs/understanding.md has what it brought."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false, reportUnknownLambdaType=false

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import Tensor, nn

from app.knowledge.nearest import in_its_context
from app.models.four_bits import Layout, as_blocks, layout_of, read_blocks
from app.models.multilingual import DIMENSIONS, NAME, SHA256, TUNED, bounded, packaged_model
from models.train import manifest
from models.train.understanding import Source, examples_of
from tools.domain import Domain

Progress = Callable[[str, int, int], None]
#: A text as it is read: ("query" or "passage", the text). The model was trained with these words before it.
Text = tuple[str, str]

#: Layers that learn, of twelve, and the rank of their branches: the lower ones stay as they are, so that what they make
#: of each text is computed once.
FROM_LAYER, LAYERS, HEADS, INNER = 6, 12, 12, 1536
RANK, SCALE = 16, 2.0
EPOCHS = 3
MESSAGES, GROUPS = 96, 36  #: Of one step.
RATE, HEAD_RATE = 5e-4, 2e-3
DROPOUT = 0.1
#: How sharply an intent is told by its direction, the turn before counting half; and how alike two questions must be.
SHARP, TEMPERATURE = 12.0, 0.07
QUESTIONS = 0.5  #: What each of the two losses of questions counts beside the one of intents.
#: Tokens of a message, and of the turn before it, that are read while it learns.
LONGEST, LONGEST_BEFORE = 160, 56
_MATRICES = ("q", "k", "v", "ao", "fi", "fo")
_BOS, _EOS, _UNKNOWN = 0, 2, 3


@dataclass(frozen=True)
class Message:
    """A labelled message; its intents are named with their domain."""

    text: str
    before: str
    intents: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Questions that ask for the same, and the sentences that answer them, each with what stands over it."""

    questions: tuple[str, ...]
    sentences: frozenset[str]
    passages: tuple[str, ...]


def lessons_of(domain: Domain) -> tuple[list[Message], list[Group]]:
    """What a domain teaches: its labelled messages, and its known questions."""
    messages = [
        Message(one.text, one.before, tuple(f"{domain.folder.name}:{name}" for name in one.wanted))
        for one in examples_of(domain)
    ]
    groups = [
        Group(
            tuple(one.questions),
            frozenset(one.sentences),
            tuple(in_its_context(one.article.replace("-", " "), text) for text in one.sentences),
        )
        for one in domain.answered
    ]
    return messages, groups


class Tokens:
    """The tokens of the model, by a library from the vocabulary in its file."""

    def __init__(self, layout: Layout) -> None:
        from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

        library: Any = Tokenizer(models.Unigram(list(layout.pieces), _UNKNOWN, False))
        library.normalizer = normalizers.Sequence(
            [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
        )
        library.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
        self._library = library

    def of(self, text: Text) -> list[int]:
        ids: list[int] = self._library.encode(f"{text[0]}: {bounded(text[1])}").ids
        if len(ids) > LONGEST:
            ids = ids[: LONGEST // 2] + ids[-LONGEST // 2 :]
        return [_BOS, *ids, _EOS]


class Linear(nn.Module):
    """A matrix in four bits, with a branch that learns where ``rank`` is given."""

    def __init__(self, weight: Tensor, bias: Tensor, rank: int) -> None:
        super().__init__()
        self.weight, self.bias, self.rank = weight, bias, rank
        self.seen = weight  #: What the branch is added to, so that both together are what four bits make of their sum.
        if rank:
            self.down = nn.Parameter(torch.randn(rank, weight.shape[1]) / weight.shape[1] ** 0.5)
            self.up = nn.Parameter(torch.zeros(weight.shape[0], rank))

    def merged(self) -> Tensor:
        return self.weight + SCALE * self.up.detach() @ self.down.detach()

    def round(self) -> None:
        """Let what is learnt next see the rounding of what was learnt."""
        merged = self.merged()
        told = read_blocks(as_blocks(merged.numpy()), tuple(merged.shape))  # type: ignore[arg-type]
        self.seen = torch.from_numpy(told) - (merged - self.weight)

    def forward(self, x: Tensor) -> Tensor:
        made = F.linear(x, self.seen, self.bias)
        return made + SCALE * F.linear(F.linear(x, self.down), self.up) if self.rank else made


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, number: int, read: Callable[[str], Tensor], rank: int) -> None:
        super().__init__()
        self.number = number
        self.parts: Any = nn.ModuleDict(
            {
                name: Linear(read(f"l{number}.{name}.w"), read(f"l{number}.{name}.b"), rank)
                for name in _MATRICES
            }
        )
        self.norms = [
            (read(f"l{number}.{name}.w"), read(f"l{number}.{name}.b")) for name in ("aln", "oln")
        ]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, _ = x.shape

        def by_head(made: Tensor) -> Tensor:
            return made.view(batch, length, HEADS, -1).transpose(1, 2)

        read = F.scaled_dot_product_attention(
            *(by_head(self.parts[name](x)) for name in ("q", "k", "v")), attn_mask=mask
        )
        read = self.parts["ao"](read.transpose(1, 2).reshape(batch, length, -1))
        x = self._normed(x + F.dropout(read, DROPOUT, self.training), 0)
        inner = self.parts["fo"](F.gelu(self.parts["fi"](x)))
        return self._normed(x + F.dropout(inner, DROPOUT, self.training), 1)

    def _normed(self, x: Tensor, which: int) -> Tensor:
        return F.layer_norm(x, (DIMENSIONS,), *self.norms[which], 1e-12)


class Encoder(nn.Module):
    """The encoder: lower layers whose work on each text is remembered, and upper ones that learn."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        layout = layout_of(content, pieces=True)

        def read(name: str) -> Tensor:
            span = layout.tensors[name]
            held = np.frombuffer(content, np.uint8, span.size, span.start)
            if not name.endswith(".w") or "ln" in name:
                return torch.from_numpy(held.view(np.float32).copy())
            width = INNER if name.endswith("fo.w") else DIMENSIONS
            return torch.from_numpy(read_blocks(held, (-1, width)))

        words = layout.tensors["emb.word"]
        self._words = np.frombuffer(content, np.uint8, words.size, words.start).reshape(
            -1, words.size // len(layout.pieces)
        )
        self._places = read("emb.pos").view(-1, DIMENSIONS)
        self._kind = read("emb.type")[:DIMENSIONS]
        self._norm = read("emb.ln.w"), read("emb.ln.b")
        self._lower = [Layer(n, read, 0).eval() for n in range(FROM_LAYER)]
        self.upper: Any = nn.ModuleList(Layer(n, read, RANK) for n in range(FROM_LAYER, LAYERS))
        self._tokens = Tokens(layout)
        self._halfway: dict[Text, Tensor] = {}

    @torch.no_grad()
    def remember(self, texts: Iterable[Text], progress: Progress) -> None:
        """What the lower layers make of these texts."""
        tokens = {one: self._tokens.of(one) for one in dict.fromkeys(texts)}
        waiting = sorted(tokens, key=lambda one: len(tokens[one]))
        for start in range(0, len(waiting), 64):
            part = waiting[start : start + 64]
            x, mask = _padded([self._embedded(tokens[one]) for one in part])
            for layer in self._lower:
                x = layer(x, mask[:, None, None, :])
            for row, one in enumerate(part):
                self._halfway[one] = x[row, : len(tokens[one])].half()
            progress("reading what is learnt from", min(start + 64, len(waiting)), len(waiting))

    def _embedded(self, ids: Sequence[int]) -> Tensor:
        words = read_blocks(self._words[list(ids)], (-1, DIMENSIONS))
        x = torch.from_numpy(words) + self._places[: len(ids)] + self._kind
        return F.layer_norm(x, (DIMENSIONS,), *self._norm, 1e-12)

    def forward(self, texts: Sequence[Text], longest: int = LONGEST + 2) -> Tensor:
        """Unit vectors of texts that are remembered."""
        x, mask = _padded([self._halfway[one][:longest].float() for one in texts])
        for layer in self.upper:
            x = layer(x, mask[:, None, None, :])
        shares = mask[..., None].float()
        return F.normalize((x * shares).sum(1) / shares.sum(1), dim=-1)

    def length(self, text: Text) -> int:
        return len(self._halfway[text])

    def round(self) -> None:
        for layer in self.upper:
            for name in _MATRICES:
                layer.parts[name].round()

    def tensors(self) -> dict[str, Any]:
        """The merged matrices of the upper layers in four bits, under the names of the model's file."""
        return {
            f"l{layer.number}.{name}.w": as_blocks(layer.parts[name].merged().numpy())
            for layer in self.upper
            for name in _MATRICES
        }


def _padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, rows))
    x = torch.zeros(len(rows), longest, DIMENSIONS)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for row, held in enumerate(rows):
        x[row, : len(held)] = held
        mask[row, : len(held)] = True
    return x, mask


class Lesson(nn.Module):
    """What is learnt: intents by their direction, and questions beside those that ask for the same."""

    def __init__(
        self, encoder: Encoder, messages: Sequence[Message], groups: Sequence[Group]
    ) -> None:
        super().__init__()
        self._encoder, self._groups = [encoder], groups
        self._intents = sorted({name for one in messages for name in one.intents})
        self._place = {name: n for n, name in enumerate(self._intents)}
        self._domains = np.array([name.partition(":")[0] for name in self._intents])
        self._asked, self._told = self._means(messages, groups)
        self.said = nn.Parameter(self._directions(messages))
        self.before = nn.Parameter(torch.zeros(len(self._intents), DIMENSIONS))
        self.bias = nn.Parameter(torch.zeros(len(self._intents)))

    @property
    def encoder(self) -> Encoder:
        return self._encoder[0]

    @torch.no_grad()
    def _means(self, messages: Sequence[Message], groups: Sequence[Group]) -> tuple[Tensor, Tensor]:
        asked = [("query", one.text) for one in messages[:: max(1, len(messages) // 4000)]]
        told = [("passage", text) for one in groups for text in one.passages] or asked
        return tuple(_vectors(self.encoder, part).mean(0) for part in (asked, told))  # type: ignore[return-value]

    @torch.no_grad()
    def _directions(self, messages: Sequence[Message]) -> Tensor:
        summed = torch.zeros(len(self._intents), DIMENSIONS)
        vectors = _vectors(self.encoder, [("query", one.text) for one in messages])
        for one, vector in zip(messages, _centred(vectors, self._asked), strict=True):
            for name in one.intents:
                summed[self._place[name]] += vector
        return F.normalize(summed, dim=-1)

    def of_intents(self, messages: Sequence[Message]) -> Tensor:
        said = self.encoder([("query", one.text) for one in messages])
        logits = SHARP * _centred(said, self._asked) @ F.normalize(self.said, dim=-1).T + self.bias
        rows = [row for row, one in enumerate(messages) if one.before]
        if rows:
            turns = self.encoder([("query", messages[row].before) for row in rows], LONGEST_BEFORE)
            counts = SHARP / 2 * _centred(turns, self._asked) @ self.before.T
            logits = logits.index_add(0, torch.tensor(rows), counts)
        wanted = torch.zeros_like(logits)
        elsewhere = torch.zeros_like(logits, dtype=torch.bool)
        for row, one in enumerate(messages):
            for name in one.intents:
                wanted[row, self._place[name]] = 1 / len(one.intents)
            own = one.intents[0].partition(":")[0]
            elsewhere[row] = torch.from_numpy(self._domains != own)
        return F.cross_entropy(logits.masked_fill(elsewhere, -1e4), wanted)

    def of_questions(self, groups: Sequence[Group], chance: random.Random) -> Tensor:
        pairs = [_two(one.questions, chance) for one in groups]
        texts = [("query", text) for side in zip(*pairs, strict=True) for text in side]
        first, second = _centred(self.encoder(texts), self._asked).split(len(groups))
        answered = [row for row, one in enumerate(groups) if one.passages]
        told = [("passage", chance.choice(groups[row].passages)) for row in answered]
        shared = torch.tensor(
            [[a is not b and bool(a.sentences & b.sentences) for b in groups] for a in groups]
        )
        loss = _beside(first, second, shared)
        if len(answered) > 1:
            passages = _centred(self.encoder(told), self._told)
            loss = loss + _beside(first[answered], passages, shared[answered][:, answered])
        return loss


def _two(questions: Sequence[str], chance: random.Random) -> tuple[str, str]:
    if len(questions) < 2:
        return questions[0], questions[0]
    one, other = chance.sample(list(questions), 2)
    return one, other


def _beside(one: Tensor, other: Tensor, shared: Tensor) -> Tensor:
    """Each beside its own, among those of the others that do not have the same answer."""
    likeness = (one @ other.T / TEMPERATURE).masked_fill(shared, -1e4)
    return F.cross_entropy(likeness, torch.arange(len(one)))


def _centred(vectors: Tensor, mean: Tensor) -> Tensor:
    return F.normalize(vectors - mean, dim=-1)


@torch.no_grad()
def _vectors(encoder: Encoder, texts: Sequence[Text]) -> Tensor:
    encoder.eval()
    order = sorted(range(len(texts)), key=lambda n: encoder.length(texts[n]))
    made = torch.zeros(len(texts), DIMENSIONS)
    for start in range(0, len(order), 128):
        part = order[start : start + 128]
        made[part] = encoder([texts[n] for n in part])
    return made


def _batches(
    messages: Sequence[Message], encoder: Encoder, chance: random.Random
) -> list[list[Message]]:
    """Messages in random order, those of one step about as long as each other."""
    order = list(messages)
    chance.shuffle(order)
    found: list[list[Message]] = []
    for start in range(0, len(order), 16 * MESSAGES):
        part = sorted(
            order[start : start + 16 * MESSAGES],
            key=lambda one: encoder.length(("query", one.text)),
        )
        found += [part[n : n + MESSAGES] for n in range(0, len(part), MESSAGES)]
    chance.shuffle(found)
    return found


def train(
    domains: Sequence[Domain],
    out: Path,
    seed: int = 7,
    progress: Progress = lambda what, done, of: None,
    *,
    epochs: int = EPOCHS,
    most: int = 0,
) -> dict[str, Any]:
    """Train on these domains, write the layers and their manifest entry, and return the entry.

    A step takes about 2.5 s on two cores; ``most`` ends it after so many steps."""
    torch.manual_seed(seed)
    chance = random.Random(seed)
    taught = [lessons_of(domain) for domain in domains]
    messages = [one for some, _ in taught for one in some]
    groups = [one for _, some in taught for one in some if one.questions]
    encoder = Encoder(packaged_model())
    encoder.remember(_texts(messages, groups), progress)
    lesson = Lesson(encoder, messages, groups)
    learning = [one for one in encoder.upper.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": learning, "lr": RATE}, {"params": lesson.parameters(), "lr": HEAD_RATE}],
        weight_decay=0.01,
    )
    steps = most or epochs * -(-len(messages) // MESSAGES)
    plan = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [RATE, HEAD_RATE], total_steps=steps + 1, pct_start=0.1
    )
    done, losses = 0, [0.0]
    while done < steps:
        for part in _batches(messages, encoder, chance):
            if done == steps:
                break
            encoder.train()
            encoder.round()
            loss = lesson.of_intents(part)
            if groups:
                some = chance.sample(groups, min(GROUPS, len(groups)))
                loss = loss + QUESTIONS * lesson.of_questions(some, chance)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            plan.step()
            losses.append(float(loss.detach()))
            done += 1
            progress("training", done, steps)
    file = out / "encoder" / f"{TUNED[1]}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(encoder.tensors(), file)
    sources = [Source.of(domain.examples) for domain in domains]
    last = losses[-min(len(losses) - 1, 50) :]
    entry = {
        "role": TUNED[1],
        "kind": TUNED[0],
        "lineage": {
            "base": f"{NAME} {SHA256[:12]}",
            "method": f"LoRA of rank {RANK} on layers {FROM_LAYER} to {LAYERS - 1}, rounded to four bits at every step, merged",
            "seed": seed,
            "steps": steps,
            "data": {
                domain.folder.name: {"licence": source.licence}
                for domain, source in zip(domains, sources, strict=True)
            },
            "written by": "; ".join(dict.fromkeys(source.authors for source in sources)),
            "messages": len(messages),
            "known questions": sum(len(one.questions) for one in groups),
            "dev": {"loss of the last steps": round(sum(last) / len(last), 3)},
        },
    }
    return manifest.record(out, file, entry)


def _texts(messages: Iterable[Message], groups: Iterable[Group]) -> list[Text]:
    said = [("query", text) for one in messages for text in (one.text, one.before) if text]
    asked = [("query", text) for one in groups for text in one.questions]
    return said + asked + [("passage", text) for one in groups for text in one.passages]

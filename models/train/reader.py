"""Fits the token reader: attention over the encoder's token states, taught with every label a set has."""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from app.models.reader import Matrix, Reader

WIDTH = 384
QUERIES = 12
HIDDEN = 256
DROPOUT = 0.3
RATE = 1e-3
DECAY = 0.1
BATCH = 64
#: With more the head learns its messages by heart.
EPOCHS = 3.5
#: What the other labels count together; what tells them apart keeps the head from learning by heart.
BESIDE = 7.0


class Network(nn.Module):
    """What ``app.models.reader.Reader`` repeats in numpy, with an output for each label beside."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.key = nn.Linear(WIDTH, QUERIES)
        self.value = nn.Linear(WIDTH, WIDTH)
        self.hidden = nn.Linear(2 * WIDTH, HIDDEN)
        self.out = nn.Linear(HIDDEN, labels)

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        normal = self.norm(states)
        outside = (1 - mask[:, :, None]) * -1e9
        weights = (self.key(normal) + outside).softmax(1)
        seen = self.value(normal).view(*normal.shape[:2], QUERIES, -1)
        mean = (normal * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        pooled = torch.cat([(weights[:, :, :, None] * seen).sum(1).flatten(1), mean], 1)
        pooled = F.dropout(pooled, DROPOUT, self.training)
        inner = F.gelu(self.hidden(pooled), approximate="tanh")
        return self.out(F.dropout(inner, DROPOUT, self.training))


def fit(
    states: Sequence[npt.NDArray[np.float16]],
    targets: npt.NDArray[np.float32],
    *,
    seed: int,
    epochs: float = EPOCHS,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Reader:
    """A reader of two classes from token states; ``targets``: messages x labels, the first what is asked,
    NaN where a message has no such label."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    chooser = random.Random(seed)
    labels = targets.shape[1]
    network = Network(labels)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    total = int(epochs * len(states) / BATCH)
    warm = min(100, total // 10 + 1)
    truth = torch.from_numpy(targets)
    known = ~truth.isnan()
    truth = truth.nan_to_num()
    for step, batch in zip(range(total), batches(states, chooser), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / warm) * max(0.02, 1 - step / total)
        found = network(*padded([states[n] for n in batch]))
        loss = F.binary_cross_entropy_with_logits(found, truth[batch], reduction="none")
        loss = loss * known[batch]
        asked, beside = loss[:, 0].mean(), loss[:, 1:].mean() if labels > 1 else 0.0
        optimizer.zero_grad()
        (asked + BESIDE * beside).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            progress("reading token by token", step, total)
    progress("reading token by token", total, total)
    return reader_of(network)


def batches(
    states: Sequence[npt.NDArray[np.float16]], chooser: random.Random
) -> Iterator[list[int]]:
    """For ever; messages of like length together, in a new order each time."""
    order = list(range(len(states)))
    while True:
        chooser.shuffle(order)
        for start in range(0, len(order), 30 * BATCH):
            near = sorted(order[start : start + 30 * BATCH], key=lambda n: len(states[n]))
            some = [near[at : at + BATCH] for at in range(0, len(near), BATCH)]
            chooser.shuffle(some)
            yield from some


def padded(some: Sequence[npt.NDArray[np.float16]]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(one) for one in some)
    states, mask = torch.zeros(len(some), longest, WIDTH), torch.zeros(len(some), longest)
    for row, one in enumerate(some):
        states[row, : len(one)] = torch.from_numpy(one.astype(np.float32))
        mask[row, : len(one)] = 1
    return states, mask


def reader_of(network: Network) -> Reader:
    """The weights of what is asked, as two classes whose scores are each other's negative."""

    def matrix(value: Any) -> Matrix:
        return np.ascontiguousarray(value.detach().numpy().T, np.float32)

    asked, bias = network.out.weight[:1], network.out.bias[:1]
    return Reader(
        scale=matrix(network.norm.weight),
        shift=matrix(network.norm.bias),
        key=matrix(network.key.weight),
        key_bias=matrix(network.key.bias),
        value=matrix(network.value.weight),
        value_bias=matrix(network.value.bias),
        hidden=matrix(network.hidden.weight),
        hidden_bias=matrix(network.hidden.bias),
        out=matrix(torch.cat([-asked, asked]) / 2),
        out_bias=matrix(torch.cat([-bias, bias]) / 2),
    )

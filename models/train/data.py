"""The public data sets, read from the data folder and translated into our intents."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from models.train.domain import DOMAIN
from models.train.phrases import Message, follow_ups, held_out, messages, plain

#: Messages of each phrase from the middle of a conversation; a phrase stands for hundreds.
FOLLOW_UPS = 14
MAPPING = DOMAIN.examples / "mapping.yaml"

#: What each set is, for the lineage of everything trained on it.
LICENCES = {
    "own": "written for this project",
    "bitext": "Bitext customer support, CDLA-Sharing-1.0",
    "clinc": "CLINC150 (oos-eval), CC BY 3.0",
    "hint3": "HINT3 SOFMattress, ODbL 1.0",
    "goemotions": "GoEmotions, CC BY 4.0",
    "cucom": "cucom e-commerce dialogues, Apache-2.0",
}


class DataMissing(Exception):
    """A data set is not in the data folder."""


@cache
def mapping() -> dict[str, Any]:
    return yaml.safe_load(MAPPING.read_text("utf-8"))


def rows(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The rows of ``name.jsonl`` or ``name.jsonl.gz``."""
    for path in (folder / f"{name}.jsonl", folder / f"{name}.jsonl.gz"):
        if path.exists():
            read = gzip.open if path.suffix == ".gz" else open
            with read(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)
            return
    raise DataMissing(f"{folder / name}.jsonl[.gz] is missing: give the data folder with --data")


def bitext(data: Path, split: str) -> list[Message]:
    table: dict[str, str] = mapping()["bitext"]
    found: list[Message] = []
    for row in rows(data / "intent_bitext_support", split):
        if row["intent"] in table and not held_out(row["text"]):
            part = (
                "test"
                if split == "dev"
                else "calibration"
                if len(plain(row["text"])) % 9 == 0
                else "train"
            )
            found.append(Message(row["text"], table[row["intent"]], "bitext", part))
    return found


def clinc(data: Path, *, outside: int, seed: int) -> list[Message]:
    """Our direct intents and ``outside`` out-of-scope messages a label of CLINC; its val half and half."""
    table: dict[str, str] = mapping()["clinc"]
    unused: set[str] = set(mapping()["clinc_unused"])
    by_label: dict[str, list[str]] = {}
    for row in rows(data / "intent_clinc150", "train"):
        by_label.setdefault(row["intent"], []).append(row["text"])
    rng = random.Random(seed)
    found: list[Message] = []
    for label, texts in sorted(by_label.items()):
        if label in unused:
            continue
        amount = 60 if label in table else 100 if label == "oos" else outside
        found += [
            Message(text, table.get(label, "out_of_scope"), "clinc")
            for text in rng.sample(texts, min(amount, len(texts)))
            if not held_out(text)
        ]
    for index, row in enumerate(rows(data / "intent_clinc150", "val")):
        if row["intent"] not in unused:
            part = "test" if index % 2 else "calibration"
            found.append(
                Message(row["text"], table.get(row["intent"], "out_of_scope"), "clinc", part)
            )
    return found


def hint3(data: Path) -> list[Message]:
    table: dict[str, str] = mapping()["hint3"]
    return [
        Message(row["text"], table[row["intent"]], "hint3")
        for split in ("train", "test")
        for row in rows(data / "intent_hint3_sofmattress", split)
        if row["intent"] in table and not held_out(row["text"])
    ]


def goemotions(
    data: Path, split: str, limit: int, seed: int, *, balanced: bool = True
) -> list[Message]:
    """Comments as ``frustrated`` or ``calm``; those to train on half and half where they are to be balanced."""
    bad: set[str] = set(mapping()["goemotions_frustrated"])
    part = "train" if split == "train" else "test"
    found = [
        Message(
            row["text"], "frustrated" if bad & set(row["labels"]) else "calm", "goemotions", part
        )
        for row in rows(data / "emotion_goemotions", split)
    ]
    rng = random.Random(seed)
    rng.shuffle(found)
    angry = [message for message in found if message.label == "frustrated"]
    calm = [message for message in found if message.label == "calm"]
    if split != "train" or not balanced:
        return found[:limit]
    return angry[: limit // 2] + calm[: limit // 2]


@dataclass(frozen=True)
class Corpus:
    """Labelled messages of one task."""

    messages: list[Message]

    def part(self, *parts: str, source: str | None = None) -> list[Message]:
        return [
            m for m in self.messages if m.part in parts and (source is None or m.source == source)
        ]

    @property
    def lineage(self) -> dict[str, dict[str, Any]]:
        counts: dict[str, int] = {}
        for message in self.part("train"):
            counts[message.source] = counts.get(message.source, 0) + 1
        return {
            source: {"messages": count, "licence": LICENCES[source]}
            for source, count in sorted(counts.items())
        }


def intents(data: Path, seed: int = 7) -> Corpus:
    """Messages by intent."""
    found = (
        messages(320, seed)
        + follow_ups(FOLLOW_UPS, seed)
        + bitext(data, "train")
        + bitext(data, "dev")
        + clinc(data, outside=14, seed=seed)
    )
    return Corpus(_once(found + hint3(data)))


def _once(found: list[Message]) -> list[Message]:
    """Without repeats and without learning what is tested: the later part wins over training."""
    order = {"test": 0, "calibration": 1, "train": 2}
    seen: dict[str, Message] = {}
    for message in sorted(found, key=lambda m: order[m.part]):
        if not held_out(message.text):
            seen.setdefault(plain(message.text) or message.text, message)
    return list(seen.values())

"""Documents and questions of the public knowledge sets that the pruner is trained and judged on."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tools.sentences import split

PARAGRAPH_WORDS = 75
SHORTEST_QUESTION = 5  #: Words; a bare "yes" cannot be judged without the dialogue.
Kind = Literal["doc2dial", "xquad"]
Part = Literal["train", "tune", "test"]


@dataclass(frozen=True)
class Document:
    """One document of a set, with its own name there."""

    kind: Kind
    name: str
    title: str
    text: str
    group: str  #: What is split into train, tune and test: the document, or the article it is a paragraph of.


@dataclass(frozen=True)
class Question:
    """A question in one or more wordings, and the words of its document that answer it."""

    kind: Kind
    forms: tuple[str, ...]
    spans: tuple[str, ...]
    document: str
    group: str

    def form(self, number: int) -> str:
        """One of the first two wordings: as a rule the last message alone, or with the one before it."""
        return self.forms[number % min(2, len(self.forms))]


def part_of(group: str) -> Part:
    """Train, tune or test: no sentence of a tuned or tested group is trained on."""
    place = hashlib.sha256(group.encode()).digest()[0]
    return "test" if place < 31 else "tune" if place < 56 else "train"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for line in file:
            yield json.loads(line)


def bare(text: str) -> str:
    """The words of a text, to compare by."""
    return " ".join(re.findall(r"\w+", text.casefold()))


class Corpus:
    """Documents and questions of doc2dial and, unless left out, of XQuAD."""

    def __init__(self, folder: Path, *, xquad: bool = True) -> None:
        self.documents: list[Document] = []
        self.questions: list[Question] = []
        self.doc2dial(folder / "kb_doc2dial")
        if xquad:
            self.xquad(folder / "kb_xquad_en")

    def of(self, kind: Kind) -> list[Question]:
        return [question for question in self.questions if question.kind == kind]

    def doc2dial(self, folder: Path) -> None:
        texts: dict[tuple[str, str], str] = {}
        for row in lines(folder / "documents.jsonl.gz"):
            name: str = row["doc_id"]
            texts |= {(name, span): text.strip() for span, text in row["spans"].items()}
            text = "\n\n".join(paragraphs(sentences_of(row["spans"].values())))
            self.documents.append(Document("doc2dial", name, row["title"], text, name))
        for row in lines(folder / "queries.jsonl.gz"):
            keys = [(row["doc_id"], span) for span in row["gold_span_ids"]]
            spans = tuple(texts[key] for key in keys if key in texts)
            forms = wordings(row["history"])
            if spans and forms:
                name = row["doc_id"]
                self.questions.append(Question("doc2dial", forms, spans, name, name))

    def xquad(self, folder: Path) -> None:
        known: dict[str, Document] = {}
        for row in lines(folder / "passages.jsonl"):
            title = row["title"].replace("_", " ")
            known[row["id"]] = Document("xquad", row["id"], title, row["text"], title)
        self.documents += known.values()
        for row in lines(folder / "queries.jsonl"):
            passage = known[row["passage_id"]]
            # An answer is often a name or a number, which stands elsewhere too: its sentence does not.
            spans = (sentence_at(passage.text, row["answer_start"]),)
            asked = Question("xquad", (row["question"],), spans, passage.name, passage.group)
            self.questions.append(asked)


def sentence_at(text: str, start: int) -> str:
    """The sentence that begins last before this place."""
    found, at = "", 0
    for sentence in split(text):
        at = text.find(sentence, at)
        if at < 0 or at > start:
            break
        found = sentence
    return found


def sentences_of(spans: Iterable[str]) -> list[str]:
    """The sentences of a document whose spans may be half a sentence."""
    sentences: list[str] = []
    parts: list[str] = []
    for text in spans:
        parts.append(text.strip())
        if text.rstrip(" ").endswith((".", "!", "?", ":", "\n", ";")):
            sentences.append(" ".join(parts))
            parts = []
    return [*sentences, " ".join(parts)] if parts else sentences


def paragraphs(sentences: Sequence[str]) -> Iterator[str]:
    """Neighbouring sentences, about PARAGRAPH_WORDS words at a time."""
    kept: list[str] = []
    words = 0
    for sentence in sentences:
        size = len(sentence.split())
        if kept and words + size > PARAGRAPH_WORDS:
            yield " ".join(kept)
            kept, words = [], 0
        kept.append(sentence)
        words += size
    if kept:
        yield " ".join(kept)


def wordings(history: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """What may be searched with: the last message, the customer's last two, the end of the dialogue."""
    asked = [turn["text"].strip() for turn in history if turn["role"] == "user"]
    tail = " ".join(turn["text"].strip() for turn in history[-4:])
    forms = [asked[-1], " ".join(asked[-2:]), tail]
    long_enough = [form for form in forms if len(form.split()) >= SHORTEST_QUESTION]
    return tuple(dict.fromkeys(long_enough))

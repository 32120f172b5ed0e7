"""Passages and questions of the public knowledge sets, as the pruner meets them: chunks, not documents."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.knowledge.sentences import split

CHUNK_WORDS = 75  #: About 100 tokens, near to what the ingest makes.
SHORTEST_QUESTION = 5  #: Words; a bare "yes" cannot be judged without the dialogue.
Part = Literal["train", "tune", "test"]


@dataclass(frozen=True)
class Chunk:
    """A passage of a public document."""

    corpus: str
    document: str
    title: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


@dataclass(frozen=True)
class Question:
    """A question in one or more wordings, with the sentences that answer it, by chunk."""

    forms: tuple[str, ...]
    gold: dict[int, frozenset[int]]
    document: str
    corpus: str
    spans: tuple[str, ...] = ()  #: The annotated words themselves, where a set has them.
    asked: bool = True  #: False for a heading or a reply that only stands in for a question.


def part_of(document: str) -> Part:
    """Train, tune or test, by document: no sentence of a tuned or tested document was trained on."""
    place = hashlib.sha256(document.encode()).digest()[0]
    return "test" if place < 31 else "tune" if place < 56 else "train"


def lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        for line in file:
            yield json.loads(line)


def cut(corpus: str, document: str, title: str, sentences: Sequence[str]) -> list[Chunk]:
    """Neighbouring sentences in chunks of about CHUNK_WORDS words."""
    chunks: list[Chunk] = []
    kept: list[str] = []
    words = 0
    for sentence in sentences:
        size = len(sentence.split())
        if kept and words + size > CHUNK_WORDS:
            chunks.append(Chunk(corpus, document, title, tuple(kept)))
            kept, words = [], 0
        kept.append(sentence)
        words += size
    if kept:
        chunks.append(Chunk(corpus, document, title, tuple(kept)))
    return chunks


class Corpus:
    """Chunks and questions of doc2dial, XQuAD, the COVID FAQ and the outdoor shop."""

    def __init__(self, folder: Path) -> None:
        self.chunks: list[Chunk] = []
        self.questions: list[Question] = []
        self.doc2dial(folder / "kb_doc2dial")
        self.xquad(folder / "kb_xquad_en")
        self.covid(folder / "kb_covid_faq")
        self.outdoor(folder / "kb_contoso_outdoor")

    def of(self, part: Part) -> list[int]:
        return [n for n, q in enumerate(self.questions) if part_of(q.document) == part]

    def add(self, chunks: Sequence[Chunk]) -> int:
        self.chunks.extend(chunks)
        return len(self.chunks) - len(chunks)

    def doc2dial(self, folder: Path) -> None:
        places: dict[tuple[str, str], tuple[int, int]] = {}
        texts: dict[tuple[str, str], str] = {}
        for row in lines(folder / "documents.jsonl.gz"):
            sentences, owner, headings = joined(row["spans"])
            first = self.add(cut("doc2dial", row["doc_id"], row["title"], sentences))
            at = [
                (number, place)
                for number in range(first, len(self.chunks))
                for place in range(len(self.chunks[number].sentences))
            ]
            places |= {(row["doc_id"], span): at[number] for span, number in owner.items()}
            texts |= {(row["doc_id"], span): text.strip() for span, text in row["spans"].items()}
            for heading, below in headings:
                gold = gathered(at[number] for number in below[:3])
                forms = (heading, f"{row['title'].split(' | ')[0]}: {heading}")
                self.questions.append(Question(forms, gold, row["doc_id"], "doc2dial", asked=False))
        said: dict[str, dict[str, Any]] = {}
        for row in lines(folder / "queries.jsonl.gz"):
            known = [
                (row["doc_id"], span)
                for span in row["gold_span_ids"]
                if (row["doc_id"], span) in places
            ]
            gold = gathered(places[one] for one in known)
            if not gold:
                continue
            spans = tuple(texts[one] for one in known)
            forms = wordings(row["history"])
            if forms:
                self.questions.append(Question(forms, gold, row["doc_id"], "doc2dial", spans))
            # What the agent then said is a paraphrase of the spans it was grounded in.
            earlier = said.get(row["id"].rsplit("_", 1)[0])
            replies = [turn["text"] for turn in row["history"] if turn["role"] == "agent"]
            if earlier and replies and len(replies[-1].split()) >= SHORTEST_QUESTION:
                question = Question(
                    (replies[-1],), earlier["gold"], row["doc_id"], "doc2dial", asked=False
                )
                self.questions.append(question)
            said[row["id"].rsplit("_", 1)[0]] = {"gold": gold}

    def xquad(self, folder: Path) -> None:
        places: dict[str, tuple[int, list[Chunk], str]] = {}
        for row in lines(folder / "passages.jsonl"):
            title = row["title"].replace("_", " ")
            chunks = cut("xquad", row["title"], title, split(row["text"]))
            places[row["id"]] = (self.add(chunks), chunks, row["text"])
        for row in lines(folder / "queries.jsonl"):
            first, chunks, text = places[row["passage_id"]]
            for number, chunk in enumerate(chunks):
                for place, sentence in enumerate(chunk.sentences):
                    start = text.find(sentence)
                    if start >= 0 and 0 <= row["answer_start"] - start < len(sentence):
                        gold = {first + number: frozenset([place])}
                        found = Question(
                            (row["question"],), gold, chunk.document, "xquad", (row["answer"],)
                        )
                        self.questions.append(found)

    def covid(self, folder: Path) -> None:
        for row in lines(folder / "faq.jsonl"):
            chunks = cut("covid", row["id"], row["publisher"], split(row["answer"]))
            if chunks:
                gold = {self.add(chunks): frozenset([0])}
                self.questions.append(Question((row["question"],), gold, row["id"], "covid"))

    def outdoor(self, folder: Path) -> None:
        for row in lines(folder / "manual_sections.jsonl"):
            if row["section"] in ("Brand", "Category", "FAQ"):
                continue
            name = f"product {row['product_id']}"
            chunks = cut("outdoor", name, row["product"], split(row["text"]))
            first = self.add(chunks)
            if row["section"] not in ("Reviews", "Price"):
                gold = {first + n: frozenset(range(len(c.sentences))) for n, c in enumerate(chunks)}
                forms = (f"{row['product']} {row['section']}", row["section"])
                self.questions.append(Question(forms[:1], gold, name, "outdoor", asked=False))
        for row in lines(folder / "faq_pairs.jsonl"):
            name = f"product {row['product_id']}"
            chunk = Chunk("outdoor", name, row["product"], tuple(split(row["answer"])))
            gold = {self.add([chunk]): frozenset([0])}
            self.questions.append(Question((row["question"],), gold, name, "outdoor"))


def joined(
    spans: dict[str, str],
) -> tuple[list[str], dict[str, int], list[tuple[str, list[int]]]]:
    """Sentences of a document whose spans may be half a sentence, the sentence of each span, and the
    sentences under each heading."""
    sentences: list[str] = []
    owner: dict[str, int] = {}
    headings: list[tuple[str, list[int]]] = []
    parts: list[str] = []
    for span, text in spans.items():
        owner[span] = len(sentences)
        parts.append(text.strip())
        if text.rstrip(" ").endswith((".", "!", "?", ":", "\n", ";")):
            if text.startswith("\n\n") and len(parts) == 1:
                headings.append((parts[0], []))
            elif headings:
                headings[-1][1].append(len(sentences))
            sentences.append(" ".join(parts))
            parts = []
    if parts:
        sentences.append(" ".join(parts))
    return sentences, owner, [(name, below) for name, below in headings if below and name]


def gathered(places: Iterator[tuple[int, int]] | Any) -> dict[int, frozenset[int]]:
    gold: dict[int, set[int]] = {}
    for chunk, place in places:
        gold.setdefault(chunk, set()).add(place)
    return {chunk: frozenset(found) for chunk, found in gold.items()}


def wordings(history: Sequence[dict[str, str]]) -> tuple[str, ...]:
    """What may be searched with: the last message, the customer's last two, the end of the dialogue."""
    asked = [turn["text"].strip() for turn in history if turn["role"] == "user"]
    tail = " ".join(turn["text"].strip() for turn in history[-4:])
    forms = [asked[-1], " ".join(asked[-2:]), tail]
    long_enough = [form for form in forms if len(form.split()) >= SHORTEST_QUESTION]
    return tuple(dict.fromkeys(long_enough))

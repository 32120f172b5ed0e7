"""Documents and their chunks: headings respected, no sentence cut."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from tools.sentences import split

#: Raised when parsing changes, so that every file is read again.
FORMAT = "2"
#: Raised when chunking changes: `signalbox knowledge reindex` then builds the index anew.
CHUNKING = "2"
CHUNK_TOKENS = 120
#: The encoders read about this much; a longer run without a full stop is divided between words.
LONGEST_SENTENCE = 200
Status = Literal["current", "outdated", "superseded", "draft"]
Audience = Literal["public", "internal"]


class DocumentUnreadable(Exception):
    """The file cannot be taken into the knowledge index; the message says why."""

    lasting = True  #: As long as the file stays as it is.


class FrontMatter(BaseModel):
    """What an article says about itself."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)
    title: str | None = None
    slug: str | None = None
    audience: Audience = "public"
    tenant: str = ""  #: Whose customers may read it; empty: everybody's.
    language: str = "en"
    owner: str | None = None
    version: str | None = None
    updated: date | None = None
    expires: date | None = None
    supersedes: tuple[str, ...] = ()
    status: Status = "current"

    @field_validator("supersedes", mode="before")
    @classmethod
    def one_or_many(cls, value: Any) -> Any:
        if value is None:
            return ()
        return (value,) if isinstance(value, str) else value

    @field_validator("status", mode="before")
    @classmethod
    def known_status(cls, value: Any) -> Any:
        """Whatever is not plainly current must not be quoted."""
        if value in (None, "", "current", "active", "published", "live"):
            return "current"
        return value if value in ("superseded", "draft") else "outdated"

    @classmethod
    def of(cls, values: Any, **defaults: Any) -> FrontMatter:
        """Read it from a mapping; DocumentUnreadable says which field is wrong."""
        try:
            if values is None:
                return cls.model_validate(defaults)
            named = cast("dict[str, Any]", values) if isinstance(values, dict) else None
            return cls.model_validate(values if named is None else {**defaults, **named})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "it"
            raise DocumentUnreadable(f"front matter: {place}: {first['msg']}") from error


@dataclass(frozen=True)
class Section:
    """The blocks under one heading; a block is a paragraph, a list item or a table row."""

    path: tuple[str, ...]
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """One file, or one row of a file of rows, parsed."""

    source: str  #: Its name in the index; of a row ``file#id``.
    digest: str
    front: FrontMatter
    title: str
    slug: str  #: What others say that they supersede; of a row its own id.
    sections: tuple[Section, ...]
    file: str = ""  #: The file it came from, by its name in the index.

    @property
    def name(self) -> str:
        """What a caller knows it by: the row's own id, or the file's name."""
        return self.slug if self.source != self.file else self.source


@dataclass(frozen=True)
class Chunk:
    """What is embedded, found and quoted."""

    id: str
    document: str
    text: str
    title: str  #: Document title > section path.
    audience: str
    status: Status
    updated: date | None = None
    expires: date | None = None
    payload: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def embedded(self) -> str:
        """The text with its title path, which is what a question is compared with."""
        return f"{self.title}\n{self.text}"


def digest_of(content: bytes, *options: str) -> str:
    return hashlib.sha256("\0".join([FORMAT, *options, ""]).encode() + content).hexdigest()


def tokens_in(text: str) -> int:
    """About how many word pieces a text has; English averages 1.15 a word or mark."""
    return round(1.15 * len(re.findall(r"\w+|[^\w\s]", text)))


def chunks_of(document: Document, status: Status) -> list[Chunk]:
    """Whole sentences of one section, about CHUNK_TOKENS together."""
    made: list[Chunk] = []
    for section in document.sections:
        headings = [name for name in section.path if name and name != document.title]
        title = " > ".join([document.title, *headings])
        for text in texts_of(section):
            name = f"{document.source}#{len(made)}"
            made.append(
                Chunk(
                    id=str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
                    document=document.source,
                    text=text,
                    title=title,
                    audience=document.front.audience,
                    status=status,
                    updated=document.front.updated,
                    expires=document.front.expires,
                    payload={
                        "slug": document.slug,
                        "name": document.name,
                        "tenant": document.front.tenant,
                        "language": document.front.language,
                        "owner": document.front.owner,
                        "version": document.front.version,
                    },
                )
            )
    return made


def texts_of(section: Section) -> Iterator[str]:
    text, size = "", 0
    for block in section.blocks:
        listed = block.startswith(("- ", "| "))
        for place, sentence in enumerate(pieces([block] if listed else split(block))):
            length = tokens_in(sentence)
            if text and size + length > CHUNK_TOKENS:
                yield text
                text, size = "", 0
            gap = " " if place else "\n" if listed else "\n\n"
            text = f"{text}{gap}{sentence}" if text else sentence
            size += length
    if text:
        yield text


def pieces(sentences: Sequence[str]) -> Iterator[str]:
    """The sentences as they are; only one that no encoder reads to its end is divided."""
    for sentence in sentences:
        if len(sentence) <= 2 * LONGEST_SENTENCE or tokens_in(sentence) <= LONGEST_SENTENCE:
            yield sentence
            continue
        words: list[str] = []
        size = 0
        # A "word" without a space in it, such as encoded data, is cut by length.
        for word in re.findall(r"\S{1,200}", sentence):
            length = tokens_in(word)
            if words and size + length > CHUNK_TOKENS:
                yield " ".join(words)
                words, size = [], 0
            words.append(word)
            size += length
        if words:
            yield " ".join(words)

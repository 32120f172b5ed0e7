"""Files into documents, documents into chunks: headings respected, no sentence cut."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from app.knowledge.sentences import split

#: Raised when chunking or parsing changes, so that every document is read and embedded again.
FORMAT = "1"
CHUNK_TOKENS = 120
LARGEST_FILE = 5_000_000
SUFFIXES = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".txt": "text",
}
Status = Literal["current", "outdated", "superseded", "draft"]


class DocumentUnreadable(Exception):
    """The file cannot be taken into the knowledge index; the message says why."""


class FrontMatter(BaseModel):
    """What an article says about itself."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)
    title: str | None = None
    slug: str | None = None
    audience: str = "public"
    language: str = "en"
    owner: str | None = None
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


@dataclass(frozen=True)
class Section:
    """The blocks under one heading; a block is a paragraph, a list item or a table row."""

    path: tuple[str, ...]
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """One file, parsed."""

    source: str
    digest: str
    front: FrontMatter
    title: str
    slug: str
    sections: tuple[Section, ...]


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


def find(path: Path) -> Iterator[tuple[str, Path]]:
    """Every readable file at or under a path, with the name it has in the index."""
    if path.is_file():
        yield f"{path.resolve().parent.name}/{path.name}", path
        return
    if not path.is_dir():
        raise FileNotFoundError(f"No such file or folder: {path}")
    root = path.resolve()
    for file in sorted(root.rglob("*")):
        if file.is_file() and file.suffix.lower() in SUFFIXES:
            yield f"{root.name}/{file.relative_to(root).as_posix()}", file


def digest_of(content: bytes) -> str:
    return hashlib.sha256(FORMAT.encode() + content).hexdigest()


def read(source: str, path: Path, content: bytes) -> Document:
    """Parse one file's content; DocumentUnreadable says what is wrong with it."""
    if len(content) > LARGEST_FILE:
        raise DocumentUnreadable(f"larger than {LARGEST_FILE // 1_000_000} MB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentUnreadable(f"not UTF-8 text (byte {error.start})") from error
    front, body = front_matter(text)
    sections = tuple(PARSERS[SUFFIXES[path.suffix.lower()]](body))
    sections = tuple(section for section in sections if section.blocks)
    if not sections:
        raise DocumentUnreadable("no text in it")
    headings = [heading for section in sections for heading in section.path[:1]]
    title = front.title or (headings[0] if headings else path.stem.replace("-", " ").capitalize())
    return Document(source, digest_of(content), front, title, front.slug or path.stem, sections)


def front_matter(text: str) -> tuple[FrontMatter, str]:
    """Split off the YAML block between two ``---`` lines, if there is one."""
    found = re.match(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", text, re.DOTALL)
    if not found:
        return FrontMatter(), text
    try:
        values: Any = yaml.safe_load(found[1]) or {}
        return FrontMatter.model_validate(values), text[found.end() :]
    except yaml.YAMLError as error:
        raise DocumentUnreadable(f"front matter is not YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "it"
        raise DocumentUnreadable(f"front matter: {place}: {first['msg']}") from error


def markdown(body: str) -> Iterator[Section]:
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(body)
    path: list[str] = []
    blocks: list[str] = []
    header: list[str] = []
    row: list[str] = []
    heading = 0
    lists = 0
    before = ""
    for token in tokens:
        match token.type:
            case "heading_open":
                yield Section(tuple(path), tuple(blocks))
                blocks = []
                heading = int(token.tag[1])
            case "heading_close":
                heading = 0
            case "bullet_list_open" | "ordered_list_open":
                lists += 1
            case "bullet_list_close" | "ordered_list_close":
                lists -= 1
            case "thead_open":
                header = []
            case "tr_open":
                row = []
            case "tr_close" if header:
                cells = zip(header, row, strict=False)
                blocks.append("| " + "; ".join(f"{name}: {cell}" for name, cell in cells if cell))
            case "thead_close":
                header = row
            case "table_close":
                header = []
            case "fence" | "code_block":
                blocks.append(" ".join(token.content.split()))
            case "inline":
                text = inline(token)
                if heading:
                    path = [*path[: heading - 1], text]
                elif before in ("td_open", "th_open"):
                    row.append(text)
                elif text:
                    blocks.append(f"- {text}" if lists else text)
            case _:
                pass
        before = token.type
    yield Section(tuple(path), tuple(blocks))


def inline(token: Any) -> str:
    """The words of a line of Markdown, without its marks."""
    words = [
        child.content if child.type in ("text", "code_inline") else " "
        for child in token.children or ()
        if child.type in ("text", "code_inline", "softbreak", "hardbreak")
    ]
    return " ".join("".join(words).split())


def html(body: str) -> Iterator[Section]:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(body, "html.parser")
    for tag in soup(["script", "style", "nav", "template", "noscript", "svg", "iframe", "form"]):
        tag.decompose()
    path: list[str] = []
    blocks: list[str] = []
    for tag in soup.find_all(["h1", "h2", "h3", "h4", "p", "li", "tr", "pre"]):
        text = " ".join(tag.get_text(" ").split())
        if tag.name in ("h1", "h2", "h3", "h4"):
            yield Section(tuple(path), tuple(blocks))
            blocks = []
            path = [*path[: int(tag.name[1]) - 1], text]
        elif text and tag.find_parent(["li", "tr", "p"]) is None:
            blocks.append(f"- {text}" if tag.name == "li" else text)
    if not blocks and not path:
        blocks = [" ".join(part.split()) for part in soup.get_text("\n").split("\n\n")]
    yield Section(tuple(path), tuple(block for block in blocks if block))


def plain(body: str) -> Iterator[Section]:
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", body))
    yield Section((), tuple(part for part in paragraphs if part))


PARSERS: dict[str, Callable[[str], Iterator[Section]]] = {
    "markdown": markdown,
    "html": html,
    "text": plain,
}


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
                    payload={"slug": document.slug, "language": document.front.language},
                )
            )
    return made


def texts_of(section: Section) -> Iterator[str]:
    text, size = "", 0
    for block in section.blocks:
        listed = block.startswith(("- ", "| "))
        for place, sentence in enumerate([block] if listed else split(block)):
            length = tokens_in(sentence)
            if text and size + length > CHUNK_TOKENS:
                yield text
                text, size = "", 0
            gap = " " if place else "\n" if listed else "\n\n"
            text = f"{text}{gap}{sentence}" if text else sentence
            size += length
    if text:
        yield text

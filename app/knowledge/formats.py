"""Files into documents: Markdown, HTML, PDF, plain text, Word, and rows of CSV or JSON."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import yaml

from app.knowledge.documents import (
    Document,
    DocumentUnreadable,
    FrontMatter,
    Section,
    digest_of,
)

#: Bytes of one file, after unpacking.
LARGEST_TEXT = 5_000_000
LARGEST_PDF = 50_000_000
LARGEST_ROWS = 50_000_000
MOST_ROWS = 200_000
MOST_COLUMNS = 1_000
LARGEST_CELL = 1_000_000
#: Failures of single rows that are kept with their reasons; the others are counted.
MOST_FAILURES = 50

SUFFIXES = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".txt": "text",
    ".pdf": "pdf",
    ".docx": "docx",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
}
ROWS = frozenset({"csv", "jsonl", "json"})

ID_FIELDS = ("id", "doc_id", "document_id", "passage_id", "article_id", "_id", "slug", "url")
TITLE_FIELDS = ("title", "name", "question", "heading", "subject", "product")
TEXT_FIELDS = (
    "text", "body", "content", "contents", "answer", "passage", "article", "sections", "description",
)  # fmt: skip
#: What a row may say about itself, as the front matter of an article does.
FRONT_FIELDS = (
    "audience", "tenant", "language", "owner", "version", "updated", "expires", "supersedes",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """How files are read where they do not say it themselves."""

    audience: str = ""  #: Of documents that name none; empty: public.
    tenant: str = ""  #: Of documents that name none; empty: all tenants'.
    id_field: str = ""  #: Which field of a row is its id; empty: the first of ID_FIELDS there is.
    title_field: str = ""
    text_field: str = ""

    @property
    def defaults(self) -> dict[str, str]:
        given = {"audience": self.audience, "tenant": self.tenant}
        return {name: value for name, value in given.items() if value}

    @property
    def key(self) -> str:
        """Changes whenever the same bytes would be read as other documents."""
        return json.dumps(
            [self.audience, self.tenant, self.id_field, self.title_field, self.text_field]
        )


@dataclass(frozen=True)
class Read:
    """What one file became."""

    documents: tuple[Document, ...]
    failed: tuple[tuple[str, str], ...] = ()  #: Rows that could not be used: source and reason.


# --- which files --------------------------------------------------------------------------------


def format_of(name: str) -> str | None:
    """The format by the name's ending, ``.gz`` apart; None: not one that is read."""
    path = PurePosixPath(name.lower())
    if path.suffix == ".gz":
        path = path.with_suffix("")
    return SUFFIXES.get(path.suffix)


def find(path: Path) -> Iterator[tuple[str, Path]]:
    """Every readable file at or under a path, with the name it has in the index; no link is followed
    out of the folder."""
    if path.is_file():
        yield f"{path.resolve().parent.name}/{path.name}", path
        return
    if not path.is_dir():
        raise FileNotFoundError(errno.ENOENT, "neither a file nor a folder", str(path))
    root = path.resolve()
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            file = Path(folder, name)
            if not name.startswith(".") and format_of(name) and within(file, root):
                yield f"{root.name}/{file.relative_to(root).as_posix()}", file


def within(file: Path, root: Path) -> bool:
    try:
        return file.resolve(strict=True).is_relative_to(root) and file.is_file()
    except (OSError, RuntimeError):  # a link to itself, or to nothing
        return False


# --- one file -----------------------------------------------------------------------------------


def read(source: str, path: Path, content: bytes, options: Options = Options()) -> Read:
    """Parse one file's content; DocumentUnreadable says what is wrong with it."""
    kind = format_of(path.name)
    if kind is None:
        known = ", ".join(sorted(SUFFIXES))
        raise DocumentUnreadable(f"the format is not known; known are {known} (and .gz of them)")
    if path.suffix.lower() == ".gz":
        content = unpacked(content, largest(kind))
    if len(content) > largest(kind):
        raise DocumentUnreadable(f"larger than {largest(kind) // 1_000_000} MB")
    if kind in ROWS:
        return rows(source, kind, content, options)
    front, sections = parsed(kind, path, content, options)
    sections = tuple(section for section in sections if section.blocks)
    if not sections:
        raise DocumentUnreadable("no text in it")
    headings = [heading for section in sections for heading in section.path[:1]]
    stem = path.name.split(".")[0]
    named = headings[0] if headings and kind != "pdf" else stem.replace("-", " ").capitalize()
    return Read(
        (
            Document(
                source=source,
                digest=digest_of(content, options.key),
                front=front,
                title=front.title or named,
                slug=front.slug or stem,
                sections=sections,
                file=source,
            ),
        )
    )


def largest(kind: str) -> int:
    if kind in ROWS:
        return LARGEST_ROWS
    return LARGEST_PDF if kind in ("pdf", "docx") else LARGEST_TEXT


def unpacked(content: bytes, limit: int) -> bytes:
    """What a gzip file holds, and not a byte more than may be read."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            return file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DocumentUnreadable(f"not a whole gzip file: {error}") from error


def parsed(
    kind: str, path: Path, content: bytes, options: Options
) -> tuple[FrontMatter, tuple[Section, ...]]:
    plainly = FrontMatter.of({}, **options.defaults)
    if kind == "pdf":
        return plainly, tuple(pdf(content))
    if kind == "docx":
        from app.knowledge import loaders

        return plainly, tuple(plain(clean(loaders.docx(path))))
    front, body = front_matter(decoded(content), options)
    return front, tuple(TEXTS[kind](body))


def decoded(content: bytes) -> str:
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentUnreadable(
            f"not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error
    if "\0" in text:
        raise DocumentUnreadable("NUL bytes in it: this is not a text file")
    return text


def clean(text: str) -> str:
    """Text that every store can keep: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def front_matter(text: str, options: Options = Options()) -> tuple[FrontMatter, str]:
    """Split off the YAML block between two ``---`` lines, if there is one."""
    found = re.match(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", text, re.DOTALL)
    if not found:
        return FrontMatter.of({}, **options.defaults), text
    try:
        values: Any = yaml.safe_load(found[1])
    except (yaml.YAMLError, RecursionError) as error:
        raise DocumentUnreadable(f"front matter is not YAML: {error}") from error
    return FrontMatter.of(values, **options.defaults), text[found.end() :]


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
        if tag.name in ("h1", "h2", "h3", "h4"):
            yield Section(tuple(path), tuple(blocks))
            blocks = []
            path = [*path[: int(tag.name[1]) - 1], " ".join(tag.get_text(" ").split())]
        elif tag.find_parent(["li", "tr", "p"]) is None:
            text = " ".join(tag.get_text(" ").split())
            if text:
                blocks.append(f"- {text}" if tag.name == "li" else text)
    if not blocks and not path:
        blocks = [" ".join(part.split()) for part in soup.get_text("\n").split("\n\n")]
    yield Section(tuple(path), tuple(block for block in blocks if block))


def plain(body: str) -> Iterator[Section]:
    paragraphs = (" ".join(part.split()) for part in re.split(r"\n\s*\n", body))
    yield Section((), tuple(part for part in paragraphs if part))


TEXTS: dict[str, Callable[[str], Iterator[Section]]] = {
    "markdown": markdown,
    "html": html,
    "text": plain,
}


def pdf(content: bytes) -> Iterator[Section]:
    """The text of a PDF, a section a page; a sentence that runs over stays on the page it began."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, PyPdfError

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentUnreadable("encrypted: save it without a password")
        pages = [clean(page.extract_text()) for page in reader.pages]
    except DependencyError as error:
        raise DocumentUnreadable("encrypted: save it without a password") from error
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DocumentUnreadable(f"not a PDF that can be read: {error}") from error
    found: list[tuple[int, list[str]]] = []
    for number, text in enumerate(pages, start=1):
        blocks = [block for section in plain(text) for block in section.blocks]
        if found and blocks and found[-1][1][-1][-1] not in ".!?:":
            found[-1][1][-1] += f" {blocks.pop(0)}"
        if blocks:
            found.append((number, blocks))
    if not found:
        raise DocumentUnreadable("no text in it: scanned pages have to be recognised first")
    for number, blocks in found:
        yield Section((f"page {number}",), tuple(blocks))


# --- rows ---------------------------------------------------------------------------------------


def rows(source: str, kind: str, content: bytes, options: Options) -> Read:
    """A document a row; rows that cannot be used are listed, and the others are taken."""
    documents: dict[str, Document] = {}
    failed: list[tuple[str, str]] = []
    bad = number = 0
    for number, row in enumerate(ROW_READERS[kind](content), start=1):
        if number > MOST_ROWS:
            raise DocumentUnreadable(f"more than {MOST_ROWS} rows: divide it")
        try:
            if isinstance(row, DocumentUnreadable):
                raise row
            document = of_row(source, number, row, options)
            if document.source in documents:
                raise DocumentUnreadable(f"its id {document.slug!r} was used before")
            documents[document.source] = document
        except DocumentUnreadable as error:
            bad += 1
            if bad <= MOST_FAILURES:
                failed.append((f"{source}, row {number}", str(error)))
    if bad > MOST_FAILURES:
        failed.append((source, f"{bad - MOST_FAILURES} more rows could not be used"))
    if not documents:
        raise DocumentUnreadable(failed[0][1] if failed else "no rows in it")
    return Read(tuple(documents.values()), tuple(failed))


def json_lines(content: bytes) -> Iterator[Mapping[str, Any] | DocumentUnreadable]:
    for line in decoded(content).splitlines():
        if line.strip():
            yield json_object(line)


def json_array(content: bytes) -> Iterator[Mapping[str, Any] | DocumentUnreadable]:
    try:
        values: Any = json.loads(decoded(content))
    except (ValueError, RecursionError) as error:
        raise DocumentUnreadable(f"not JSON: {error}") from error
    if isinstance(values, dict):
        # One object, or the rows under the only list there is.
        lists = [value for value in cast("dict[str, Any]", values).values() if is_rows(value)]
        values = lists[0] if len(lists) == 1 else [values]
    if not isinstance(values, list):
        raise DocumentUnreadable("a list of objects is expected")
    for value in cast("list[Any]", values):
        yield value if isinstance(value, dict) else DocumentUnreadable("not a JSON object")


def is_rows(value: Any) -> bool:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return bool(items) and all(isinstance(item, dict) for item in items)


def json_object(line: str) -> Mapping[str, Any] | DocumentUnreadable:
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        return DocumentUnreadable(f"not JSON: {error}")
    if not isinstance(value, dict):
        return DocumentUnreadable("not a JSON object")
    return cast("dict[str, Any]", value)


def table(content: bytes) -> Iterator[Mapping[str, Any] | DocumentUnreadable]:
    text = decoded(content)
    first = text[: text.find("\n") if "\n" in text else len(text)]
    delimiter = max(",;\t", key=first.count)
    if first.count(delimiter) >= MOST_COLUMNS:
        raise DocumentUnreadable(f"more than {MOST_COLUMNS} columns")
    csv.field_size_limit(LARGEST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for row in reader:
            # Cells beyond the header come under None.
            yield {name.strip(): cell for name, cell in row.items() if name and cell}
    except csv.Error as error:
        yield DocumentUnreadable(f"not CSV (line {reader.line_num}): {error}")


ROW_READERS: dict[str, Callable[[bytes], Iterable[Mapping[str, Any] | DocumentUnreadable]]] = {
    "csv": table,
    "jsonl": json_lines,
    "json": json_array,
}


def of_row(source: str, number: int, row: Mapping[str, Any], options: Options) -> Document:
    """One row as a document; DocumentUnreadable says which field it lacks."""
    text = first_of(row, options.text_field, TEXT_FIELDS)
    if text is None:
        looked = options.text_field or ", ".join(TEXT_FIELDS)
        raise DocumentUnreadable(f"no text in it (looked for {looked}); name it with --text-field")
    identity = first_of(row, options.id_field, ID_FIELDS)
    if identity is None and options.id_field:
        raise DocumentUnreadable(f"no field {options.id_field}")
    name = clean(str(identity)) if identity is not None else str(number)
    if len(name) > 500:
        raise DocumentUnreadable("its id is longer than 500 characters")
    title = first_of(row, options.title_field, TITLE_FIELDS)
    front = FrontMatter.of(
        {key: of_day(key, row[key]) for key in FRONT_FIELDS if row.get(key) not in (None, "")},
        **options.defaults,
    )
    section = row.get("section") or row.get("category")
    path = (clean(section),) if isinstance(section, str) else ()
    sections = tuple(s for s in sections_of(text, path) if s.blocks)
    if not sections:
        raise DocumentUnreadable("no text in it")
    return Document(
        source=f"{source}#{name}",
        digest=digest_of(json.dumps(row, sort_keys=True, default=str).encode(), options.key),
        front=front,
        title=" ".join(clean(str(title)).split()) if title is not None else name,
        slug=name,
        sections=sections,
        file=source,
    )


def first_of(row: Mapping[str, Any], chosen: str, usual: Iterable[str]) -> Any:
    names = (chosen,) if chosen else usual
    return next((row[name] for name in names if row.get(name) not in (None, "", [], {})), None)


def of_day(key: str, value: Any) -> Any:
    """A timestamp's day, where a day is what is kept."""
    return value[:10] if key in ("updated", "expires") and isinstance(value, str) else value


def sections_of(value: Any, path: tuple[str, ...] = ()) -> Iterator[Section]:
    """Text, a list of texts or of sections, or a mapping of headings to texts."""
    if isinstance(value, str):
        for section in plain(clean(value)):
            yield Section(path, section.blocks)
    elif isinstance(value, list):
        for part in cast("list[Any]", value):
            yield from sections_of(part, path)
    elif isinstance(value, dict):
        part = cast("dict[str, Any]", value)
        body = first_of(part, "", TEXT_FIELDS)
        if body is None:
            for heading, text in part.items():
                yield from sections_of(text, (*path, clean(heading)))
        else:
            heading = first_of(part, "", ("title", "heading", "name"))
            below = path if heading is None else (*path, clean(str(heading)))
            yield from sections_of(body, below)

"""Files become chunks of whole sentences that know where they stood."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from app.knowledge.documents import (
    CHUNK_TOKENS,
    Document,
    DocumentUnreadable,
    chunks_of,
    tokens_in,
)
from app.knowledge.formats import read as read_rows
from tests.knowledge.conftest import RETURNS, TENTS
from tools.sentences import split


def read(source: str, path: Path, content: bytes) -> Document:
    """The one document of a file."""
    [document] = read_rows(source, path, content).documents
    return document


def test_chunks_carry_their_title_path_and_front_matter() -> None:
    """A chunk names its document and section, and when it was updated."""
    document = read("articles/returning.md", Path("returning.md"), RETURNS.encode())
    chunks = chunks_of(document, "current")

    assert [c.title for c in chunks] == ["Returning goods", "Returning goods > Cost of a return"]
    assert chunks[1].text == "A return label costs 3.95 EUR. It is free for members of a plan."
    assert date(2026, 3, 1) == chunks[0].updated
    assert "Returning goods > Cost of a return\nA return" in chunks[1].embedded


def test_lists_and_tables_become_readable_lines() -> None:
    """An item keeps its mark, and a table row repeats the names of its columns."""
    document = read("articles/tents.md", Path("tents.md"), TENTS.encode())
    drying = chunks_of(document, "current")[-1]

    assert split(drying.text) == [
        "Before storing a tent:",
        "- shake out sand and leaves",
        "- let it dry for two days",
        "| Fabric: Nylon; Hours to dry: 12",
        "| Fabric: Cotton; Hours to dry: 48",
    ]


def test_no_chunk_cuts_a_sentence() -> None:
    """Every sentence of a long section is whole in exactly one chunk."""
    sentences = [f"Rule {n} of the e.g. long list costs 3.{n:02} EUR a day." for n in range(60)]
    document = read("a/long.txt", Path("long.txt"), " ".join(sentences).encode())
    chunks = chunks_of(document, "current")

    assert len(chunks) > 3
    assert sentences == [sentence for chunk in chunks for sentence in split(chunk.text)]
    assert all(tokens_in(chunk.text) <= CHUNK_TOKENS * 1.1 for chunk in chunks)


def test_html_is_read_without_its_scripts() -> None:
    """Text of a page is taken under its headings; what a browser would run is not."""
    page = b"<h1>Stoves</h1><script>steal()</script><p>Cook outside.</p><ul><li>Never in a tent</li></ul>"
    document = read("a/stove.html", Path("stove.html"), page)

    assert document.title == "Stoves"
    assert tuple(s.blocks for s in document.sections) == (("Cook outside.", "- Never in a tent"),)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no text"),
        (b"---\ntitle: [open\n---\ntext", "not YAML"),
        (b"---\nupdated: yesterday\n---\ntext", "updated"),
        (b"\xff\xfe\x00broken", "UTF-8"),
        (b"x" * 5_000_001, "larger than"),
    ],
)
def test_unreadable_files_say_why(content: bytes, reason: str) -> None:
    """The reason names what is wrong, for the person who must mend it."""
    with pytest.raises(DocumentUnreadable, match=reason):
        read("a/b.md", Path("b.md"), content)


@pytest.mark.parametrize(
    ("declared", "status"),
    [("current", "current"), ("active", "current"), ("outdated", "outdated"), ("odd", "outdated")],
)
def test_only_plainly_current_articles_are_current(declared: str, status: str) -> None:
    """A standing nobody knows is not quoted to customers."""
    document = read("a/b.md", Path("b.md"), f"---\nstatus: {declared}\n---\nText.".encode())

    assert status == document.front.status

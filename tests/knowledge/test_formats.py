"""Every format becomes documents with their provenance; what cannot be read says why, in bounded time."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path

import pytest

from app.knowledge import reader
from app.knowledge.documents import DocumentUnreadable, chunks_of
from app.knowledge.formats import Options, find, read
from app.knowledge.reader import read_file
from tests.knowledge import files


def texts(name: str, content: bytes, options: Options | None = None) -> list[tuple[str, str, str]]:
    """Name, title and text of what a file becomes."""
    found = read(f"kb/{name}", Path(name), content, options or Options())
    return [
        (each.name, each.title, " ".join(block for part in each.sections for block in part.blocks))
        for each in found.documents
    ]


def test_a_pdf_is_cut_by_pages_but_not_in_a_sentence() -> None:
    """A chunk names its page; a sentence that runs over the end of a page is whole."""
    content = files.pdf(["Tents last ten years. Poles are", "replaced for free. Pegs are not."])
    [document] = read("kb/tent.pdf", Path("tent.pdf"), content).documents
    chunks = chunks_of(document, "current")

    assert chunks[0].title == "Tent > page 1"
    assert "Poles are replaced for free." in chunks[0].text


def test_a_word_document_is_read_by_the_loaders_extra(tmp_path: Path) -> None:
    """Its paragraphs are paragraphs."""
    path = tmp_path / "boots.docx"
    path.write_bytes(files.docx(["Boots are waxed yearly.", "Laces are not."]))
    [document] = read("kb/boots.docx", path, path.read_bytes()).documents

    assert document.sections[0].blocks == ("Boots are waxed yearly.", "Laces are not.")


def test_rows_keep_their_own_ids_and_what_they_say_about_themselves() -> None:
    """A row is a document: id, title, text, section and front matter come from its fields."""
    row = {
        "doc_id": "t-1",
        "title": "Tents",
        "section": "Care",
        "text": "Dry it.",
        "audience": "internal",
        "updated": "2026-01-02T10:00:00Z",
    }
    content = gzip.compress(json.dumps(row).encode())
    [document] = read("kb/rows.jsonl.gz", Path("rows.jsonl.gz"), content).documents
    [chunk] = chunks_of(document, "current")

    assert (document.source, document.name) == ("kb/rows.jsonl.gz#t-1", "t-1")
    assert (chunk.title, chunk.audience, str(chunk.updated)) == (
        "Tents > Care",
        "internal",
        "2026-01-02",
    )


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        # a FAQ has questions and answers; rows without an id are numbered
        ("f.csv", b"question;answer\nMay I?;Yes, you may.\n", [("1", "May I?", "Yes, you may.")]),
        (
            "p.json",
            b'[{"id": 7, "name": "Stove", "description": "Hot."}]',
            [("7", "Stove", "Hot.")],
        ),
        (
            "s.jsonl",
            b'{"id": "a", "sections": [{"heading": "One", "text": "x"}, "y"]}',
            [("a", "a", "x y")],
        ),
    ],
)
def test_fields_are_found_by_their_usual_names(
    name: str, content: bytes, wanted: list[tuple[str, str, str]]
) -> None:
    """Nobody has to rename the columns of what they have."""
    assert texts(name, content) == wanted


def test_fields_can_be_named() -> None:
    """Where a file calls things its own way, the options say it."""
    options = Options(id_field="nr", title_field="was", text_field="inhalt")
    content = b'{"nr": "9", "was": "Zelte", "inhalt": "Trocken lagern.", "text": "no"}'

    assert texts("z.jsonl", content, options) == [("9", "Zelte", "Trocken lagern.")]


def test_a_bad_row_is_listed_and_the_others_are_taken() -> None:
    """Row numbers and reasons, for the person who mends the file."""
    content = b'{"id": 1, "text": "Good."}\nnot json\n{"id": 2}\n{"id": 1, "text": "Twice."}\n'
    found = read("kb/r.jsonl", Path("r.jsonl"), content)

    assert [document.name for document in found.documents] == ["1"]
    assert [source for source, _ in found.failed] == [f"kb/r.jsonl, row {n}" for n in (2, 3, 4)]
    assert "--text-field" in found.failed[1][1]


HOSTILE: list[tuple[str, bytes, str]] = [
    ("empty.pdf", files.pdf([""]), "scanned"),
    ("locked.pdf", files.pdf(["Secret."], encrypted=True), "encrypted"),
    ("fake.pdf", b"MZ\x90\x00 not a pdf", "not a PDF"),
    ("fake.docx", b"not a container", "not a Word document"),
    ("old.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 rest", "encrypted"),
    ("bomb.docx", files.docx(["x"], padding=150_000_000), "unpacks to more"),
    ("bomb.jsonl.gz", files.bomb(60_000_000), "larger than"),
    ("cut.jsonl.gz", files.bomb(1000)[:-20], "gzip"),
    ("binary.txt", b"MZ\x00\x01\x02 text", "NUL"),
    ("latin.txt", "Größe".encode("latin-1"), "UTF-8"),
    ("wide.csv", b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n", "columns"),
    ("deep.json", b"[" * 100_000, "JSON"),
    ("deep.jsonl", b'{"text":' * 5000 + b'"x"' + b"}" * 5000, "JSON"),
    ("thing.exe", b"MZ", "format"),
]


@pytest.mark.parametrize(("name", "content", "reason"), HOSTILE, ids=[n for n, _, _ in HOSTILE])
async def test_what_cannot_be_read_says_why(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    """Encrypted, empty, huge and made to hurt: a reason, soon, and no harm."""
    path = tmp_path / name
    path.write_bytes(content)
    started = time.monotonic()
    with pytest.raises(DocumentUnreadable, match=reason):
        await read_file(f"kb/{name}", path, content, Options(), seconds=20)

    assert time.monotonic() - started < 20


async def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """HTML of a hundred thousand open tags costs its own process its time, and nothing else."""
    path = tmp_path / "deep.html"
    path.write_bytes(b"<div>" * 40_000 + b"<p>" * 40_000 + b"x")

    with pytest.raises(DocumentUnreadable, match="longer than 1 s"):
        await read_file("kb/deep.html", path, path.read_bytes(), Options(), seconds=1)


async def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that asks for more than it may have fails; its parent goes on."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": 1, "text": "' + b"a " * 20_000_000 + b'"}')
    monkeypatch.setattr(reader, "MEMORY", 300_000_000)

    with pytest.raises(DocumentUnreadable, match=r"memory|crashed"):
        await read_file("kb/rows.jsonl", path, path.read_bytes(), Options())


def test_a_long_run_without_a_full_stop_is_divided() -> None:
    """No chunk is longer than what an encoder reads, and no word of it is lost."""
    words = [f"word{n}" for n in range(5000)]
    [document] = read("kb/l.txt", Path("l.txt"), " ".join(words).encode()).documents
    chunks = chunks_of(document, "current")

    assert max(len(chunk.text.split()) for chunk in chunks) <= 120
    assert " ".join(chunk.text for chunk in chunks).split() == words


def test_links_are_not_followed_out_of_the_folder(tmp_path: Path) -> None:
    """A loop ends, a link to elsewhere is not read, hidden folders are left alone."""
    folder = tmp_path / "kb"
    (folder / "sub").mkdir(parents=True)
    (folder / ".git").mkdir()
    (tmp_path / "private.txt").write_text("secret")
    (folder / "a.txt").write_text("a")
    (folder / ".git" / "b.txt").write_text("b")
    os.symlink(folder, folder / "sub" / "loop")
    os.symlink("self.txt", folder / "self.txt")
    os.symlink(tmp_path / "private.txt", folder / "out.txt")

    assert [name for name, _ in find(folder)] == ["kb/a.txt"]

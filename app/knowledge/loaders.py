"""The one place that knows langchain-community: formats the base install does not read.

It announces its end whenever it is imported, so it is imported for a file that needs it and not before.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

from app.knowledge.documents import DocumentUnreadable


class LoaderMissing(DocumentUnreadable):
    """The packages for this format are not installed."""

    lasting = False


#: An office file that unpacks to more than this was made to fill a memory, not to be read.
LARGEST_UNPACKED = 100_000_000


def docx(path: Path) -> str:
    """The text of a Word document, paragraphs divided by empty lines."""
    contained(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from langchain_community.document_loaders import Docx2txtLoader

            loaded = Docx2txtLoader(str(path)).load()
    except ImportError as error:
        raise LoaderMissing(
            f"Word documents need more packages ({error.name}): pip install 'signalbox[loaders]'"
        ) from error
    except (KeyError, SyntaxError, zipfile.BadZipFile) as error:
        raise DocumentUnreadable(f"not a Word document: {error}") from error
    return "\n\n".join(part.page_content for part in loaded)


def contained(path: Path) -> None:
    """Refuse a container by what it says of itself, before anything is unpacked."""
    if path.read_bytes()[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise DocumentUnreadable("encrypted, or in Word's old format")
    try:
        with zipfile.ZipFile(path) as container:
            parts = container.infolist()
    except zipfile.BadZipFile as error:
        raise DocumentUnreadable(f"not a Word document: {error}") from error
    if any(part.flag_bits & 1 for part in parts):
        raise DocumentUnreadable("encrypted")
    if sum(part.file_size for part in parts) > LARGEST_UNPACKED:
        raise DocumentUnreadable(f"unpacks to more than {LARGEST_UNPACKED // 1_000_000} MB")

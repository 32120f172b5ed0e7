"""Each row of the table of faults names a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/operations.md").read_text("utf-8").split("## When something is away")[1]
ROWS = [row for row in TABLE.split("\n## ")[0].splitlines() if row.startswith("| ")][1:]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_a_row_has_its_test(row):
    """In the file that it names; and something stands in every column."""
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert len(cells) == 7
    assert all(cells)
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cells[-1])
    assert named
    for file, test in named:
        assert f"def {test}(" in (ROOT / file).read_text("utf-8")

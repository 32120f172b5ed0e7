"""What personal data is found in messages: recall and precision per kind, and the time it takes."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evals.figures import Figure, Report, Table, at_least
from evals.world import Folders, Progress, quiet
from tools.privacy import find_pii

#: The set's names for what the issue of masking is about, and the recall each is held to.
WANTED = {
    "CREDIT_CARD": ("card", 95.0),
    "IBAN_CODE": ("iban", 95.0),
    "EMAIL_ADDRESS": ("mail", 95.0),
    "PHONE_NUMBER": ("phone", 95.0),
    "IP_ADDRESS": ("ip", 95.0),
    "US_SSN": ("national id", 95.0),
    "PERSON": ("person", 90.0),
    "STREET_ADDRESS": ("street", 90.0),
}
PRECISION = 95.0


def run(folders: Folders, progress: Progress = quiet, *, data: Path | None = None) -> Report:
    """``pii_presidio``, where it is at hand: messages with every span that a person marked."""
    report = Report("privacy")
    file = data / "pii_presidio" / "messages.jsonl" if data is not None else None
    if file is None or not file.is_file():
        report.notes.append(
            "Not measured: needs the folder pii_presidio; name its parent with --data or SIGNALBOX_DATA."
        )
        return report
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    reported, looked_at = _Half(), _Half()
    began = time.process_time()
    for row in rows:
        (reported if is_reported(row) else looked_at).add(row)
    took = time.process_time() - began
    for kind, (name, target) in WANTED.items():
        if reported.there[kind]:
            value = reported.recall(kind)
            report.figures.append(Figure(f"recall of {name}", value, "%", target=at_least(target)))
    report.figures.append(
        Figure("precision of what is masked", reported.precision, "%", target=at_least(PRECISION))
    )
    report.figures.append(Figure("time a message", 1000 * took / len(rows), "ms"))
    report.notes.append(
        f"{reported.rows} messages, of templates that nobody looked at while the rules were written; "
        f"beside them the {looked_at.rows} that were looked at."
    )
    table = Table(
        "Found, by the set's kinds", ("kind", "there", "masked whole", "in part", "looked at: %")
    )
    table.rows = [
        (
            kind,
            str(n),
            str(reported.whole[kind]),
            str(reported.part[kind] - reported.whole[kind]),
            f"{looked_at.recall(kind):.0f}",
        )
        for kind, n in reported.there.most_common()
    ]
    report.tables.append(table)
    return report


def is_reported(row: Mapping[str, Any]) -> bool:
    """Whether a message is of the half that is reported: all messages of one template are."""
    return hashlib.sha256(str(row["template"]).encode()).digest()[-1] % 2 == 1


@dataclass
class _Half:
    """What was found in a half of the messages."""

    rows: int = 0
    found: int = 0
    right: int = 0
    there: Counter[str] = field(default_factory=Counter[str])
    whole: Counter[str] = field(default_factory=Counter[str])
    part: Counter[str] = field(default_factory=Counter[str])

    def add(self, row: Mapping[str, Any]) -> None:
        text, seen = str(row["text"]), find_pii(str(row["text"]))
        spans: Sequence[Mapping[str, Any]] = row["spans"]
        marked = [(str(s["type"]), int(s["start"]), int(s["end"])) for s in spans]
        covered = {at for span in seen for at in range(span.start, span.end)}
        self.rows += 1
        self.found += len(seen)
        self.right += sum(
            any(s.start < end and start < s.end for _, start, end in marked) for s in seen
        )
        for kind, start, end in marked:
            letters = {at for at in range(start, end) if text[at].isalnum()}
            self.there[kind] += 1
            self.whole[kind] += letters <= covered
            self.part[kind] += bool(letters & covered)

    def recall(self, kind: str) -> float:
        return 100 * self.whole[kind] / self.there[kind] if self.there[kind] else 0.0

    @property
    def precision(self) -> float:
        return 100 * self.right / self.found if self.found else 100.0

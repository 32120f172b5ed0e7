"""What personal data is found in messages: recall and precision per kind, and the time it takes."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

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
    there, whole, part = Counter[str](), Counter[str](), Counter[str]()
    found = right = 0
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    began = time.process_time()
    spans = [find_pii(row["text"]) for row in rows]
    took = time.process_time() - began
    for row, seen in zip(rows, spans, strict=True):
        marked = [(s["type"], s["start"], s["end"]) for s in row["spans"]]
        covered = {at for span in seen for at in range(span.start, span.end)}
        found += len(seen)
        right += sum(any(s.start < end and start < s.end for _, start, end in marked) for s in seen)
        for kind, start, end in marked:
            letters = {at for at in range(start, end) if row["text"][at].isalnum()}
            there[kind] += 1
            whole[kind] += letters <= covered
            part[kind] += bool(letters & covered)
    for kind, (name, target) in WANTED.items():
        if there[kind]:
            value = 100 * whole[kind] / there[kind]
            report.figures.append(Figure(f"recall of {name}", value, "%", target=at_least(target)))
    precision = 100 * right / found if found else 100.0
    report.figures.append(
        Figure("precision of what is masked", precision, "%", target=at_least(PRECISION))
    )
    report.figures.append(Figure("time a message", 1000 * took / len(rows), "ms"))
    table = Table("Found, by the set's kinds", ("kind", "there", "masked whole", "in part"))
    table.rows = [
        (k, str(n), str(whole[k]), str(part[k] - whole[k])) for k, n in there.most_common()
    ]
    report.tables.append(table)
    return report

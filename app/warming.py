"""Loads beforehand what the readers of values load when they are first asked: on the event loop it would block."""

from __future__ import annotations

from datetime import date

#: A sentence with everything that is looked for.
SAMPLE = (
    "Please refund 12.50 EUR for SB-10001 by next Tuesday at 5 pm, call +49 30 901820 or 030 901820, write to "
    "a@b.example, and deliver two pieces to Hauptstraße 5, 10115 Berlin, Germany. Bitte bis morgen, 3 Stück."
)


def warm_reading() -> None:
    """Read a sentence once; for a thread."""
    from tools.reading.reader import read

    for currency in (None, "EUR"):
        read(SAMPLE, today=date(2026, 1, 5), region="DE", currency=currency)

"""Patterns that somebody else wrote, in the schema of an operation: bounded in time, whatever they are.

A pattern such as ``^(a+)+$`` takes the standard library longer than a customer waits. One that cannot be read,
or takes too long, says nothing about a value.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import regex

#: Seconds that a pattern may take for one message in all.
PATIENCE = 0.1


class Form:
    """A declared form, to be looked for in the words of one message."""

    def __init__(self, pattern: str) -> None:
        self._left = PATIENCE
        try:
            self._wanted = regex.compile(pattern)
        except regex.error:
            self._left = 0.0
            return
        # JSON schema patterns match anywhere; one that is anchored says so itself.
        self._match = self._wanted.search if pattern.startswith("^") else self._wanted.fullmatch

    def first_of(self, values: Sequence[str]) -> str | None:
        """The first of the values that has the form."""
        for value in values:
            if self._left <= 0:
                return None
            started = time.perf_counter()
            try:
                if self._match(value, timeout=self._left):
                    return value
            except TimeoutError:
                pass
            self._left -= time.perf_counter() - started
        return None


def fits(pattern: str, value: str) -> bool:
    """Whether the pattern occurs in the value, as JSON schema has it; True where it cannot be told."""
    try:
        return regex.search(pattern, value, timeout=PATIENCE) is not None
    except (regex.error, TimeoutError):
        return True

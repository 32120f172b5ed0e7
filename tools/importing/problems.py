"""What is wrong with a file: where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong or weak in a file."""

    file: str
    text: str
    line: int | None = None
    grave: bool = True  #: It cannot be used like this; otherwise it only deserves a look.

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}, line {self.line}"
        return f"{where}: {self.text}"


class FilesInvalid(ValueError):
    """Some files of the domain cannot be used as they are."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)) or self.__doc__)

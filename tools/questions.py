"""What customers ask, and the sentences of the articles that answer it: a domain's ``questions/``.

A question is nearer to another question than to its answer, above all where a customer tells what happened and the
article states a rule (document expansion by queries, Nogueira et al. 2019, "doc2query")."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

#: In a domain's folder.
QUESTIONS = "questions"

_Text = Annotated[str, StringConstraints(min_length=1, max_length=1000, strip_whitespace=True)]


class QuestionsInvalid(ValueError):
    """A file of questions cannot be used as it is."""


class Answered(BaseModel):
    """Questions that the same sentences answer, or that nothing answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    article: str = (
        ""  #: Name of the article's file without its ending; empty: no article answers these.
    )
    language: str = "en"  #: In which article and questions are written.
    sentences: tuple[_Text, ...] = ()  #: As they stand in the article, in the order to be said.
    questions: Annotated[tuple[_Text, ...], Field(min_length=1)]


def load_questions(folder: Path) -> tuple[Answered, ...]:
    """Every line of the folder's JSON Lines files; nothing where there is no such folder. Raises
    QuestionsInvalid with file and line."""
    found: list[Answered] = []
    for file in sorted(folder.glob("*.jsonl")):
        try:
            text = file.read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise QuestionsInvalid(f"{file.name} cannot be read as UTF-8: {error}") from error
        # Not splitlines: what stands in a string of JSON may hold other ends of lines.
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip():
                continue
            try:
                one = Answered.model_validate(json.loads(line))
            except (ValidationError, ValueError, RecursionError) as error:
                raise QuestionsInvalid(f"{file.name}, line {number}: {error}") from error
            if bool(one.article) != bool(one.sentences):
                raise QuestionsInvalid(
                    f"{file.name}, line {number}: give the article and the sentences of it that answer, or neither"
                )
            found.append(one)
    return tuple(found)

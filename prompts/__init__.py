"""Prompts as named Markdown files: front matter, `$variables`, and a version that is the content's hash."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib.resources import files
from string import Template
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = [
    "Messages",
    "MissingVariables",
    "Prompt",
    "PromptError",
    "PromptInvalid",
    "PromptNotFound",
    "load",
    "names",
    "parse",
]

_FRONT_MATTER = re.compile(r"\A---\n(?P<fields>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
_INPUT = "\n# Input\n"


class PromptError(Exception):
    """A prompt could not be loaded or rendered."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


class PromptNotFound(PromptError):
    """There is no prompt of that name."""


class PromptInvalid(PromptError):
    """The prompt's file is not front matter followed by a template with an `# Input` part."""


class MissingVariables(PromptError):
    """Values for some of the prompt's variables were not given."""


class Messages(NamedTuple):
    """A rendered prompt, as the two messages a chat model takes."""

    system: str
    user: str


class Prompt(BaseModel):
    """Instructions to a model, and below `# Input` the material they are about."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    role: str
    purpose: str
    data: tuple[
        str, ...
    ] = ()  #: Variables that hold other people's text, which may not leave its tag.
    text: str
    version: str

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(Template(self.text).get_identifiers())

    def render(self, **values: object) -> str:
        """The whole prompt with its variables filled in."""
        return self._filled(self.text, values)

    def messages(self, **values: object) -> Messages:
        """The instructions as the system message, the material as the user's."""
        system, user = self.text.split(_INPUT)
        return Messages(self._filled(system, values).strip(), self._filled(user, values).strip())

    def _filled(self, text: str, values: dict[str, object]) -> str:
        missing = sorted(self.variables - values.keys())
        if missing:
            raise MissingVariables(f"Prompt {self.name!r} lacks: {', '.join(missing)}.")
        # Without this a customer could write `</message>` and go on as if we had.
        safe = {n: str(v).replace("<", "&lt;") if n in self.data else v for n, v in values.items()}
        return Template(text).substitute(safe)


def parse(name: str, content: str) -> Prompt:
    """Read one prompt file's content."""
    parts = _FRONT_MATTER.match(content)
    if parts is None:
        raise PromptInvalid(f"Prompt {name!r} has no front matter.")
    text = parts["body"].strip() + "\n"
    if text.count(_INPUT) != 1:
        raise PromptInvalid(f"Prompt {name!r} needs exactly one line `# Input`.")
    if not Template(text).is_valid():
        raise PromptInvalid(
            f"Prompt {name!r} has a `$` that starts no variable; write `$$` for one."
        )
    fields: Any = yaml.safe_load(parts["fields"])
    try:
        prompt = Prompt(
            **fields,
            name=name,
            text=text,
            version=hashlib.sha256(content.encode()).hexdigest()[:12],
        )
    except (TypeError, ValidationError) as error:
        raise PromptInvalid(f"Prompt {name!r}: {error}") from error
    unknown = sorted(set(prompt.data) - prompt.variables)
    if unknown:
        raise PromptInvalid(f"Prompt {name!r} names data it does not use: {', '.join(unknown)}.")
    return prompt


def names() -> list[str]:
    """The names of all prompts, in order."""
    return sorted(
        file.name.removesuffix(".md")
        for file in files(__name__).iterdir()
        if file.name.endswith(".md")
    )


@cache
def load(name: str) -> Prompt:
    """The prompt of that name."""
    if name not in names():
        raise PromptNotFound(f"There is no prompt {name!r}; there are: {', '.join(names())}.")
    content = files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")
    return parse(name, content)

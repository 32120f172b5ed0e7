"""Personal data as placeholders, and back: what a hosted model reads in place of it, and what its reply says again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from tools.privacy import find_pii

_PLACEHOLDER = re.compile(r"\[([A-Z]+_\d+)\]")
#: A placeholder that has only begun: what comes next may complete it.
_BEGUN = re.compile(r"\[[A-Z]{0,12}(?:_\d{0,4})?$")
#: What is shorter is a word before it is anybody's name.
_SHORTEST = 3


class Masker:
    """One turn's placeholders: the same value has the same one wherever it stands."""

    def __init__(
        self, known: Mapping[str, str] | None = None, *, public: Iterable[str] = ()
    ) -> None:
        """``known``: values of this customer's, each with its kind. ``public``: what everybody may read."""
        self._public = {each.casefold() for each in public if each}
        self._by_value: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._known: re.Pattern[str] | None = None
        self._kinds: dict[str, str] = {}
        self.know(known or {})

    def know(self, known: Mapping[str, str]) -> None:
        """More values of this customer's."""
        for value, kind in known.items():
            if len(value) >= _SHORTEST and value.casefold() not in self._public:
                self._kinds[value.casefold()] = kind
        if self._kinds:
            # The longest first: a whole name before its parts.
            values = sorted(self._kinds, key=len, reverse=True)
            some = "|".join(re.escape(value) for value in values)
            self._known = re.compile(rf"(?<![\w.@+-])(?:{some})(?![\w@]|[.-]\w)", re.IGNORECASE)

    def mask(self, text: str) -> str:
        """The text without what is personal in it."""
        if self._known is not None:
            text = self._known.sub(
                lambda m: self._placeholder(m.group(), self._kinds[m.group().casefold()]), text
            )
        pieces: list[str] = []
        at = 0
        for span in find_pii(text):
            value = text[span.start : span.end]
            if value.casefold() in self._public or _PLACEHOLDER.search(value):
                continue
            pieces += text[at : span.start], self._placeholder(value, span.kind)
            at = span.end
        return "".join((*pieces, text[at:]))

    def restore(self, text: str) -> str:
        """The text with its placeholders as what they stand for; one that nobody gave stays as it is."""
        return _PLACEHOLDER.sub(lambda m: self._values.get(m[1], m.group()), text)

    def restored(self, value: Any) -> Any:
        """The same for every text in a JSON value."""
        if isinstance(value, str):
            return self.restore(value)
        if isinstance(value, list):
            return [self.restored(each) for each in cast("list[Any]", value)]
        if isinstance(value, dict):
            return {k: self.restored(v) for k, v in cast("dict[str, Any]", value).items()}
        return value

    @property
    def masked(self) -> tuple[str, ...]:
        """The kinds of what was masked until now, each once."""
        return tuple(sorted(kind.casefold() for kind in self._counts))

    def streaming(self) -> Restorer:
        return Restorer(self.restore)

    def _placeholder(self, value: str, kind: str) -> str:
        key = value.casefold()
        if key not in self._by_value:
            kind = re.sub(r"[^A-Z]", "", kind.upper()) or "DATA"
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._by_value[key] = name = f"{kind}_{self._counts[kind]}"
            self._values[name] = value
        return f"[{self._by_value[key]}]"


class Restorer:
    """Restores a text that comes in pieces."""

    def __init__(self, restore: Callable[[str], str]) -> None:
        self._restore = restore
        self._held = ""

    def take(self, piece: str) -> str:
        text = self._held + piece
        begun = _BEGUN.search(text)
        at = begun.start() if begun else len(text)
        self._held = text[at:]
        return self._restore(text[:at])

    def rest(self) -> str:
        held, self._held = self._held, ""
        return held

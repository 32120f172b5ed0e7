"""One call of somebody's API or tool, and the port through which it is made."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import JsonValue

from tools.importing.schemas import kind_of
from tools.values import Record


class Extra(Record):
    """A value beside the declared arguments: a key, or our reference."""

    place: Literal["header", "body", "query", "argument"]
    name: str
    value: str


class Call(Record):
    """What is asked of a system: which of its operations, with which values."""

    operation: str  #: As the system calls it.
    values: dict[str, JsonValue] = {}
    extra: tuple[Extra, ...] = ()
    customer: dict[str, JsonValue] = {}  #: For whom, where the system wants to know.


class Reply(Record):
    """What a system answered."""

    status: int
    content: Any = None


@runtime_checkable
class System(Protocol):
    """A company's API, or an MCP server. Synchronous; adapters live in ``app/outside``."""

    @property
    def name(self) -> str: ...

    def argument_schema(self, operation: str) -> dict[str, Any]:
        """What an operation takes, as the schema of one object. Raises KeyError for one there is not."""
        ...

    def read(self, call: Call) -> Reply:
        """Ask something that may be asked again. Raises BackendUnavailable when there is no answer."""
        ...

    def write(self, call: Call) -> Reply:
        """Send once. Raises NotSent when nothing has left, Uncertain when nobody knows."""
        ...

    def ready(self) -> None:
        """Raises NotSent while there is no use in asking."""
        ...


__all__ = ["Call", "Extra", "Reply", "System", "kind_of"]

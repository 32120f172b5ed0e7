"""Roles used alone: one JSON object a line in, one a line out. Light to import: the command's help is made of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import stat
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

if TYPE_CHECKING:
    from app.config import Settings
    from app.models.router import Router

#: Makes a router of a catalogue's own examples.
Fit = Callable[[Path], "Router"]
#: What a role makes of one object. Raises ValueError for an object that is not one of its inputs.
Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
#: So many lines that wait are read together.
_TOGETHER = 256
#: Lines done, and bytes of the input that they were.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Role:
    """What a role does, and a line it can be tried with."""

    name: str
    purpose: str
    starts: str
    example: dict[str, Any]


ROLES = {
    role.name: role
    for role in (
        Role(
            "consequence",
            "What an operation does to the world: its class, and whether it is a write.",
            "the encoder",
            {
                "name": "refundOrder",
                "description": "Gives the money back.",
                "method": "POST",
                "arguments": ["order_id"],
            },
        ),
        Role(
            "router",
            "Intent, lane and operation of a message, with how sure and which tier said so.",
            "the encoder and the small model",
            {
                "id": "1",
                "text": "and the other one?",
                "history": [{"role": "user", "text": "where is SB-10482?"}],
            },
        ),
        Role(
            "extractor",
            "The typed arguments of any operation, from the customer's own words only.",
            "the encoder and the small model",
            {
                "operation": "pause_subscription",
                "text": "pause SUB-4021 for two months please",
                "today": "2026-11-20",
            },
        ),
        Role(
            "evaluator",
            "How a plan goes on after a step: continue, done, replan or escalate.",
            "the encoder and the small model",
            {
                "goal": "cancel SB-10482 and refund it",
                "step": "cancel_order",
                "result": "ok cancelled",
                "left": 1,
            },
        ),
        Role(
            "validator",
            "Whether a reply may be sent, and what is wrong with it.",
            "nothing",
            {
                "text": "Express takes 1-2 working days [1].",
                "passages": [{"text": "Express delivery takes 1-2 working days and costs 9.95."}],
                "customer": {"name": "Ana", "email": "ana@example.com"},
            },
        ),
        Role(
            "pruner",
            "Which chunks, and which of their sentences, help with a question.",
            "the encoder and the cross-encoder",
            {
                "query": "how long does express take?",
                "chunks": [
                    {"id": "a", "text": "Express takes 1-2 working days. It costs 9.95."},
                    {"id": "b", "text": "Boots are waxed once a year."},
                ],
                "budget_tokens": 200,
            },
        ),
    )
}


def explanation() -> str:
    """The help text: every role with an example line."""
    lines = [
        "Use one role alone: one JSON object a line in, one a line out, in the same order.",
        "Lines that cannot be used are reported on stderr with their number and left out; the exit "
        "code is then 1.",
    ]
    for role in ROLES.values():
        example = json.dumps(role.example, ensure_ascii=False)
        lines.append(f"\b\n{role.name}: {role.purpose} Starts {role.starts}.\n  {example}")
    return "\n\n".join(lines)


def opened(name: str, settings: Settings, **options: Any) -> AbstractAsyncContextManager[Answer]:
    """What the role needs is running inside the block, and nothing else."""
    from app.roles.opening import OPEN

    return OPEN[name](settings, **options)


class Batched(Protocol):
    """An answer that is quicker when it may look at the lines that wait."""

    async def prepare(self, rows: Sequence[dict[str, Any]]) -> None: ...


async def run(
    answer: Answer,
    source: BinaryIO,
    sink: BinaryIO,
    *,
    complain: Callable[[str], None],
    progress: Progress = lambda lines, size: None,
) -> int:
    """Answer every line of ``source``; the number of lines that could not be used."""
    from tools.ports import PortError

    bad = number = 0
    # In a thread: a pipe that is slow must not stop the model server from being looked after.
    while lines := await asyncio.to_thread(_waiting_lines, source):
        rows = [_parsed_or_why(line, first=number + n == 1) for n, line in enumerate(lines, 1)]
        if hasattr(answer, "prepare") and len(lines) > 1:
            with contextlib.suppress(PortError):
                await cast("Batched", answer).prepare([r for r in rows if isinstance(r, dict)])
        for line, row in zip(lines, rows, strict=True):
            number += 1
            try:
                if isinstance(row, ValueError):
                    raise row
                if row is not None:
                    _write(sink, row, await answer(row))
            except (ValueError, PortError) as error:
                bad += 1
                complain(f"line {number}: {error}")
            progress(number, len(line))
    return bad


def _waiting_lines(source: BinaryIO) -> list[bytes]:
    """The next line, and those behind it that can be had without waiting; none at the end."""
    lines: list[bytes] = []
    while line := source.readline():
        lines.append(line)
        if len(lines) == _TOGETHER or not _has_more(source):
            break
    return lines


def _has_more(source: BinaryIO) -> bool:
    try:
        descriptor = source.fileno()
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return True
        return bool(select.select([descriptor], [], [], 0)[0])
    except (OSError, ValueError):
        return False  # in memory, or no descriptor that can be asked


def _parsed_or_why(line: bytes, *, first: bool) -> dict[str, Any] | ValueError | None:
    """The object on the line, why there is none, or None for a blank line."""
    try:
        return parsed(line, first=first) if line.strip() else None
    except ValueError as error:
        return error


def _write(sink: BinaryIO, row: dict[str, Any], answered: dict[str, Any]) -> None:
    # An answer is about the object with the same id, whatever else happens to the line.
    kept = {"id": row["id"]} if "id" in row else {}
    sink.write(json.dumps({**kept, **answered}, ensure_ascii=False).encode() + b"\n")
    sink.flush()


def parsed(line: bytes, *, first: bool = False) -> dict[str, Any]:
    """The object on a line; a ValueError says why it is none."""
    try:
        text = line.decode("utf-8-sig" if first else "utf-8")
        row = json.loads(text)
        # Half of a surrogate pair is valid JSON, but no text that can be written again.
        json.dumps(row, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeError as error:
        raise ValueError("not valid UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return cast("dict[str, Any]", row)

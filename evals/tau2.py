"""Tool calls of tau2's retail dialogues: what a support agent's tools were called with, from the words before.

The dialogues show results and no arguments, so the arguments are read off the results: the reason and the items
that a cancelled or returned order carries, the address that changed, the user that was found."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from evals.figures import NotPossible

FOLDER = Path("tau2_retail")
HOW = (
    "Put tau2-bench's retail domain (MIT, github.com/sierra-research/tau2-bench) as tau2_retail/tools.jsonl, "
    "tau2_retail/db.jsonl.gz and tau2_retail/dialogues_fewshot.jsonl into a folder and set SIGNALBOX_DATA to it."
)
_ADDRESS = ("address1", "address2", "city", "state", "country", "zip")
_SPEAKER = re.compile(r"^(user|assistant|tool): ", re.M)


@dataclass(frozen=True)
class Call:
    """One tool call: who said what before it, what the desk knew of the customer, and its arguments."""

    id: str
    tool: str
    said: tuple[tuple[bool, str], ...]
    records: tuple[Any, ...]
    arguments: dict[str, Any]
    kept: bool  #: Every third dialogue was left alone until the extractor was finished.


def tools(data: Path) -> dict[str, Mapping[str, Any]]:
    """The benchmark's tools as it describes them."""
    return {str(row["name"]): row for row in _rows(data / FOLDER / "tools.jsonl")}


def calls(data: Path) -> list[Call]:
    """Every call whose arguments its result tells."""
    if not (data / FOLDER / "dialogues_fewshot.jsonl").exists():
        raise NotPossible(f"There is no {data / FOLDER}. {HOW}")
    users = {
        str(row["id"]): cast("dict[str, Any]", row["row"])
        for row in _rows(data / FOLDER / "db.jsonl.gz")
        if row["table"] == "users"
    }
    found: list[Call] = []
    for place, row in enumerate(_rows(data / FOLDER / "dialogues_fewshot.jsonl")):
        heard = _Heard(users=users)
        for speaker, text in _turns(str(row["messages_display"])):
            for number, (tool, arguments) in enumerate(heard.take(speaker, text)):
                name = f"{place}-{len(heard.said)}-{number}-{tool}"
                found.append(
                    Call(
                        name, tool, tuple(heard.said), heard.known_before, arguments, place % 3 == 2
                    )
                )
    return found


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    if not path.exists():
        raise NotPossible(f"There is no {path}. {HOW}")
    packed = path.read_bytes()
    text = gzip.decompress(packed) if path.suffix == ".gz" else packed
    for line in text.decode().splitlines():
        yield json.loads(line)


def _turns(display: str) -> Iterator[tuple[str, str]]:
    marks = list(_SPEAKER.finditer(display))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        end = following.start() if following is not None else len(display)
        yield mark[1], display[mark.end() : end].strip()


@dataclass
class _Heard:
    """What was said and found up to a point of a dialogue."""

    users: Mapping[str, Mapping[str, Any]]
    said: list[tuple[bool, str]] = field(default_factory=list[tuple[bool, str]])
    orders: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    others: dict[str, Any] = field(default_factory=dict[str, Any])
    known_before: tuple[Any, ...] = ()

    @property
    def words(self) -> str:
        return " ".join(text for by_customer, text in self.said if by_customer)

    def take(self, speaker: str, text: str) -> list[tuple[str, dict[str, Any]]]:
        """Add a turn; the calls that its result tells of."""
        if speaker != "tool":
            if text != "None":
                self.said.append((speaker == "user", text))
            return []
        self.known_before = (*self.others.values(), *self.orders.values())
        if text in self.users:
            return self._found_user(text)
        if not text.startswith("{"):
            return []
        try:
            result = cast("dict[str, Any]", json.loads(text))
        except json.JSONDecodeError:
            return []
        if "order_id" not in result or "items" not in result:
            self.others[f"{len(self.others)}" if "orders" not in result else "user"] = result
            return []
        number = str(result["order_id"])
        before = self.orders.get(number)
        self.orders[number] = result
        if before is None:
            said = number.removeprefix("#").casefold() in self.words.casefold()
            return [("get_order_details", {"order_id": number})] if said else []
        return [(tool, {"order_id": number, **given}) for tool, given in _changes(before, result)]

    def _found_user(self, user: str) -> list[tuple[str, dict[str, Any]]]:
        row = self.users[user]
        if (email := str(row["email"])).casefold() in self.words.casefold():
            return [("find_user_id_by_email", {"email": email})]
        name, zip_code = cast("Mapping[str, str]", row["name"]), str(row["address"]["zip"])
        if zip_code not in self.words:
            return []
        return [("find_user_id_by_name_zip", {**name, "zip": zip_code})]


def _changes(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The calls that turn one state of an order into the next."""
    if after["status"] == before["status"] and after["address"] != before["address"]:
        yield "modify_pending_order_address", {k: after["address"][k] for k in _ADDRESS}
    if after["status"] == before["status"]:
        return
    if after.get("cancel_reason"):
        yield "cancel_pending_order", {"reason": after["cancel_reason"]}
    if after.get("return_items"):
        given = {
            "item_ids": after["return_items"],
            "payment_method_id": after["return_payment_method_id"],
        }
        yield "return_delivered_order_items", given
    if after.get("exchange_items"):
        given = {
            "item_ids": after["exchange_items"],
            "new_item_ids": after["exchange_new_items"],
            "payment_method_id": after["exchange_payment_method_id"],
        }
        yield "exchange_delivered_order_items", given

"""The internet provider in the crash eval: what its customers ask for and say, and the records of its REST service."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from domains.halden.backend import records as r
from domains.halden.backend.store import Store
from evals.crash_books import Job, manner
from tools.values import Unsettled

#: Backend kind -> what is asked for there, and how often, in parts. Which of key, reference and state a write
#: is settled by is what the provider's own ``operations.yaml`` says of it.
MIXES = {
    "rest-key": {"data_usage": 2, "book_data_pack": 6, "replace_sim": 4},
    "rest-reference": {"list_invoices": 2, "dispute_charge": 7, "book_technician": 5},
    "rest-state": {
        "data_usage": 2,
        "send_invoice": 5,
        "cancel_appointment": 4,
        "cancel_contract": 3,
    },
}

#: How a reply says that it was done; its group is what the service must know.
DONE = {
    "book_data_pack": r"Done: SIM (S-\d+) .* GB this month now",
    # What a person settled is told without a number that nobody gave.
    "replace_sim": r"Done: the new SIM(?: for (\+\d+))? is ordered",
    "dispute_charge": r"Done: .{1,20} are disputed(?:, under the number (D-\d+))?",
    "book_technician": r"Done: a technician comes on [^.]*\.(?: The visit has the number (A-\d+))?",
    "send_invoice": r"Done: the (invoice) is on its way",
    "cancel_appointment": r"Done: the (visit) on .* is cancelled",
    "cancel_contract": r"Done: the (contract) is cancelled",
}
#: What replies about these call the record; they name no number.
CALLED = {"send_invoice": "invoice", "cancel_appointment": "visit", "cancel_contract": "contract"}
#: How a customer begins a message -> what the intent head makes of it.
OPENINGS = {
    "how much data": "data_usage",
    "show my": "list_invoices",
    "please book": "book_data_pack",
    "please replace": "replace_sim",
    "please dispute": "dispute_charge",
    "please let a technician": "book_technician",
    "please send invoice": "send_invoice",
    "please cancel visit": "cancel_appointment",
    "please end contract": "cancel_contract",
}
#: Each with one record of a kind, which serves one request.
CUSTOMERS = 480
FIRST = 10000
#: Amounts that are disputed: one that needs nobody, one for a reviewer, one for two.
AMOUNTS = (30, 60, 210)


def _phone(n: int) -> str:
    return f"+49151{n:07}"


def values_in(text: str) -> dict[str, str]:
    """What a model would read from such a message."""
    return {"reason": text.partition(": ")[2], "purpose": "repair"}


def seed(file: Path, today: date) -> None:
    """Customers whose records each serve one request."""
    with Store(file).transaction() as books:
        for n in range(CUSTOMERS):
            for record_id, record in _records_of(n, today):
                books.keep(record_id, f"H-{FIRST + n}", record)


def _records_of(n: int, today: date) -> Iterator[tuple[str, Any]]:
    who, line = f"H-{FIRST + n}", f"L-{FIRST + n}"
    later = today + timedelta(days=20)
    yield (
        who,
        r.Customer(
            customer_id=who,
            name=f"Kim Probe {n}",
            email=f"kim{n}@mail.example",
            phone="+4940123450",
            country="DE",
            customer_since=today - timedelta(days=400),
        ),
    )
    yield (
        line,
        r.Line(
            line_id=line,
            customer_id=who,
            status="active",
            street=f"Probeweg {n}",
            postcode="20259",
            town="Hamburg",
            plan="fibre_100",
            price=29.9,
            down_mbit=100,
            up_mbit=40,
            signal="good",
            router="Halden Box 2",
            router_online=True,
            activated_on=today - timedelta(days=300),
        ),
    )
    sim, invoice, visit, contract = (f"{letter}-{FIRST + n}" for letter in "SFAC")
    yield (
        sim,
        r.Sim(
            sim_id=sim,
            customer_id=who,
            number=_phone(n),
            plan="mobile_m",
            price=19.9,
            status="active",
            kind="card",
            data_gb=20,
            used_gb=3,
            renews_on=today + timedelta(days=9),
        ),
    )
    charge = r.InvoiceLine(code="fibre_100", name="fibre_100", price=300)
    yield (
        invoice,
        r.Invoice(
            invoice_id=invoice,
            customer_id=who,
            status="open",
            month=f"{today:%Y-%m}",
            issued_on=today - timedelta(days=20),
            due_on=later,
            total=300,
            lines=[charge],
        ),
    )
    yield (
        visit,
        r.Appointment(
            appointment_id=visit,
            customer_id=who,
            line_id=line,
            status="booked",
            day=later,
            window="morning",
            purpose="repair",
        ),
    )
    yield (
        contract,
        r.Contract(
            contract_id=contract,
            customer_id=who,
            about=sim,
            kind="mobile",
            status="active",
            started_on=today - timedelta(days=300),
            minimum_until=today - timedelta(days=60),
            notice_until=later,
            monthly=19.9,
        ),
    )


@dataclass(frozen=True)
class Stands:
    """The service's records as they are."""

    packs: Mapping[str, int]  #: By SIM.
    replaced: Mapping[str, int]  #: Orders of a new SIM, by SIM.
    disputes: Mapping[str, list[str]]  #: Numbers, by invoice.
    visits: Mapping[str, list[str]]  #: Booked through us, by line.
    copies: Mapping[str, int]  #: By invoice.
    cancelled: frozenset[str]  #: Visits and contracts.


@dataclass
class ProviderRecords:
    """The records of the provider's service, read from its own file."""

    file: Path
    kind: str
    today: date
    edits: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"dispute_charge": {"reason": "It was charged twice."}}
    )

    def jobs(self, seed: int, only: Sequence[str] = ()) -> Iterator[Job]:
        rng = random.Random(seed)
        mix = {name: n for name, n in MIXES[self.kind].items() if not only or name in only}
        pools = _pools(self.today, rng)
        number = 0
        while True:
            left = {name: n for name, n in mix.items() if pools[name]}
            operation = rng.choices(list(left), list(left.values()))[0]
            customer, record, text, grave = pools[operation].pop()
            number += 1
            yield Job(
                number=number,
                operation=operation,
                customer=customer,
                record=record,
                text=text,
                done=DONE.get(operation, ""),
                grave=grave,
                **manner(rng, only),
            )

    def read(self) -> Stands:
        with closing(sqlite3.connect(self.file, timeout=30)) as db:
            rows = db.execute("SELECT kind, body FROM records").fetchall()
            asked = db.execute("SELECT request FROM answers").fetchall()

        def all_of(kind: str) -> list[dict[str, Any]]:
            return [json.loads(body) for of, body in rows if of == kind]

        ordered = [json.loads(request) for (request,) in asked]
        replaced = Counter(record for record, choice in ordered if "kind" in choice)
        for sim in all_of("Sim"):
            if sim["replacement"] != "none":
                replaced[sim["sim_id"]] = max(1, replaced[sim["sim_id"]])
        disputes, visits = dict[str, list[str]](), dict[str, list[str]]()
        for one in all_of("Dispute"):
            disputes.setdefault(one["invoice_id"], []).append(one["dispute_id"])
        for one in all_of("Appointment"):
            if one["client_reference"]:
                visits.setdefault(one["line_id"], []).append(one["appointment_id"])
        ended = [c["contract_id"] for c in all_of("Contract") if c["status"] == "cancelled"]
        ended += [a["appointment_id"] for a in all_of("Appointment") if a["status"] == "cancelled"]
        return Stands(
            packs=Counter(pack["sim_id"] for pack in all_of("DataPack")),
            replaced=replaced,
            disputes=disputes,
            visits=visits,
            copies={one["invoice_id"]: one["copies_sent"] for one in all_of("Invoice")},
            cancelled=frozenset(ended),
        )

    def effects(self, job: Job, before: Stands, after: Stands) -> int:
        record = job.record
        match job.operation:
            case "book_data_pack":
                return after.packs.get(record, 0)
            case "replace_sim":
                return after.replaced.get(record, 0)
            case "dispute_charge":
                return len(after.disputes.get(record, ()))
            case "book_technician":
                return len(after.visits.get(record, ()))
            case "send_invoice":
                return after.copies[record] - before.copies[record]
            case "cancel_appointment" | "cancel_contract":
                return int(record in after.cancelled)
            case _:
                return 0

    def numbers(self, job: Job, after: Stands) -> set[str]:
        match job.operation:
            case "dispute_charge":
                return set(after.disputes.get(job.record, ()))
            case "book_technician":
                return set(after.visits.get(job.record, ()))
            case "replace_sim":
                return {_phone(int(job.record.removeprefix("S-")) - FIRST)}
            case _:
                return {CALLED.get(job.operation, job.record)}

    def paid(self) -> None:
        return None

    def happened(self, effect: Unsettled, job: Job, before: Stands) -> bool:
        return self.effects(job, before, self.read()) > 0


def _pools(today: date, rng: random.Random) -> dict[str, list[tuple[str, str, str, bool]]]:
    """Customer, record, message, and whether somebody has to agree, for each operation."""
    names = {name for mix in MIXES.values() for name in mix}
    pools = {name: list[tuple[str, str, str, bool]]() for name in names}
    for n in range(CUSTOMERS):
        who, line = f"H-{FIRST + n}", f"L-{FIRST + n}"
        day = today + timedelta(days=rng.randint(30, 50))
        text = f"please let a technician come to {line} on {day} in the morning for a repair"
        pools["book_technician"].append((who, line, text, False))
        pools["list_invoices"] += [(who, "", "show my invoices", False)] * 8
        sim, invoice, visit, contract = (f"{letter}-{FIRST + n}" for letter in "SFAC")
        amount = rng.choice(AMOUNTS)
        pools["data_usage"] += [(who, sim, f"how much data is left on {sim}", False)] * 8
        if rng.random() < 0.6:
            pools["book_data_pack"].append((who, sim, f"please book 5 GB for {sim}", False))
        else:
            text = f"please replace {sim} with an eSIM"
            pools["replace_sim"].append((who, sim, text, True))
        text = f"please dispute {amount} EUR on invoice {invoice}: it is on it twice"
        pools["dispute_charge"].append((who, invoice, text, amount > 50))
        again = f"please send invoice {invoice} again"
        pools["send_invoice"].append((who, invoice, again, False))
        pools["cancel_appointment"].append((who, visit, f"please cancel visit {visit}", False))
        pools["cancel_contract"].append((who, contract, f"please end contract {contract}", True))
    for pool in pools.values():
        rng.shuffle(pool)
    return pools

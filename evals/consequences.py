"""The classes that `signalbox domain init` proposes, beside the labels of public sets of operations.

Each operation is presented as a document or a tool server presents it, without a server's hints, which are what some of
the labels are made of. It is judged twice: by method and words alone, and with a head that had seen no operation of
its service. The class of a write is derived, by the rules of the training, where a set only labels writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.proposing import Offered, class_of
from evals.figures import Figure, NotPossible, Report, Table, at_least
from evals.world import Folders, Progress, quiet
from graphs.consequences import CLASSES, Judged, words
from models.train import consequence as training
from models.train.data import DataMissing, rows
from tools.intents import spoken

SEED = 1
#: Of the writes of all sets, so many must be proposed as writes: a write that reads runs unasked.
WRITES_SEEN = 0.995


@dataclass(frozen=True)
class Labelled:
    """One operation of a public set."""

    source: str
    service: str
    offered: Offered
    label: str


@dataclass(frozen=True)
class Found:
    """What was proposed for it."""

    of: Labelled
    proposed: str

    @property
    def missed(self) -> bool:
        """It writes and would have been proposed as a read."""
        return self.of.label != CLASSES[0] and self.proposed == CLASSES[0]

    @property
    def distance(self) -> int:
        """How much graver than its label; below zero it is too mild."""
        return CLASSES.index(self.proposed) - CLASSES.index(self.of.label)


def labelled(folder: Path | None) -> list[Labelled]:
    """Every operation of the sets. Raises NotPossible where they are not at hand."""
    if folder is None:
        raise NotPossible(
            "The public data sets are not here: set SIGNALBOX_DATA to their folder, or say --data."
        )
    try:
        return [*_tools(folder), *_interfaces(folder), *_intents(folder)]
    except DataMissing as error:
        raise NotPossible(str(error)) from error


def _tools(folder: Path) -> Iterator[Labelled]:
    for row in rows(folder, "actions_azure_mcp/tools"):
        offered = Offered(
            system="tools",
            id=row["name"],
            called=row["name"],
            title=spoken(row["name"]),
            description=row["description"] or "",
        )
        yield Labelled("azure", f"azure {row['area']}", offered, training.azure_label(row))


def _interfaces(folder: Path) -> Iterator[Labelled]:
    for row in (row for name in training.REST for row in rows(folder, name)):
        summary, description = row["summary"] or "", row["description"] or ""
        offered = Offered(
            system="api",
            id=row["operation"],
            called=f"{row['method']} {row['path']}",
            title=summary or description.partition(".")[0],
            description=description,
            method=row["method"].lower(),
            path=row["path"],
        )
        label = training.rest_label(
            row["method"], words(row["operation"]), f"{summary} {description}"
        )
        service = row["api"] if row["provider"] == "twilio" else row["provider"]
        yield Labelled(row["provider"], service, offered, label)


def _intents(folder: Path) -> Iterator[Labelled]:
    for row in rows(folder, "actions_sgd_intents/intents"):
        offered = Offered(
            system="tools",
            id=row["intent"],
            called=row["intent"],
            title=spoken(row["intent"]),
            description=row["description"],
            takes={name: {} for name in row["required_slots"]},
        )
        service = f"sgd {row['service'].rsplit('_', 1)[0]}"
        yield Labelled("sgd", service, offered, training.sgd_label(row))


def alone(operations: Sequence[Labelled]) -> list[Found]:
    """What method and words alone propose."""
    return [Found(one, class_of(one.offered)[0].value) for one in operations]


def with_head(operations: Sequence[Labelled], progress: Progress) -> list[Found]:
    """What is proposed with a head that was fitted on the other services."""
    shown = [
        training.Example(one.service, one.source, one.offered.text, one.label, one.offered.id)
        for one in operations
    ]
    of = training.table([*shown, *training.own()], progress)
    said = training.crossed(of, SEED, progress)
    said = training.tempered(said, training.temperature(said, of.labels))
    judged = training.judged(of, said, training.write_line(of, said))
    return [_proposed(one, by) for one, by in zip(operations, judged, strict=False)]


def _proposed(one: Labelled, by: Judged) -> Found:
    return Found(one, class_of(one.offered, lambda _: by)[0].value)


# --- the report -----------------------------------------------------------------------------------


def report(found: Sequence[tuple[str, Sequence[Found]]]) -> Report:
    """Figures of each way of proposing, per set, with who was taken for what."""
    made = Report("consequences")
    for how, every in found:
        writes = [one for one in every if one.of.label != CLASSES[0]]
        seen = 1 - sum(one.missed for one in writes) / len(writes)
        target = at_least(WRITES_SEEN) if how == HEAD else None
        made.figures.append(Figure(f"writes proposed as writes, {how}", seen, target=target))
        right = sum(one.distance == 0 for one in every) / len(every)
        made.figures.append(Figure(f"class as labelled, {how}", right, better="higher"))
        mild = sum(one.distance < 0 for one in every) / len(every)
        made.figures.append(Figure(f"milder than labelled, {how}", mild, better="lower"))
        made.tables.append(_per_set(how, every))
        made.tables += [_confusion(how, name, every) for name in _names(every)]
    made.notes.append(
        "Only reading or writing is labelled by people (azure, sgd) or follows from the method (medusa, stripe, twilio); "
        "the class of a write is derived from its verbs, so `class as labelled` is agreement with a rule."
    )
    made.tables.append(_missed(found[-1][1]))
    return made


WORDS, HEAD = "words alone", "with the head"


def _names(every: Sequence[Found]) -> list[str]:
    return list(dict.fromkeys(one.of.source for one in every))


def _per_set(how: str, every: Sequence[Found]) -> Table:
    columns = ("set", "operations", "writes", "seen", "reads as reads", "class", "milder", "graver")
    table = Table(f"Proposed, {how}", columns)
    for name in _names(every):
        of = [one for one in every if one.of.source == name]
        writes = [one for one in of if one.of.label != CLASSES[0]]
        reads = [one for one in of if one.of.label == CLASSES[0]]
        table.rows.append(
            (
                name,
                str(len(of)),
                str(len(writes)),
                _share([not one.missed for one in writes]),
                _share([one.distance == 0 for one in reads]),
                _share([one.distance == 0 for one in of]),
                _share([one.distance < 0 for one in of]),
                _share([one.distance > 0 for one in of]),
            )
        )
    return table


def _share(of: Sequence[bool]) -> str:
    return f"{100 * sum(of) / len(of):.1f} %" if of else "-"


def _confusion(how: str, name: str, every: Sequence[Found]) -> Table:
    table = Table(f"{name}, {how}: labelled (down), proposed (across)", ("", *CLASSES))
    seen = Counter((one.of.label, one.proposed) for one in every if one.of.source == name)
    for label in CLASSES:
        table.rows.append((label, *(str(seen[label, proposed]) for proposed in CLASSES)))
    return table


def _missed(every: Sequence[Found]) -> Table:
    table = Table("Writes that were proposed as reads", ("set", "operation", "title"))
    table.rows += [
        (one.of.source, one.of.offered.called, one.of.offered.title[:80])
        for one in every
        if one.missed
    ]
    return table


def run(_: Folders, progress: Progress = quiet, *, data: Path | None = None) -> Report:
    operations = labelled(data)
    return report([(WORDS, alone(operations)), (HEAD, with_head(operations, progress))])

"""Training of the consequence head: what an operation that nobody declared does to the world.

Logistic regression over four classes, on the sentence vector of the operation's text and on the signs in
it. A missed write is the costly error, so the line between read and write is drawn on predictions for
services the judging fit had not seen, where it lets at most one write in a hundred pass.
"""

# The libraries of the training carry no types for strict checking.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression

from graphs.consequences import (
    CLASSES,
    Judged,
    admits,
    described,
    of_operation,
    settle,
    signs,
    words,
)
from models.train import manifest
from models.train.classifier import calibration_error
from models.train.data import rows
from models.train.domain import DOMAIN
from models.train.encoder import Encoder, Vectors

SAFE, RETRY_SAFE, RETRY_UNSAFE, IRREVERSIBLE = CLASSES
#: Never seen before the last look: another payment provider, other services of each kind, own traps.
HELD_BACK = frozenset(
    {"stripe", "twilio_verify_v2", "twilio_flex_v1"}
    | {"sgd Banks", "sgd Media", "sgd Alarm", "sgd Homes", "sgd RideSharing", "sgd Services"}
    | {f"azure {area}" for area in ("sql", "compute", "cosmos", "azurebackup", "workbooks", "aks")}
    | {f"azure {area}" for area in ("servicebus", "group", "quota", "storagesync")}
    | {"own devices", "own travel", "own helpdesk"}
)
FOLDS = 6
#: Share of the writes that must be seen as writes, with a margin for what the next service brings: reads
#: that are taken for writes only cost time.
WANTED_RECALL = 0.998
#: Share of the writes' classes that must be right (or too grave) where the head is believed.
WANTED_CLASS = 0.97
STRENGTH = 0.3
#: Signs seen in fewer operations than this say more about one service than about the world.
SEEN_IN = 4
#: Weight of a sign beside the sentence vector, whose 384 numbers have length one together.
SIGN = 0.35

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Example:
    """An operation as somebody might present it, with what it really does."""

    service: str
    source: str
    text: str
    label: str
    name: str
    method: bool = False  #: Does the text tell the HTTP method?


# --- the data -----------------------------------------------------------------------------------

_MONEY = set(
    words("pay charge transfer refund capture withdraw buy purchase rent payout topup void")
)
_GONE = set(
    words(
        "delete remove cancel purge erase destroy drop wipe revoke terminate unregister close decline reject "
        "expire fail finalize finalise confirm approve reverse"
    )
)
_SET = set(
    words(
        "update set change modify rename configure enable disable pause resume activate deactivate mark "
        "unlock lock restart play protect undelete apply manage upsert"
    )
)


def examples(folder: Path) -> list[Example]:
    """Every operation of the public sets, of our shop and of the written ones, in each presentation."""
    found = [*_azure(folder), *_rest(folder), *_sgd(folder), *own()]
    return list({(e.service, e.text): e for e in found}.values())


def _azure(folder: Path) -> Iterable[Example]:
    for row in rows(folder, "actions_azure_mcp/tools"):
        label = azure_label(row)
        arguments = [str(one) for one in row.get("parameters") or ()]
        yield Example(
            f"azure {row['area']}",
            "azure",
            described(row["name"], row["description"] or "", None, arguments),
            label,
            row["name"],
        )


def azure_label(row: dict[str, Any]) -> str:
    """The class of a vendor's tool: its own labels, and what is gone for good by its name."""
    said = row["labels"]
    if said["read_only"]:
        return SAFE
    if _GONE & set(words(row["name"])):
        return IRREVERSIBLE
    return RETRY_SAFE if said["idempotent"] else RETRY_UNSAFE


#: The public sets of operations of web interfaces.
REST = (
    "actions_rest_medusa/medusa",
    "actions_rest_stripe_twilio/stripe",
    "actions_rest_stripe_twilio/twilio",
)


def _rest(folder: Path) -> Iterable[Example]:
    for row in (row for name in REST for row in rows(folder, name)):
        provider, name, method = row["provider"], row["operation"], row["method"]
        summary, description = row["summary"] or "", row["description"] or ""
        label = rest_label(method, words(name), f"{summary} {description}")
        service = row["api"] if provider == "twilio" else provider
        bare = name
        for prefix in ("Get", "Post", "Delete", "Put"):
            bare = bare.removeprefix(prefix)
        both = description if summary in description else f"{summary}. {description}"
        for shown, text, told in (
            (name, both, method),
            (name, summary or description, method),
            (name, both, None),
            (bare, description or summary, None),
        ):
            yield Example(
                service, provider, described(shown, text, told), label, name, told is not None
            )


def rest_label(method: str, name: list[str], text: str) -> str:
    """The class of an operation of a web interface, from its method and its verbs."""
    first = set(words(text)[:1])
    if method == "GET":
        return SAFE
    if method == "DELETE" or (_GONE | _MONEY) & (set(name[-2:]) | first):
        return IRREVERSIBLE
    if {"charges", "payouts", "transfers", "refunds", "topups"} & set(name[-1:]):
        return IRREVERSIBLE
    if {"search", "calculate", "preview", "lookup"} & (set(name[-1:]) | first):
        return SAFE
    if method == "PUT" or _SET & (set(name) | first | {f.rstrip("s") for f in first}):
        return RETRY_SAFE
    return RETRY_UNSAFE


def _sgd(folder: Path) -> Iterable[Example]:
    for row in rows(folder, "actions_sgd_intents/intents"):
        label = sgd_label(row)
        yield Example(
            # The paraphrases Banks_11 to Banks_15 stay with Banks_1, and all Banks together.
            f"sgd {row['service'].rsplit('_', 1)[0]}",
            "sgd",
            described(row["intent"], row["description"], None, row["required_slots"]),
            label,
            row["intent"],
        )


def sgd_label(row: dict[str, Any]) -> str:
    """The class of a consumer service's intent: transactional or not, and whether money moves."""
    said = set(words(f"{row['intent']} {row['description']}"))
    if not row["is_transactional"]:
        return SAFE
    if _MONEY & said:
        return IRREVERSIBLE
    return RETRY_SAFE if {"play", "watch", "listen"} & said else RETRY_UNSAFE


def own() -> list[Example]:
    """The operations that were written for this project, the domain's own among them."""
    return [*_written(), *_shop()]


def _written() -> Iterable[Example]:
    file = DOMAIN.examples / "operations.yaml"
    for group in yaml.safe_load(file.read_text("utf-8")):
        for row in group["operations"]:
            methods = dict.fromkeys((row.get("method"), None))
            for method in methods:
                yield Example(
                    f"own {group['service']}",
                    "own",
                    described(row["name"], row["description"], method, row["arguments"]),
                    row["class"],
                    row["name"],
                    method is not None,
                )


def _shop() -> Iterable[Example]:
    for operation in DOMAIN.operations.values():
        yield Example(
            "own shop", "own", of_operation(operation), operation.consequence.value, operation.name
        )


# --- the head -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """A linear classifier on sentence vectors and signs."""

    signs: tuple[str, ...]
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    temperature: float = 1.0

    def probabilities(self, inputs: Vectors) -> Numbers:
        logits = (inputs @ self.weight.T + self.bias).astype(np.float64) / self.temperature
        raised = np.exp(logits - logits.max(1, keepdims=True))
        return raised / raised.sum(1, keepdims=True)


@dataclass(frozen=True)
class Table:
    """The examples with their vectors and signs, worked out once."""

    rows: list[Example]
    vectors: Vectors
    found: list[frozenset[str]]

    def pick(self, wanted: Callable[[Example], bool]) -> Table:
        at = [i for i, row in enumerate(self.rows) if wanted(row)]
        return Table([self.rows[i] for i in at], self.vectors[at], [self.found[i] for i in at])

    def inputs(self, known: Sequence[str]) -> Vectors:
        place = {sign: i for i, sign in enumerate(known)}
        marks = np.zeros((len(self.rows), len(known)), np.float32)
        for i, found in enumerate(self.found):
            for sign in found:
                if sign in place:
                    marks[i, place[sign]] = SIGN
        return np.hstack([self.vectors, marks])

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        return np.array([CLASSES.index(row.label) for row in self.rows])

    @property
    def writes(self) -> npt.NDArray[np.bool_]:
        return self.labels > 0


def table(rows: list[Example], progress: Callable[[str, int, int], None]) -> Table:
    encoder, done = Encoder(), 0

    def embedded(count: int) -> None:
        nonlocal done
        done += count
        progress("embedding operations", done, len(rows))

    vectors = encoder.embed([row.text for row in rows], progress=embedded)
    return Table(rows, vectors, [signs(row.text) for row in rows])


def fit(of: Table, seed: int) -> Head:
    """A head for these examples; every service counts, however many operations it has."""
    counts = Counter(sign for found in of.found for sign in found)
    known = tuple(sorted(sign for sign, count in counts.items() if count >= SEEN_IN))
    sizes = Counter(row.service for row in of.rows)
    weights = np.array(
        [(3.0 if row.source == "own" else 1.0) / sizes[row.service] ** 0.35 for row in of.rows]
    )
    model: Any = LogisticRegression(
        C=STRENGTH, class_weight="balanced", max_iter=600, tol=1e-3, random_state=seed
    )
    model.fit(of.inputs(known), of.labels, sample_weight=weights / weights.mean())
    return Head(
        known, np.asarray(model.coef_, np.float32), np.asarray(model.intercept_, np.float32)
    )


def crossed(of: Table, seed: int, progress: Callable[[str, int, int], None]) -> Numbers:
    """What heads that had not seen an example's service say about it."""
    said = np.zeros((len(of.rows), len(CLASSES)))
    for fold in range(FOLDS):
        progress("fitting by service", fold, FOLDS)
        inside = of.pick(lambda row, fold=fold: _fold(row.service) != fold)
        head = fit(inside, seed)
        at = [i for i, row in enumerate(of.rows) if _fold(row.service) == fold]
        outside = of.pick(lambda row, fold=fold: _fold(row.service) == fold)
        if at:
            said[at] = head.probabilities(outside.inputs(head.signs))
    progress("fitting by service", FOLDS, FOLDS)
    return said


def _fold(service: str) -> int:
    # One provider's interfaces are alike, so they stay together.
    provider = "twilio" if service.startswith("twilio") else service
    return int(sha256(provider.encode()).hexdigest(), 16) % FOLDS


def tempered(said: Numbers, temperature: float) -> Numbers:
    raised = said ** (1.0 / temperature)
    return raised / raised.sum(1, keepdims=True)


def temperature(said: Numbers, truth: npt.NDArray[np.int64]) -> float:
    rows = np.arange(len(truth))
    grid = np.geomspace(0.2, 5.0, 120)

    def loss(value: float) -> float:
        return float(-np.log(np.maximum(tempered(said, value)[rows, truth], 1e-12)).mean())

    return round(float(min(grid, key=loss)), 4)


def write_line(of: Table, said: Numbers) -> float:
    """The probability of a write from which on an operation counts as one."""
    spoken = np.array([admits(row.text) is not None for row in of.rows])
    chances = np.sort(np.where(spoken, 1.0, 1.0 - said[:, 0])[of.writes])
    allowed = int((1.0 - WANTED_RECALL) * len(chances))
    return round(float(chances[allowed]) - 5e-5, 4)


def judged(of: Table, said: Numbers, line: float, believed: float = 1.0) -> list[Judged]:
    return [
        settle(
            dict(zip(CLASSES, map(float, row), strict=True)),
            each.text,
            line=line,
            believed=believed,
        )
        for row, each in zip(said, of.rows, strict=True)
    ]


def class_line(of: Table, said: Numbers, line: float) -> float:
    """The probability from which on the class of a write is believed: right, or graver than right."""
    seen = [
        (one.probability, CLASSES.index(one.consequence) >= truth)
        for one, truth in zip(judged(of, said, line), of.labels, strict=True)
        if one.write
    ]
    seen.sort(reverse=True)
    good = np.cumsum([right for _, right in seen]) / np.arange(1, len(seen) + 1)
    enough = np.nonzero(good >= WANTED_CLASS)[0]
    return round(seen[enough[-1]][0], 4) if len(enough) else 1.0


def figures(of: Table, said: Numbers, line: float, believed: float) -> dict[str, Any]:
    """Write recall, reads let through and class accuracy, over all and by source and presentation."""
    seen = judged(of, said, line, believed)
    write = np.array([one.write for one in seen])
    picked = np.array([CLASSES.index(one.consequence) for one in seen])
    sure = np.array([one.sure for one in seen])
    chance = np.where(write, 1.0 - said[:, 0], said[:, 0])

    def of_rows(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
        is_write, truth = of.writes[mask], of.labels[mask]
        return {
            "texts": int(mask.sum()),
            "writes": int(is_write.sum()),
            "write_recall": _share(write[mask][is_write]),
            "reads_let_through": _share(~write[mask][~is_write]),
            "class_accuracy": _share(picked[mask] == truth),
            "too_mild": _share((picked[mask] < truth) & sure[mask]),
            "to_the_judge": _share(~sure[mask]),
            "write_ece": round(calibration_error(chance[mask], write[mask] == is_write), 4),
        }

    sources = np.array([row.source for row in of.rows])
    method = np.array([row.method for row in of.rows])
    result = {
        "all": of_rows(np.ones(len(of.rows), np.bool_)),
        "with method": of_rows(method),
        "without method": of_rows(~method),
    }
    return result | {source: of_rows(sources == source) for source in sorted(set(sources))}


def _share(of: npt.NDArray[np.bool_]) -> float | None:
    return round(float(of.mean()), 4) if len(of) else None


def missed(of: Table, said: Numbers, line: float) -> list[str]:
    """The writes that would have run as reads."""
    return [
        f"{row.service} {row.name}"
        for row, one in zip(of.rows, judged(of, said, line), strict=True)
        if not one.write and row.label != SAFE
    ]


def train(
    folder: Path, models: Path, seed: int, progress: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Train the head, write it and its manifest entry, and return the entry."""
    everything = table(examples(folder), progress)
    learnt = everything.pick(lambda row: row.service not in HELD_BACK)
    held = everything.pick(lambda row: row.service in HELD_BACK)

    said = crossed(learnt, seed, progress)
    heat = temperature(said, learnt.labels)
    said = tempered(said, heat)
    line = write_line(learnt, said)
    believed = class_line(learnt, said, line)
    head = fit(learnt, seed)
    honest = tempered(head.probabilities(held.inputs(head.signs)), heat)
    held_back = {
        "services": sorted(HELD_BACK),
        "line": line,
        "class_line": believed,
        **figures(held, honest, line, believed),
        "missed": missed(held, honest, line),
    }

    said = crossed(everything, seed, progress)
    heat = temperature(said, everything.labels)
    said = tempered(said, heat)
    line = write_line(everything, said)
    believed = class_line(everything, said, line)
    head = fit(everything, seed)
    file = models / "heads" / "consequence.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weight": np.ascontiguousarray(head.weight), "bias": head.bias}, file)
    return manifest.record(
        models,
        file,
        {
            "role": "consequence",
            "kind": "head",
            "classes": list(CLASSES),
            "temperature": heat,
            "threshold": line,
            "class_threshold": believed,
            "sign": SIGN,
            "signs": list(head.signs),
            "lineage": {
                "encoder": Encoder().version,
                "method": "multinomial logistic regression on vectors and signs, class-balanced, "
                "temperature-scaled; the write line from predictions for unseen services",
                "seed": seed,
                "data": _lineage(everything),
                "labels": "azure: the vendor's; sgd: transactional or not; rest: from method and verb; "
                "own: written. The class of a write is derived where only writing is labelled.",
                "held_back": held_back,
                "across_services": {
                    **figures(everything, said, line, believed),
                    "missed": missed(everything, said, line),
                },
            },
        },
    )


def _lineage(of: Table) -> dict[str, Any]:
    licences = {
        "azure": "MIT",
        "medusa": "MIT",
        "stripe": "MIT",
        "twilio": "MIT",
        "sgd": "CC BY-SA 4.0",
        "own": "written for this project",
    }
    return {
        source: {
            "operations": len({(r.service, r.name) for r in of.rows if r.source == source}),
            "texts": sum(r.source == source for r in of.rows),
            "licence": licence,
        }
        for source, licence in licences.items()
    }

"""The heads of understanding, fitted without one author of the examples and tried on that author: for regressions.

The authors of the examples wrote what is measured here, so nothing of it is a figure of quality: that is what sets
of fresh authors are for (see ``evals/conversations.py``)."""

from __future__ import annotations

import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from app.models.classifier import Confidence
from app.models.manifest import manifest_for
from app.models.multilingual import made_by
from evals.domain import DOMAIN
from evals.figures import Figure, NotPossible, Report, Table, shown
from evals.world import Folders, Progress, quiet
from graphs.context import Thresholds
from models.train.classifier import calibration_error, margins
from models.train.understanding import THRESHOLDS as LINES
from models.train.understanding import (
    Example,
    fit_head,
    jobs_of,
    read_examples,
    rows_of,
    vectors_of,
)

Vectors = npt.NDArray[np.float32]
Better = Literal["higher", "lower"]
#: What a head says where the thing it looks for is there.
RARE = {"complexity": "several", "incident": "incident", "frustration": "frustrated"}
THRESHOLDS = Thresholds()


@dataclass
class Tried:
    """What the heads decided about one example of an author they had not read."""

    example: Example
    author: str
    intent: str = ""
    probability: float = 0.0
    rare: dict[str, float] = field(default_factory=dict[str, float])  #: Probability by head.


def incidents(name: str) -> bool:
    """Whether this intent is an incident of the business."""
    return name in DOMAIN.intents.names and DOMAIN.intents.get(name).role == "incident"


#: So many messages of an author are taken where nothing else is said: all of them take an hour of one core, nearly
#: all of it reading.
LIMIT = 300
#: Vectors are kept after so many messages, so that a run that was stopped goes on where it was.
_KEPT_EVERY = 512


def hold_out(
    files: Sequence[Path], only: Sequence[str] = (), progress: Progress = quiet, limit: int = 0
) -> list[Tried]:
    """Fit on every file but one and try that one, for each file in turn; ``limit``: on so many messages of each."""
    by_author = {file.stem: sampled(read_examples([file]), limit) for file in files}
    everything = [one for some in by_author.values() for one in some]
    known = _vectors(everything, progress)
    temperatures = _shipped()
    found: list[Tried] = []
    authors = [name for name in by_author if not only or name in only]
    for number, author in enumerate(authors):
        progress(f"holding out {author}", number, len(authors))
        learnt = [one for name, some in by_author.items() if name != author for one in some]
        found += _try(learnt, by_author[author], author, known, temperatures)
    progress("holding out", len(authors), len(authors))
    return found


def sampled(examples: Sequence[Example], limit: int) -> list[Example]:
    """At most so many examples, spread over what they want; the same ones each time. 0: all."""
    if not limit or len(examples) <= limit:
        return list(examples)
    by_wish: dict[str, list[Example]] = {}
    for one in sorted(examples, key=lambda one: _key(one.before + one.text)):
        by_wish.setdefault(one.wanted[0] if one.intent else "several", []).append(one)
    rounds = itertools.zip_longest(*by_wish.values())
    return [one for some in rounds for one in some if one is not None][:limit]


def _try(
    learnt: Sequence[Example],
    held: Sequence[Example],
    author: str,
    known: Mapping[str, Vectors],
    temperatures: Mapping[str, float],
) -> list[Tried]:
    tried = [Tried(one, author) for one in held]
    rows = rows_of(learnt, known)
    unread = rows_of(held, known, rows.mean)
    for name, places, labels, classes, logistic in jobs_of(learnt, incidents):
        texts, vectors = rows.some(places)
        model = fit_head(texts, vectors, labels, classes, logistic=logistic)
        # With the temperature that ships: folds of folds would take half an hour.
        confidence = Confidence(temperature=temperatures.get(name, 1.0))
        shares = confidence.shares(margins(model, unread.texts, unread.vectors))
        for one, share in zip(tried, shares, strict=True):
            if name == "intent":
                one.intent = classes[int(share.argmax())]
                one.probability = float(share.max())
            else:
                one.rare[name] = float(share[classes.index(RARE[name])])
    return tried


def _shipped() -> dict[str, float]:
    """The temperature of every head that ships."""
    return {role: entry.temperature for role, entry in manifest_for(DOMAIN).heads.items()}


def _vectors(examples: Sequence[Example], progress: Progress) -> dict[str, Vectors]:
    """The vectors of all messages, read once and kept for the next run in a temporary file."""
    file = Path(tempfile.gettempdir()) / f"signalbox-evals-{made_by()}.npz"
    texts = [text for one in examples for text in (one.text, one.before) if text]
    kept: dict[str, Vectors] = {}
    if file.exists():
        with np.load(file, allow_pickle=False) as stored:
            kept = dict(zip(map(str, stored["keys"]), stored["vectors"], strict=True))
    known = {text: kept[_key(text)] for text in texts if _key(text) in kept}
    new = [one for one in examples if any(t and t not in known for t in (one.text, one.before))]
    for start in range(0, len(new), _KEPT_EVERY):

        def told(what: str, done: int, of: int, start: int = start) -> None:
            progress(what, start + done, len(new))

        known |= vectors_of(new[start : start + _KEPT_EVERY], told, known)
        kept |= {_key(text): vector for text, vector in known.items()}
        draft = file.with_suffix(".part.npz")
        np.savez(draft, keys=[*kept], vectors=np.stack([*kept.values()]))
        draft.replace(file)
    return known


def _key(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


# --- what is reported -----------------------------------------------------------------------------


def report(tried: Sequence[Tried], name: str) -> Report:
    """Accuracy, coverage, calibration and the rare things, together, by author and by language."""
    found = Report(
        name,
        figures=[
            Figure(figure, value, unit, better=better)
            for figure, value, unit, better in _figures(tried)
        ],
        notes=[
            "NO FIGURE OF QUALITY: the authors of the examples wrote these messages too. One author's file is "
            "held out at a time; the temperatures are those that ship. For regressions only."
        ],
    )
    found.tables += [
        _table("By author held out", tried, lambda one: one.author),
        _table("By language", tried, lambda one: one.example.lang),
    ]
    return found


def _figures(tried: Sequence[Tried]) -> Iterable[tuple[str, float, str, Better]]:
    singles = [one for one in tried if one.example.intent is not None]
    if singles:
        right = np.array([one.intent == one.example.intent for one in singles])
        lanes = np.array([_lane(one.intent) == _lane(one.example.wanted[0]) for one in singles])
        sure = np.array([one.probability >= _floor(one.intent) for one in singles])
        chances = np.array([one.probability for one in singles])
        yield "intents right", 100 * float(right.mean()), "%", "higher"
        yield "lanes right", 100 * float(lanes.mean()), "%", "higher"
        yield "coverage at the floors", 100 * float(sure.mean()), "%", "higher"
        yield (
            "lanes right where sure",
            100 * float(lanes[sure].mean()) if sure.any() else 0,
            "%",
            "higher",
        )
        yield "calibration error of the intent", calibration_error(chances, right), "", "lower"
    for head, name, line, truth in _rare():
        there = np.array([truth(one.example) for one in tried])
        said = np.array([one.rare.get(head, 0.0) >= line for one in tried])
        if there.any():
            yield f"{name}: found", 100 * float(said[there].mean()), "%", "higher"
        if (~there).any():
            yield f"{name}: false alarms", 100 * float(said[~there].mean()), "%", "lower"
        if said.any():
            yield f"{name}: precision", 100 * float(there[said].mean()), "%", "higher"


def _rare() -> Sequence[tuple[str, str, float, Callable[[Example], bool]]]:
    """Head, what it finds, from where on it is believed, and whether it is really there."""
    return (
        (
            "incident",
            "incidents",
            THRESHOLDS.incident,
            lambda one: any(map(incidents, one.wanted)),
        ),
        ("complexity", "several wishes", THRESHOLDS.several, lambda one: len(one.wanted) > 1),
        ("frustration", "upset customers", LINES["frustration"], lambda one: one.upset),
    )


def _lane(intent: str) -> str:
    return DOMAIN.intents.get(intent).lane if intent in DOMAIN.intents.names else intent


def _floor(intent: str) -> float:
    if intent not in DOMAIN.intents.names:
        return THRESHOLDS.talk
    return THRESHOLDS.floor(DOMAIN.intents.get(intent), DOMAIN.operations)


def _table(title: str, tried: Sequence[Tried], part: Callable[[Tried], str]) -> Table:
    groups: dict[str, list[Tried]] = {}
    for one in tried:
        groups.setdefault(part(one), []).append(one)
    names = [name for name, *_ in _figures(tried)]
    table = Table(title, ("", "messages", *names))
    for group, some in sorted(groups.items(), key=lambda item: -len(item[1])):
        values = {name: shown(round(value, 3), unit) for name, value, unit, _ in _figures(some)}
        table.rows.append((group, str(len(some)), *(values.get(name, "") for name in names)))
    return table


def run(
    folders: Folders, progress: Progress = quiet, *, only: Sequence[str] = (), limit: int = LIMIT
) -> Report:
    """Hold out the file of each author in turn."""
    folder = DOMAIN.folder / "examples" / "turns"
    files = sorted(folder.glob("*.jsonl"))
    if len(files) < 2:
        raise NotPossible(f"{folder} needs files of two authors at least: one is held out")
    if unknown := sorted({*only} - {file.stem for file in files}):
        raise NotPossible(f"{folder} has no file of {', '.join(unknown)}")
    tried = hold_out(files, only, progress, limit)
    found = report(tried, "understanding@chosen" if only or limit != LIMIT else "understanding")
    if limit:
        found.notes.append(f"At most {limit} messages of each author, to learn from and to try.")
    return found

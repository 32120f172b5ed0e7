"""The drift alarm on traffic that stayed the same, and on traffic with new intents mixed in.

Messages are our own training templates, or Bitext's where the public sets are at hand. A few intents are kept
aside as the new ones; the rest is the old traffic. Each trial deals a reference and a window anew. What the
router says of each message is worked out once, by the shipped head."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from app.drift import Traffic, compare, sketch_of
from app.intervals import wilson
from app.models.encoder import OnnxEncoder
from app.models.manifest import manifest_for
from evals.domain import DOMAIN
from evals.figures import Figure, Report, Table, at_least, at_most
from evals.world import Folders, Progress, quiet

REFERENCE, WINDOW = 1000, 500
#: The level that is served (SIGNALBOX_DRIFT_ALPHA).
ALPHA = 0.01
SHARES = (0.02, 0.05, 0.1, 0.2)
#: Every how many intents one is new.
_EVERY = 6


def corpus(data: Path | None, most: int) -> list[tuple[str, str]]:
    """(text, intent) of many messages, in an order of their own."""
    folder = None if data is None else data / "intent_bitext_support"
    if folder is not None and (folder / "dev.jsonl").exists():
        lines = (folder / "dev.jsonl").read_bytes().splitlines()
        if (folder / "train.jsonl.gz").exists():
            lines += gzip.decompress((folder / "train.jsonl.gz").read_bytes()).splitlines()
        rows = [(str(one["text"]), str(one["intent"])) for one in map(json.loads, lines)]
    else:
        from models.train import phrases

        rows = [(one.text, str(one.label)) for one in phrases.messages(150, seed=3)]
    random.Random(1).shuffle(rows)
    return rows[:most]


async def routed(texts: Sequence[str], progress: Progress = quiet) -> Traffic:
    """What the shipped head says of each message, as the decision log keeps it."""
    manifest = manifest_for(DOMAIN)
    encoder = OnnxEncoder(manifest)
    threshold = manifest.heads["intent"].threshold
    floor = float(threshold) if isinstance(threshold, int | float) else 0.75
    intents: list[str] = []
    abstained: list[bool] = []
    sketches: list[bytes] = []
    for number, text in enumerate(texts):
        progress("Routing", number, len(texts))
        choice = await encoder.classify("intent", text)
        intents.append(choice.option)
        abstained.append(choice.probabilities[choice.option] < floor)
        sketches.append(sketch_of((await encoder.embed([text]))[0]))
    return Traffic(tuple(intents), tuple(abstained), tuple(sketches))


def alarms(old: Traffic, new: Traffic, share: float, trials: int, seed: int) -> int:
    """In how many of ``trials`` a window of which ``share`` is new raises the alarm."""
    rng = np.random.default_rng(seed)
    found = 0
    for trial in range(trials):
        dealt = rng.permutation(len(old))
        fresh = round(share * WINDOW)
        usual = old.part(dealt[REFERENCE : REFERENCE + WINDOW - fresh])
        strange = new.part(rng.choice(len(new), fresh))
        window = Traffic(
            usual.intents + strange.intents,
            usual.abstained + strange.abstained,
            usual.sketches + strange.sketches,
        )
        found += compare(
            old.part(dealt[:REFERENCE]), window, alpha=ALPHA, permutations=499, seed=trial
        ).alarm
    return found


def run(
    folders: Folders, progress: Progress = quiet, *, data: Path | None = None, trials: int = 200
) -> Report:
    rows = corpus(data, 3 * (REFERENCE + WINDOW))
    names = sorted({intent for _, intent in rows})
    unknown = set(names[::_EVERY])
    traffic = asyncio.run(routed([text for text, _ in rows], progress))
    old = traffic.part([i for i, (_, intent) in enumerate(rows) if intent not in unknown])
    new = traffic.part([i for i, (_, intent) in enumerate(rows) if intent in unknown])
    progress("Dealing", 0, len(SHARES) + 1)
    quiet_ones = alarms(old, new, 0.0, trials, seed=1)
    false_alarms = wilson(quiet_ones, trials)
    found = Report(
        "drift",
        figures=[
            Figure(
                f"drift: false alarms at a level of {ALPHA:.0%}",
                100 * false_alarms.value,
                "%",
                at_most(5),
            )
        ],
        notes=[
            f"{len(old)} old messages, {len(new)} of {len(unknown)} intents kept aside as new. Each trial: "
            f"{REFERENCE} messages as the reference, {WINDOW} as the window. False alarms in {quiet_ones} of "
            f"{trials} trials, {false_alarms}."
        ],
    )
    table = Table("Alarms by share of new intents", ("new", "alarms", "95 % interval"))
    table.rows.append(("0 %", f"{quiet_ones} of {trials}", str(false_alarms)))
    fewer = max(trials // 4, 1)
    for number, share in enumerate(SHARES, 1):
        progress("Dealing", number, len(SHARES) + 1)
        detected = wilson(alarms(old, new, share, fewer, seed=number + 1), fewer)
        target = at_least(90) if share == SHARES[-1] else None
        found.figures.append(
            Figure(f"drift: found with {share:.0%} new", 100 * detected.value, "%", target)
        )
        table.rows.append(
            (f"{share:.0%}", f"{round(detected.value * fewer)} of {fewer}", str(detected))
        )
    found.tables.append(table)
    return found

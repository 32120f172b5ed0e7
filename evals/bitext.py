"""The router alone on the Bitext customer-support data: the very cascade a turn uses, without the turn."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from evals.domain import CASES
from evals.figures import Figure, NotPossible, Report, Scored, Table, at_least, percentile
from evals.scenarios import Case
from evals.world import Folders, Progress, demo_customer, quiet, running
from graphs.nodes.understand import understood_alone

FILE = Path("intent_bitext_support") / "dev.jsonl"
HOW = (
    "This suite reads {file}, and {why}. Put the Bitext customer-support set (CDLA-Sharing-1.0, "
    "huggingface.co/datasets/bitext/Bitext-customer-support-llm-chatbot-training-dataset) there as JSON Lines "
    "with `text` and `intent`, held out from training, and set SIGNALBOX_DATA to the folder above it."
)


class _Lanes(Case):
    lanes: dict[str, str]


@dataclass(frozen=True)
class Read:
    """What the router made of one message."""

    text: str
    intent: str
    wanted: str
    lane: str
    guess: str
    tier: str  #: Who settled it; ``nobody`` when every tier was unsure.
    ms: float
    probability: float = 1.0

    @property
    def right(self) -> bool:
        return self.lane == self.wanted


def messages(data: Path | None) -> list[tuple[str, str]]:
    """(text, Bitext intent) of the held-out part, from the folder of data sets."""
    path = None if data is None else data / FILE
    if path is None or not path.exists():
        why = "SIGNALBOX_DATA is not set" if path is None else f"{path} is not there"
        raise NotPossible(HOW.format(file=f"SIGNALBOX_DATA/{FILE}", why=why))
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
    return [(str(row["text"]), str(row["intent"])) for row in rows]


def lanes() -> dict[str, str]:
    path = CASES / "bitext_lanes.yaml"
    return _Lanes.model_validate(yaml.safe_load(path.read_text("utf-8"))).lanes


async def play(
    folder: Path, given: Sequence[tuple[str, str]], progress: Progress = quiet
) -> list[Read]:
    wanted = lanes()
    found: list[Read] = []
    async with running(folder, progress) as desk:
        context = desk.player.context_for(await demo_customer(desk, "ana"), "bitext")
        for number, (text, intent) in enumerate(given):
            progress("Routing Bitext", number, len(given))
            started = time.perf_counter()
            route = await understood_alone(context, text)
            ms = (time.perf_counter() - started) * 1000
            found.append(
                Read(
                    text=text,
                    intent=intent,
                    wanted=wanted[intent],
                    lane="clarify" if route.otherwise == "clarify" else route.lane,
                    guess=route.lane,
                    tier="nobody" if route.otherwise == "clarify" else route.tier,
                    ms=ms,
                    probability=route.probability,
                )
            )
    progress("Routing Bitext", len(given), len(given))
    return found


def report(read: Sequence[Read]) -> Report:
    total = len(read)
    share = Counter(one.tier for one in read)
    decided = [one for one in read if one.lane != "clarify"]
    guessed = sum(one.guess == one.wanted for one in read)
    found = Report(
        "bitext",
        scored=[
            Scored("bitext", o.wanted, o.guess, o.probability, o.guess == o.wanted, o.tier, o.ms)
            for o in read
        ],
    )
    found.figures += [
        Figure(
            "Bitext: messages in the right lane",
            100 * sum(one.right for one in read) / total,
            "%",
            at_least(97),
        ),
        Figure(
            "Bitext: right lane where the router was sure",
            100 * sum(o.right for o in decided) / len(decided),
            "%",
        ),
        Figure("Bitext: right lane, unsure guesses counted", 100 * guessed / total, "%"),
    ]
    tiers = Table("Who settled it", ("tier", "share", "right lane", "p50 ms", "p95 ms"))
    for tier in ("encoder", "small", "nobody"):
        of_tier = [one for one in read if one.tier == tier]
        if not of_tier:
            continue
        right = sum(one.guess == one.wanted for one in of_tier)
        times = [one.ms for one in of_tier]
        tiers.rows.append(
            (
                tier,
                f"{100 * share[tier] / total:.1f} %",
                f"{100 * right / len(of_tier):.1f} %",
                f"{percentile(times, 0.5):.1f}",
                f"{percentile(times, 0.95):.1f}",
            )
        )
        if tier != "nobody":
            found.figures += [
                Figure(f"router settled by the {tier} tier", 100 * share[tier] / total, "%"),
                Figure(f"router, {tier} tier, p50", percentile(times, 0.5), "ms"),
                Figure(f"router, {tier} tier, p95", percentile(times, 0.95), "ms"),
            ]
    wrong = Table("Wrong lanes", ("Bitext intent", "right", "went to", "count", "for example"))
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in read:
        if not one.right:
            groups.setdefault((one.intent, one.wanted, one.lane), []).append(one.text)
    for (intent, right_lane, lane), texts in sorted(groups.items(), key=lambda g: -len(g[1])):
        wrong.rows.append((intent, right_lane, lane, str(len(texts)), texts[0][:80]))
    found.tables += [tiers, wrong]
    return found


def run(folders: Folders, progress: Progress = quiet, *, data: Path | None = None) -> Report:
    given = messages(data)
    return report(asyncio.run(play(folders.prepared(), given, progress)))

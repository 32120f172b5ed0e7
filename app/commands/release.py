"""`signalbox promote`, `rollback`, `releases` and `shadow`: which artefacts are live, and which might be."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands.shared import (
    NOTHING,
    Json,
    console,
    me,
    opened_database,
    read_settings,
    show,
    stop,
)

if TYPE_CHECKING:
    from app.config import Settings
    from app.models.release import Releases
    from app.stores.comparisons import Both, Pair, Said

shadow = typer.Typer(
    help="A candidate beside the live models: set SIGNALBOX_SHADOW=FOLDER, serve, then report.",
    no_args_is_help=True,
)

Note = Annotated[str, typer.Option(help="Why, for whoever reads the history.")]
FOLLOWS = (
    "Every server that runs takes it up within seconds; its log and /ready say so, or why not."
)


@contextmanager
def _opened(settings: Settings) -> Generator[Releases]:
    """The releases of the data folder, or those that all replicas share."""
    from app.releases import opened_releases, releases_on

    if settings.replicable:
        with opened_database(settings) as engine:
            yield releases_on(settings, engine)
    else:
        with opened_releases(settings) as releases:
            yield releases


def promote(
    folder: Annotated[
        Path, typer.Argument(exists=True, file_okay=False, help="Artefacts with a manifest.json.")
    ],
    note: Note = "",
) -> None:
    """Make a folder of artefacts live: verified, copied to the data folder, used from the next turn on."""
    settings = read_settings()
    from app.models.manifest import ManifestError, base_model
    from app.models.release import ReleaseError

    try:
        with _opened(settings) as releases:
            change = releases.promote(folder, by=me(), note=note, base=base_model())
    except (ReleaseError, ManifestError) as error:
        stop(f"Not promoted: {error}")
    except OSError as error:
        stop(f"Not promoted, the data folder cannot be written: {error}")
    console.print(f"Live: {str(change.digest)[:12]}. {FOLLOWS}", markup=False)


def rollback(note: Note = "") -> None:
    """Make live again what was before the last promotion; in the end, what is shipped."""
    settings = read_settings()
    from app.models.release import ReleaseError

    try:
        with _opened(settings) as releases:
            change = releases.rollback(by=me(), note=note)
    except ReleaseError as error:
        stop(str(error))
    except OSError as error:
        stop(f"Not rolled back, the data folder cannot be written: {error}")
    live = change.digest[:12] if change.digest else "what is shipped"
    console.print(f"Live: {live}. {FOLLOWS}", markup=False)


def releases(json: Json = False) -> None:
    """Every promotion and rollback, and what is live."""
    settings = read_settings()
    from rich.table import Table

    from app.models.release import ReleaseError

    try:
        with _opened(settings) as known:
            changes = known.history()
    except ReleaseError as error:
        stop(str(error))
    if json:
        show(changes)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("when", "what", "live from then on", "by", "from", "note"):
        table.add_column(column, overflow="fold")
    for each in changes:
        when = each.at.strftime("%Y-%m-%d %H:%M")
        digest = each.digest[:12] if each.digest else "what is shipped"
        table.add_row(when, each.action, digest, each.by, each.source, each.note)
    console.print(table if changes else "What is shipped is live; nothing was ever promoted.")


@shadow.command()
def report(
    digest: Annotated[
        str | None, typer.Option(help="The candidate, by the beginning; without it, the latest.")
    ] = None,
    json: Json = False,
) -> None:
    """What the candidate would have done otherwise, with 95 % intervals."""
    from app.stores.comparisons import SqlComparisons

    with opened_database(read_settings()) as engine:
        kept = SqlComparisons(engine)
        known = asyncio.run(kept.candidates())
        found = [each for each, _, _ in known if digest is None or each.startswith(digest)]
        if not found:
            names = ", ".join(each[:12] for each, _, _ in known) or "none yet"
            stop(
                f"No such candidate has read a message. In the log: {names}.",
                1 if known else NOTHING,
            )
        pairs = asyncio.run(kept.pairs(found[0]))
        made = asyncio.run(kept.roles(found[0]))
    if not pairs and not made:
        stop(f"Candidate {found[0][:12]} has not settled a message yet.", NOTHING)
    if json:
        show({"candidate": found[0], "messages": pairs, "roles": made})
        return
    if pairs:
        _compare(found[0], pairs)
    for role in sorted({each.role for each in made}):
        _compare_role(role, [each for each in made if each.role == role])


def _compare(digest: str, pairs: Sequence[Pair]) -> None:
    from rich.table import Table

    from app.intervals import wilson

    n = len(pairs)
    console.print(f"Candidate {digest[:12]}, {n} messages beside the live router.\n", markup=False)
    for what, same in (
        ("same intent", [p.live.intent == p.candidate.intent for p in pairs]),
        ("same lane", [_went(p.live) == _went(p.candidate) for p in pairs]),
    ):
        console.print(f"{what}: {wilson(sum(same), n)}", markup=False)
    _difference("unsure", [p.live.abstained for p in pairs], [p.candidate.abstained for p in pairs])
    _times([p.live.ms for p in pairs], [p.candidate.ms for p in pairs])
    table = Table(box=None, pad_edge=False)
    for column in ("live lane", "messages", "candidate agrees", "else mostly"):
        table.add_column(column)
    for lane in sorted({_went(p.live) for p in pairs}):
        of_lane = [p for p in pairs if _went(p.live) == lane]
        elsewhere = [_went(p.candidate) for p in of_lane if _went(p.candidate) != lane]
        agrees = wilson(len(of_lane) - len(elsewhere), len(of_lane))
        most = max(set(elsewhere), key=elsewhere.count) if elsewhere else "-"
        table.add_row(lane, str(len(of_lane)), str(agrees), most)
    console.print()
    console.print(table)
    _against_labels(pairs)


def _compare_role(role: str, made: Sequence[Both]) -> None:
    """One role's decisions side by side, and what is known of who was right."""
    from app.intervals import wilson

    console.print(f"\n{role}, {len(made)} decisions on the same inputs", markup=False)
    console.print(f"same choice: {wilson(sum(b.same for b in made), len(made))}", markup=False)
    _difference(
        "unsure or no answer",
        [b.live.abstained for b in made],
        [b.candidate.abstained for b in made],
    )
    _times([b.live.ms for b in made], [b.candidate.ms for b in made])
    known = [(b.well, b.same) for b in made if b.well is not None]
    if not known:
        console.print("What came of these turns is not known yet.", markup=False)
        return
    # Where the candidate chose otherwise in a turn that ended badly, nobody knows what would have come of it.
    live = [well is True for well, _ in known]
    for bound, right in (
        ("at worst", [well is True and same for well, same in known]),
        ("at best", [same == well for well, same in known]),
    ):
        what = f"right by outcome, of {len(known)}, the candidate {bound}"
        _difference(what, live, right)


def _difference(what: str, live: Sequence[bool], candidate: Sequence[bool]) -> None:
    from app.intervals import paired_difference, wilson

    apart, low, high = paired_difference(live, candidate)
    sides = (
        f"{wilson(sum(live), len(live))} live, {wilson(sum(candidate), len(candidate))} candidate"
    )
    change = f"{100 * apart:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
    console.print(f"{what}: {sides}; {change}", markup=False, soft_wrap=True)


def _times(live: Sequence[float], candidate: Sequence[float]) -> None:
    import numpy as np

    told = [
        f"{np.quantile(ms, 0.5):.1f} / {np.quantile(ms, 0.95):.1f} ms" for ms in (live, candidate)
    ]
    console.print(f"p50 / p95: {told[0]} live, {told[1]} candidate", markup=False)


def _against_labels(pairs: Sequence[Pair]) -> None:
    labelled = [p for p in pairs if p.label is not None]
    console.print()
    if not labelled:
        console.print(
            "No message of these is labelled; `signalbox review sample` says who is right.",
            markup=False,
        )
        return
    _difference(
        f"right, of {len(labelled)} labelled",
        [p.live.intent == p.label for p in labelled],
        [p.candidate.intent == p.label for p in labelled],
    )


def _went(said: Said) -> str:
    return "clarify" if said.abstained else said.lane

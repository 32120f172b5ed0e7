"""The benchmarks of single parts, under the same entry."""

from __future__ import annotations

import asyncio
import contextlib
import io
import statistics

from evals.figures import Figure, Report, Table, at_most
from evals.world import Folders, Progress, quiet


def gate(folders: Folders, progress: Progress = quiet) -> Report:
    """What the ledger costs an action."""
    from evals import bench_gate

    progress("Measuring the ledger", 0, 0)
    found = bench_gate.run()
    table = Table("The gate", ("what", "p50 ms", "p95 ms"))
    for name, figures in found.items():
        table.rows.append((name, f"{figures['p50_ms']:.2f}", f"{figures['p95_ms']:.2f}"))
    bare, ledger = found["bare call"], found["through the ledger"]
    gated = found["through gate and ledger"]
    return Report(
        "gate",
        figures=[
            Figure(
                "a write through the ledger, p50",
                ledger["p50_ms"],
                "ms",
                baseline=f"the bare operation: {bare['p50_ms']:.2f} ms",
                ratio=ledger["ratio"],
            ),
            Figure(
                "gate and ledger of a write, beside its bare operation, p50",
                gated["p50_ms"] - bare["p50_ms"],
                "ms",
                target=at_most(5),
                baseline=f"the bare operation: {bare['p50_ms']:.2f} ms",
                ratio=gated["ratio"],
            ),
        ],
        tables=[table],
    )


def models(folders: Folders, progress: Progress = quiet) -> Report:
    """What the model gateway adds."""
    from evals import bench_models

    progress("Measuring the model gateway", 0, 0)
    with contextlib.redirect_stdout(io.StringIO()):
        times = asyncio.run(bench_models.run(30))
    report = Report("models")
    for name, what in (("choose", "one choice by the router"), ("fill", "one filled form")):
        gateway = statistics.median(times[f"{name} gateway"])
        bare = statistics.median(times[f"{name} bare"])
        report.figures.append(
            Figure(
                f"{what} through the gateway, p50",
                gateway,
                "ms",
                baseline=f"the bare HTTP call: {bare:.1f} ms",
                ratio=gateway / bare,
            )
        )
    return report


def knowledge(folders: Folders, progress: Progress = quiet) -> Report:
    """How well the knowledge finds, prunes and refuses."""
    from evals import bench_knowledge

    progress("Searching and pruning", 0, 0)
    # What it prints itself is for its own command.
    with contextlib.redirect_stdout(io.StringIO()):
        cases, found, pruned = asyncio.run(bench_knowledge.measure())
    answerable, unanswerable = len(cases.answerable), len(cases.unanswerable)
    hybrid = next(one for one in found if one.way == "hybrid")
    dense = next(one for one in found if one.way == "dense")
    with_adapter, without = pruned[-1], pruned[0]
    report = Report(
        "knowledge",
        figures=[
            Figure(
                "retrieval, recall@5",
                hybrid.recall,
                "",
                baseline=f"dense alone: {dense.recall:.2f}",
                ratio=hybrid.recall / dense.recall,
            ),
            Figure("retrieval p50", hybrid.p50_ms, "ms"),
            Figure(
                "a right article among the kept chunks",
                100 * with_adapter.right / answerable,
                "%",
                baseline=f"{without.name}: {100 * without.right / answerable:.0f} %",
                ratio=with_adapter.right / max(without.right, 1),
            ),
            Figure(
                "unanswerable questions refused", 100 * with_adapter.refused / unanswerable, "%"
            ),
            Figure(
                "chunks kept of 15",
                statistics.mean(with_adapter.chunks),
                baseline="15 chunks",
                ratio=statistics.mean(with_adapter.chunks) / 15,
            ),
            Figure("pruning 15 chunks, p50", statistics.median(with_adapter.ms), "ms"),
        ],
    )
    table = Table("Search", ("way", "recall@5", "MRR", "p50 ms"))
    for one in found:
        table.rows.append((one.way, f"{one.recall:.3f}", f"{one.mrr:.3f}", f"{one.p50_ms:.1f}"))
    report.tables.append(table)
    return report

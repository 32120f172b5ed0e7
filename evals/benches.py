"""The benchmarks of single parts, under the same entry."""

from __future__ import annotations

from evals.figures import Figure, NotPossible, Report, Table
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
    return Report(
        "gate",
        figures=[
            Figure(
                "a write through the ledger, p50",
                ledger["p50_ms"],
                "ms",
                baseline=f"the bare operation: {bare['p50_ms']:.2f} ms",
                ratio=ledger["ratio"],
            )
        ],
        tables=[table],
    )


def models(folders: Folders, progress: Progress = quiet) -> Report:
    """What the model gateway adds."""
    raise NotPossible("evals/bench_models.py is not registered yet.")


def knowledge(folders: Folders, progress: Progress = quiet) -> Report:
    """How well the knowledge finds, prunes and refuses."""
    raise NotPossible("evals/bench_knowledge.py is not registered yet.")

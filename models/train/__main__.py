"""Command line of the training: one role at a time, or all of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, TaskID

# Spinning threads slow everything else on a shared machine, and each other, by up to ten times.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

ADAPTERS = ("extractor", "planner", "evaluator")
HEADS = ("follow_up", "consequence", "outcome", "injection")
ENCODER = "multilingual"
DOMAINS = Path(__file__).resolve().parents[2] / "domains"

app = typer.Typer(add_completion=False)
console = Console()


@app.command()
def train(
    role: Annotated[
        str,
        typer.Argument(
            help="A head (follow_up, consequence, outcome, injection), an adapter (extractor, planner, evaluator), or the "
            "encoder (multilingual), after which every head that reads it is trained again. "
            "The heads that understand a turn are trained by `signalbox domain train`."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            envvar="SIGNALBOX_DATA",
            help="Folder with the public data sets; outcome and multilingual need none.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the artefacts and the manifest go.")] = Path(
        "models"
    ),
    minutes: Annotated[float, typer.Option(help="Time limit of an adapter's training.")] = 8.0,
    steps: Annotated[
        int, typer.Option(help="Most training steps of an adapter or the encoder; 0: its own.")
    ] = 0,
    threads: Annotated[int, typer.Option(help="Threads for the adapters' training.")] = 2,
    resume: Annotated[bool, typer.Option(help="Go on from the adapter that is there.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 7,
) -> None:
    """Train ROLE, write its artefact and update the manifest."""
    if data is None:
        if role not in ("outcome", ENCODER):
            raise typer.BadParameter("name the folder of the public data sets: --data DIR")
        data = Path()
    tasks: dict[str, TaskID] = {}
    with Progress(console=console) as bar:

        def progress(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of)
            bar.update(tasks[what], completed=done, total=of)

        if role == "follow_up":
            from models.train import follow_up

            console.print_json(data=follow_up.train(data, out, seed, progress))
        elif role == "consequence":
            from models.train import consequence

            console.print_json(data=consequence.train(data, out, seed, progress))
        elif role == "outcome":
            from models.train import outcome

            console.print_json(data=outcome.train(out, seed, progress))
        elif role == "injection":
            from models.train import injection

            console.print_json(data=injection.train(data, out, seed, progress))
        elif role == ENCODER:
            from app.domains import load_domain
            from models.train import multilingual

            shipped = sorted(one.parent for one in DOMAINS.glob("*/domain.yaml"))
            taught = [load_domain(folder) for folder in shipped]
            console.print_json(data=multilingual.train(taught, out, seed, progress, most=steps))
        elif role in ADAPTERS:
            from models.train import adapters

            try:
                entry = adapters.train(
                    role,
                    data,
                    out,
                    seed=seed,
                    minutes=minutes,
                    steps=steps,
                    threads=threads,
                    progress=progress,
                    resume=resume,
                )
            except adapters.TooWeak as weak:
                console.print(f"[red]{weak}[/red]")
                raise typer.Exit(1) from weak
            console.print_json(data=entry)
        else:
            raise typer.BadParameter(
                f"{role}: not one of {', '.join((*HEADS, *ADAPTERS, ENCODER))}"
            )


if __name__ == "__main__":
    app()

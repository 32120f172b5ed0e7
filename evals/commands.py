"""What the evals add to the `signalbox` command; named in pyproject.toml, so that the program need not know them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from app.commands.domain import Folder, folder_of
from app.commands.shared import Json, console, progress_bars, show, stop


def add(_: typer.Typer, domain: typer.Typer) -> None:
    """Put `domain eval` beside the other commands about a business's folder."""
    domain.command("eval")(evaluate)


def evaluate(
    folder: Folder = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only the scenario with this id; several times.")
    ] = None,
    json: Json = False,
) -> None:
    """Play the folder's conversations on the real agent and compare what was done with what is written."""
    at = folder_of(folder)
    if not at.is_dir():
        stop(f"{at} is no folder: name a business's folder.")
    # The suites are about one business; the environment says which.
    os.environ["SIGNALBOX_DOMAIN"] = str(at)
    import tempfile

    from app.domains import DomainInvalid, load_domain
    from app.models.manifest import ManifestError
    from evals.examples import play_domain
    from evals.figures import NotPossible
    from evals.world import Folders

    try:
        with tempfile.TemporaryDirectory(prefix="signalbox-eval-") as root, progress_bars() as bars:
            played = play_domain(Folders(Path(root), bars), bars, domain=at, only=only or ())
            name = load_domain(at).name
    except (DomainInvalid, ManifestError, NotPossible) as error:
        stop(str(error))
    if json:
        show([vars(one) for one in played])
    else:
        for one in played:
            mark, colour = ("ok", "green") if one.ok else ("failed", "red")
            console.print(f"[{colour}]{mark:6}[/] ", end="")
            console.print(f"{one.id} ({one.seconds:.1f} s)", markup=False, highlight=False)
            for why in one.problems:
                console.print(f"       {why}", markup=False, highlight=False)
        good = sum(one.ok for one in played)
        console.print(f"{name}: {good} of {len(played)} conversations went as written.")
    if not all(one.ok for one in played):
        raise typer.Exit(1)

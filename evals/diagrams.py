"""Draw the graphs into the README from the code: ``python -m evals.diagrams`` (``--check`` only looks)."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph

from graphs.action import action_graph
from graphs.loop import loop_graph
from graphs.support import support_graph

README = Path(__file__).parents[1] / "README.md"


class MarkerMissing(Exception):
    """The README has no place for this diagram."""


def diagram(graph: StateGraph[Any, Any, Any, Any]) -> str:
    """The graph as Mermaid, left to its own theme so that it can be read on dark pages too."""
    drawn = graph.compile().get_graph().draw_mermaid(with_styles=False)
    return f"```mermaid\n{drawn.strip()}\n```"


def diagrams() -> dict[str, str]:
    """Every graph's name and its diagram."""
    return {
        "support": diagram(support_graph()),
        "action": diagram(action_graph()),
        "loop": diagram(loop_graph()),
    }


def drawn_into(text: str, pictures: dict[str, str]) -> str:
    """The text with each diagram between its markers ``<!-- graph: name -->`` and ``<!-- /graph -->``."""
    for name, picture in pictures.items():
        place = re.compile(rf"(<!-- graph: {name} -->\n).*?(<!-- /graph -->)", re.DOTALL)
        if not place.search(text):
            raise MarkerMissing(f"README.md has no `<!-- graph: {name} -->` ... `<!-- /graph -->`")
        text = place.sub(lambda found, new=picture: f"{found[1]}{new}\n{found[2]}", text)
    return text


def main(*arguments: str) -> int:
    before = README.read_text("utf-8")
    after = drawn_into(before, diagrams())
    if "--check" in arguments:
        if before != after:
            sys.stderr.write("The diagrams in README.md are stale: run `make diagrams`\n")
        return int(before != after)
    README.write_text(after, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))

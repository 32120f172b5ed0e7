"""The pictures in the README are the graphs."""

from __future__ import annotations

import pytest

from evals.diagrams import README, MarkerMissing, diagrams, drawn_into


def test_the_readmes_diagrams_are_up_to_date() -> None:
    """Whoever changes a graph draws it again: `make diagrams`."""
    text = README.read_text("utf-8")

    assert drawn_into(text, diagrams()) == text


def test_a_changed_graph_is_noticed() -> None:
    """A diagram with another edge is replaced, and nothing outside its markers."""
    text = "before\n<!-- graph: support -->\nold\n<!-- /graph -->\nafter"

    drawn = drawn_into(text, {"support": "new"})

    assert drawn == "before\n<!-- graph: support -->\nnew\n<!-- /graph -->\nafter"


def test_a_readme_without_a_place_is_an_error() -> None:
    """A lost marker does not silently drop the picture."""
    with pytest.raises(MarkerMissing, match="graph: loop"):
        drawn_into("no markers", {"loop": "x"})


def test_every_node_of_a_graph_is_in_its_picture() -> None:
    """The lanes and their fallbacks can be seen."""
    pictures = diagrams()

    for node in ("screen", "understand", "validate", "deliver", "fall_back"):
        assert f"> {node};" in pictures["support"]
    for node in ("classify", "approve", "execute", "reconcile"):
        assert f"> {node};" in pictures["action"]
    for node in ("plan", "act", "observe", "evaluate"):
        assert f"> {node};" in pictures["loop"]

"""The interlocking, cell by cell."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.verdict import decide, gate, raise_to
from tools.domain import Consequence

SAFE, RETRY_SAFE, RETRY_UNSAFE, IRREVERSIBLE, UNKNOWN = Consequence
ORDER = [SAFE, RETRY_SAFE, RETRY_UNSAFE, IRREVERSIBLE]
CLASSES = st.sampled_from(list(Consequence))
#: What an outcome of the gate permits, mildest first.
STRICTNESS = {"execute": 0, "judge": 1, "approve": 2}


@pytest.mark.parametrize(
    ("declared", "state", "judged"),
    list(itertools.product(Consequence, Consequence, [None, *Consequence])),
)
def test_every_cell(declared, state, judged):
    """The worst of declaration, record and judgement counts; only what nobody knows takes a judge's word."""
    known = [c for c in (declared, state, judged) if c is not None and c is not UNKNOWN]
    expected = max(known, key=ORDER.index) if known else UNKNOWN
    undecided = expected is UNKNOWN

    verdict = decide(declared, state, judged)

    assert verdict.consequence is expected
    assert (verdict.declared, verdict.judged) == (declared, judged)
    asked = judged is UNKNOWN
    assert verdict.needs_approval is (expected is IRREVERSIBLE or (undecided and asked))
    if verdict.needs_approval:
        assert gate(verdict) == "approve"
    else:
        assert gate(verdict) == ("judge" if undecided else "execute")
    assert verdict.reason


@given(CLASSES, CLASSES, CLASSES)
def test_a_model_never_lowers_a_class(declared, state, judged):
    """Whatever a model says, the class is at least what was declared and what the record's state asks for."""
    without, with_ = decide(declared, state), decide(declared, state, judged)
    if without.consequence is not UNKNOWN:
        assert ORDER.index(with_.consequence) >= ORDER.index(without.consequence)
        assert STRICTNESS[gate(with_)] >= STRICTNESS[gate(without)]


@given(CLASSES, CLASSES)
def test_raising_twice_is_raising_once(declared, judged):
    """The table has no memory."""
    once = raise_to(declared, judged)
    assert raise_to(once, judged) is once


@pytest.mark.parametrize(
    ("declared", "state", "judged", "said"),
    [
        (RETRY_SAFE, IRREVERSIBLE, None, "raised by the record's state"),
        (RETRY_SAFE, RETRY_SAFE, IRREVERSIBLE, "raised by a model"),
        (UNKNOWN, UNKNOWN, UNKNOWN, "a person decides"),
    ],
)
def test_the_reason_names_who_raised_it(declared, state, judged, said):
    """A reviewer reads why an action waits."""
    assert said in decide(declared, state, judged).reason

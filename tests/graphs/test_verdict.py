"""The interlocking, cell by cell."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.verdict import decide, gate, raise_to, tightened
from tools.domain import Consequence
from tools.policy import Ruling

SAFE, RETRY_SAFE, RETRY_UNSAFE, IRREVERSIBLE, UNKNOWN = Consequence
ORDER = [SAFE, RETRY_SAFE, RETRY_UNSAFE, IRREVERSIBLE]
CLASSES = st.sampled_from(list(Consequence))
#: What an outcome of the gate permits, mildest first.
STRICTNESS = {"execute": 0, "judge": 1, "approve": 2, "block": 3}
#: What the business rules may say, mildest first.
RULINGS = {
    "no rule held": Ruling(version="v1"),
    "allowed": Ruling(rules=("fine",), version="v1"),
    "a person": Ruling(effect="approve", approvers=1, rules=("one",), reason="R.", version="v1"),
    "an admin": Ruling(
        effect="approve", approvers=1, reviewer="admin", rules=("boss",), reason="R.", version="v1"
    ),
    "two persons": Ruling(effect="approve", approvers=2, rules=("two",), reason="R.", version="v1"),
    "refused": Ruling(effect="refuse", rules=("no",), reason="We do not do that.", version="v1"),
}


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


@pytest.mark.parametrize("rules", RULINGS)
@pytest.mark.parametrize(
    ("declared", "state", "judged"),
    list(itertools.product(Consequence, Consequence, [None, *Consequence])),
)
def test_every_cell_with_rules(declared, state, judged, rules):
    """Rules refuse or ask for persons on top of the table; the class and what it asks for stay."""
    bare, ruling = decide(declared, state, judged), RULINGS[rules]

    verdict = decide(declared, state, judged, ruling)

    assert (verdict.consequence, verdict.declared, verdict.judged) == (
        bare.consequence,
        declared,
        judged,
    )
    assert (verdict.rules, verdict.policy) == (ruling.rules, "v1")
    assert STRICTNESS[gate(verdict)] >= STRICTNESS[gate(bare)]
    assert verdict.needs_approval >= bare.needs_approval
    assert verdict.approvers >= bare.approvers
    match rules:
        case "no rule held" | "allowed":
            assert gate(verdict) == gate(bare)
            assert (verdict.approvers, verdict.reviewer) == (bare.approvers, "agent")
        case "refused":
            assert gate(verdict) == "block"
            assert verdict.refusal == "We do not do that."
        case _:
            assert gate(verdict) == "approve"
            assert verdict.approvers == (2 if rules == "two persons" else 1)
            assert verdict.reviewer == ("admin" if rules == "an admin" else "agent")
            assert verdict.reason.endswith(" R.")


@given(CLASSES, CLASSES, st.none() | CLASSES, st.sampled_from([*RULINGS.values()]))
def test_rules_never_loosen(declared, state, judged, ruling):
    """Whatever the rules say, the gate is at least as strict as without them, and so is a second ruling."""
    bare = decide(declared, state, judged)
    once = tightened(bare, ruling)
    for other in RULINGS.values():
        twice = tightened(once, other)
        assert STRICTNESS[gate(twice)] >= STRICTNESS[gate(once)] >= STRICTNESS[gate(bare)]
        assert twice.approvers >= once.approvers >= bare.approvers


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

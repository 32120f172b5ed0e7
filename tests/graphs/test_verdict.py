"""The interlocking, cell by cell."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.consequences import settle
from graphs.verdict import decide, gate, raise_to, tightened
from tools.policy import Ruling
from tools.values import Attempt, Consequence

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


#: What was declared, how the record stands, what a model judged.
CELLS = tuple(itertools.product(Consequence, Consequence, [None, *Consequence]))


def test_every_cell():
    """The worst of declaration, record and judgement counts; only what nobody knows takes a judge's word."""
    for cell in CELLS:
        declared, state, judged = cell
        known = [c for c in cell if c is not None and c is not UNKNOWN]
        expected = max(known, key=ORDER.index) if known else UNKNOWN
        undecided, asked = expected is UNKNOWN, judged is UNKNOWN

        verdict = decide(declared, state, judged)

        assert verdict.consequence is expected, cell
        assert (verdict.declared, verdict.judged) == (declared, judged), cell
        needed = expected is IRREVERSIBLE or (undecided and asked)
        assert verdict.needs_approval is needed, cell
        outcome = "approve" if needed else "judge" if undecided else "execute"
        assert gate(verdict) == outcome, cell
        assert verdict.reason, cell


@pytest.mark.parametrize("rules", RULINGS)
def test_every_cell_with_rules(rules):
    """Rules refuse or ask for persons on top of the table; the class and what it asks for stay."""
    for cell in CELLS:
        with_rules(*cell, rules)


def with_rules(declared, state, judged, rules):
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


def guessed(consequence, probability):
    """What the small model makes of an operation whose text admits nothing: its class, as sure as it is."""
    rest = {c: (1 - probability) / 3 for c in ORDER if c is not consequence}
    probabilities = {c.value: p for c, p in {**rest, consequence: probability}.items()}
    return settle(probabilities, "name: qux", line=0.2, believed=0.8)


#: The small model's class at a calibrated probability; from 0.8 on it is believed.
GUESSES = {(c, p): guessed(c, p) for c in ORDER for p in (0.5, 0.79, 0.81, 0.99)}
FIRST, AGAIN, MAYBE = Attempt(), Attempt(number=2), Attempt(number=2, unknown=True)


@pytest.mark.parametrize("guess", GUESSES, ids=lambda g: f"{g[0].value}-{g[1]}")
def test_every_cell_with_a_small_models_guess(guess):
    """A sure guess counts as a class; an unsure graver one makes it unknown, and the judge is asked once."""
    seen, sure = GUESSES[guess], guess[1] > 0.8
    assert seen.sure is sure
    for cell in CELLS:
        declared, state, judged = cell
        bare = decide(declared, state)

        verdict = decide(declared, state, judged, guess=seen)

        assert verdict.probability == seen.probability
        if bare.consequence is not UNKNOWN:
            assert STRICTNESS[gate(verdict)] >= STRICTNESS[gate(bare)], cell
        believed = seen.consequence if sure else UNKNOWN
        certain = [c for c in (declared, state, believed) if c is not UNKNOWN]
        known = max(certain, key=ORDER.index) if certain else UNKNOWN
        graver = known is UNKNOWN or ORDER.index(seen.consequence) > ORDER.index(known)
        if judged not in (None, UNKNOWN):
            floor = max(judged, seen.floor, key=ORDER.index)
            known = floor if known is UNKNOWN else max(known, floor, key=ORDER.index)
        elif not sure and known is not IRREVERSIBLE and graver:
            assert verdict.consequence is UNKNOWN, cell
            assert gate(verdict) == ("judge" if judged is None else "approve"), cell
            continue
        assert verdict.consequence is known, cell
        assert gate(verdict) == ("approve" if known is IRREVERSIBLE else "execute"), cell


@pytest.mark.parametrize("rules", RULINGS)
@pytest.mark.parametrize("attempt", [FIRST, AGAIN, MAYBE], ids=["first", "again", "maybe done"])
def test_every_cell_with_attempts(attempt, rules):
    """Where an earlier attempt may have done it, only what its key makes harmless is begun again; whatever
    would refuse it, or ask for persons, waits until that is known."""
    for cell in CELLS:
        declared, state, judged = cell
        first = decide(declared, state, judged, RULINGS[rules])

        verdict = decide(declared, state, judged, RULINGS[rules], attempt=attempt)

        assert verdict.attempt == attempt.number
        harmless = first.consequence in (SAFE, RETRY_SAFE) and gate(first) == "execute"
        if attempt.unknown and not harmless:
            assert gate(verdict) == "reconcile", cell
            assert "settled first" in verdict.reason
        else:
            assert gate(verdict) == gate(first), cell
            assert verdict.model_copy(update={"attempt": 1}) == first


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

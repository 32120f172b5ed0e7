"""Probabilities of options from token log-probabilities."""

import math

import pytest

from app.models.scoring import Step, single_token, spelled, tempered


def logs(**shares: float) -> dict[str, float]:
    return {token: math.log(share) for token, share in shares.items()}


def test_labels_are_renormalised_over_the_options_asked_for() -> None:
    """Mass on tokens nobody asked about does not count."""
    shares = single_token({"buy": "a", "sell": "b"}, logs(a=0.6, b=0.2, c=0.2))

    assert shares == pytest.approx({"buy": 0.75, "sell": 0.25})


def test_a_label_only_the_grammar_made_possible_is_no_confident_choice() -> None:
    """All options far down the list come out nearly equal."""
    shares = single_token({"buy": "a", "sell": "b"}, logs(x=0.9, y=0.09, a=0.0001))

    assert shares["buy"] == pytest.approx(0.5, abs=0.01)


def test_options_that_part_at_a_later_token_are_told_apart_there() -> None:
    """A shared first token says nothing about the options that share it."""
    steps = [
        Step('"', logs(**{'"': 1.0})),
        Step("or", logs(**{"or": 0.8, "no": 0.2})),
        Step("der", logs(**{"der": 0.75, "bit": 0.25})),
        Step('"', logs(**{'"': 1.0})),
    ]

    shares = spelled(['"order"', '"orbit"', '"none"'], steps)

    assert shares == pytest.approx({'"order"': 0.6, '"orbit"': 0.2, '"none"': 0.2})


def test_an_option_that_begins_like_another_ends_at_its_quotation_mark() -> None:
    """ "order" and "order_status" differ in the token after "order"."""
    steps = [
        Step('"order', logs(**{'"order': 1.0})),
        Step('"', logs(**{'"': 0.9, "_status": 0.1})),
    ]

    assert spelled(['"order"', '"order_status"'], steps) == pytest.approx(
        {'"order"': 0.9, '"order_status"': 0.1}
    )


def test_shares_always_sum_to_one() -> None:
    """Whatever the tokens were, the result is a distribution over the options."""
    shares = spelled(["a", "b", "c"], [Step("zzz", logs(zzz=1.0))])

    assert sum(shares.values()) == pytest.approx(1.0)
    assert set(shares) == {"a", "b", "c"}


def test_a_temperature_above_one_makes_less_sure() -> None:
    """Calibration moves probabilities towards each other and keeps their order."""
    calibrated = tempered({"a": 0.9, "b": 0.1}, 2.0)

    assert 0.5 < calibrated["a"] < 0.9
    assert sum(calibrated.values()) == pytest.approx(1.0)

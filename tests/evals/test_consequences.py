"""The suite that scores proposed classes: what counts as missed, and the public sets where they are at hand."""

from __future__ import annotations

import pytest

from app.proposing import Offered
from evals.consequences import HEAD, WORDS, Found, Labelled, alone, labelled, report
from evals.figures import NotPossible


def operation(title: str, label: str, method: str | None = "post", path: str = "/x") -> Labelled:
    offered = Offered(
        system="api", id=title.replace(" ", "_"), called=title, title=title, method=method, path=path
    )  # fmt: skip
    return Labelled("mine", "mine", offered, label)


def test_a_write_that_is_proposed_as_a_read_is_missed_and_named():
    """However often the class is right, these are what would run unasked."""
    read = Found(operation("List things", "safe", "get"), "safe")
    missed = Found(operation("Buy a thing", "irreversible", "get"), "safe")
    made = report([(WORDS, [read, missed]), (HEAD, [read, missed])])
    figures = {one.name: one.value for one in made.figures}

    assert figures["writes proposed as writes, with the head"] == 0
    assert figures["milder than labelled, with the head"] == 0.5
    assert not made.ok
    assert made.tables[-1].rows == [("mine", "Buy a thing", "Buy a thing")]


@pytest.mark.parametrize(
    ("title", "path", "proposed"),
    [
        ("Cancel Order Transfer", "/orders/{id}", "irreversible"),  # The verb that its title begins with.
        ("Order Transfer", "/orders/{id}/transfer/cancel", "irreversible"),  # Its path ends in it.
        ("Create a Refund", "/refunds", "irreversible"),  # Money out, whatever it is called.
        ("Update a Refund", "/refunds/{id}", "retry_safe"),  # Its notes.
        ("Add a Return", "/returns", "retry_unsafe"),
        ("Update a Cart", "/carts/{id}", "retry_safe"),
        ("Thing", "/things", "retry_unsafe"),  # Nobody says what it does.
    ],
)  # fmt: skip
def test_words_alone_propose(title, path, proposed):
    (found,) = alone([operation(title, "retry_unsafe", path=path)])

    assert found.proposed == proposed


def test_without_the_sets_it_says_what_to_set():
    with pytest.raises(NotPossible, match="SIGNALBOX_DATA"):
        labelled(None)


def test_no_write_of_the_public_sets_is_proposed_as_a_read_by_words_alone(public_data):
    found = alone(labelled(public_data))

    assert len(found) > 1900
    assert [one.of.offered.called for one in found if one.missed] == []

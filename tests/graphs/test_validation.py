"""What may not reach a customer."""

from __future__ import annotations

from datetime import date

import pytest

from graphs.state import Draft
from graphs.validation import validate_draft
from tools.ports import Passage
from tools.values import Customer

ANA = Customer(id="ana", name="Ana Keller", email="ana@example.com", since=date(2024, 1, 1))
SOURCES = (
    Passage(
        id="1",
        title="Delivery > Times",
        text="Standard delivery takes 3-5 working days. Orders from 60 EUR ship free of charge.",
        source="delivery.md",
    ),
    Passage(
        id="2",
        title="Contact",
        text="Write to support@northfell.example about refunds.",
        source="contact.md",
    ),
)


def problems(text, *, source="large", passages=SOURCES, max_chars=2400):
    draft = Draft(text=text, source=source, passages=passages)
    return tuple(p.detail for p in validate_draft(draft, ANA, max_chars=max_chars).problems)


@pytest.mark.parametrize(
    "text",
    [
        "Standard delivery takes 3-5 working days [1].",
        "Standard delivery takes 3-5 working days. [1]",
        "Standard delivery takes 3-5 working days.[1] Orders from 60 EUR ship free of charge. [1]",
        "Standard delivery takes 3-5 working days [1]. Write to support@northfell.example about "
        "refunds [2].",
        "Delivery takes 3-5 working days, and orders from 60 EUR ship free of charge [1][2].",
    ],
)
def test_grounded_answers_pass(text):
    """Each sentence cites a kept chunk, before or after its full stop, and says what it says."""
    assert problems(text) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Standard delivery takes 3-5 working days.", "no source"),
        ("Standard delivery takes 3-5 working days [1]. Express is faster.", "no source"),
        ("Standard delivery takes 3-5 working days [3].", "not kept"),
        ("Standard delivery takes 3-5 working days [0].", "not kept"),
        ("Standard delivery takes 2-4 working days [1].", "figure not in its source: 2, 4"),
        ("Orders from 60 EUR ship free of charge [2].", "figure not in its source: 60"),
        ("Penguins swim happily through antarctic waters [1].", "not supported"),
        ("Ask jane.doe@example.org about delivery working days [1].", "personal data (email)"),
        ("As an AI I know standard delivery takes 3-5 working days [1].", "talks about itself"),
        ("", "empty"),
        ("  \n", "empty"),
    ],
)
def test_ungrounded_answers_are_stopped(text, said):
    """No source, a wrong source, another figure, another topic, another person: each has its problem."""
    assert any(said in problem for problem in problems(text))


@pytest.mark.parametrize(
    "text",
    [
        "I will refund you today.",
        "We'll cancel it for you.",
        "I have already refunded your order.",
        "You get a full refund.",
        "We guarantee that it arrives.",
        "Here is a voucher worth 20 EUR.",
        "We can waive the fee.",
    ],
)
def test_promises_are_stopped(text):
    """The LLM may not promise what only an operation or a colleague can do."""
    assert any("promises" in problem for problem in problems(text, passages=()))


@pytest.mark.parametrize(
    "text",
    [
        "I am sorry that this broke. A colleague can look at it.",
        "You can ask for a refund.",
        "Your address is ana@example.com.",
    ],
)
def test_kind_words_pass(text):
    """Sympathy and the customer's own data are no promise and no leak."""
    assert problems(text, passages=()) == ()


def test_templates_are_ours():
    """Only the length of a template is checked: its values come from the customer's own records."""
    text = "Done: it goes to ben@example.org, a full refund."
    assert problems(text, source="template", passages=()) == ()
    assert problems("x" * 100, source="template", passages=(), max_chars=99) == ("too long",)


@pytest.mark.parametrize(
    ("said", "stopped"),
    [
        ("Express shipping costs 9.95 EUR for every order, whatever the order value [1].", False),
        ("Whatever. Standard delivery takes 3-5 working days [1].", True),
    ],
)
def test_whatever_is_unfriendly_only_by_itself(said, stopped):
    """A shrug is stopped; "whatever the order value" is how articles speak."""
    passage = SOURCES[0].model_copy(update={"text": f"{SOURCES[0].text} {said[:-5]}."})
    assert any("unfriendly" in each for each in problems(said, passages=(passage,))) is stopped


ROWS = (
    Passage(id="1", title="Plans", source="plans.md", text="| plan: Mobile M; data: 20 GB; price: 19.90 EUR"),
    Passage(id="2", title="5G", source="5g.md", text="5G is included in Mobile M; Mobile S has 4G."),
)  # fmt: skip


def test_a_row_that_is_quoted_is_no_claim_with_what_follows_it() -> None:
    """It has no stop at its end; a figure that is not in it is still found."""
    quoted = "plan: Mobile M; data: 20 GB; price: 19.90 EUR [1] 5G is included in Mobile M; Mobile S has 4G. [2]"

    assert problems(quoted, source="quotes", passages=ROWS) == ()
    assert problems(quoted.replace("19.90", "9.90"), source="quotes", passages=ROWS)
    assert problems(quoted.replace("[2]", "[1]"), source="quotes", passages=ROWS)
    assert problems(f"{quoted} Nothing is sold to men.", source="quotes", passages=ROWS)

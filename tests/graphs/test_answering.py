"""What an answer is made of: few sentences, about the thing that was asked about, each with the one it needs."""

from __future__ import annotations

import pytest

from graphs.answering import (
    Readings,
    called,
    chosen,
    core_of,
    in_context,
    nearer,
    of_parts,
    parts_of,
    together,
    worded,
)
from tools.ports import Passage
from tools.records import Item, Lexicon, RecordView

LEXICON = Lexicon(
    catalogue=(
        Item(id="JKT-1", name="Stormcrag Shell Jacket", words=("jacket",)),
        Item(id="JKT-2", name="Heather Down Jacket", words=("jacket",)),
        Item(id="TNT-1", name="Ridgeline 2P", words=("tent",)),
    )
)


def passage(
    name: str, title: str, *lines: tuple[str, float], needs: tuple[int, ...] = ()
) -> Passage:
    texts = tuple(text for text, _ in lines)
    return Passage(
        id=name, title=title, source=f"{name}.md", text=" ".join(texts), sentences=texts,
        helps=tuple(value for _, value in lines), needs=needs,
    )  # fmt: skip


def texts(passages: tuple[Passage, ...], most: int = 3) -> list[str]:
    return [line.text for line in chosen(passages, most)]


def test_another_thing_than_the_question_names_is_put_down() -> None:
    """Whoever asks about a shell jacket is not told how down is dried."""
    near = [
        passage("down", "Washing a down jacket", ("The jacket goes into the dryer.", 0.45)),
        passage("shell", "Membranes", ("A shell jacket dries on a line.", 0.42)),
    ]
    found = together((), near, "may my shell jacket go into the dryer?", LEXICON, english=True)

    assert texts(found) == ["A shell jacket dries on a line."]


def test_less_will_do_where_it_surely_is_a_question() -> None:
    """Who may not have asked anything is told only what is nearer; what is far is told to nobody."""
    near = [passage("visit", "Visits", ("If nobody is at home, a second trip costs 45 EUR.", 0.37))]
    far = [passage("visit", "Visits", ("If nobody is at home, a second trip costs 45 EUR.", 0.33))]
    asking = "what happens if i'm not home when your man rings"

    assert texts(together((), near, asking, LEXICON, english=True, asked=True))
    assert together((), near, asking, LEXICON, english=True) == ()
    assert together((), far, asking, LEXICON, english=True, asked=True) == ()


def test_what_is_far_from_everything_is_not_known() -> None:
    near = [passage("a", "Prices", ("Books have a VAT of 7 %.", 0.13))]

    assert together((), near, "what is the capital of Peru", LEXICON, english=True) == ()
    assert together((), near, "Was ist die Hauptstadt von Peru?", LEXICON, english=False) == ()


def test_another_language_is_answered_from_the_nearest_alone() -> None:
    """The pruner reads English only: what it keeps of a German question is chance."""
    kept = [passage("b", "Stores", ("Stores open at ten.", 0.99))]
    near = [passage("a", "Returns", ("Goods can be returned within 30 days.", 0.41))]
    found = together(kept, near, "Wie lange kann ich zurückgeben?", LEXICON, english=False)

    assert texts(found) == ["Goods can be returned within 30 days."]


def test_without_nearest_sentences_the_pruner_answers_as_before() -> None:
    kept = (passage("b", "Stores", ("Stores open at ten.", 0.99)),)

    assert together(kept, (), "when do you open?", LEXICON, english=True) == kept


def test_a_sentence_comes_behind_the_one_it_needs() -> None:
    near = (
        passage(
            "a", "Returns",
            ("Goods can be returned within 30 days.", 0.1), ("The 30 days begin on delivery.", 0.6),
            needs=(-1, 0),
        ),
    )  # fmt: skip

    assert texts(near, 1) == [
        "Goods can be returned within 30 days.",
        "The 30 days begin on delivery.",
    ]


def test_nothing_is_said_twice() -> None:
    near = (
        passage("a", "One", ("A down jacket is washed at 30 degrees.", 0.6)),
        passage("b", "Two", ("The down jacket is washed at 30 degrees.", 0.59)),
    )

    assert len(texts(near)) == 1


def test_each_part_of_a_question_has_its_sentence() -> None:
    """The second part's best is said, although the first part's are nearer to the question."""
    first = (passage("a", "A", ("One pack is 65 litres.", 0.8), ("Two packs are sold.", 0.79), ("Red ones too.", 0.78)),)  # fmt: skip
    second = (passage("b", "B", ("A footprint costs 29.00 EUR.", 0.35)),)

    assert "A footprint costs 29.00 EUR." in texts(of_parts([first, second]))


def test_a_part_that_leans_back_is_looked_up_with_what_it_leans_on() -> None:
    parts = parts_of("Do you sell footprints for the Ridgeline? What does it cost?")

    assert [part.whole for part in parts] == [
        "Do you sell footprints for the Ridgeline?",
        "Do you sell footprints for the Ridgeline? What does it cost?",
    ]


def test_a_story_around_one_question_is_one_question() -> None:
    said = "I bought a tent last week. Can I wash it in the machine?"

    assert [part.whole for part in parts_of(said)] == [said]


def test_the_kind_of_a_named_product_is_looked_up_too() -> None:
    """Articles speak of tents, customers of the Ridgeline."""
    assert worded("can I wash the ridgeline?", LEXICON) == "can I wash the ridgeline? (tent)"
    assert worded("can I wash the ridgeline tent?", LEXICON) == "can I wash the ridgeline tent?"


def test_what_was_told_is_not_told_again() -> None:
    """A question that follows an answer is answered from the same article first, by what was not said."""
    joined = [
        passage("a", "Returns", ("Goods can be returned within 30 days.", 0.45), ("They count from delivery.", 0.3)),
        passage("b", "Points", ("Points are booked after 30 days.", 0.33)),
    ]  # fmt: skip
    alone = [
        passage("a", "Returns", ("They count from delivery.", 0.4)),
        passage("b", "Points", ("Points are booked after 30 days.", 0.42)),
    ]
    told = "Goods can be returned within 30 days. [1]"
    found = in_context(Readings(joined, alone, ()), told, frozenset({"a.md"}))

    assert texts(found, 1) == ["They count from delivery."]
    assert "Goods can be returned within 30 days." not in texts(found)


def test_what_answers_alone_is_told_again() -> None:
    """Whoever asks for just that once more is not told something else for the sake of it."""
    near = [
        passage("a", "Stoves", ("An open porch is the minimum.", 0.7), ("Check the ring.", 0.4))
    ]
    found = in_context(
        Readings(near, near, ()), "Never inside. An open porch is the minimum. [1]", ()
    )

    assert texts(found, 1) == ["An open porch is the minimum."]


def test_a_question_that_stands_alone_is_answered_by_itself() -> None:
    """Whoever changes the subject after an answer is not held to it."""
    before = [passage("a", "Tents", ("A tent is washed by hand.", 0.5))]
    own = [passage("b", "Abroad", ("We deliver to Norway.", 0.8))]

    assert texts(in_context(Readings(before, before, own), "", {"a.md"}), 1) == [
        "We deliver to Norway."
    ]


@pytest.mark.parametrize(
    ("message", "core"),
    [
        (
            "I hardly ever use Care. If I quit, do I get the rest of this month back?",
            "If I quit, do I get the rest of this month back?",
        ),
        ("im 17, can i get the plan for my stuff? dad says its 5 euros", "im 17, can i get the plan for my stuff?"),
        ("I sent the mat back. When do I get it?", "I sent the mat back. When do I get it?"),
        ("Do you deliver to Norway? What does shipping cost?", "Do you deliver to Norway? What does shipping cost?"),
    ],
)  # fmt: skip
def test_the_question_in_a_story(message: str, core: str) -> None:
    """One that leans on the story, or is one of two, is looked up with all of it."""
    assert core_of(message) == core


def test_a_sentence_counts_by_what_it_is_nearest_to() -> None:
    whole = [passage("a", "Care", ("The first month is free.", 0.5), ("Months are paid.", 0.4))]
    core = [passage("a", "Care", ("Months are paid.", 0.8))]

    assert texts(nearer(whole, core), 1) == ["Months are paid."]


def test_a_curt_further_question_leans_on_the_one_before() -> None:
    first, second = parts_of("Can Fleet be paused in winter, and would we still be billed?")

    assert (first.before, second.before) == ("", first.text)


def test_what_is_asked_just_so_is_said_whatever_it_names() -> None:
    """Old jackets are taken back, as tents are: the list of what is taken is no other thing."""
    near = [
        passage(
            "a",
            "Taking back",
            ("Old tents and packs are taken back.", 0.73),
            ("Dirt is washed off.", 0.6),
        )
    ]
    found = together((), near, "do you take old jackets back", LEXICON, english=True)

    assert texts(found)[0] == "Old tents and packs are taken back."


@pytest.mark.parametrize(
    ("label", "items", "title"),
    [
        ("SUB-1, Care Plus plan, paused until 9 Jan", (), "Care Plus plan"),
        ("contract C-1 (fibre, line L-1, paused)", (), "contract fibre"),
        ("SB-1, placed today, paused", (Item(id="a", name="Mat"),), "Mat"),
    ],
)
def test_a_record_is_called_without_number_and_state(
    label: str, items: tuple[Item, ...], title: str
) -> None:
    view = RecordView(
        kind="k",
        id=label.split(",")[0].removeprefix("contract ").split(" ")[0],
        label=label,
        state="paused",
        items=items,
    )

    assert called(view) == title

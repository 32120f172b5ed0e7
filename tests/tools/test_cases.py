"""A domain's cases: what is written wrong is refused at once, what fits is said, and nothing is made up."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import ROOT
from app.domains import load_domain
from tools.cases import CaseBook, CasesInvalid, load_cases, read_cases
from tools.records import Item, RecordView
from tools.values import Customer

TODAY = date(2026, 11, 30)
RIDER = Customer(id="r1", name="Rita", email="r@example.com", since=date(2025, 1, 1))
BIKE = RecordView(
    kind="rental",
    id="R-1",
    label="R-1, a bike",
    state="running",
    open=True,
    items=(Item(id="b", name="City Bike"), Item(id="l", name="Lock")),
    dates={"ends_on": date(2026, 12, 3)},
    facts={"price": "1234.5", "items": {"b": {"brakes": True}, "l": {"brakes": False}}},
)
BILL = RecordView(
    kind="bill", id="B-1", label="B-1", state="open", open=True, parent="R-1", facts={"price": "9"}
)


def _file(**changes: Any) -> dict[str, Any]:
    return {
        "languages": ["en", "de"],
        "ticket": "note",
        "facts": {"price": "money", "ends_on": "day", "brakes": "yes_no", "bill_price": "money"},
        "cases": {
            "broken": {
                "record": ["rental"],
                "subject": "Broken bike",
                "reasons": ["fault"],
                "then": "ticket",
                "variants": [
                    {
                        "when": 'state == "running" and price > 1000',
                        "say": {
                            "en": "{{ item }} of {{ number }} ends {{ ends_on | day }} at {{ price | money }}.",
                            "de": "{{ item }} endet am {{ ends_on | day }} für {{ price | money }}.",
                        },
                        "options": [
                            {
                                "operation": "swap",
                                "when": "brakes",
                                "say": {"en": "I can swap it.", "de": "Ich kann tauschen."},
                            }
                        ],
                    },
                    {
                        "say": {"en": "Which bike?", "de": "Welches Rad?"},
                        "then": "nothing",
                    },
                ],
            }
        },
        "incidents": {
            "fire": {"say": {"en": "Call 112.", "de": "Rufen Sie 112."}, "patterns": [r"\bfire\b"]}
        },
    } | changes


def _book(**changes: Any) -> CaseBook:
    return read_cases(yaml.safe_dump(_file(**changes)))


def _variant(**changes: Any) -> dict[str, Any]:
    """The file with one variant before the last changed."""
    file = _file()
    file["cases"]["broken"]["variants"][0] |= changes
    return {"cases": file["cases"]}


def _advise(book: CaseBook, record: RecordView | None, **more: Any) -> Any:
    return book.advise("broken", record=record, customer=RIDER, today=TODAY, **more)


def test_the_first_variant_that_fits_is_said() -> None:
    """With the record's facts in the customer's language, what may be offered, and the ticket's subject."""
    english = _advise(_book(), BIKE, parts=(BIKE.items[0],))
    german = _advise(_book(), BIKE, parts=(BIKE.items[0],), language="de")

    assert english.text == "City Bike of R-1 ends 3 Dec at 1,234.50 EUR. I can swap it."
    assert german.text == "City Bike endet am 3.12. für 1.234,50 EUR. Ich kann tauschen."
    assert (english.ticket, english.subject, english.options) == (
        True,
        "Broken bike: R-1",
        ("swap",),
    )


def test_the_named_item_counts() -> None:
    """What holds for the bike does not hold for the lock, and what is not told apart holds for neither."""
    assert _advise(_book(), BIKE, parts=(BIKE.items[1],)).options == ()
    assert _advise(_book(), BIKE).options == ()


def test_without_a_record_nothing_is_made_up() -> None:
    """The last variant always fits, and speaks of no record."""
    told = _advise(_book(), None)

    assert (told.text, told.ticket, told.subject) == ("Which bike?", False, "Broken bike")


def test_a_missing_fact_says_the_next_variant() -> None:
    """A placeholder that nothing fills is never sent with a hole in it."""
    assert _advise(_book(), BIKE.model_copy(update={"dates": {}})).text == "Which bike?"


def test_what_belongs_to_the_record_may_be_spoken_of() -> None:
    """The rental's bill, under its kind's name; another rental's is not."""
    changed = _variant(say={"en": "{{ bill_price | money }}", "de": "{{ bill_price | money }}"})

    mine = _advise(_book(**changed), BIKE, others=(BIKE, BILL))
    foreign = _advise(
        _book(**changed), BIKE, others=(BIKE, BILL.model_copy(update={"parent": "R-2"}))
    )

    assert mine.text == "9.00 EUR"
    assert foreign.text == "Which bike?"


def test_another_language_gets_the_first() -> None:
    """What nobody wrote in French is said in the file's first language."""
    assert _advise(_book(), None, language="fr").text == "Which bike?"


def test_an_incident_is_found_by_its_words() -> None:
    """The net names it, and what is said asks for a person."""
    book = _book()

    assert book.incident_in("There is FIRE in the shed") == "fire"
    assert book.incident_in("fired up for the tour") is None
    said = book.incident("fire", "de")
    assert (said.text, said.person) == ("Rufen Sie 112.", True)


def test_a_problem_gives_its_reason() -> None:
    """The first that the operation knows; none where it knows none."""
    assert _book().reason_for("broken", ("theft", "fault")) == "fault"
    assert _book().reason_for("broken", ("theft",)) is None
    assert _book().reason_for("unheard of", ("fault",)) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"colour": "red"}, "colour"),
        (_variant(when="pricee > 3"), "pricee"),
        (_variant(when='price == "high"'), "never equal"),
        (_variant(when="price.real > 3"), "attribute"),
        (_variant(say={"en": "{{ pricee }}", "de": "x"}), "pricee"),
        (_variant(say={"en": "{% if %}", "de": "x"}), "broken, variant 1"),
        (_variant(say={"en": "only English"}), "nothing is said in de"),
        (_variant(then="shout"), "then"),
        ({"incidents": {"fire": {"say": {"en": "x", "de": "y"}, "patterns": ["("]}}}, "'\\('"),
        ({"facts": {"price": "colour"}}, "facts"),
    ],
)
def test_what_is_written_wrong_is_refused(changes: dict[str, Any], why: str) -> None:
    """Unknown keys and facts, conditions and templates that cannot work: at once, with the place."""
    with pytest.raises(CasesInvalid, match=why):
        _book(**changes)


def test_the_last_variant_may_not_depend_on_a_record() -> None:
    """Neither by a condition nor by a placeholder: something has to be said in any case."""
    file = _file()
    last = file["cases"]["broken"]["variants"][-1]
    last["say"] = {"en": "{{ number }}", "de": "{{ number }}"}
    with pytest.raises(CasesInvalid, match="not known of every message"):
        _book(cases=file["cases"])
    last["say"], last["when"] = {"en": "x", "de": "y"}, "known"
    with pytest.raises(CasesInvalid, match="something has to be said"):
        _book(cases=file["cases"])


def test_what_is_looked_up_stands_behind_the_opening() -> None:
    """And what changes something is offered, never looked up."""
    written = _variant(look_up=["station"])
    advice = _advise(_book(**written), BIKE, parts=(BIKE.items[0],))

    assert advice.look_up == ("station",)
    assert advice.text.startswith(advice.opening)
    assert advice.opening == "City Bike of R-1 ends 3 Dec at 1,234.50 EUR."
    shop = load_domain(ROOT / "domains" / "northfell").operations
    operations = {name: shop["cancel_order"] for name in ("note", "swap", "station")}
    with pytest.raises(CasesInvalid, match="look_up: station changes something"):
        read_cases(yaml.safe_dump(_file(**written)), operations)


def test_an_operation_that_does_not_exist_is_refused() -> None:
    """An option cannot offer what nobody can do."""
    with pytest.raises(CasesInvalid, match="no operation note"):
        read_cases(yaml.safe_dump(_file()), {})


_ASIDE: dict[str, Any] = {
    "beside": ["for members"],
    "record": ["pass"],
    "variants": [
        {
            "when": 'state == "paused"',
            "say": {"en": "{{ number }} rests.", "de": "{{ number }} ruht."},
        },
        {
            "when": 'state == "active"',
            "say": {"en": "{{ number }} runs.", "de": "{{ number }} läuft."},
        },
    ],
}


def _pass(state: str) -> RecordView:
    return RecordView(kind="pass", id="P-1", label="P-1", state=state, open=state == "active")


@pytest.mark.parametrize(
    ("quoted", "state", "said"),
    [
        ("A lock is free for members.", "active", "P-1 runs."),
        ("A lock is free for members.", "ended", None),
        ("A lock costs 9 EUR.", "active", None),
    ],
)
def test_a_record_adds_to_what_is_quoted(quoted: str, state: str, said: str | None) -> None:
    book = _book(asides={"members": _ASIDE})
    told = book.beside(
        quoted, record=None, others=[BIKE, BILL, _pass(state)], customer=RIDER, today=TODAY
    )

    assert (told.text if told is not None else None) == said


def test_an_aside_is_about_the_one_that_was_named() -> None:
    """A bill belongs to a rental, so which of them is meant has to be said."""
    aside = {
        **_ASIDE,
        "record": ["rental"],
        "variants": [{"say": {"en": "{{ number }}!", "de": "{{ number }}!"}}],
    }
    book = _book(asides={"members": aside})
    asked = {"others": [BIKE, BILL], "customer": RIDER, "today": TODAY}

    assert book.beside("for members", record=None, **asked) is None
    named = book.beside("for members", record=BIKE, **asked)
    assert named is not None
    assert named.text == "R-1!"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"beside": ["("]}, "unterminated"),
        ({"variants": [{"say": {"en": "a", "de": "a"}, "then": "ticket"}]}, "only says"),
        ({"variants": [{"when": "colour == 1", "say": {"en": "a", "de": "a"}}]}, "colour"),
    ],
)
def test_an_aside_that_is_written_wrong_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(CasesInvalid, match=why):
        _book(asides={"members": {**_ASIDE, **changes}})


@pytest.mark.parametrize(
    ("folder", "text", "name"),
    [
        ("halden", "no service for an hour and I keep getting mails with paypal codes", "sim_swap"),
        ("halden", "seit heute kein Netz, und es kommen Anmeldecodes per Mail", "sim_swap"),
        ("halden", "no service in my cellar, is there an outage?", None),
        ("northfell", "my head torch smells of rubber", None),
        ("northfell", "I feel sick of waiting for the stove's invoice number", None),
    ],
)
def test_what_is_certainly_an_incident(folder: str, text: str, name: str | None) -> None:
    """Shipped patterns find what they are for, and no everyday message."""
    assert load_cases(Path("domains") / folder / "cases.yaml").certain_in(text) == name

"""Small, large or both: the answers decide, what was measured weighs more, and tripwires overrule."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from app.cli import app
from app.scorecard import Answers, Measured, Workflow, card_of, read_workflow
from app.stores.database import create_engine, migrate, writing
from app.stores.measured import measured
from app.stores.tables import decisions, reviews
from tools.importing.problems import FilesInvalid
from tools.values import Clock, Consequence

#: As small as work gets, and as large.
LOOKUP = Answers(
    daily=500, wording="fixed", answer="record", examples=200, seconds=1, personal=True
)
ADVICE = Answers(daily=5, wording="open", answer="open", steps=6, examples=3, changes="weekly")
#: When all of it happened; the command is told to look as far back as that.
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def verdict(answers: Answers, known: Measured | None = None, **workflow: bool) -> str:
    return card_of("it", answers, Workflow(intents={"it": answers}, **workflow), known).verdict


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (LOOKUP, "small"),
        (ADVICE, "large"),
        # articles, a beginning of examples: the small ones route, the large one writes
        (Answers(daily=50, answer="articles", examples=50), "hybrid"),
        # nobody has examples for it yet
        (LOOKUP.model_copy(update={"examples": 7}), "hybrid"),
        # everything speaks for a small model, and it would have to write
        (LOOKUP.model_copy(update={"answer": "open"}), "hybrid"),
    ],
)
def test_the_answers_decide(answers, expected):
    """Each verdict with its weightiest reason first."""
    assert verdict(answers) == expected
    reasons = card_of("it", answers, Workflow(intents={"it": answers})).reasons
    weights = [abs(reason.points * reason.weight) for reason in reasons]
    assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Measured(messages=500, left_open=0.02, labels=60, accuracy=0.97), "small"),
        (Measured(messages=500, left_open=0.02, labels=60, accuracy=0.7), "hybrid"),
        (Measured(messages=500, left_open=0.45, outcomes=300, failed=0.3), "hybrid"),
        # a handful measures nothing
        (Measured(messages=5, left_open=0.8, labels=3, accuracy=0.0), "small"),
        (Measured(messages=500, left_open=0.02, outcomes=3, failed=1.0), "small"),
    ],
)
def test_what_was_measured_weighs_more_than_what_is_expected(known, expected):
    """A small model that is wrong too often does not stay alone, whatever was answered."""
    assert verdict(LOOKUP, known) == expected


def test_personal_data_that_stays_meets_no_hosted_model():
    """Nor is there a large model where there is none; one in the house may read it."""
    stays = ADVICE.model_copy(update={"personal": True, "stays": True})
    assert verdict(stays) == "small"
    assert verdict(stays, large_is_local=True) == "large"
    assert verdict(ADVICE, large_model=False) == "small"


def test_what_cannot_be_undone_is_approved_whichever_model_understands_it():
    """The gate asks no scorecard."""
    for answers in (LOOKUP, ADVICE):
        final = answers.model_copy(update={"consequence": Consequence.IRREVERSIBLE})
        card = card_of("it", final, Workflow(intents={"it": final}))
        assert any("a person approves" in wire for wire in card.tripwires)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("intents: {}", "intents"),
        ("intents: {pay: {wording: loud}}", "intents.pay.wording"),
        ("intents: {pay: {colour: red}}", "intents.pay.colour"),
        ("large_model: false\nlarge_is_local: true\nintents: {pay: {}}", "large_is_local"),
        ("intents:\n  pay: ]", "line 2: is not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(tmp_path, text, why):
    """By the line and the place in it."""
    file = tmp_path / "workflow.yaml"
    file.write_text(text)
    with pytest.raises(FilesInvalid, match=why):
        read_workflow(file)


@pytest.fixture
def database(tmp_path, monkeypatch):
    """A data folder in which two intents were routed and labelled."""
    monkeypatch.setenv("SIGNALBOX_DATA_DIR", str(tmp_path))
    url = f"sqlite:///{tmp_path / 'signalbox.db'}"
    migrate(url)
    engine = create_engine(url)
    common = {"at": NOW, "tenant": "northfell", "turn": "t", "input": "", "alternatives": []}
    decided = {
        "thread": "th",
        "role": "router",
        "probability": 0.9,
        "reason": "",
        "tier": "encoder",
    }
    decided |= {"outcome": None, "shadow": None}
    decided |= {"model": "m", "adapter": "", "prompt": "", "ms": 1.0, "lane": "operation"} | common
    labelled = {"sample": "s", "lane": "operation", "tier": "encoder", "probability": 0.9}
    labelled |= {"stratum": "", "weight": 1.0, "drawn_at": NOW, "skipped": False} | common
    with writing(engine) as connection:
        connection.execute(
            sa.insert(decisions),
            [
                decided | {"chosen": "order_status", "abstained": n < 6, "outcome": "resolved"}
                for n in range(20)
            ]
            + [
                decided | {"chosen": "pay", "abstained": False, "outcome": "corrected"},
                decided | {"chosen": "pay", "abstained": False},
                decided | {"chosen": "pay", "abstained": False, "shadow": "c1"},
                decided | {"chosen": "pay", "abstained": False, "tenant": "other"},
            ],
        )
        connection.execute(
            sa.insert(reviews),
            [
                # The one that went wrong was drawn from a rare kind: it stands for one message, the others for three.
                labelled
                | {"decision": n, "chosen": chosen, "weight": weight, "label": "order_status"}
                for n, (chosen, weight) in enumerate([("order_status", 3.0)] * 3 + [("pay", 1.0)])
            ],
        )
    yield engine
    engine.dispose()


def test_the_decision_log_and_the_reviews_are_what_is_measured(database):
    """By intent, of the last days, of this tenant, without candidates."""
    found = measured(database, "northfell", 90, Clock(now=lambda: NOW + timedelta(days=1)))
    assert found["order_status"] == Measured(
        messages=20, left_open=0.3, outcomes=20, failed=0.0, labels=4, accuracy=0.9
    )
    assert found["pay"] == Measured(messages=2, left_open=0.0, outcomes=1, failed=1.0)
    assert measured(database, "northfell", 1, Clock(now=lambda: NOW + timedelta(days=2))) == {}


def test_the_form_is_a_workflow_that_can_be_scored(database, tmp_path):
    """Of this business: what it declares is filled in."""
    form = CliRunner().invoke(app, ["scorecard", "--form"])
    assert form.exit_code == 0, form.output
    file = tmp_path / "workflow.yaml"
    file.write_text(form.stdout)
    answers = read_workflow(file).intents
    assert answers["request_refund"].consequence is Consequence.IRREVERSIBLE
    # The labelled messages of the examples, not only the catalogue's few.
    assert answers["request_refund"].examples > 100
    assert answers["order_status"].personal
    assert not answers["ask_hours"].personal

    scored = CliRunner().invoke(app, ["scorecard", str(file), "--json", "--days", "36500"])

    assert scored.exit_code == 0, scored.output
    cards = {card["intent"]: card for card in json.loads(scored.stdout)}
    assert cards.keys() == answers.keys()
    assert any("a person approves" in wire for wire in cards["request_refund"]["tripwires"])
    assert any(reason["measured"] for reason in cards["order_status"]["reasons"])
    assert not any(reason["measured"] for reason in cards["ask_hours"]["reasons"])


def test_a_table_has_a_row_an_intent(database, tmp_path):
    """Also of one that no business has yet, whatever it is called."""
    file = tmp_path / "workflow.yaml"
    file.write_text("intents: {'[pay]': {answer: open}, order_status: {}}")
    shown = CliRunner().invoke(
        app, ["scorecard", str(file), "--days", "36500"], env={"COLUMNS": "200"}
    )

    assert shown.exit_code == 0, shown.output
    assert "[pay]" in shown.stdout
    assert "(measured)" in shown.stdout


def test_a_file_or_the_form(tmp_path):
    """Neither and both are usage errors, and a file that cannot be used is said in one line."""
    file = tmp_path / "workflow.yaml"
    file.write_text("intents: {pay: {wording: loud}}")

    assert CliRunner().invoke(app, ["scorecard"]).exit_code == 2
    assert CliRunner().invoke(app, ["scorecard", "--form", str(file)]).exit_code == 2
    refused = CliRunner().invoke(app, ["scorecard", str(file)])
    assert refused.exit_code == 1
    assert "workflow.yaml, line 1: intents.pay.wording" in refused.stderr

"""A large model teaches: what it writes and labels alike is kept, through the real port and a real HTTP server."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.domains import load_domain
from app.models.large import ChatLargeModel
from models.train.teach import AT_ONCE, TAUGHT, Teacher, situations
from models.train.understanding import ExamplesInvalid, Source, read_examples
from tests.models.fake_openai import fake_openai
from tools.ports import ModelUnavailable

FJELL = Path(__file__).parents[1] / "importing" / "fjell"
ENVIRONMENT = {"FJELL_API": "http://127.0.0.1:9", "FJELL_KEY": "k"}

WORDS = """bridge lantern tuesday harbour bicycle mountain orange silver pedal saddle morning river ticket window garden
ladder pocket yellow winter summer button carpet kitchen market paper rocket sister thunder valley whistle""".split()  # noqa: SIM905 - as words


class Script:
    """Writes numbered messages that name their intent; the second pass reads that name, unless a message is odd."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.first: dict[str, list[str]] = {}  #: Texts that an intent's first answer begins with.
        self._random = random.Random(3)

    def _words(self) -> str:
        """Six words, other ones each time: what is nearly a message that is there is dropped."""
        return " ".join(self._random.sample(WORDS, 6))

    def __call__(self, asked: dict[str, Any]) -> str:
        role = asked["response_format"]["json_schema"]["name"]
        _, user = (message["content"] for message in asked["messages"])
        self.asked[role] += 1
        if role == "teach":
            intent = re.search(r"<intent>\n(\w+):", user)[1]
            texts = [*self.first.pop(intent, [])]
            while len(texts) < AT_ONCE:
                texts.append(f"{intent} {self._words()}")
            return json.dumps({"messages": [{"text": t, "before": "Said before."} for t in texts]})
        lines = re.findall(
            r"^(\d+)\. (?:\(after: [^)]*\) )?(.+)$", user.split("<messages>")[1], re.M
        )
        return json.dumps(
            {
                "labels": [
                    {"number": int(n), "intent": "none" if "odd" in t else t.split()[0]}
                    for n, t in lines
                ]
            }
        )


@pytest.fixture
def script():
    return Script()


@pytest.fixture
def server(script):
    with fake_openai() as running:
        running.script = script
        yield running


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The bicycle rental, to be taught."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return shutil.copytree(FJELL, tmp_path / "fjell")


def model_at(server, name="scripted"):
    # Loading the client library counts as well, and a busy machine takes its time for it.
    return ChatLargeModel(
        name, base_url=server.base_url, api_key="k", timeout_for=lambda _role: 240.0
    )


@pytest.fixture
async def teacher(folder, server):
    model = model_at(server)
    yield Teacher(load_domain(folder), model, called="scripted")
    await model.aclose()


def lines_of(folder):
    return read_examples([folder / "examples" / TAUGHT])


async def test_every_intent_gets_as_many_messages_as_were_asked_for(teacher, folder, script):
    taught = await teacher.teach(8)

    kept = Counter(one.intent for one in lines_of(folder))
    assert kept == dict.fromkeys(load_domain(folder).intents.names, 8)
    assert taught.kept == kept
    assert {one.lang for one in lines_of(folder)} == {"en", "de"}
    assert Source.of(folder / "examples").taught_by == ("scripted",)


async def test_what_the_second_pass_reads_otherwise_is_not_kept(teacher, folder, script):
    script.first["extend_rental"] = [
        "odd words one that nobody can read",
        "odd words two, as strange",
    ]

    taught = await teacher.teach(6, ["extend_rental"])

    assert taught.disagreed == 2
    assert len(lines_of(folder)) == 6
    assert not any("odd" in one.text for one in lines_of(folder))


async def test_the_label_is_never_in_the_second_passs_sight(teacher, server, script):
    """It reads the messages of several intents in no order, and what each was written for is told nowhere."""
    await teacher.teach(3, ["extend_rental", "cancel_rental"])

    label = next(
        one for one in server.requests if one["response_format"]["json_schema"]["name"] == "label"
    )
    read = label["messages"][1]["content"].split("<messages>")[1]
    order = [
        name.split()[0] for name in re.findall(r"(?:\) |\d\. )((?:extend|cancel)_rental)", read)
    ]
    assert set(order) == {"extend_rental", "cancel_rental"}
    assert order != sorted(order)
    assert order != sorted(order, reverse=True)


async def test_what_is_there_already_or_measured_is_dropped(folder, server, script):
    """An example of intents.yaml, and a message of an evaluation set, nearly word for word."""
    (folder / "evals").mkdir(exist_ok=True)
    (folder / "evals" / "mine.yaml").write_text(
        "scenarios: [{id: x, steps: [{say: I would like to have the bike for two more days please}]}]"
    )
    script.first["extend_rental"] = [
        "Extend my rental until Friday!",
        "i would like to have the bike for two more days, please",
    ]
    model = model_at(server)
    taught = await Teacher(load_domain(folder), model, called="scripted").teach(
        4, ["extend_rental"]
    )
    await model.aclose()

    assert (taught.known, taught.measured) == (1, 1)
    assert all(one.text.startswith("extend_rental") for one in lines_of(folder))


async def test_a_run_that_was_broken_off_goes_on(folder, server, script):
    """What is kept is counted, and the messages of before stay as they are."""
    model = model_at(server)
    await Teacher(load_domain(folder), model, called="scripted").teach(6, ["extend_rental"])
    before = lines_of(folder)
    taught = await Teacher(load_domain(folder), model, called="scripted").teach(
        10, ["extend_rental"]
    )
    await model.aclose()

    assert taught.kept == {"extend_rental": 4}
    assert lines_of(folder)[:6] == before
    assert len(lines_of(folder)) == 10


async def test_an_intent_for_which_nothing_new_comes_is_given_up(teacher, folder, script):
    """A model that only repeats itself does not keep the command busy for ever."""
    everything = [f"odd message {n}" for n in range(AT_ONCE)]
    script.first = _Always("extend_rental", everything)

    taught = await teacher.teach(6, ["extend_rental"])

    assert taught.kept == {}
    assert script.asked["teach"] == 3


class _Always(dict[str, list[str]]):
    def __init__(self, name: str, texts: list[str]) -> None:
        super().__init__()
        self._name, self._texts = name, texts

    def pop(self, key: str, default: Any = None) -> Any:
        return self._texts if key == self._name else default


async def test_an_answer_that_is_none_costs_its_call_only(teacher, folder, server, script):
    said = iter(["no JSON at all"])
    server.script = lambda asked: next(said, None) or script(asked)

    taught = await teacher.teach(2, ["extend_rental"])

    assert taught.unusable == 1
    assert taught.kept == {"extend_rental": 2}


async def test_a_server_that_refuses_is_an_error_of_the_port(folder, server):
    model = model_at(server, "locked")
    with pytest.raises(ModelUnavailable, match="refused our key"):
        await Teacher(load_domain(folder), model, called="locked").teach(1, ["extend_rental"])
    await model.aclose()


def test_situations_differ_and_come_in_the_same_order_again():
    """The language changes as well as who writes; a second run begins with the same."""
    some = list(situations(["en", "de"], 7))

    assert some == list(situations(["en", "de"], 7))
    assert len(set(some)) == len(some)
    assert {one.language for one in some[:12]} == {"en", "de"}
    assert len({one.persona for one in some[:12]}) >= 5


def test_source_keeps_its_comments_and_says_who_taught(folder):
    from models.train.teach import note_teacher

    (folder / "examples").mkdir(exist_ok=True)
    (folder / "examples" / "source.yaml").write_text("# ours\nwritten_by: us\n")
    note_teacher(folder / "examples", "first: a model")
    note_teacher(folder / "examples", "second")
    note_teacher(folder / "examples", "second")

    source = Source.of(folder / "examples")
    assert source.taught_by == ("first: a model", "second")
    assert source.authors == "us; first: a model (taught); second (taught)"
    assert (folder / "examples" / "source.yaml").read_text().startswith("# ours\n")


def test_taught_by_is_a_list(folder):
    (folder / "examples").mkdir(exist_ok=True)
    (folder / "examples" / "source.yaml").write_text("taught_by: 3\n")
    with pytest.raises(ExamplesInvalid, match="taught_by"):
        Source.of(folder / "examples")


@pytest.fixture
def signalbox(tmp_path):
    """The command as an operator runs it, with a data folder of its own."""

    def run(*arguments: str, **environment: str):
        given = {"SIGNALBOX_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "200", **environment}
        return CliRunner().invoke(app, ["domain", "teach", *arguments], env=given)

    return run


def test_without_a_large_model_the_command_says_how_to_have_one(folder, signalbox):
    done = signalbox(str(folder))

    assert done.exit_code == 1
    assert "SIGNALBOX_LLM_MODEL" in done.stderr
    assert not (folder / "examples" / TAUGHT).exists()


def test_the_command_teaches_and_says_what_came_of_it(folder, signalbox, server):
    done = signalbox(
        *(str(folder), "--per-intent", "3", "--only", "cancel_rental", "--json"),
        SIGNALBOX_LLM_MODEL="scripted",
        SIGNALBOX_LLM_BASE_URL=server.base_url,
        SIGNALBOX_LLM_API_KEY="k",
    )

    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["kept"], told["by_intent"]) == (3, {"cancel_rental": 3})
    assert len(lines_of(folder)) == 3


def test_what_it_costs_counts_in_the_day_s_budget(folder, signalbox, server, tmp_path):
    """It is recorded for all replicas after each round, and once the budget is spent no model is asked."""
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "as_of: 2026-11-30\ncurrency: USD\nmodels:\n  scripted: {input: 1000, output: 1000}\n"
    )
    settings = {
        "SIGNALBOX_LLM_MODEL": "scripted",
        "SIGNALBOX_LLM_BASE_URL": server.base_url,
        "SIGNALBOX_LLM_API_KEY": "k",
        "SIGNALBOX_PRICES": str(prices),
        "SIGNALBOX_LLM_DAY_BUDGET": "0.025",  # A call is 0.015.
        "SIGNALBOX_DATA_DIR": str(tmp_path / "data"),
    }
    asked = (str(folder), "--per-intent", "60", "--only", "cancel_rental")
    first, again = signalbox(*asked, **settings), signalbox(*asked, **settings)
    calls = len(server.requests)

    for done in (first, again):
        assert done.exit_code == 1
        assert "The day's budget for large models is spent." in done.stderr
    assert "0 messages are kept" in again.stderr
    assert 0 < len(lines_of(folder)) < 60
    assert calls == 2  # One round: written and labelled.


def test_a_server_that_is_down_is_said_and_what_was_kept_stays(folder, signalbox):
    done = signalbox(
        *(str(folder), "--only", "cancel_rental"),
        SIGNALBOX_LLM_MODEL="scripted",
        SIGNALBOX_LLM_BASE_URL="http://127.0.0.1:9/v1",
        SIGNALBOX_LLM_API_KEY="k",
    )

    assert done.exit_code == 1
    assert "cannot be reached" in done.stderr
    assert "0 messages are kept" in done.stderr


def test_an_intent_that_is_not_there_is_named(folder, signalbox, server):
    done = signalbox(
        *(str(folder), "--only", "fly"),
        SIGNALBOX_LLM_MODEL="scripted",
        SIGNALBOX_LLM_BASE_URL=server.base_url,
    )

    assert done.exit_code == 1
    assert "intents.yaml has no intent fly" in done.stderr

"""A recording of the large model's part: which reply belongs to which request, and what is said when none does."""

from __future__ import annotations

import httpx
import pytest

import prompts
from evals.large import DAY, FOLDER, Played, Scenario, scenarios_of
from evals.recorded import Exchange, RecordedModel, Request, read, request_of, serving, write

SYSTEM = prompts.load("synthesizer").messages(
    **{name: "x" for name in prompts.load("synthesizer").variables}
)


def asking(user: str = "How long?", system: str = SYSTEM.system) -> Request:
    return request_of(
        {"messages": [{"role": "system", "content": system}, {"role": "user", "content": user}]}
    )


def exchange(request: Request, reply: str = "Three days. [1]") -> Exchange:
    return Exchange(
        key=request.key,
        prompt=request.prompt,
        role=request.role,
        scenario="one",
        request=request.user,
        reply=reply,
    )


def test_who_asks_is_read_from_the_rules_or_the_form():
    """A writer by the beginning of its prompt, whoever fills in a form by the form's name."""
    form = {"name": "planner", "schema": {"properties": {"steps": {"items": {"enum": ["a", "b"]}}}}}
    body = {
        "messages": [{"role": "user", "content": "plan"}],
        "response_format": {"type": "json_schema", "json_schema": form},
    }

    assert asking().role == "synthesizer"
    assert request_of(body) == Request("planner", "", "plan", ("a", "b"))


def test_a_reply_is_played_to_its_own_request_only():
    """Spacing makes no difference; other words, other options and other rules do."""
    model = RecordedModel([exchange(asking())], scenario="one")

    assert model.reply(asking("How  long? ")) == "Three days. [1]"
    assert model.reply(asking("How much?")) is None
    assert [each.request for each in model.unanswered.values()] == ["How much?"]


def test_another_prompt_is_said_and_nothing_is_played():
    """A small change of the rules is no silent pass."""
    model = RecordedModel([exchange(asking())], scenario="one")

    assert model.reply(asking(system=SYSTEM.system + " Be brief.")) is None
    assert model.stale == {"one: its synthesizer was recorded for another prompt: record again"}


def test_a_file_keeps_what_was_written(tmp_path):
    kept = [exchange(asking()), exchange(asking("Wie lange?"), "Drei Tage. [1]")]
    write(tmp_path / "exchanges.jsonl", kept)

    assert read(tmp_path / "exchanges.jsonl") == kept
    assert read(tmp_path / "none.jsonl") == []


def test_the_server_speaks_as_openai_s_does():
    """A stream with the tokens it used; what nobody replied to is a request that is refused."""
    body = {
        "model": "m",
        "stream": True,
        "messages": [{"role": "system", "content": SYSTEM.system}],
    }
    known = {**body, "messages": [*body["messages"], {"role": "user", "content": "How long?"}]}
    with serving(RecordedModel([exchange(asking())])) as model:
        said = httpx.post(f"{model.url}/chat/completions", json=known).text
        refused = httpx.post(f"{model.url}/chat/completions", json=body)

    assert "Three days. [1]" in said
    assert '"completion_tokens": 4' in said
    assert said.endswith("data: [DONE]\n\n")
    assert refused.status_code == 400


@pytest.mark.parametrize(
    ("said", "reply", "arrived"),
    [
        ("It takes 3 days [1].", "It takes 3 days. [1]", True),
        ("It goes to Lindenweg 14. [1]", "It goes to [ADDRESS_1]. [1]", True),
        ("I do not know that.", "It takes 3 days. [1]", False),
    ],
)
def test_whether_a_reply_arrived(said, reply, arrived):
    """Whatever was put back for a placeholder, and wherever its citation stands."""
    scenario = Scenario(id="one", customer="ana", language="en", say=["?"])

    assert Played(scenario, reply=said).delivered(reply) == arrived


def test_the_recording_is_whole():
    """At least 120 exchanges in two languages over the roles, each with a reply; wrong ones say what is wrong in them."""
    exchanges = read(FOLDER / "exchanges.jsonl")
    languages = {one.id: one.language for one in scenarios_of(FOLDER)}

    assert DAY.tzinfo is not None
    assert len(exchanges) >= 120
    assert len({each.key for each in exchanges}) == len(exchanges)
    assert {each.role for each in exchanges} >= {"synthesizer", "escalation", "understand"}
    assert {languages[each.scenario] for each in exchanges} == {"en", "de"}
    assert all(each.reply for each in exchanges)
    assert all(w.says.casefold() in w.reply.casefold() for each in exchanges for w in each.wrong)

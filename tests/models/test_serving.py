"""The whole app with the real models: own intents, a release taken up while it runs, a candidate for any role."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import Settings
from app.models.manifest import SHIPPED, sha256_of
from app.models.release import ReleaseError, Releases
from app.stores.comparisons import SqlComparisons
from app.stores.decisions import Wanted
from app.support_desk import SupportDesk
from app.wiring import wiring
from graphs.judging import EVALUATIONS, evaluator_input
from tests.northfell import NORTHFELL

pytestmark = pytest.mark.models

#: A deployment's own words for what its customers want, and a few examples of each.
OWN: list[dict[str, Any]] = [
    {
        "name": "where is my parcel",
        "lane": "operation",
        "operation": "get_order",
        "examples": [
            "where is my order", "has my parcel left yet", "track my delivery please",
            "when does my package arrive", "what is the status of order SB-10482",
            "is my order on its way", "my delivery has not come, where is it",
        ],
    },
    {
        "name": "CANCEL_IT",
        "lane": "operation",
        "operation": "cancel_order",
        "examples": [
            "cancel my order", "please cancel SB-10482", "I do not want the order any more, cancel it",
            "stop my order before it ships", "cancel the purchase I made today",
            "I would like to cancel an order", "call off my order",
        ],
    },
    {
        "name": "shipping question",
        "lane": "answer",
        "examples": [
            "how long does standard delivery take", "what does express shipping cost",
            "do you ship to Austria", "how much is delivery", "what are the delivery times",
            "is shipping free above some amount", "which countries do you deliver to",
        ],
    },
    {
        "name": "human please",
        "lane": "escalate",
        "examples": [
            "I want to talk to a person", "give me a human", "connect me to an agent",
            "let me speak with somebody real", "a colleague please, not a bot",
            "can I talk to someone", "get me a human being",
        ],
    },
    {
        "name": "greeting",
        "lane": "direct",
        "examples": ["hello", "hi there", "good morning", "hey", "good evening", "hi", "hello there"],
    },
    {
        "name": "affirm",
        "lane": "direct",
        "examples": ["yes", "yes please", "do it", "correct", "that is right", "go ahead", "sure"],
    },
    {
        "name": "deny",
        "lane": "direct",
        "examples": ["no", "no thanks", "leave it", "rather not", "stop, no", "nope", "do not do it"],
    },
    {
        "name": "out_of_scope",
        "lane": "direct",
        "examples": [
            "what is the capital of France", "tell me a joke", "who won the match",
            "write a poem about the sea", "what is the weather like", "translate this to Latin",
            "solve this equation for me",
        ],
    },
]  # fmt: skip

#: What such a catalogue adds to have requests in several steps planned by a model, and to keep problems.
PLANNED: list[dict[str, Any]] = [
    {
        "name": "several things",
        "lane": "agent",
        "role": "several",
        "examples": [
            "order SB-10482 and my subscription, both please",
            "a list for you: my orders, my plan, your opening hours",
            "I need several things done about my order and my plan",
            "take care of all of it, one after the other",
            "two things at once: my order and my subscription",
            "see to everything on my list, the order and the plan",
            "there is more than one thing I need: order, invoice, plan",
            "first my order, then my subscription",
        ],
    },
    {
        "name": "ticket please",
        "lane": "operation",
        "operation": "create_ticket",
        "examples": [
            "open a support ticket", "please open a ticket about my lamp, it flickers",
            "raise a ticket for me", "I want to report a problem with my tent",
            "make a ticket about the strap that tore", "file a support request",
            "open a ticket about my pack, a buckle broke",
        ],
    },
]  # fmt: skip
#: Nothing in it says which step is meant, so that a plan has to be made.
LISTED = "a list for you: my order and my subscription"


def settings_for(tmp_path: Path, **more: Any) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path / "data", shadow_share=1.0, **more)  # type: ignore[call-arg]


def trained(folder: Path, intents: list[dict[str, Any]]) -> Path:
    """A router for these intents, as `signalbox train router` makes it."""
    from typer.testing import CliRunner

    from app.cli import app

    (folder / "mine.yaml").write_text(yaml.safe_dump({"intents": intents}))
    words = ["train", "router", "--intents", str(folder / "mine.yaml"), "--out", str(folder / "r")]
    made = CliRunner().invoke(app, words)
    assert made.exit_code == 0, made.output
    return folder / "r"


@pytest.fixture(scope="module")
def own_router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A router trained on the deployment's own catalogue."""
    return trained(tmp_path_factory.mktemp("own"), OWN)


@pytest.fixture(scope="module")
def planning_router(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an intent that is served by the agent lane: without one, a turn's own wishes are its plan
    and the planner is asked for none."""
    return trained(tmp_path_factory.mktemp("planning"), [*OWN, *PLANNED])


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[SupportDesk]:
    async with wiring(settings) as desk:
        assert isinstance(desk, SupportDesk)
        yield desk


async def says(desk: SupportDesk, *lines: str) -> list[dict[str, Any]]:
    """The final event of each line of one conversation."""
    customer = await desk.sign_in.customer("ana")
    assert customer is not None
    thread = await desk.turns.open_thread(customer)
    finals: list[dict[str, Any]] = []
    for line in lines:
        events = [event async for event in desk.turns.play(customer, thread, line)]
        assert events[-1].event == "final", events[-1]
        finals.append(dict(events[-1].data))
    return finals


ASKED = evaluator_input("show my order and cancel it", None, 1)
LINES = (
    ("where is my order", "operation", "where is my parcel"),
    ("how long does standard delivery take", "answer", "shipping question"),
    ("give me a human", "escalate", "human please"),
    ("hello", "direct", "greeting"),
)


@pytest.mark.slow
async def test_the_desk_on_a_deployments_own_router(tmp_path: Path, own_router: Path) -> None:
    """Its intents lead to their lanes and operations, and a write is confirmed and done."""
    async with running(settings_for(tmp_path, router=own_router)) as desk:
        played = [(await says(desk, line))[0] for line, _, _ in LINES]
        asked, done = await says(desk, "please cancel SB-10482", "yes please")
        [unsure] = await says(desk, "hmm, that thing with the delivery, cancel or where, you know")
        routed = await desk.views.decisions(Wanted(role="router"), limit=50)
        names = desk.views.intents()

    assert [(p["lane"], p["intent"]) for p in played] == [(lane, name) for _, lane, name in LINES]
    assert "Shall I cancel" in asked["text"]
    # The small model was trained on other intents: it is not asked, and nothing is broken.
    assert not unsure.get("degraded")
    assert (done["intent"], "is cancelled" in done["text"]) == ("affirm", True)
    assert set(names) == {one["name"] for one in OWN}
    settled = [each.decision for each in routed if each.decision.lane is not None]
    digest = sha256_of(own_router / "router.safetensors")[:12]
    assert {each.adapter for each in settled} == {digest}


@pytest.mark.slow
async def test_a_promoted_router_brings_its_intents_and_a_rollback_takes_them_away(
    tmp_path: Path, own_router: Path
) -> None:
    """In a running app, for the turns that begin afterwards; no restart."""
    settings = settings_for(tmp_path)
    releases = Releases(settings.data_dir, NORTHFELL)
    async with running(settings) as desk:
        watch = desk.views.releases
        assert watch is not None
        [before] = await says(desk, "where is my order")
        releases.promote(own_router, by="olga")
        await watch.look()
        during = [(await says(desk, line))[0] for line, _, _ in LINES]
        taken = (watch.state.problem, watch.state.digest, desk.views.intents())
        releases.rollback(by="olga")
        await watch.look()
        [after] = await says(desk, "where is my order")

    assert before["intent"] == after["intent"]
    assert before["intent"] in NORTHFELL.intents.names
    assert [(p["lane"], p["intent"]) for p in during] == [(lane, name) for _, lane, name in LINES]
    assert taken[0] is None
    assert taken[1] == sha256_of(own_router / "manifest.json")
    assert set(taken[2]) == {one["name"] for one in OWN}


@pytest.mark.slow
async def test_a_release_that_is_not_sound_is_not_taken_up(
    tmp_path: Path, own_router: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The old models decide on; the log, /ready and the metrics say why."""
    settings = settings_for(tmp_path)
    releases = Releases(settings.data_dir, NORTHFELL)
    async with running(settings) as desk:
        watch = desk.views.releases
        assert watch is not None
        change = releases.promote(own_router, by="olga")
        (releases.folder(str(change.digest)) / "router.safetensors").write_bytes(b"other")
        await watch.look()
        await watch.look()
        [kept] = await says(desk, "where is my order")
        health = (await desk.health())["release"]
        state = desk.views.release_state()
        # Promoting what is intact mends it.
        releases.promote(own_router, by="olga")
        await watch.look()
        [mended] = await says(desk, "where is my order")

    assert kept["intent"] in NORTHFELL.intents.names
    assert health["status"] == "degraded"
    assert "router.safetensors has digest" in health["reason"]
    assert state.problem == health["reason"]
    assert caplog.text.count("the models that run stay") == 1
    assert mended["intent"] == "where is my parcel"


@pytest.mark.parametrize(
    ("harm", "complaint"),
    [
        ("operation", "no such operation: launch_rocket"),
        ("gone", "which the intents.yaml of Northfell Outfitters does not"),
        ("spoken", "a conversation needs the intents"),
        ("other", "is not the file that the intent head was trained on"),
    ],
)
def test_a_catalogue_that_does_not_fit_is_not_promoted(
    tmp_path: Path, own_router: Path, harm: str, complaint: str
) -> None:
    """Operations that are not there, intents that the head knows and the file does not, a file of another day."""
    folder = tmp_path / "candidate"
    shutil.copytree(own_router, folder)
    catalogue = folder / "intents.yaml"
    document = yaml.safe_load(catalogue.read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    if harm == "operation":
        document["intents"][0]["operation"] = "launch_rocket"
    elif harm == "spoken":
        document["intents"] = [i for i in document["intents"] if i["name"] != "affirm"]
    else:
        document["intents"][0]["description"] = "changed since"
    catalogue.write_text(yaml.safe_dump(document))
    if harm == "gone":
        catalogue.unlink()
    elif harm != "other":
        manifest["artefacts"][0]["intents_sha256"] = sha256_of(catalogue)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "data").mkdir()

    with pytest.raises(ReleaseError, match=complaint):
        Releases(tmp_path / "data", NORTHFELL).promote(folder, by="olga")

    assert Releases(tmp_path / "data", NORTHFELL).live() is None


@pytest.fixture
def of_every_role(tmp_path: Path) -> Path:
    """The shipped adapters of extractor and planner and the pruner under other names, and a prompt for the
    evaluator."""
    folder = tmp_path / "candidate"
    wanted = {("lora", "extractor"), ("lora", "planner"), ("cross-encoder-lora", "pruner")}
    listed = json.loads((SHIPPED / "manifest.json").read_text())["artefacts"]
    kept = [one for one in listed if (one["kind"], one["role"]) in wanted]
    for one in kept:
        (folder / one["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SHIPPED / one["file"], folder / one["file"])
    prompt = folder / "prompts" / "evaluator.md"
    prompt.parent.mkdir()
    prompt.write_text("Say how the plan goes on: continue, done, replan or escalate.\n")
    kept.append(
        {
            "kind": "prompt",
            "role": "evaluator",
            "file": "prompts/evaluator.md",
            "sha256": sha256_of(prompt),
        }
    )
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "artefacts": kept}))
    return folder


@pytest.mark.slow
async def test_a_candidate_for_every_role_decides_beside_the_live_models(
    tmp_path: Path, of_every_role: Path, planning_router: Path
) -> None:
    """The same adapter says the same under its other name; all of it is recorded, none of it is done."""
    settings = settings_for(tmp_path, shadow=of_every_role, router=planning_router)
    async with running(settings) as desk:
        shadow = desk.player.shadow
        assert shadow is not None
        context = desk.player.context_for((await desk.sign_in.customer("ana")), "th")  # type: ignore[arg-type]
        await context.knowledge.pruner_ready()  # type: ignore[attr-defined]
        await says(desk, "how long does standard delivery take?")
        await says(desk, "open a support ticket about the zip of my jacket, it jams")
        [planned] = await says(desk, LISTED)
        await shadow.drain()
        found = await SqlComparisons(desk.stores.decisions.engine).roles(shadow.candidate.digest)
        counts = shadow.counts
        # Its head is sure of most results; what it is not sure of is for whoever follows the prompt.
        live = await context.small.choose("evaluator", ASKED, EVALUATIONS)
        theirs = await shadow.candidate.small.choose("evaluator", ASKED, EVALUATIONS)

    prompted = sha256_of(of_every_role / "prompts" / "evaluator.md")[:12]
    assert set(shadow.candidate.roles) == {"extractor", "evaluator", "planner", "pruner"}
    assert (counts["dropped"], counts["failed"]) == (0, 0)
    roles = {each.role for each in found}
    assert planned["lane"] == "agent"
    assert roles == {"extractor", "evaluator", "planner", "pruner"}
    for each in found:
        if each.role in ("pruner", "planner"):
            assert each.same, each
            assert each.candidate.adapter
    assert (live.adapter != "", theirs.adapter, theirs.version) == (True, "", prompted)


@pytest.mark.slow
async def test_adapters_and_prompts_are_taken_up_by_a_server_of_their_own(
    tmp_path: Path, of_every_role: Path, planning_router: Path
) -> None:
    """The new child is ready before it is asked; the old one stays for the turns that began with it."""
    settings = settings_for(tmp_path, router=planning_router)
    async with running(settings) as desk:
        ana, watch = await desk.sign_in.customer("ana"), desk.views.releases
        assert ana is not None
        assert watch is not None
        before = desk.player.context_for(ana, "th")
        Releases(settings.data_dir, NORTHFELL).promote(of_every_role, by="olga")
        await watch.look()
        after = desk.player.context_for(ana, "th")
        old, new = [
            await each.small.choose("evaluator", ASKED, EVALUATIONS) for each in (before, after)
        ]
        [planned] = await says(desk, LISTED)
        [plan] = await desk.views.decisions(Wanted(role="planner"), limit=5)
        pruned_by = after.knowledge.pruned_by

    assert watch.state.problem is None
    assert (old.adapter != "", new.adapter) == (True, "")
    assert planned["lane"] == "agent"
    assert plan.decision.chosen == "list_orders, get_subscription"
    assert plan.decision.adapter == sha256_of(of_every_role / "adapters" / "planner.gguf")[:12]
    assert "cross-encoder-lora" in pruned_by

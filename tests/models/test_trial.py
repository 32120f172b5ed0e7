"""A real candidate beside the real models: its own adapter and head, served by the same processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.models.manifest import SHIPPED
from app.serving import open_models
from graphs.judging import EVALUATIONS, evaluator_input
from tests.northfell import NORTHFELL

pytestmark = pytest.mark.models

ASKED = "where is my parcel"
RESULT = evaluator_input("show my order and cancel it", None, 1)


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    """The shipped evaluator adapter and intent head as a candidate, the head at another temperature."""
    folder = tmp_path / "candidate"
    kept: list[dict[str, Any]] = []
    for home, wanted in (
        (SHIPPED, ("lora", "evaluator")),
        (NORTHFELL.models, ("head", "intent")),
    ):
        listed = json.loads((home / "manifest.json").read_text())["artefacts"]
        [one] = [one for one in listed if (one["kind"], one["role"]) == wanted]
        (folder / one["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(home / one["file"], folder / one["file"])
        kept.append(one)
    for one in kept:
        if one["kind"] == "head":
            one["temperature"] *= 3
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "artefacts": kept}))
    return folder


async def test_a_candidate_is_served_beside_the_live_models(
    tmp_path: Path, candidate: Path
) -> None:
    """The same adapter says the same under its other name; the candidate's head is its own; the rest is shared."""
    settings = Settings(_env_file=None, data_dir=tmp_path, shadow=candidate)  # type: ignore[call-arg]
    async with open_models(settings) as models:
        trial = models.trial
        assert trial is not None
        assert (trial.problem, trial.adapters) == (None, {"evaluator"})
        assert trial.small is not None
        assert trial.encoder is not None

        live = await models.small.choose("evaluator", RESULT, EVALUATIONS)
        theirs = await trial.small.choose("evaluator", RESULT, EVALUATIONS)
        head = await models.encoder.classify("intent", ASKED)
        other = await trial.encoder.classify("intent", ASKED)
        calm = await trial.encoder.classify("frustration", ASKED)

    assert theirs.probabilities == pytest.approx(live.probabilities, abs=1e-3)
    assert other.option == head.option
    assert max(other.probabilities.values()) < max(head.probabilities.values())
    assert calm.option == "calm"

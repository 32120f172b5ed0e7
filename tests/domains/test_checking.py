"""``signalbox domain check``: what it finds in a business of files, and in one that is written in Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from app.checking import check_folder

DOMAINS = Path(__file__).resolve().parents[2] / "domains"


@pytest.mark.parametrize("name", ["northfell", "halden"])
def test_nothing_is_wrong_with_ours(name: str) -> None:
    """Both ways to write operations are read."""
    assert [each for each in check_folder(DOMAINS / name) if each.grave] == []


def test_a_folder_that_can_do_nothing_is_told_what_it_lacks(tmp_path: Path) -> None:
    """Neither a file of operations nor a module."""
    shutil.copyfile(DOMAINS / "halden" / "domain.yaml", tmp_path / "domain.yaml")
    (problem,) = check_folder(tmp_path)

    assert (problem.file, problem.grave) == ("operations.yaml", True)


def test_a_module_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    """The sentence says which file lacks what."""
    shutil.copyfile(DOMAINS / "halden" / "domain.yaml", tmp_path / "domain.yaml")
    (tmp_path / "domain.py").write_text('"""Nothing."""\n', encoding="utf-8")
    (problem,) = check_folder(tmp_path)

    assert problem.grave
    assert "does not define OPERATIONS" in problem.text


def test_labelled_messages_count_as_examples(tmp_path: Path) -> None:
    """Five sentences beside an intent are few, unless a file of examples has more."""
    folder = tmp_path / "halden"
    shutil.copytree(DOMAINS / "halden", folder)
    shutil.rmtree(folder / "examples")
    intents = yaml.safe_load((folder / "intents.yaml").read_text("utf-8"))
    for one in intents["intents"]:
        one["examples"] = one["examples"][:5]
    (folder / "intents.yaml").write_text(yaml.safe_dump(intents, sort_keys=False), "utf-8")
    few = {each.text.split()[0] for each in check_folder(folder) if "examples;" in each.text}
    assert few
    (folder / "examples").mkdir()
    lines = [json.dumps({"text": f"{name} {n}", "intent": name}) for name in few for n in range(8)]
    (folder / "examples" / "more.jsonl").write_text("\n".join(lines), encoding="utf-8")

    assert [each for each in check_folder(folder) if "examples;" in each.text] == []

"""Settings: every one documented, defaults that need nothing, keys generated once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.config import Settings, load_keys
from tests.northfell import NORTHFELL

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / ".env.example"


def read(tmp_path: Path, text: str) -> Settings:
    file = tmp_path / "env"
    file.write_text(text, encoding="utf-8")
    return Settings(_env_file=file)


def documented() -> dict[str, str]:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def variable(name: str) -> str:
    return name.upper() if name.startswith(("langfuse_", "otel_")) else f"SIGNALBOX_{name.upper()}"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Just ensuring that the tests are not coloured by the machine they run on."""
    for name in [name for name in os.environ if name.startswith(("SIGNALBOX_", "LANGFUSE_"))]:
        monkeypatch.delenv(name)


def test_every_setting_is_in_the_example():
    """.env.example names every setting, and none that does not exist."""
    expected = {variable(name) for name in Settings.model_fields} | {"LANGGRAPH_STRICT_MSGPACK"}

    assert expected == set(documented())


def test_the_example_shows_the_defaults(tmp_path):
    """Copying .env.example to .env changes nothing."""
    copied = read(tmp_path, EXAMPLE.read_text(encoding="utf-8"))

    assert Settings(_env_file=None) == copied


def test_defaults_are_embedded(tmp_path):
    """With nothing set everything is in the data folder and in this process."""
    settings = read(tmp_path, "")

    assert settings.small_models == "embedded"
    assert not settings.hosted_llm
    assert not settings.langfuse
    assert settings.database.startswith("sqlite:////")
    assert settings.checkpoints.endswith("checkpoints.db")
    assert settings.knowledge_dir == NORTHFELL.knowledge
    assert {"embedded"} == {profile.server for profile in settings.profiles.values()}


def test_the_few_lines_that_grow_it(tmp_path):
    """The commented lines of the example switch to Ollama, Qdrant, PostgreSQL, Langfuse and an LLM."""
    text = EXAMPLE.read_text(encoding="utf-8")
    _, _, grown = text.partition("# --- from embedded to grown")
    lines = [line.removeprefix("# ") for line in grown.splitlines()[1:]]

    settings = read(tmp_path, "\n".join(lines))

    assert settings.small_models == "ollama"
    assert settings.profiles["router"].server == "ollama"
    assert settings.profiles["planner"].server == "openai"
    assert settings.llm_model == settings.profiles["planner"].model
    assert settings.langfuse
    assert settings.qdrant_url == "http://localhost:6333"
    assert settings.checkpoints == "postgresql://signalbox:signalbox@localhost:5432/signalbox"


CHAIN = """
SIGNALBOX_LLM_MODEL=one
SIGNALBOX_LLM_BASE_URL=https://user:word@a.example/v1
SIGNALBOX_LLM_MODELS=[{"model": "one", "base_url": "https://b.example/v1", "api_key": "k"}, {"model": "own", "local": true}]
SIGNALBOX_LLM_REPLY_SECONDS=12
"""


def test_large_models_form_a_chain(tmp_path):
    """In their order, under names that hold no secret, with the time that a reply may take."""
    settings = read(tmp_path, CHAIN)

    assert [m.named for m in settings.llm_chain] == ["one at a.example", "one at b.example", "own"]
    assert settings.profiles["planner"].timeout == 12
    assert settings.llm_leaves


def test_only_the_house_s_own_models_where_data_stays(tmp_path):
    """What `residency: local` leaves of a chain; of a chain without such a model nothing."""
    settings = read(tmp_path, CHAIN).staying()
    none = read(tmp_path, "SIGNALBOX_LLM_MODEL=one").staying()

    assert [m.named for m in settings.llm_chain] == ["own"]
    assert not settings.llm_leaves
    assert not none.hosted_llm
    assert {"embedded"} == {profile.server for profile in none.profiles.values()}


def test_one_model_twice_is_no_chain(tmp_path):
    with pytest.raises(ValidationError, match="twice"):
        read(tmp_path, 'SIGNALBOX_LLM_MODELS=[{"model": "a"}, {"model": "a"}]')


@pytest.mark.parametrize("name", ["DAY", "CUSTOMER", "TURN"])
@pytest.mark.parametrize("amount", ["inf", "nan", "-1", "a lot"])
def test_a_budget_is_an_amount_of_money(tmp_path, name, amount):
    """No limit is written as 0; what no sum ever reaches would look like one."""
    with pytest.raises(ValidationError, match=f"llm_{name.lower()}_budget"):
        read(tmp_path, f"SIGNALBOX_LLM_{name}_BUDGET={amount}")


def test_role_changes_are_merged_into_the_profiles(tmp_path):
    """A role keeps what was not changed."""
    settings = read(tmp_path, 'SIGNALBOX_ROLES={"router": {"threshold": 0.9}}')

    assert settings.profiles["router"].threshold == 0.9
    assert settings.profiles["router"].fallback == "large"


def test_ollama_models_by_role(tmp_path):
    """name=value pairs read as a mapping."""
    settings = read(
        tmp_path, "SIGNALBOX_OLLAMA_HOST=http://o\nSIGNALBOX_OLLAMA_MODELS=router=a:1, extractor=b"
    )

    assert settings.ollama_models == {"router": "a:1", "extractor": "b"}
    assert settings.profiles["router"].model == "a:1"


@pytest.mark.parametrize(
    "line",
    [
        "SIGNALBOX_PORT=99999",
        "SIGNALBOX_PORT=eight",
        "SIGNALBOX_OPERATORS=olga",  # a name without a key
        "SIGNALBOX_OPERATORS=olga=short",
        "SIGNALBOX_SECRET=short",
        "SIGNALBOX_SMALL_SERVER=gpu",
        'SIGNALBOX_ROLES={"rooter": {}}',  # no such role
        'SIGNALBOX_ROLES={"router": {"treshold": 0.5}}',  # no such field
        "SIGNALBOX_APPROVAL_TTL_HOURS=0",
    ],
)
def test_a_wrong_setting_stops_the_start(tmp_path, line):
    """What cannot be meant is refused by name, not ignored."""
    with pytest.raises(ValidationError):
        read(tmp_path, line)


def test_secrets_do_not_print(tmp_path):
    """A settings object in a log shows no key."""
    settings = read(tmp_path, "SIGNALBOX_OPERATORS=olga=correct-horse\nSIGNALBOX_LLM_API_KEY=sk-1")

    assert "correct-horse" not in repr(settings)
    assert "sk-1" not in repr(settings)


def test_generated_keys_are_kept_and_private(tmp_path):
    """The second start reads what the first one made, and only the owner can."""
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")

    first, second = load_keys(settings), load_keys(settings)

    assert first == second
    assert first.demo
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data" / "operator-key").stat().st_mode) == 0o600
    assert sorted(p.name for p in (tmp_path / "data").iterdir()) == ["operator-key", "secret"]


def test_replicas_that_start_at_once_agree_on_the_key(tmp_path):
    """Two processes that share a data folder never sign with different secrets."""
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")

    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_keys(settings), range(16)))

    assert len({key.secret for key in keys}) == 1


def test_keys_that_were_set_are_used(tmp_path):
    """Nothing is generated when the operator chose the keys."""
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path / "data",
        secret="sixteen characters",
        operators={"olga": "correct-horse"},
    )

    keys = load_keys(settings)

    assert keys.secret == "sixteen characters"
    assert keys.operators == {"olga": "correct-horse"}
    assert not keys.demo
    assert not (tmp_path / "data").exists()


def test_checkpoints_restore_only_declared_types():
    """LangGraph is told so before anything of this package can import it."""
    code = "import os; os.environ.pop('LANGGRAPH_STRICT_MSGPACK', 0); import app.main; import langgraph.checkpoint.serde._msgpack as j; print(j.STRICT_MSGPACK_ENABLED)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)

    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize(
    ("operators", "said"),
    [
        ("olga:boss=a-long-enough-key", "unknown role"),
        (":admin=a-long-enough-key", "at least 12 characters"),
        ("olga=a-long-enough-key, olga:admin=another-long-key", "named twice"),
        ("olga=a-long-enough-key, Olga =another-long-key", "named twice"),
        ("olga=a-long-enough-key, piet=a-long-enough-key", "the same key"),
    ],
)
def test_one_person_is_one_operator(tmp_path, operators, said):
    """Two persons can only be told apart if nobody is listed as two."""
    with pytest.raises(ValidationError, match=said):
        read(tmp_path, f"SIGNALBOX_OPERATORS={operators}\n")


def test_operators_have_roles(tmp_path):
    """An agent unless the name says admin; the generated demo key is an admin's."""
    named = "olga=a-long-enough-key, piet:admin=another-long-key"
    settings = read(tmp_path, f"SIGNALBOX_OPERATORS={named}\nSIGNALBOX_DATA_DIR={tmp_path}\n")
    assert load_keys(settings).roles == {"olga": "agent", "piet": "admin"}
    assert set(load_keys(settings).operators) == {"olga", "piet"}
    demo = load_keys(read(tmp_path, f"SIGNALBOX_DATA_DIR={tmp_path}\n"))
    assert demo.roles == {"demo": "admin"}

"""What Halden says in its two languages."""

from __future__ import annotations

import pytest

from app.domains import load_domain
from prompts.replies import Replies
from tests.domains.halden.conftest import HALDEN

DOMAIN = load_domain(HALDEN)
REPLIES = Replies(DOMAIN.replies, languages=("en", "de"))
WRITES = sorted(name for name, one in DOMAIN.operations.items() if one.writes)
#: What these roles mean is never put to the customer as a choice.
_NEVER_ASKED = {"courtesy", "affirm", "deny", "leave", "help", "out_of_scope", "several", "bot"}
ASKED = sorted(one.name for one in DOMAIN.intents.intents if one.role not in _NEVER_ASKED)


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("operation", WRITES)
def test_what_was_done_is_said_in_a_sentence(operation: str, language: str) -> None:
    """In the language itself, and not as the names and values that the system answered."""
    own = {path.stem for path in (DOMAIN.replies / language).glob("*.md")}

    assert operation in own or operation == "hand_off"
    assert f"{operation}.done" in REPLIES.voice(language).templates or operation == "hand_off"


@pytest.mark.parametrize("intent", ASKED)
def test_a_german_customer_is_asked_in_german(intent: str) -> None:
    """Whatever may have been meant."""
    voice = REPLIES.voice("de")
    english = DOMAIN.intents.get(intent).question

    assert voice.says(f"questions.{intent}", english) != english

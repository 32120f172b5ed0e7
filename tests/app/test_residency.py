"""A business whose data stays in the house: its own models answer, whatever else is configured."""

from __future__ import annotations

from dataclasses import replace

from app.config import Settings
from app.serving import resident
from tests.northfell import NORTHFELL


def test_a_local_business_asks_no_model_outside() -> None:
    """The same settings, for a business that says so and for one that does not."""
    settings = Settings(llm_model="hosted", llm_base_url="https://a.example/v1")
    local = NORTHFELL.profile.model_copy(update={"residency": "local"})

    assert resident(settings, NORTHFELL).hosted_llm
    assert not resident(settings, replace(NORTHFELL, profile=local)).hosted_llm

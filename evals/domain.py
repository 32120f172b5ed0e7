"""The business whose cases are played: the one that SIGNALBOX_DOMAIN names."""

from __future__ import annotations

from app.config import Settings
from app.domains import domain_of

DOMAIN = domain_of(Settings())
CASES = DOMAIN.cases

"""The business whose words the roles are trained on: the one that SIGNALBOX_DOMAIN names."""

from __future__ import annotations

from app.config import Settings
from app.domains import domain_of

DOMAIN = domain_of(Settings())

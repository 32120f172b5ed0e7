"""The demo shop, as every test that plays it loads it."""

from __future__ import annotations

from app.config import DEMO
from app.domains import load_domain, replies_of

NORTHFELL = load_domain(DEMO)
REPLIES = replies_of(NORTHFELL)

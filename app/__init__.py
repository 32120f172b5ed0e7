"""Signalbox as a running product: settings, wiring, adapters, HTTP, command line."""

import os

# LangGraph reads this when it is imported, which every module of this package may cause: with it a
# checkpoint restores only the types that the state's schema names, not any type somebody wrote into it.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

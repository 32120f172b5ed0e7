"""Parcel lockers as an MCP server: over stdio, or over streamable HTTP with ``--port``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp_types import ToolAnnotations


def server(store: Path, description: str = "") -> MCPServer:
    made = MCPServer("lockers")

    def books() -> dict[str, Any]:
        if store.exists():
            return json.loads(store.read_text())
        return {
            "L-7001": {"owner": "K-1", "place": "Hauptbahnhof", "state": "waiting", "opened": []}
        }

    @made.tool(annotations=ToolAnnotations(read_only_hint=True))
    def list_lockers(customer_id: str) -> list[dict[str, Any]]:
        """List a customer's lockers."""
        return [
            {"locker_id": n, **one} for n, one in books().items() if one["owner"] == customer_id
        ]

    def open_locker(customer_id: str, locker_id: str, reference: str) -> dict[str, Any]:
        known = books()
        known[locker_id]["opened"].append(reference)
        known[locker_id]["state"] = "open"
        store.write_text(json.dumps(known))
        return {"locker_id": locker_id, "state": "open", "secret_code": "0000"}

    made.add_tool(
        open_locker,
        description=description or "Open a locker's door.",
        annotations=ToolAnnotations(destructive_hint=False),
    )

    @made.tool()
    def break_locker(locker_id: str) -> str:
        """Break a locker."""
        raise ValueError("the door is jammed")

    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--description", default="")
    parser.add_argument("--port", type=int)
    given = parser.parse_args()
    lockers = server(given.store, given.description)
    if given.port is None:
        lockers.run("stdio")
    else:
        lockers.run("streamable-http", port=given.port)

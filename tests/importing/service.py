"""A bicycle rental's own API: a small REST service with a store of its own and faults that can be asked for."""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

RIDERS = {
    "R-1": {
        "name": "Ida Berg",
        "email": "ida@example.org",
        "tier": "gold",
        "joined_at": "2024-03-01",
    },
    "R-2": {
        "name": "Jon Vik",
        "email": "jon@example.org",
        "tier": "basic",
        "joined_at": "2026-11-25",
    },
}
RENTALS = (
    (
        "F-20011",
        "R-1",
        "running",
        "Bergen",
        "2026-11-28T09:00:00+01:00",
        "2026-12-01",
        "Gravel 2",
        "green",
        120.0,
    ),
    (
        "F-20013",
        "R-1",
        "booked",
        "Oslo",
        "2026-12-10T09:00:00+01:00",
        "2026-12-12",
        "City 1",
        "black",
        80.0,
    ),
    (
        "F-20009",
        "R-1",
        "over",
        "Oslo",
        "2026-10-01T09:00:00+01:00",
        "2026-10-03",
        "City 1",
        "red",
        80.0,
    ),
    (
        "F-30001",
        "R-2",
        "running",
        "Oslo",
        "2026-11-29T09:00:00+01:00",
        "2026-12-02",
        "Cargo",
        "blue",
        200.0,
    ),
)


class Store:
    """The rental's books."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self.db.row_factory = sqlite3.Row
        self.db.executescript(
            """
            CREATE TABLE IF NOT EXISTS rentals (rental_id TEXT PRIMARY KEY, rider TEXT, status TEXT, station TEXT,
                started_at TEXT, ends_on TEXT, model TEXT, color TEXT, day_price REAL);
            CREATE TABLE IF NOT EXISTS charges (charge_id INTEGER PRIMARY KEY, rental TEXT, extra TEXT,
                client_reference TEXT, amount REAL, status TEXT);
            CREATE TABLE IF NOT EXISTS keys (key TEXT PRIMARY KEY, answer TEXT);
            CREATE TABLE IF NOT EXISTS effects (what TEXT, rental TEXT);
            """
        )
        self.empty()

    def empty(self) -> None:
        """As on the first day."""
        for table in ("rentals", "charges", "keys", "effects"):
            self.db.execute(f"DELETE FROM {table}")
        self.db.executemany("INSERT OR IGNORE INTO rentals VALUES (?,?,?,?,?,?,?,?,?)", RENTALS)

    def rental(self, number: str) -> dict | None:
        row = self.db.execute("SELECT * FROM rentals WHERE rental_id = ?", [number]).fetchone()
        if row is None:
            return None
        one = dict(row)
        bike = {k: one.pop(k) for k in ("model", "color", "day_price")}
        return {**one, "bike": {**bike, "extras": []}, "internal_note": "VIP, do not tell"}

    def effect(self, what: str, rental: str) -> None:
        self.db.execute("INSERT INTO effects VALUES (?, ?)", [what, rental])


def create_app(store: Store) -> FastAPI:
    app = FastAPI()
    #: ``drop_after``: so many writes take effect and are not answered; ``drop_before``: nothing happens.
    faults: dict[str, int] = {
        "drop_after": 0,
        "drop_before": 0,
        "down": 0,
        "large": 0,
        "redirect": 0,
    }

    def hit(name: str) -> bool:
        if faults[name] > 0:
            faults[name] -= 1
            return True
        return False

    @app.middleware("http")
    async def moods(request: Request, call_next):
        if request.url.path in ("/faults", "/effects", "/reset"):
            return await call_next(request)
        if request.headers.get("authorization") != "Bearer the-key":
            return JSONResponse({"error": "who are you?"}, 401)
        if hit("down"):
            return JSONResponse({"error": "down"}, 503)
        if hit("redirect"):
            return Response(status_code=302, headers={"location": "http://169.254.169.254/latest"})
        if hit("large"):
            return JSONResponse({"data": ["x" * 1000] * 3000})
        if request.method == "POST" and hit("drop_before"):
            await asyncio.sleep(3600)
        answer = await call_next(request)
        if request.method == "POST" and hit("drop_after"):
            await asyncio.sleep(3600)
        return answer

    @app.put("/faults")
    async def set_faults(request: Request) -> dict[str, int]:
        faults.update(await request.json())
        return faults

    @app.post("/reset")
    async def reset() -> dict[str, int]:
        store.empty()
        faults.update(dict.fromkeys(faults, 0))
        return faults

    @app.get("/effects")
    async def effects() -> list[list[str]]:
        return [list(row) for row in store.db.execute("SELECT what, rental FROM effects")]

    @app.get("/riders/{rider_id}")
    async def rider(rider_id: str) -> Response:
        return JSONResponse(RIDERS[rider_id]) if rider_id in RIDERS else JSONResponse({}, 404)

    @app.get("/rentals")
    async def rentals(rider_id: str) -> dict:
        rows = store.db.execute(
            "SELECT rental_id FROM rentals WHERE rider = ?", [rider_id]
        ).fetchall()
        return {"data": [store.rental(row[0]) for row in rows]}

    @app.get("/rentals/{rental_id}")
    async def rental(rental_id: str) -> Response:
        found = store.rental(rental_id)
        return JSONResponse(found) if found else JSONResponse({}, 404)

    @app.post("/rentals/{rental_id}/extend")
    async def extend(rental_id: str, request: Request) -> Response:
        body, key = await request.json(), request.headers.get("idempotency-key")
        known = store.db.execute("SELECT answer FROM keys WHERE key = ?", [key]).fetchone()
        if known is not None:
            return JSONResponse(json.loads(known[0]))
        if body["until"] == "2026-12-24":
            return JSONResponse({"error": "booked"}, 409)
        store.db.execute(
            "UPDATE rentals SET ends_on = ? WHERE rental_id = ?", [body["until"], rental_id]
        )
        store.effect(f"extend {body['until']} {body['price']}", rental_id)
        answer = store.rental(rental_id)
        store.db.execute("INSERT INTO keys VALUES (?, ?)", [key, json.dumps(answer)])
        return JSONResponse(answer)

    @app.post("/rentals/{rental_id}/cancel")
    async def cancel(rental_id: str) -> Response:
        store.db.execute("UPDATE rentals SET status = 'cancelled' WHERE rental_id = ?", [rental_id])
        store.effect("cancel", rental_id)
        return JSONResponse(store.rental(rental_id))

    @app.get("/charges")
    async def charges(client_reference: str | None = None) -> dict:
        rows = store.db.execute("SELECT * FROM charges").fetchall()
        # As some APIs do, it does not care about the filter.
        return {"data": [dict(row) for row in rows]}

    @app.post("/charges")
    async def add_extra(request: Request) -> Response:
        body = await request.json()
        store.db.execute(
            "INSERT INTO charges (rental, extra, client_reference, amount, status) VALUES (?,?,?,50,'captured')",
            [body["rental_id"], body["extra"], body.get("client_reference")],
        )
        store.effect(f"charge {body['extra']}", body["rental_id"])
        return JSONResponse(
            dict(store.db.execute("SELECT * FROM charges ORDER BY charge_id DESC").fetchone()), 201
        )

    @app.post("/rentals/{rental_id}/faults")
    async def fault(rental_id: str, request: Request) -> Response:
        store.effect(f"fault {(await request.json())['what']}", rental_id)
        return JSONResponse(None, 201)

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True)
    given = parser.parse_args()
    uvicorn.run(create_app(Store(given.store)), port=given.port, log_level="warning")

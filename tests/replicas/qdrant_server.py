"""A Qdrant server for tests: the routes that our client uses, over the client library's own engine in memory.

``qdrant_server.py PORT``. It is no stand-in for a real server's behaviour under load; it is what several processes share
here, over the same HTTP."""

from __future__ import annotations

import sys
import threading
import warnings
from typing import Any

import uvicorn
from pydantic import TypeAdapter
from qdrant_client import QdrantClient, models
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

#: The engine says that it keeps no indexes of payloads; the server would.
warnings.filterwarnings("ignore", message="Payload indexes have no effect")

ENGINE = QdrantClient(":memory:")
#: The engine is one list of vectors; the server asks it for one thing at a time.
ALONE = threading.Lock()


def _plain(value: Any) -> Any:
    return TypeAdapter(Any).dump_python(value, mode="json")


def _done(result: Any = True) -> JSONResponse:
    return JSONResponse({"result": _plain(result), "status": "ok", "time": 0.0})


async def collections(request: Request) -> JSONResponse:
    return _done(ENGINE.get_collections())


async def aliases(request: Request) -> JSONResponse:
    return _done(ENGINE.get_aliases())


async def point_aliases(request: Request) -> JSONResponse:
    asked = models.ChangeAliasesOperation.model_validate(await request.json())
    with ALONE:
        ENGINE.update_collection_aliases(asked.actions)
    return _done()


async def exists(request: Request) -> JSONResponse:
    return _done({"exists": ENGINE.collection_exists(request.path_params["name"])})


async def create(request: Request) -> JSONResponse:
    asked = models.CreateCollection.model_validate(await request.json())
    with ALONE:
        if ENGINE.collection_exists(name := request.path_params["name"]):
            return JSONResponse({"status": {"error": f"Collection `{name}` already exists!"}}, 409)
        ENGINE.create_collection(
            name, vectors_config=asked.vectors, sparse_vectors_config=asked.sparse_vectors
        )
    return _done()


async def drop(request: Request) -> JSONResponse:
    with ALONE:
        return _done(ENGINE.delete_collection(request.path_params["name"]))


async def index(request: Request) -> JSONResponse:
    return _done({"operation_id": 0, "status": "completed"})


async def upsert(request: Request) -> JSONResponse:
    asked = models.PointsList.model_validate(await request.json())
    with ALONE:
        return _done(ENGINE.upsert(request.path_params["name"], asked.points))


async def delete(request: Request) -> JSONResponse:
    asked = models.PointIdsList.model_validate(await request.json())
    with ALONE:
        return _done(ENGINE.delete(request.path_params["name"], asked))


async def mark(request: Request) -> JSONResponse:
    asked = models.SetPayload.model_validate(await request.json())
    with ALONE:
        done = ENGINE.set_payload(
            request.path_params["name"], asked.payload, points=asked.points or []
        )
    return _done(done)


async def query(request: Request) -> JSONResponse:
    asked = models.QueryRequest.model_validate(await request.json())
    with ALONE:
        found = ENGINE.query_points(
            request.path_params["name"],
            query=asked.query,
            prefetch=asked.prefetch,
            using=asked.using,
            query_filter=asked.filter,
            limit=asked.limit or 10,
            with_payload=True if asked.with_payload is None else asked.with_payload,
            with_vectors=asked.with_vector or False,
        )
    return _done(found)


async def retrieve(request: Request) -> JSONResponse:
    asked = models.PointRequest.model_validate(await request.json())
    with ALONE:
        found = ENGINE.retrieve(
            request.path_params["name"],
            asked.ids,
            with_payload=True if asked.with_payload is None else asked.with_payload,
            with_vectors=asked.with_vector or False,
        )
    return _done(found)


async def scroll(request: Request) -> JSONResponse:
    asked = models.ScrollRequest.model_validate(await request.json())
    with ALONE:
        found, after = ENGINE.scroll(
            request.path_params["name"],
            limit=asked.limit or 10,
            offset=asked.offset,
            with_payload=asked.with_payload or False,
        )
    return _done({"points": _plain(found), "next_page_offset": after})


async def count(request: Request) -> JSONResponse:
    with ALONE:
        return _done(ENGINE.count(request.path_params["name"]))


APP = Starlette(
    routes=[
        Route("/collections", collections),
        Route("/aliases", aliases),
        Route("/collections/aliases", point_aliases, methods=["POST"]),
        Route("/collections/{name}/exists", exists),
        Route("/collections/{name}", create, methods=["PUT"]),
        Route("/collections/{name}", drop, methods=["DELETE"]),
        Route("/collections/{name}/index", index, methods=["PUT"]),
        Route("/collections/{name}/points", upsert, methods=["PUT"]),
        Route("/collections/{name}/points", retrieve, methods=["POST"]),
        Route("/collections/{name}/points/delete", delete, methods=["POST"]),
        Route("/collections/{name}/points/payload", mark, methods=["POST"]),
        Route("/collections/{name}/points/query", query, methods=["POST"]),
        Route("/collections/{name}/points/scroll", scroll, methods=["POST"]),
        Route("/collections/{name}/points/count", count, methods=["POST"]),
    ]
)

if __name__ == "__main__":
    uvicorn.run(APP, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", ws="none")

"""A prepared shop for each test, copied from one that was filled once."""

from __future__ import annotations

import shutil
import uuid

import psycopg
import pytest
from psycopg import sql

from tests.desk.world import DeskWorld


@pytest.fixture(scope="session")
def filled_sqlite(tmp_path_factory):
    file = tmp_path_factory.mktemp("desk") / "shop.db"
    DeskWorld(f"sqlite:///{file}", "").prepare()
    return file


@pytest.fixture(scope="session")
def filled_postgres(postgres_url):
    name = f"signalbox_desk_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        DeskWorld(postgres_url.rpartition("/")[0] + f"/{name}", "").prepare()
        yield postgres_url, name
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def world(request, tmp_path):
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("filled_sqlite"), tmp_path / "shop.db")
        yield DeskWorld(f"sqlite:///{tmp_path / 'shop.db'}", str(tmp_path / "checkpoints.db"))
        return
    server, template = request.getfixturevalue("filled_postgres")
    name = f"signalbox_desk_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        url = server.rpartition("/")[0] + f"/{name}"
        yield DeskWorld(url, url)
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

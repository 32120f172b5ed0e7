"""The book of releases that replicas share: what one promotes the others have, with its files."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.config import Settings
from app.models.release import FileBook, ReleaseError, Releases
from app.release_watch import ReleaseWatch
from app.releases import adopt_releases, live_manifest, opened_releases, releases_on
from app.stores.database import create_engine
from app.stores.releases import SqlBook
from app.stores.tables import release_files
from tests.northfell import NORTHFELL
from tools.ports import BackendUnavailable


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def engine(request, copied_database):
    engine = create_engine(copied_database(request.param))
    yield engine
    engine.dispose()


@pytest.fixture
def candidates(tmp_path) -> list[Path]:
    """Folders with the shipped head of frustration, each believed from another line on."""
    manifest = json.loads((NORTHFELL.models / "manifest.json").read_text())
    [entry] = [each for each in manifest["artefacts"] if each["role"] == "frustration"]
    made = []
    for number in range(2):
        folder = tmp_path / f"candidate-{number}"
        (folder / "heads").mkdir(parents=True)
        shutil.copyfile(NORTHFELL.models / entry["file"], folder / entry["file"])
        given = entry | {"threshold": 0.6 + number / 10}
        (folder / "manifest.json").write_text(json.dumps({"version": 1, "artefacts": [given]}))
        made.append(folder)
    return made


def replica(folder: Path, engine: sa.Engine) -> Releases:
    folder.mkdir(exist_ok=True)
    return Releases(folder, NORTHFELL, book=SqlBook(engine))


def line(releases: Releases) -> object:
    return releases.manifest().heads["frustration"].threshold


def test_what_one_promotes_the_others_have(tmp_path, engine, candidates):
    """With its files, that nobody copied to them, and back again from any of them."""
    one, two = replica(tmp_path / "one", engine), replica(tmp_path / "two", engine)
    shipped = line(two)
    first = one.promote(candidates[0], by="olga", note="milder").digest
    seen = (two.live().digest, line(two))
    two.promote(candidates[1], by="piet")
    third = replica(tmp_path / "three", engine)
    latest = line(third)
    shutil.rmtree(tmp_path / "candidate-0")
    third.rollback(by="quirin")
    back = (third.live().digest, line(third))
    one.rollback(by="olga")

    assert seen == (first, 0.6)
    assert latest == 0.7
    assert back == (first, 0.6)
    assert line(two) == shipped
    assert [each.action for each in two.history()] == ["promote"] * 2 + ["rollback"] * 2
    assert [each.note for each in two.history()][:1] == ["milder"]
    with pytest.raises(ReleaseError, match="Nothing to roll back"):
        two.rollback(by="piet")


def test_changes_at_the_same_moment_follow_one_another(tmp_path, engine, candidates):
    """Each stands in the book once, and is numbered after the other."""
    both = [replica(tmp_path / name, engine) for name in ("one", "two")]
    with ThreadPoolExecutor(2) as at_once:
        made = list(at_once.map(lambda at, what: at.promote(what, by="olga"), both, candidates))

    history = both[0].history()
    assert {each.digest for each in history} == {each.digest for each in made}
    assert len(history) == 2


def test_a_release_whose_files_are_gone_is_not_used(tmp_path, engine, candidates):
    """What is shipped decides, and it is said; a file that leads out of its folder is written nowhere."""
    one, two = replica(tmp_path / "one", engine), replica(tmp_path / "two", engine)
    one.promote(candidates[0], by="olga")
    with engine.begin() as conn:
        conn.execute(
            release_files.update().values(file=sa.literal("../../") + release_files.c.file)
        )
    outside = two.manifest().refused
    with engine.begin() as conn:
        conn.execute(release_files.delete())
    gone = two.manifest().refused

    assert [reason for _, reason in outside.items()] == [reason for _, reason in gone.items()]
    assert "is not the release" in gone[("release", "")]
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_dir()) == [
        "candidate-0", "candidate-1", "one", "two",
    ]  # fmt: skip
    assert not (tmp_path / "two" / "manifest.json").exists()


def test_what_was_promoted_in_a_data_folder_stays_live(tmp_path, engine, candidates):
    """The first replica that starts brings its own book; the next one's is not taken any more."""
    for name, candidate in zip(("one", "two"), candidates, strict=True):
        (tmp_path / name).mkdir()
        Releases(tmp_path / name, NORTHFELL).promote(candidate, by="olga")
    taken = [
        SqlBook(engine).adopt(FileBook(tmp_path / name), replica(tmp_path / name, engine).folder)
        for name in ("one", "two", "one")
    ]

    assert taken == [True, False, False]
    assert line(replica(tmp_path / "two", engine)) == 0.6
    assert line(replica(tmp_path / "three", engine)) == 0.6


@pytest.mark.postgres
def test_the_settings_say_which_book_it_is(tmp_path, copied_database, candidates, new_postgres_url):
    """A database that processes can share has one for all; otherwise it is a file of the data folder."""

    def settings(name: str, url: str = "") -> Settings:
        return Settings(_env_file=None, data_dir=tmp_path / name, database_url=url)

    shared = copied_database("postgres")
    engine = create_engine(shared)
    releases_on(settings("one", shared), engine).promote(candidates[0], by="olga")
    with opened_releases(settings("two", shared)) as there, opened_releases(settings("one")) as own:
        assert (len(there.history()), own.history()) == (1, ())
    (tmp_path / "own").mkdir()
    assert not adopt_releases(settings("own", shared), engine)
    assert not adopt_releases(settings("own"), engine)
    assert live_manifest(settings("two", shared)).heads["frustration"].threshold == 0.6
    # Nobody has migrated this one.
    assert live_manifest(settings("two", new_postgres_url)).refused == {}
    engine.dispose()


async def test_a_database_that_is_away_changes_nothing(tmp_path, engine, candidates):
    """The watch waits for it: what decides goes on, and is not taken up anew when it is back."""

    class Away(SqlBook):
        away = False

        def history(self):
            if self.away:
                raise BackendUnavailable
            return super().history()

    book = Away(engine)
    (tmp_path / "one").mkdir()
    releases = Releases(tmp_path / "one", NORTHFELL, book=book)
    taken = []

    async def take_up() -> None:
        taken.append(releases.live())

    releases.promote(candidates[0], by="olga")
    watch = ReleaseWatch.of(releases, take_up)
    before = watch.state
    book.away = True
    await watch.look()
    during = (watch.state, releases.manifest().refused)
    book.away = False
    await watch.look()

    assert during[0] == watch.state == before
    assert during[1] != {}
    assert taken == []

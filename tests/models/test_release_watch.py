"""A running app takes up what is promoted; what it cannot take up changes nothing but what it says of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app import release_watch
from app.models.release import ReleaseError, Releases
from app.release_watch import ReleaseWatch
from tests.models.test_release import a_release
from tests.northfell import NORTHFELL


class App:
    """Counts what it took up; ``broken`` is why it cannot."""

    def __init__(self) -> None:
        self.taken = 0
        self.broken: Exception | None = None

    async def take_up(self) -> None:
        if self.broken is not None:
            raise self.broken
        self.taken += 1


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    (tmp_path / "data").mkdir()
    return Releases(
        tmp_path / "data", NORTHFELL, shipped=a_release(tmp_path / "shipped", "greeting")
    )


@pytest.fixture
def candidate(tmp_path: Path) -> Path:
    return a_release(tmp_path / "candidate", "order_status")


async def test_each_change_is_taken_up_once(releases: Releases, candidate: Path) -> None:
    """Promotion and rollback, each at the next look; nothing while nothing changes."""
    app = App()
    watch = ReleaseWatch.of(releases, app.take_up)

    await watch.look()
    digest = releases.promote(candidate, by="olga").digest
    await watch.look()
    await watch.look()
    promoted = (app.taken, watch.state.digest)
    releases.rollback(by="olga")
    await watch.look()

    assert promoted == (1, digest)
    assert (app.taken, watch.state.digest) == (2, None)


async def test_what_was_live_before_the_start_is_not_taken_up_again(
    releases: Releases, candidate: Path
) -> None:
    """It was opened."""
    digest = releases.promote(candidate, by="olga").digest
    app = App()
    watch = ReleaseWatch.of(releases, app.take_up)

    await watch.look()

    assert (app.taken, watch.state.digest) == (0, digest)


async def test_what_cannot_be_taken_up_is_said_and_mended_by_the_next_change(
    releases: Releases, candidate: Path
) -> None:
    """The digest stays that of what decides."""
    app = App()
    watch = ReleaseWatch.of(releases, app.take_up)
    releases.promote(candidate, by="olga")
    app.broken = ReleaseError("intent.safetensors has digest 1, not 2")
    await watch.look()
    refused = watch.state
    app.broken = None
    await watch.look()
    still = watch.state
    releases.promote(candidate, by="olga")
    await watch.look()

    assert "has digest 1" in (refused.problem or "")
    assert (refused.digest, still) == (None, refused)
    assert (app.taken, watch.state.problem) == (1, None)


async def test_a_file_that_cannot_be_read_is_taken_up_when_it_can(
    tmp_path: Path, releases: Releases, candidate: Path
) -> None:
    """Restored or deleted: either is a change."""
    app = App()
    releases.promote(candidate, by="olga")
    watch = ReleaseWatch.of(releases, app.take_up)
    file = tmp_path / "data" / "release.json"
    kept = file.read_bytes()
    file.write_text("{ half")
    await watch.look()
    problem = watch.state.problem
    file.write_bytes(kept)
    await watch.look()

    assert "cannot be read" in (problem or "")
    assert (app.taken, watch.state.problem) == (1, None)


async def test_it_goes_on_looking_whatever_happens(
    releases: Releases, candidate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release that breaks in a way nobody thought of is said, and the next one is taken up."""
    monkeypatch.setattr(release_watch, "LOOKS", 0.01)
    app = App()
    watch = ReleaseWatch.of(releases, app.take_up)
    app.broken = RuntimeError("a surprise")
    async with watch.watching(), asyncio.timeout(10):
        releases.promote(candidate, by="olga")
        while watch.state.problem is None:  # noqa: ASYNC110 - nothing says when it has looked
            await asyncio.sleep(0.01)
        problem, app.broken = watch.state.problem, None
        releases.rollback(by="olga")
        while app.taken == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    assert "a surprise" in problem

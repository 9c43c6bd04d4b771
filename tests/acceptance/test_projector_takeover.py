"""Several projectors: one keeps the feed, and another goes on whatever becomes of it."""

import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from processes import eventually
from snapshot_processes import SnapshotServer, StartServer, snapshot_servers

SERIES = (
    "INSERT INTO catalog.series (slug, title, status, visibility)"
    " SELECT $1 || n, 'Title', 'PUBLISHED', 'PUBLIC' FROM generate_series(1, $2::int) AS n"
)
TAKEN = "projector.lease_taken"


@pytest.fixture
def start(own_database: str, tmp_path: Path) -> Iterator[StartServer]:
    with snapshot_servers(own_database, tmp_path) as start:
        yield start


@pytest.fixture
async def catalog(own_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(own_database)
    try:
        yield connection
    finally:
        await connection.close()


async def follows(catalog: asyncpg.Connection, name: str, *, within_s: float) -> None:
    """Write, and return when the feed has it."""
    await catalog.execute(SERIES, name, 10)
    wanted = await catalog.fetchval("SELECT count(*) FROM catalog.series")

    async def has_it() -> bool:
        return bool(await catalog.fetchval("SELECT series FROM feed.state") == wanted)

    await eventually(has_it, within_s=within_s)


async def two(start: StartServer, catalog: asyncpg.Connection) -> tuple[SnapshotServer, ...]:
    """The one that keeps the feed, and the one that stands by."""
    first = start("projector")
    await follows(catalog, "first", within_s=30)
    second = start("projector")

    async def stands_by() -> bool:
        return bool(await catalog.fetchval("SELECT count(*) = 2 FROM outbox.member"))

    await eventually(stands_by)
    return first, second


async def test_when_the_projector_is_killed_another_goes_on_within_five_seconds(
    start: StartServer, catalog: asyncpg.Connection
) -> None:
    first, second = await two(start, catalog)

    first.kill()

    await follows(catalog, "second", within_s=5 + 1)
    assert second.lines(TAKEN)


async def test_when_the_projector_is_asked_to_end_another_goes_on_at_once(
    start: StartServer, catalog: asyncpg.Connection
) -> None:
    first, second = await two(start, catalog)

    assert await first.stop() == 0

    await follows(catalog, "second", within_s=2)
    assert second.lines(TAKEN)


async def test_a_projector_that_was_frozen_does_no_harm(
    start: StartServer, catalog: asyncpg.Connection
) -> None:
    first, second = await two(start, catalog)
    first.hit(signal.SIGSTOP)
    try:
        await follows(catalog, "second", within_s=20)
        assert second.lines(TAKEN)
    finally:
        first.hit(signal.SIGCONT)

    await follows(catalog, "third", within_s=20)
    assert first.is_running
    places = await catalog.fetchval("SELECT count(DISTINCT (version, ordinal)) FROM feed.item")
    assert places == 30

"""Removals are kept for a while; then the feed says up to where it knows none any more."""

import asyncpg
import pytest
from projecting import assert_state_agrees, lease_of, member, projecting

from outbox.errors import LeaseLost
from snapshot_server.connections import projector_pool
from snapshot_server.feed.writer import purge

_SERIES = """
INSERT INTO catalog.series (slug, title, status, visibility)
SELECT 's' || n, 'Series', 'PUBLISHED', 'PUBLIC' FROM generate_series(1, 3) AS n
"""
_REMOVALS = "SELECT version FROM feed.item WHERE body IS NULL ORDER BY version"


@pytest.fixture
async def removals(connection: asyncpg.Connection, database: str) -> list[int]:
    """The versions of two removals."""
    await connection.execute(_SERIES)
    async with projecting(database) as follow:
        await follow()
        for slug in ("s1", "s2"):
            await connection.execute("DELETE FROM catalog.series WHERE slug = $1", slug)
            await follow()
    return [row["version"] for row in await connection.fetch(_REMOVALS)]


async def test_old_removals_go_and_the_newest_of_them_is_remembered(
    connection: asyncpg.Connection, database: str, removals: list[int]
) -> None:
    async with projector_pool(database) as pool:
        assert await purge(pool, await lease_of(pool, member()), keep_s=0) == 2

    assert await connection.fetch(_REMOVALS) == []
    assert await connection.fetchval("SELECT purged FROM feed.state") == max(removals)
    await assert_state_agrees(connection)


async def test_young_removals_stay(
    connection: asyncpg.Connection, database: str, removals: list[int]
) -> None:
    async with projector_pool(database) as pool:
        assert await purge(pool, await lease_of(pool, member()), keep_s=3600) == 0

    assert len(await connection.fetch(_REMOVALS)) == 2
    assert await connection.fetchval("SELECT purged FROM feed.state") < min(removals)


async def test_whoever_lost_the_lease_purges_nothing(
    connection: asyncpg.Connection, database: str, removals: list[int]
) -> None:
    async with projector_pool(database) as pool:
        lease = await lease_of(pool, member())
        await connection.execute("UPDATE outbox.lease SET epoch = epoch + 1")

        with pytest.raises(LeaseLost):
            await purge(pool, lease, keep_s=0)

    assert len(await connection.fetch(_REMOVALS)) == len(removals)

"""The feed is compared with the tables, or encoded anew, without losing its places."""

import asyncio
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from projecting import assert_state_agrees, items, lease_of, member, projecting
from servers import Connect

from outbox.errors import LeaseLost
from snapshot_server.connections import projector_pool
from snapshot_server.feed.encoding import ENCODING
from snapshot_server.feed.projector import Pace, Projector

_SERIES = """
INSERT INTO catalog.series (slug, title, status, visibility)
SELECT 's' || n, 'Series', 'PUBLISHED', 'PUBLIC' FROM generate_series(1, 3) AS n
"""
_PLACES = "SELECT id, version, ordinal FROM feed.item WHERE body IS NOT NULL ORDER BY id"
_UNSEEN = "SET LOCAL session_replication_role = replica"
_IS_WAITING = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'feed.item'::regclass AND NOT granted)"
)
_EPOCH = """
INSERT INTO outbox.epoch (number, system_identifier, timeline, opened_by, after_ms, after_seq,
                          until_ms, until_seq, total_before)
SELECT $1, i.system_identifier, i.timeline, 'a test', $2, 0, $3, 0, 0 FROM outbox.identity() AS i
"""


@pytest.fixture
async def three_series(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute(_SERIES)
    return connection


async def places(connection: asyncpg.Connection) -> dict[UUID, tuple[int, int]]:
    return {row["id"]: (row["version"], row["ordinal"]) for row in await connection.fetch(_PLACES)}


async def unseen(connection: asyncpg.Connection, statement: str, *arguments: Any) -> None:  # noqa: ANN401
    """Write what no trigger sees."""
    async with connection.transaction():
        await connection.execute(_UNSEEN)
        await connection.execute(statement, *arguments)


async def test_another_version_of_the_encoder_makes_every_item_anew_where_it_is(
    three_series: asyncpg.Connection, database: str
) -> None:
    async with projecting(database) as follow:
        await follow()
    before, places_before = await items(three_series), await places(three_series)
    await three_series.execute("UPDATE feed.item SET encoding = $1, body = ''", ENCODING + 1)
    await three_series.execute("UPDATE feed.state SET encoding = $1", ENCODING + 1)

    async with projecting(database) as follow:
        done = await follow()

    assert done.items == 3
    assert await items(three_series) == before
    assert await places(three_series) == places_before
    assert await three_series.fetchval("SELECT encoding FROM feed.state") == ENCODING
    await assert_state_agrees(three_series)


async def test_in_a_new_epoch_only_what_differs_from_the_tables_moves(
    three_series: asyncpg.Connection, database: str
) -> None:
    await three_series.execute(_EPOCH, 1, 0, 0)
    async with projecting(database) as follow:
        await follow()
    places_before = await places(three_series)
    newest_ms = await three_series.fetchval("SELECT max(ms) FROM outbox.tick")
    await unseen(three_series, "UPDATE catalog.series SET title = 'lost' WHERE slug = 's1'")
    await unseen(three_series, "DELETE FROM catalog.series WHERE slug = 's2'")
    await three_series.execute(_EPOCH, 2, newest_ms, newest_ms + 1000)

    async with projecting(database) as follow:
        done = await follow()

    assert (done.items, done.removed, done.rebuilt) == (1, 1, True)
    changed = await three_series.fetchval("SELECT id FROM catalog.series WHERE slug = 's1'")
    kept = await three_series.fetchval("SELECT id FROM catalog.series WHERE slug = 's3'")
    after = await places(three_series)
    assert after[kept] == places_before[kept]
    # Above all that was abandoned, and below all that is to come.
    assert after[changed][0] >> 20 == newest_ms + 1000
    assert after[changed][0] > (newest_ms + 1000) << 20
    await assert_state_agrees(three_series)


async def test_events_that_were_dropped_unseen_are_made_up_for(
    three_series: asyncpg.Connection, database: str
) -> None:
    async with projecting(database) as follow:
        await follow()
    await three_series.execute("UPDATE catalog.series SET title = 'dropped'")
    await three_series.execute("SELECT outbox.make_tick()")
    await three_series.execute("DELETE FROM outbox.tick")
    await three_series.execute("UPDATE catalog.series SET title = 'seen' WHERE slug = 's1'")
    await three_series.execute("SELECT outbox.make_tick()")
    await three_series.execute("UPDATE outbox.tick SET total_before = 6")

    async with projecting(database) as follow:
        done = await follow()

    assert done.rebuilt
    titles = {item["title"] for item in (await items(three_series)).values()}
    assert titles == {"seen", "dropped"}
    await assert_state_agrees(three_series)


async def test_whoever_lost_the_lease_changes_nothing(
    three_series: asyncpg.Connection, database: str
) -> None:
    async with projector_pool(database) as pool:
        who = member()
        lease = await lease_of(pool, who)
        projector = Projector(pool, who, keep_removals_s=60, observe=lambda _: None)
        await three_series.execute("UPDATE outbox.lease SET epoch = epoch + 1")

        with pytest.raises(LeaseLost):
            await projector.follow(lease)

    assert await three_series.fetchval("SELECT count(*) FROM feed.item") == 0
    assert await three_series.fetchval("SELECT count(*) FROM feed.state") == 0


async def test_a_feed_that_begins_knows_no_removal_before_it(
    three_series: asyncpg.Connection, database: str
) -> None:
    async with projecting(database) as follow:
        done = await follow()

    assert await three_series.fetchval("SELECT purged FROM feed.state") == done.position.version


async def test_without_its_state_the_feed_begins_anew(
    three_series: asyncpg.Connection, database: str
) -> None:
    async with projecting(database) as follow:
        await follow()
    await three_series.execute("UPDATE catalog.series SET status = 'DRAFT' WHERE slug = 's1'")
    async with projecting(database) as follow:
        await follow()
    await three_series.execute("DELETE FROM feed.state")

    async with projecting(database) as follow:
        done = await follow()

    assert (done.items, len(await items(three_series))) == (2, 2)
    assert await three_series.fetchval("SELECT count(*) FROM feed.item") == 2
    assert await three_series.fetchval("SELECT purged FROM feed.state") == done.position.version
    await assert_state_agrees(three_series)


async def test_asked_to_end_a_projector_breaks_off_a_pass_that_takes_long(
    three_series: asyncpg.Connection, connect: Connect, database: str
) -> None:
    async with (blocker := await connect()).transaction():
        await blocker.execute("LOCK TABLE feed.item IN ACCESS EXCLUSIVE MODE")
        async with projector_pool(database) as pool, asyncio.timeout(10):
            pace = Pace(end_s=0.01)
            projector = Projector(
                pool, member(), keep_removals_s=60, observe=lambda _: None, pace=pace
            )
            stop = asyncio.Event()
            running = asyncio.create_task(projector.run(stop))
            while not await three_series.fetchval(_IS_WAITING):  # noqa: ASYNC110 - PostgreSQL tells no one
                await asyncio.sleep(0.01)
            stop.set()
            await running

    assert await three_series.fetchval("SELECT count(*) FROM feed.state") == 0
    assert await three_series.fetchval("SELECT holder FROM outbox.lease") is None

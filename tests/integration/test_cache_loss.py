"""What the cache's Redis loses, refuses or delays costs time, and never the truth."""

import asyncio
import os
import signal
from uuid import UUID

import asyncpg
import pytest
from publishing import eventually
from redis.asyncio import Redis
from shown import Catalog, Events
from viewing import Viewer, halted_viewer, keys_in, store_at, viewing

from embedded.valkey import Valkey
from viewer import keys
from viewer.reports import CacheAway, CacheBack, CacheEmptied, FillFailed, FillRefused


@pytest.fixture
async def episode(connection: asyncpg.Connection) -> UUID:
    rows = Catalog(connection)
    return await rows.episode("pond", await rows.series("frogs"), title="Old")


async def retitle(connection: asyncpg.Connection) -> None:
    await connection.execute("UPDATE catalog.episode SET title = 'New'")


async def hits(viewer: Viewer, title: str) -> None:
    """Ask until the page comes from the cache; each answer has this *title*."""

    async def is_hit() -> bool:
        answer = await viewer.episode("pond")
        assert answer.page["title"] == title
        return answer.cache == "hit"

    await eventually(is_hit)


def reported(viewer: Viewer, kind: type) -> int:
    return sum(isinstance(report, kind) for report in viewer.reports)


async def test_a_page_read_before_a_purge_is_not_cached_although_a_flush_forgot_the_purge(
    database: str, connection: asyncpg.Connection, redis_url: str, redis: Redis, episode: UUID
) -> None:
    async with halted_viewer(database, redis_url) as (viewer, halt), store_at(redis_url) as store:
        halt.stop()
        reading = asyncio.create_task(viewer.episode(episode))
        await halt.has_read.wait()
        await retitle(connection)
        await Events(connection, store).purge()
        await redis.flushall()
        await store.empty()
        halt.go_on()
        assert (await reading).page["title"] == "Old"
        assert reported(viewer, FillRefused) == 1
        await hits(viewer, "New")


async def test_what_a_restart_brings_back_from_an_old_file_is_not_served(
    database: str,
    connection: asyncpg.Connection,
    valkey: Valkey,
    own_redis_url: str,
    episode: UUID,
) -> None:
    async with viewing(database, own_redis_url) as viewer, store_at(own_redis_url) as store:
        await hits(viewer, "Old")
        async with Redis.from_url(own_redis_url) as redis:
            await redis.save()
        await retitle(connection)
        assert await Events(connection, store).purge() == {"catalog:episode:pond"}
        await hits(viewer, "New")
        # Nobody asks meanwhile, so nobody need notice.
        valkey.kill()
        valkey.start()
        async with Redis.from_url(own_redis_url, decode_responses=True) as redis:
            assert "Old" in str(await redis.get("catalog:episode:pond"))
        await hits(viewer, "New")
        assert (await viewer.episode(episode)).page["title"] == "New"
        assert reported(viewer, CacheEmptied) == 2


@pytest.mark.usefixtures("episode")
async def test_a_redis_that_hangs_costs_one_time_out_and_is_used_again_when_it_answers(
    database: str, valkey: Valkey, own_redis_url: str
) -> None:
    pid = int(valkey.pid_file.read_text())
    async with viewing(database, own_redis_url, timeout_s=0.3) as viewer:
        await hits(viewer, "Old")
        os.kill(pid, signal.SIGSTOP)
        try:
            answers = [await viewer.episode("pond") for _ in range(20)]
            assert {(one.status, one.cache) for one in answers} == {(200, "miss")}
            assert reported(viewer, CacheAway) == 1
        finally:
            os.kill(pid, signal.SIGCONT)
        await hits(viewer, "Old")
        valkey.kill()
        assert (await viewer.episode("pond")).status == 200
        valkey.start()
        await hits(viewer, "Old")
        assert (reported(viewer, CacheAway), reported(viewer, CacheBack)) == (2, 2)


async def test_a_full_redis_serves_what_it_has_caches_nothing_and_is_purged_all_the_same(
    database: str, connection: asyncpg.Connection, own_redis_url: str, episode: UUID
) -> None:
    async with (
        halted_viewer(database, own_redis_url) as (viewer, halt),
        store_at(own_redis_url) as store,
        Redis.from_url(own_redis_url, decode_responses=True) as redis,
    ):
        await hits(viewer, "Old")
        halt.stop()
        reading = asyncio.create_task(viewer.episode(episode))
        await halt.has_read.wait()
        await redis.config_set("maxmemory", 1)
        try:
            assert (await viewer.episode("pond")).cache == "hit"
            await retitle(connection)
            assert await Events(connection, store).purge() == {"catalog:episode:pond"}
            other = asyncio.create_task(viewer.episode("pond"))
            await viewer.store.were_looked_for(1)
            halt.go_on()
            assert (await other).page["title"] == "New"
            assert await keys_in(redis) == set()
            assert reported(viewer, FillFailed) == 1
        finally:
            await redis.config_set("maxmemory", 0)
        # The purge was noted, full or not.
        assert (await reading).page["title"] == "Old"
        assert reported(viewer, FillRefused) == 1
        await hits(viewer, "New")


@pytest.mark.parametrize("evicted", [keys.STATE, keys.PURGED])
@pytest.mark.usefixtures("episode")
async def test_whoever_has_lost_the_order_of_purges_caches_nothing(
    database: str, connection: asyncpg.Connection, redis_url: str, redis: Redis, evicted: str
) -> None:
    async with halted_viewer(database, redis_url) as (viewer, halt), store_at(redis_url) as store:
        halt.stop()
        reading = asyncio.create_task(viewer.episode("pond"))
        await halt.has_read.wait()
        await retitle(connection)
        await Events(connection, store).purge()
        assert await redis.delete(evicted)
        halt.go_on()
        await reading
        assert await keys_in(redis) == set()


@pytest.mark.usefixtures("episode")
async def test_whoever_begins_last_decides_how_pages_are_made_and_others_leave_the_cache_alone(
    database: str, redis_url: str, redis: Redis
) -> None:
    async with viewing(database, redis_url) as old:
        await hits(old, "Old")
        async with viewing(database, redis_url) as same:
            assert (await same.episode("pond")).cache == "hit"
        async with viewing(database, redis_url, cdn="https://other.example.com") as new:
            assert await keys_in(redis) == set()
            for _ in range(3):
                assert (await old.episode("pond")).cache == "miss"
                assert (await new.episode("pond")).page["code"] == "MANIFEST_INVALID"
            assert await keys_in(redis) == set()
            assert reported(new, CacheEmptied) == 1
        # As after a flush: whoever comes first.
        await redis.flushall()
        await hits(old, "Old")


@pytest.mark.usefixtures("episode")
async def test_only_pages_are_swept_and_a_key_of_somebody_else_is_survived(
    database: str, redis_url: str, redis: Redis
) -> None:
    await redis.xadd("catalog:events", {"type": "catalog.updated"})
    await redis.rpush("catalog:episode:pond", "somebody else's")
    async with viewing(database, redis_url) as viewer, store_at(redis_url) as store:
        await redis.rpush("catalog:episode:pond", "somebody else's")
        await hits(viewer, "Old")
        await store.empty()
        assert await redis.keys("catalog:events") == ["catalog:events"]
        assert await keys_in(redis) == set()

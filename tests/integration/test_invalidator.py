"""What an event touches is purged, from whatever place the invalidator begins."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from publishing import eventually
from redis.asyncio import Redis
from shown import Catalog, Events
from viewing import keys_in, store_at, viewing

from consumer import Consumer, Event, Options
from process.redis.connection import client
from viewer.cache.store import Store
from viewer.purging.invalidator import GROUP, Invalidator
from viewer.reports import CacheEmptied, InvalidatorReport, Purged

STREAM = "catalog:events"


@asynccontextmanager
async def invalidating(redis_url: str) -> AsyncIterator[list[InvalidatorReport]]:
    """As its process does it; what it reports."""
    reports: list[InvalidatorReport] = []
    stop = asyncio.Event()
    async with client(redis_url) as redis:
        invalidator = Invalidator(redis, Store(redis), reports.append)
        async with Consumer(
            redis,
            group=GROUP,
            batch_handler=invalidator.purge,
            start=invalidator.begin,
            on_gap=invalidator.heal,
            effects_in_redis=True,
            options=Options(lease_s=0.6, block_s=0.2),
            observe=lambda _: None,
        ) as consumer:
            running = asyncio.create_task(consumer.run(stop))
            try:
                yield reports
            finally:
                stop.set()
                await running


class Stream:
    """The stream, written to as the publisher would."""

    def __init__(self, connection: asyncpg.Connection, store: Store, redis: Redis) -> None:
        self._events = Events(connection, store)
        self._redis = redis

    async def publish(self) -> int:
        events = await self._events.new()
        for event in events:
            await self._append(event)
        return len(events)

    async def _append(self, event: Event) -> None:
        words = [word.decode() for word in event.fields()]
        fields: Any = dict(zip(words[::2], words[1::2], strict=True))
        await self._redis.xadd(STREAM, fields)


async def begun(reports: list[InvalidatorReport], times: int = 1) -> None:
    async def has_begun() -> bool:
        return sum(isinstance(report, CacheEmptied) for report in reports) >= times

    await eventually(has_begun)


async def purged(reports: list[InvalidatorReport], events: int) -> None:
    async def has_purged() -> bool:
        return sum(one.events for one in reports if isinstance(one, Purged)) >= events

    await eventually(has_purged)


async def test_an_event_purges_every_page_that_it_touches_and_no_other(
    database: str, connection: asyncpg.Connection, redis_url: str, redis: Redis
) -> None:
    rows = Catalog(connection)
    frogs, toads = await rows.series("frogs"), await rows.series("toads")
    pond = await rows.episode("pond", frogs)
    await rows.episode("lake", toads)
    async with (
        viewing(database, redis_url) as viewer,
        store_at(redis_url) as store,
        invalidating(redis_url) as reports,
    ):
        await begun(reports)
        stream = Stream(connection, store, redis)
        await purged(reports, await stream.publish())
        for slug in ("pond", pond, "lake"):
            await viewer.episode(slug)
        for slug in ("frogs", frogs, "toads"):
            await viewer.series(slug)
        await rows.update("episode", pond, title="New", slug="puddle")
        reports.clear()
        await purged(reports, await stream.publish())
        assert await keys_in(redis) == {"catalog:episode:lake", "catalog:series:toads"}
        [report] = [one for one in reports if isinstance(one, Purged)]
        assert sorted(report.labels) == ["catalog:episode"] * 2 + ["catalog:series"] * 2
        assert (await viewer.episode("puddle")).page["title"] == "New"
        assert (await viewer.episode("pond")).status == 404


async def test_a_new_group_and_one_that_has_missed_events_begin_with_an_empty_cache(
    database: str, connection: asyncpg.Connection, redis_url: str, redis: Redis
) -> None:
    rows = Catalog(connection)
    pond = await rows.episode("pond", await rows.series("frogs"))
    async with viewing(database, redis_url) as viewer, store_at(redis_url) as store:
        stream = Stream(connection, store, redis)
        await stream.publish()
        await viewer.episode("pond")
        async with invalidating(redis_url) as reports:
            await begun(reports)
            assert await keys_in(redis) == set()
            # What lies before its place need not be purged.
            assert not [one for one in reports if isinstance(one, Purged)]
        await viewer.episode("pond")
        await rows.update("episode", pond, title="New")
        await stream.publish()
        await stream.publish()
        await redis.xtrim(STREAM, maxlen=0)
        async with invalidating(redis_url) as reports:
            await begun(reports)
            assert (await viewer.episode("pond")).page["title"] == "New"
            await rows.update("episode", pond, title="Newer")
            await stream.publish()

            async def is_newer() -> bool:
                return bool((await viewer.episode("pond")).page["title"] == "Newer")

            await eventually(is_newer)


async def test_an_entry_that_is_no_event_is_passed_over(redis_url: str, redis: Redis) -> None:
    async with invalidating(redis_url) as reports:
        await begun(reports)
        await redis.xadd(STREAM, {"from": "somebody else"})
        await redis.xadd(STREAM, {"entity": "episode", "entityId": "1", "payload": "{"})
        await redis.xadd(STREAM, {"entity": "series", "entityId": "1", "payload": "[]"})
        await redis.xadd(STREAM, {"entity": "mediaAsset", "entityId": "1", "payload": "[]"})
        await purged(reports, 4)
        assert await redis.zrange("catalog:cache:purged", 0, -1) == ["episode:1", "series:1"]

"""A publisher that lost its lease is refused by Redis itself, whatever it still believes."""

from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
from appending import as_entries, batch, client_of
from publishing import KEY, by_definition, entries, eventually, said, write
from redis.asyncio import Redis
from running import QUICK, running
from structlog.testing import capture_logs

from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks
from publisher.errors import StreamBehind, StreamFenced, StreamForeign
from publisher.store.stream import EventStream

PATIENT = replace(QUICK, renew_s=60)
"""Whether it still has its lease it is not told in time."""
CHECKPOINT = "SELECT format('%s-%s', ms, seq) FROM outbox.checkpoint"


@pytest.fixture
async def each_redis(each_redis_url: str) -> AsyncIterator[Redis]:
    async with client_of(each_redis_url) as client:
        yield client


@pytest.fixture
def stream(each_redis: Redis) -> EventStream:
    return EventStream(each_redis, KEY)


async def everything(redis: Redis) -> dict[str, bytes | None]:
    """All keys with all that is in them."""
    return {str(key): await redis.dump(key) async for key in redis.scan_iter()}


# What Redis answers


async def test_an_append_under_an_earlier_epoch_is_refused_and_changes_nothing(
    stream: EventStream, each_redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=7)
    before = await everything(each_redis)
    for late in (batch((5, 0, 3)), batch((5, 3, 2))):
        with pytest.raises(StreamFenced) as fenced:
            await stream.append(late, after=late.first if late.first.seq else ORIGIN, epoch=6)
        assert fenced.value.epoch == 7
    assert await everything(each_redis) == before


async def test_the_same_epoch_and_later_ones_append(stream: EventStream) -> None:
    place = ORIGIN
    for number, epoch in enumerate([1, 1, 2, 2, 9, 9]):
        assert (await stream.append(batch((5, number, 1)), after=place, epoch=epoch)).events == 1
        place = Position(5, number)
    with pytest.raises(StreamFenced):
        await stream.append(batch((5, 6, 1)), after=place, epoch=8)


async def test_a_fence_outlives_the_stream(stream: EventStream, each_redis: Redis) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=7)
    await each_redis.delete(KEY)
    before = await everything(each_redis)
    with pytest.raises(StreamFenced):
        await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=6)
    assert await everything(each_redis) == before
    assert (await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=7)).events == 3


async def test_who_is_fenced_learns_that_first_whatever_else_is_wrong(
    stream: EventStream, each_redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=7)
    await each_redis.delete(KEY)
    with pytest.raises(StreamFenced):
        await stream.append(batch((5, 3, 1)), after=Position(5, 2), epoch=6)
    await each_redis.xadd(KEY, {"mine": "1"}, id="9-0")
    with pytest.raises(StreamFenced):
        await stream.append(batch((5, 3, 1)), after=Position(5, 2), epoch=6)


async def test_an_append_that_was_refused_puts_up_no_fence(
    stream: EventStream, each_redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=1)
    before = await everything(each_redis)
    with pytest.raises(StreamBehind):
        await stream.append(batch((9, 0, 1)), after=Position(8, 0), epoch=7)
    with pytest.raises(StreamForeign):
        await stream.append(batch((5, 0, 2), content=" of another"), after=ORIGIN, epoch=7)
    assert await everything(each_redis) == before
    assert (await stream.append(batch((5, 3, 1)), after=Position(5, 2), epoch=1)).events == 1


async def test_an_append_that_finds_all_of_it_there_puts_up_the_fence(
    stream: EventStream, each_redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=1)
    before = await entries(each_redis)
    # The next holder begins with what the one before had under way.
    assert (await stream.append(batch((5, 0, 3)), after=ORIGIN, epoch=2)).events == 0
    with pytest.raises(StreamFenced):
        await stream.append(batch((5, 3, 1)), after=Position(5, 2), epoch=1)
    assert await entries(each_redis) == before


async def test_each_stream_has_a_fence_of_its_own(each_redis: Redis) -> None:
    one, other = EventStream(each_redis, f"{KEY}:{{0}}"), EventStream(each_redis, f"{KEY}:{{1}}")
    await one.append(batch((5, 0, 1)), after=ORIGIN, epoch=7)
    assert (await other.append(batch((5, 1, 1)), after=ORIGIN, epoch=3)).events == 1


# What the publisher makes of it


async def lease(connection: asyncpg.Connection) -> tuple[str | None, int]:
    [row] = await connection.fetch("SELECT holder, epoch FROM outbox.lease")
    return row["holder"], row["epoch"]


async def published(redis: Redis, count: int) -> None:
    async def holds() -> bool:
        return bool(await redis.xlen(KEY) == count)

    await eventually(holds)


async def fence(pool: asyncpg.Pool, redis: Redis, epoch: int) -> None:
    """Append under *epoch* what is there already."""
    stream, place = EventStream(redis, KEY), ORIGIN
    async for found in Ticks(pool).batches_after(ORIGIN, size=1000):
        assert (await stream.append(found, after=place, epoch=epoch)).events == 0
        place = found.last


async def test_a_holder_that_redis_thinks_is_not_one_raises_its_epoch(
    database: str, pool: asyncpg.Pool, connection: asyncpg.Connection, client: Redis
) -> None:
    with capture_logs() as logs:
        async with running(database, client, pacing=PATIENT) as publisher:
            await write(connection, "before")
            await published(client, 1)
            assert await lease(connection) == (publisher.member.holder, 1)
            # As after a failover of PostgreSQL that lost the last holders.
            await fence(pool, client, 41)
            await write(connection, "after", 3)
            await published(client, 4)
            assert await lease(connection) == (publisher.member.holder, 42)
    assert [(line["stream"], line["epoch"]) for line in said(logs, "lease.raised")] == [(KEY, 42)]
    assert said(logs, "lease.lost") == []
    assert await entries(client) == as_entries(await by_definition(connection))
    assert await connection.fetchval(CHECKPOINT) == (await entries(client))[-1][0]


async def test_one_that_is_fenced_and_has_lost_its_lease_appends_nothing_more(
    database: str, pool: asyncpg.Pool, connection: asyncpg.Connection, client: Redis
) -> None:
    with capture_logs() as logs:
        async with running(database, client, pacing=PATIENT) as publisher:
            await write(connection, "before")
            await published(client, 1)
            await connection.execute("UPDATE outbox.lease SET holder = 'other', epoch = epoch + 1")
            await fence(pool, client, 2)
            await write(connection, "after", 3)

            async def noticed() -> bool:
                return bool(said(logs, "lease.lost"))

            await eventually(noticed)
            assert await client.xlen(KEY) == 1
            assert await lease(connection) == ("other", 2)

            async def let_go() -> bool:
                return publisher.leading.streams == []

            await eventually(let_go)
    assert await client.xlen(KEY) == 1
    assert await lease(connection) == ("other", 2)


async def test_one_that_moves_a_checkpoint_it_may_not_move_any_more_lets_go(
    database: str, connection: asyncpg.Connection, client: Redis
) -> None:
    with capture_logs() as logs:
        async with running(database, client, pacing=PATIENT) as publisher:
            await write(connection, "before")
            await published(client, 1)
            # Redis knows nothing of the other holder yet.
            await connection.execute("UPDATE outbox.lease SET holder = 'other', epoch = epoch + 1")
            saved = await connection.fetchval(CHECKPOINT)

            async def noticed() -> bool:
                await write(connection, "after")
                return bool(said(logs, "lease.lost"))

            await eventually(noticed)

            async def let_go() -> bool:
                return publisher.leading.streams == []

            await eventually(let_go)
            assert await connection.fetchval(CHECKPOINT) == saved
    assert await lease(connection) == ("other", 2)

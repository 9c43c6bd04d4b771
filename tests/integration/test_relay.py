"""From the outbox into the stream: nothing lost, nothing twice, by one publisher or several."""

import asyncio
from typing import Any

import asyncpg
import pytest
from appending import as_entries
from publishing import (
    GO_ON,
    KEY,
    MakeRelay,
    OnePass,
    by_definition,
    entries,
    eventually,
    holds_more_than,
    relays,
    said,
    write,
)
from redis.asyncio import Redis
from servers import Connect
from structlog.testing import capture_logs

from outbox.position import ORIGIN


@pytest.fixture
def make_relay(pool: asyncpg.Pool, client: Redis) -> MakeRelay:
    return relays(pool, client)


@pytest.fixture
def relay(make_relay: MakeRelay) -> OnePass:
    return make_relay()


async def test_what_was_committed_is_in_the_stream_after_one_pass(
    connection: asyncpg.Connection, relay: OnePass, redis: Redis
) -> None:
    assert await relay.publish(GO_ON) == 0
    assert not await redis.exists(KEY)
    await write(connection, "a", 3)
    assert await relay.publish(GO_ON) == 3
    await write(connection, "b", 2)
    assert await relay.publish(GO_ON) == 2
    assert await relay.publish(GO_ON) == 0
    assert await entries(redis) == as_entries(await by_definition(connection))
    assert str(relay.place) == (await entries(redis))[-1][0]


async def test_a_relay_goes_on_where_the_stream_ends(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis
) -> None:
    for name in ("a", "b", "c"):
        await write(connection, name, 2)
        await make_relay().publish(GO_ON)
    assert await make_relay().publish(GO_ON) == 0
    assert await entries(redis) == as_entries(await by_definition(connection))


async def test_an_origin_is_where_a_relay_without_a_stream_begins(relay: OnePass) -> None:
    await relay.publish(GO_ON)
    assert relay.place == ORIGIN


async def test_two_publishers_at_once_write_each_event_once(
    connect: Connect, make_relay: MakeRelay, redis: Redis
) -> None:
    writers = [await connect() for _ in range(4)]
    relays = [make_relay(batch_size=7), make_relay(batch_size=100)]

    async def keep_writing(writer: asyncpg.Connection, number: int) -> None:
        for n in range(50):
            await write(writer, f"{number} {n}", 1 + n % 5)

    async def keep_publishing(relay: OnePass, writing: "asyncio.Future[Any]") -> None:
        while not writing.done():
            await relay.publish(GO_ON)

    writing = asyncio.gather(*(keep_writing(c, number) for number, c in enumerate(writers)))
    with capture_logs() as logs:
        await asyncio.gather(writing, *(keep_publishing(relay, writing) for relay in relays))
        for relay in relays:
            await relay.publish(GO_ON)
    found = await entries(redis)
    assert found == as_entries(await by_definition(writers[0]))
    assert len(found) == 4 * 150
    assert said(logs, "stream.foreign") + said(logs, "stream.behind") == []


async def test_a_publisher_stopped_in_a_large_tick_goes_on_behind_the_last_batch(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis
) -> None:
    await write(connection, "large", 5000)
    relay = make_relay(batch_size=100)
    stop = asyncio.Event()
    publishing = asyncio.create_task(relay.publish(stop))
    await eventually(lambda: holds_more_than(redis, 500))
    stop.set()
    moved = await publishing
    assert 500 < moved == await redis.xlen(KEY) < 5000
    # The same one goes on, and so does another.
    second = asyncio.Event()
    publishing = asyncio.create_task(relay.publish(second))
    await eventually(lambda: holds_more_than(redis, moved + 500))
    second.set()
    moved += await publishing
    assert moved + await make_relay(batch_size=100).publish(GO_ON) == 5000
    assert await entries(redis) == as_entries(await by_definition(connection))


async def test_a_publisher_cancelled_in_a_large_tick_is_followed_exactly(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis
) -> None:
    await write(connection, "large", 5000)
    for n in (500, 1500, 3000):
        publishing = asyncio.create_task(make_relay(batch_size=100).publish(GO_ON))
        await eventually(lambda n=n: holds_more_than(redis, n))  # type: ignore[misc]
        publishing.cancel()
        await asyncio.wait([publishing])
    await make_relay(batch_size=1000).publish(GO_ON)
    assert await entries(redis) == as_entries(await by_definition(connection))

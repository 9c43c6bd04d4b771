"""A stream that lost entries gets them again, the same; one that was trimmed does not."""

import asyncio

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
    names,
    relays,
    said,
    write,
)
from redis.asyncio import Redis
from structlog.testing import capture_logs


@pytest.fixture
def make_relay(pool: asyncpg.Pool, client: Redis) -> MakeRelay:
    return relays(pool, client)


@pytest.fixture
def relay(make_relay: MakeRelay) -> OnePass:
    return make_relay()


async def test_a_stream_deleted_while_all_is_quiet_comes_back_the_same(
    connection: asyncpg.Connection, relay: OnePass, redis: Redis
) -> None:
    for name in ("a", "b"):
        await write(connection, name, 3)
        await relay.publish(GO_ON)
    before = await entries(redis)
    await redis.delete(KEY)
    with capture_logs() as logs:
        assert await relay.publish(GO_ON) == 6
    assert await entries(redis) == before
    [line] = said(logs, "stream.lost")
    assert (line["end"], line["events"], line["beyond_retention"]) == ("0-0", 6, 0)


async def test_a_stream_deleted_in_the_middle_of_work_comes_back_the_same(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis
) -> None:
    relay = make_relay(batch_size=5)
    for n in range(10):
        await write(connection, f"{n}", 20)
        await relay.publish(GO_ON)

    async def delete_now_and_then() -> None:
        while True:
            await redis.delete(KEY)
            await asyncio.sleep(0.02)

    deleting = asyncio.create_task(delete_now_and_then())
    try:
        for n in range(10, 30):
            await write(connection, f"{n}", 20)
            # It would go on as long as the stream goes on being deleted.
            stop = asyncio.Event()
            asyncio.get_running_loop().call_later(0.1, stop.set)
            await relay.publish(stop)
    finally:
        deleting.cancel()
        await asyncio.wait([deleting])
    await relay.publish(GO_ON)
    assert await entries(redis) == as_entries(await by_definition(connection))


async def test_a_stream_that_lost_its_end_gets_the_same_end_again(
    connection: asyncpg.Connection, relay: OnePass, redis: Redis
) -> None:
    for n in range(5):
        await write(connection, f"{n}")
        await relay.publish(GO_ON)
    before = await entries(redis)
    # As after a failover to a replica that was behind.
    await redis.delete(KEY)
    for id_, fields in before[:2]:
        await redis.xadd(KEY, fields, id=id_)  # type: ignore[arg-type]
    await write(connection, "new")
    await relay.publish(GO_ON)
    assert (await entries(redis))[:5] == before
    assert await names(redis) == ["0", "1", "2", "3", "4", "new"]


@pytest.mark.parametrize("left", [0, 1, 3])
async def test_a_trimmed_stream_is_not_filled_again(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis, left: int
) -> None:
    relay = make_relay()
    for n in range(5):
        await write(connection, f"{n}")
        await relay.publish(GO_ON)
    await redis.xtrim(KEY, maxlen=left, approximate=False)
    assert await relay.publish(GO_ON) == 0
    assert await make_relay().publish(GO_ON) == 0
    await write(connection, "new")
    assert await make_relay().publish(GO_ON) == 1
    assert (await names(redis))[-1] == "new"
    assert await redis.xlen(KEY) == left + 1


@pytest.mark.parametrize("left", [0, 1])
async def test_a_publisher_that_lags_behind_a_trimmed_stream_changes_nothing(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis, left: int
) -> None:
    ahead, lagging = make_relay(), make_relay()
    await write(connection, "first")
    await ahead.publish(GO_ON)
    await lagging.publish(GO_ON)
    for n in range(5):
        await write(connection, f"{n}")
        await ahead.publish(GO_ON)
    await redis.xtrim(KEY, maxlen=left, approximate=False)
    before, events = await entries(redis), await by_definition(connection)
    with capture_logs() as logs:
        await lagging.publish(GO_ON)
    assert await entries(redis) == before
    assert await by_definition(connection) == events
    assert said(logs, "stream.foreign") == []
    await write(connection, "new")
    await lagging.publish(GO_ON)
    assert len(await entries(redis)) == left + 1

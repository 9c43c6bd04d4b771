"""Redis loses entries: what is missing comes back, exactly that, with the same IDs."""

import asyncio
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from faulty_proxy import Message
from lossy_redis import Loss, LossyRedis, lossy_redis
from partitions import expected, keep_writing, publishers, write_some
from publishing import GO_ON, KEY, OnePass, entries, eventually, said, write
from redis.asyncio import Redis
from servers import Connect
from structlog.testing import capture_logs
from wire import Side

from outbox.errors import StreamUnavailable
from outbox.ticks import Ticks
from publisher.settings import Limits
from publisher.store.keys import epoch_key


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("loss", list(Loss))
async def test_what_an_idle_stream_lost_comes_back_with_the_same_ids(  # noqa: PLR0913
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    tmp_path: Path,
    loss: Loss,
    *,
    restarted: bool,
    partitions: int,
) -> None:
    async with (
        lossy_redis(loss, tmp_path) as redis,
        publishers(pool, redis.url, partitions) as all_of_them,
    ):
        await write_some(connection, 30)
        await all_of_them.publish()
        await redis.save()
        saved = await all_of_them.streams(redis.server_url)
        await write_some(connection, 20)
        await all_of_them.publish()
        before = await all_of_them.streams(redis.server_url)
        assert before == await expected(connection, partitions)

        await redis.lose(*all_of_them.keys)
        kept = saved if loss.keeps_what_was_saved else [[]] * partitions
        assert await all_of_them.streams(redis.server_url) == kept
        if restarted:
            all_of_them.restart()
        with capture_logs() as logs:
            # The connection that the loss has cut is noticed by its first use.
            with suppress(StreamUnavailable):
                await all_of_them.publish()
            await all_of_them.publish()
        assert await all_of_them.streams(redis.server_url) == before
        lost = said(logs, "stream.lost")
        assert [line["stream"] for line in lost] == all_of_them.keys
        for line, kept_here, was in zip(lost, kept, before, strict=True):
            assert line["end"] == (kept_here[-1][0] if kept_here else "0-0")
            assert line["after"] == line["end"]
            assert line["until"] >= was[-1][0]
            assert line["beyond_retention"] == 0
            if partitions == 1:
                assert line["until"] == was[-1][0]
                assert line["events"] == len(was) - len(kept_here)


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("loss", list(Loss))
async def test_what_a_busy_stream_lost_comes_back_among_what_is_new(  # noqa: PLR0913
    connect: Connect,
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    tmp_path: Path,
    loss: Loss,
    *,
    restarted: bool,
    partitions: int,
) -> None:
    writers = [await connect() for _ in range(3)]
    async with (
        lossy_redis(loss, tmp_path) as redis,
        publishers(pool, redis.url, partitions, limits=Limits(batch_size=7)) as all_of_them,
    ):
        enough = asyncio.Event()
        working = asyncio.gather(
            *(keep_writing(writer, enough) for writer in writers),
            all_of_them.keep_publishing(enough),
        )
        await at_least(redis, all_of_them.keys, 60)
        await redis.save()
        await at_least(redis, all_of_them.keys, 120)
        await redis.lose(*all_of_them.keys)
        if restarted:
            all_of_them.restart()
        await at_least(redis, all_of_them.keys, 180)
        enough.set()
        await working
        await all_of_them.publish()
        found = await all_of_them.streams(redis.server_url)
        assert found == await expected(connection, partitions)


async def at_least(redis: LossyRedis, keys: list[str], count: int) -> None:
    """Return when the streams hold *count* entries, all together."""
    async with Redis.from_url(redis.server_url) as client:

        async def holds_as_many() -> bool:
            return sum([await client.xlen(key) for key in keys]) >= count

        await eventually(holds_as_many, within_s=20)


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("applied", [False, True])
async def test_a_failover_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    tmp_path: Path,
    *,
    applied: bool,
    partitions: int,
) -> None:
    async with (
        lossy_redis(Loss.REPLICA_WITHOUT_TAIL, tmp_path) as redis,
        publishers(pool, redis.url, partitions, limits=Limits(batch_size=20)) as all_of_them,
    ):
        appends, failing_over = 0, asyncio.Event()

        async def fail_over(message: Message) -> None:
            nonlocal appends
            if (message.side, message.name) == (Side.CLIENT, "EVALSHA"):
                appends += 1
                if appends == 5:
                    await redis.save()
                if appends == 9:
                    if applied:
                        await message.pass_on()
                    failing_over.set()
                    # The connection ends with the server.
                    await asyncio.Event().wait()
            await message.pass_on()

        redis.proxy.hook = fail_over
        async with connection.transaction():
            await write_some(connection, 200)
        publishing = asyncio.create_task(all_of_them.publish())
        await failing_over.wait()
        await redis.lose()
        with pytest.raises(StreamUnavailable):
            await publishing
        lost = await all_of_them.streams(redis.server_url)
        with capture_logs() as logs:
            await all_of_them.publish()
        found = await all_of_them.streams(redis.server_url)
        assert found == await expected(connection, partitions)
        assert [stream[: len(was)] for stream, was in zip(found, lost, strict=True)] == lost
        assert 0 < sum(map(len, lost)) < sum(map(len, found))
        assert said(logs, "stream.lost") != []


async def test_a_stream_that_is_lost_again_while_it_is_put_back_is_whole_in_the_end(
    connection: asyncpg.Connection, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    async with (
        lossy_redis(Loss.FLUSHALL, tmp_path) as redis,
        publishers(pool, redis.url, limits=Limits(batch_size=10)) as all_of_them,
    ):
        await write_some(connection, 100)
        await all_of_them.publish()
        before = await all_of_them.streams(redis.server_url)
        appends, at = 0, [3, 4, 11, 14]

        async def flush_now_and_then(message: Message) -> None:
            nonlocal appends
            if (message.side, message.name) == (Side.CLIENT, "EVALSHA"):
                appends += 1
                if appends in at:
                    await redis.lose()
            await message.pass_on()

        redis.proxy.hook = flush_now_and_then
        await redis.lose()
        await all_of_them.publish()
        assert appends > max(at)
        assert await all_of_them.streams(redis.server_url) == before


async def test_a_partition_that_lost_its_stream_is_put_back_alone(
    connection: asyncpg.Connection, pool: asyncpg.Pool, redis: Redis, redis_url: str
) -> None:
    async with publishers(pool, redis_url, 3) as all_of_them:
        await write_some(connection, 60)
        await all_of_them.publish()
        before = await all_of_them.streams()
        await redis.delete(all_of_them.keys[1])
        with capture_logs() as logs:
            assert await all_of_them.publish() == len(before[1])
        assert await all_of_them.streams() == before
        assert [line["stream"] for line in said(logs, "stream.lost")] == [all_of_them.keys[1]]


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_is_lost_and_was_never_saved_as_published_is_told_by_the_mark(
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    redis: Redis,
    client: Redis,
    *,
    restarted: bool,
) -> None:
    relay = OnePass(pool, client)
    await write_some(connection, 10)
    await relay.publish(GO_ON)
    before = await entries(redis)
    await redis.delete(KEY)
    with capture_logs() as logs:
        await (OnePass(pool, client) if restarted else relay).publish(GO_ON)
    assert await entries(redis) == before
    [line] = said(logs, "stream.lost")
    assert (line["until"], line["events"]) == (before[-1][0], len(before))


# What is older than the stream is meant to reach back

HOUR_MS = 3_600_000
OLD_TICKS = """
WITH all_of_them AS (SELECT ms, row_number() OVER (ORDER BY ms DESC) AS number FROM outbox.tick)
UPDATE outbox.tick AS t SET ms = t.ms - a.number * $1 FROM all_of_them AS a WHERE a.ms = t.ms
"""


async def one_tick_an_hour(connection: asyncpg.Connection, hours: int) -> None:
    """The last of them an hour ago."""
    for number in range(hours):
        await write(connection, f"hour {number}", 2)
        await connection.execute("SELECT outbox.make_tick()")
    await connection.execute(
        "SELECT outbox.ensure_tick_partition(ms - n * $1)"
        " FROM outbox.tick, generate_series(0, $2::int) AS n",
        HOUR_MS,
        hours,
    )
    await connection.execute(OLD_TICKS, HOUR_MS)


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("left", [0, 4])
async def test_what_is_older_than_retention_is_not_put_back_and_is_counted(  # noqa: PLR0913
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    redis: Redis,
    redis_url: str,
    *,
    left: int,
    restarted: bool,
) -> None:
    await one_tick_an_hour(connection, 8)
    # Long enough for the last three.
    async with publishers(pool, redis_url, retention_s=3.5 * HOUR_MS / 1000) as all_of_them:
        assert await all_of_them.publish() == 16
        [before] = await all_of_them.streams()
        await redis.delete(KEY)
        for id_, fields in before[:left]:
            await redis.xadd(KEY, fields, id=id_)  # type: ignore[arg-type]
        # Not published yet, and no younger than what stays away.
        await write(connection, "new")
        tick = await Ticks(pool).make()
        assert tick is not None
        if restarted:
            all_of_them.restart()
        with capture_logs() as logs:
            assert await all_of_them.publish() == 6 + 1
        [found] = await all_of_them.streams()
        assert found[: left + 6] == before[:left] + before[-6:]
        assert [fields["entityId"] for _, fields in found[left + 6 :]] == ["new"]
    [line] = said(logs, "stream.lost")
    assert line["end"] == (before[left - 1][0] if left else "0-0")
    assert (line["events"], line["beyond_retention"]) == (6, 10 - left)
    assert before[-7][0] < line["after"] < before[-6][0]
    assert line["until"] == before[-1][0]


async def test_what_was_never_published_is_published_however_old(
    connection: asyncpg.Connection, pool: asyncpg.Pool, redis: Redis, redis_url: str
) -> None:
    async with publishers(pool, redis_url, retention_s=60) as all_of_them:
        await one_tick_an_hour(connection, 8)
        with capture_logs() as logs:
            assert await all_of_them.publish() == 16
        assert said(logs, "stream.lost") == []
        # Half of them are lost, and the rest was never there: as if it had been stuck since then.
        await redis.delete(KEY)
        half = await connection.fetchval("SELECT ms FROM outbox.tick ORDER BY ms OFFSET 3 LIMIT 1")
        await connection.execute(
            "UPDATE outbox.checkpoint SET ms = $1, end_ms = $1, seq = 1, end_seq = 1", half
        )
        await redis.set(epoch_key(KEY), f"1 {half}-1")
        all_of_them.restart()
        with capture_logs() as logs:
            assert await all_of_them.publish() == 8
        [found] = await all_of_them.streams()
        assert [fields["entityId"] for _, fields in found] == [
            f"hour {n}" for n in range(4, 8) for _ in range(2)
        ]
    [line] = said(logs, "stream.lost")
    assert (line["events"], line["beyond_retention"]) == (0, 8)

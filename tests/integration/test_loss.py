"""Redis loses entries: what is missing comes back, exactly that, with the same IDs."""

import asyncio
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from lossy_redis import Loss, LossyRedis, lossy_redis
from partitions import expected, keep_writing, publishers, write_some
from publishing import eventually, said
from redis.asyncio import Redis
from servers import Connect
from structlog.testing import capture_logs

from outbox.errors import StreamUnavailable
from publisher.settings import Limits


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

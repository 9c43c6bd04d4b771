"""Redis loses entries under publishers that are processes: what is missing comes back."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from lossy_redis import Loss, LossyRedis, lossy_redis
from processes import eventually, publishers
from redis.asyncio import Redis

WRITE = """
INSERT INTO outbox.event_1 (entity, entity_id, operation, payload)
SELECT 'series', 'entity ' || n % 20, 'update', format('{"n":%s}', n)
  FROM generate_series($1::int, $2::int) AS n
"""
CASES = [
    (Loss.FLUSHALL, 3),
    (Loss.RESTART_FROM_OLDER_RDB, 1),
    (Loss.REPLICA_WITHOUT_TAIL, 3),
]
if os.environ.get("LOSSES") == "all":
    CASES = [(loss, partitions) for loss in Loss for partitions in (1, 3)]
SETTINGS = {"PUBLISHER_BATCH_SIZE": "50"}


class Writer:
    """Writes, and knows what the streams should hold."""

    def __init__(self, connection: asyncpg.Connection, keys: list[str]) -> None:
        self._connection = connection
        self.keys = keys
        self.written = 0

    async def write(self, count: int) -> None:
        await self._connection.execute(WRITE, self.written, self.written + count - 1)
        self.written += count

    async def keep_writing(self, enough: asyncio.Event) -> None:
        while not enough.is_set():
            await self.write(7)
            await asyncio.sleep(0.005)

    async def expected(self) -> list[list[tuple[str, int]]]:
        rows = await self._connection.fetch(
            "SELECT entity_id, payload, outbox.partition_of(entity_id, $1) AS number"
            " FROM outbox.event ORDER BY id",
            len(self.keys),
        )
        return [
            [
                (row["entity_id"], json.loads(row["payload"])["n"])
                for row in rows
                if row["number"] == number
            ]
            for number in range(len(self.keys))
        ]


@pytest.fixture
async def connection(own_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(own_database)
    yield connection
    await connection.close()


async def streams(redis: LossyRedis, keys: list[str]) -> list[Any]:
    async with Redis.from_url(redis.server_url, decode_responses=True) as client:
        return [await client.xrange(key) for key in keys]


async def hold(redis: LossyRedis, writer: Writer, *, at_least: int | None = None) -> None:
    """Return when the streams hold all, or *at_least* so many entries together."""

    async def holds() -> bool:
        async with Redis.from_url(redis.server_url) as client:
            return sum([await client.xlen(key) for key in writer.keys]) >= (
                writer.written if at_least is None else at_least
            )

    await eventually(holds)


@pytest.mark.parametrize(("loss", "partitions"), CASES)
async def test_idle_or_busy_alive_or_restarted_publishers_put_back_what_is_lost(
    own_database: str,
    connection: asyncpg.Connection,
    tmp_path: Path,
    loss: Loss,
    partitions: int,
) -> None:
    keys = ["catalog:events"]
    if partitions > 1:
        keys = [f"catalog:events:{{{number}}}" for number in range(partitions)]
    settings = SETTINGS | {"CATALOG_EVENT_STREAM_PARTITIONS": str(partitions)}
    writer = Writer(connection, keys)
    async with lossy_redis(loss, tmp_path) as redis:
        with publishers(own_database, redis.url, tmp_path) as start:
            publisher = start(**settings)
            await writer.write(300)
            await hold(redis, writer)
            await redis.save()
            await writer.write(200)
            await hold(redis, writer)
            before = await streams(redis, keys)

            # While all is quiet.
            await redis.lose(*keys)
            await hold(redis, writer)
            assert await streams(redis, keys) == before
            assert {line["stream"] for line in publisher.lines("stream.lost")} == set(keys)

            # While it writes, and while the publisher is killed.
            again = loss if loss is not Loss.REPLICA_WITHOUT_TAIL else Loss.STREAM_DELETED
            redis.loss = again
            enough = asyncio.Event()
            writing = asyncio.create_task(writer.keep_writing(enough))
            await hold(redis, writer, at_least=600)
            await redis.lose(*keys)
            await hold(redis, writer, at_least=900)
            publisher.kill()
            await redis.lose(*keys)
            publisher = start(**settings)
            await hold(redis, writer, at_least=900)
            enough.set()
            await writing
            await hold(redis, writer)
            found = await streams(redis, keys)
    assert [
        [(fields["entityId"], json.loads(fields["payload"])["n"]) for _, fields in stream]
        for stream in found
    ] == await writer.expected()
    assert [stream[: len(was)] for stream, was in zip(found, before, strict=True)] == before

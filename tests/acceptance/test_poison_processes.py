"""A publisher that dies on one event, and is started again; and one that just dies."""

# ruff: noqa: S311 - the dice are to fall the same again

import asyncio
import json
import os
import random
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from forked import nursery
from processes import Publisher, Start, eventually, publishers
from redis.asyncio import Redis

KEY = "catalog:events"
MEBIBYTE = 1 << 20
WRITE = (
    "INSERT INTO outbox.event_1 (entity, entity_id, operation, payload)"
    " VALUES ('series', $1, 'update', $2)"
)
KILLS = int(os.environ.get("KILLS", "50"))
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**9))


@pytest.fixture
def start(own_database: str, own_redis_url: str, tmp_path: Path) -> Iterator[Start]:
    with publishers(own_database, own_redis_url, tmp_path) as start:
        yield start


@pytest.fixture
async def writer(own_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(own_database)
    yield connection
    await connection.close()


@pytest.fixture
async def redis(own_redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(own_redis_url, decode_responses=True) as client:
        yield client


async def contents(redis: Redis) -> list[tuple[str, str]]:
    found: Any = await redis.xrange(KEY)
    return [(fields["entityId"], fields["payload"]) for _, fields in found]


@pytest.mark.skipif(sys.platform != "linux", reason="NOT TESTED: Linux alone limits a process")
@pytest.mark.timeout(180)
async def test_an_event_that_kills_the_process_is_set_aside_after_its_attempts(
    writer: asyncpg.Connection, redis: Redis, start: Start
) -> None:
    def limited() -> Publisher:
        """Enough to read the event, and not enough to put it together for Redis."""
        settings = {"PUBLISHER_MAX_EVENT_BYTES": str(64 * MEBIBYTE), "PUBLISHER_MAX_ATTEMPTS": "2"}
        publisher = start(**settings)
        resource.prlimit(publisher.pid, resource.RLIMIT_AS, (270 * MEBIBYTE,) * 2)
        return publisher

    async def flows(*entity_ids: str) -> None:
        async def has_all() -> bool:
            return [entity_id for entity_id, _ in await contents(redis)] == list(entity_ids)

        await eventually(has_all)

    publisher, deaths = limited(), 0
    await writer.execute(WRITE, "before", "{}")
    await flows("before")
    async with writer.transaction():
        await writer.execute(WRITE, "first", "{}")
        await writer.execute(WRITE, "poison", json.dumps("x" * 60_000_000))
        await writer.execute(WRITE, "last", "{}")

    async def is_set_aside() -> bool:
        nonlocal publisher, deaths
        if not publisher.is_running:
            deaths += 1
            publisher = limited()
        return bool(await writer.fetchval("SELECT count(*) FROM outbox.dead_letter"))

    await eventually(is_set_aside, within_s=120)
    await flows("before", "first", "last")
    [letter] = await writer.fetch("SELECT entity_id, attempts, reason FROM outbox.dead_letter")
    assert tuple(letter) == ("poison", 3, "the publisher ended 2 times while publishing it")
    assert deaths == 2


@pytest.mark.timeout(60 + 6 * KILLS)
async def test_a_publisher_that_is_killed_again_and_again_sets_nothing_aside(
    own_database: str,
    own_redis_url: str,
    writer: asyncpg.Connection,
    redis: Redis,
    tmp_path: Path,
) -> None:
    print(f"CHAOS_SEED={SEED} KILLS={KILLS}")  # noqa: T201 - to run it again
    dice, written = random.Random(SEED), 0
    environment = {"DATABASE_URL": own_database, "REDIS_URL": own_redis_url}
    with nursery(tmp_path) as forks:
        for _ in range(KILLS):
            for _ in range(dice.randrange(4)):
                written += 1
                await writer.execute(WRITE, f"entity {written % 7}", json.dumps({"n": written}))
            publisher = forks.start(**environment, PUBLISHER_BATCH_SIZE="1")
            # Most of what it does first is done in this time.
            await asyncio.sleep(0.3 * dice.random())
            publisher.kill()
            # As if it had been dead for long enough.
            await writer.execute("UPDATE outbox.lease SET expires_at = '-infinity'")
            await writer.execute("UPDATE outbox.member SET expires_at = '-infinity'")
        forks.start(**environment)

        async def holds_all() -> bool:
            return bool(await redis.xlen(KEY) >= written)

        await eventually(holds_all)
    events = await writer.fetch("SELECT entity_id, payload FROM outbox.event ORDER BY id")
    assert await contents(redis) == [tuple(event) for event in events]
    assert await writer.fetchval("SELECT count(*) FROM outbox.dead_letter") == 0

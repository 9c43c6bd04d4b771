"""The publisher as it is operated: started, stopped, killed, and left alone with broken servers."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from processes import Publisher, Start, eventually, publishers
from redis.asyncio import Redis

from embedded.postgres import Postgres
from embedded.valkey import Valkey

KEY = "catalog:events"
INSERT = (
    "INSERT INTO catalog.category (slug, name)"
    " SELECT $1 || n, 'Name' FROM generate_series(1, $2::int) AS n"
)


@pytest.fixture
def dsn(own_database: str) -> str:
    return own_database


@pytest.fixture
def redis(own_redis: Redis) -> Redis:
    return own_redis


@pytest.fixture
def start(dsn: str, own_redis_url: str, tmp_path: Path) -> Iterator[Start]:
    with publishers(dsn, own_redis_url, tmp_path) as start:
        yield start


async def write(dsn: str, name: str, count: int = 1) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(INSERT, name, count)
    finally:
        await connection.close()


async def published(redis: Redis, count: int) -> None:
    """Return when the stream holds *count* entries."""

    async def holds() -> bool:
        return bool(await redis.xlen(KEY) == count)

    await eventually(holds)


async def slugs(dsn: str) -> list[str]:
    """Of all committed events, in the order of their ids."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT payload::json->>'slug' AS slug FROM outbox.event ORDER BY id"
        )
    finally:
        await connection.close()
    return [row["slug"] for row in rows]


async def entries(redis: Redis) -> list[tuple[str, dict[str, str]]]:
    found: Any = await redis.xrange(KEY)
    return list(found)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_asked_to_end_it_ends_at_once_and_leaves_its_checkpoint(
    start: Start, dsn: str, redis: Redis, number: signal.Signals
) -> None:
    publisher = start()
    await write(dsn, "a", 3)
    await published(redis, 3)
    asked = time.monotonic()
    assert await publisher.stop(number, within_s=5) == 0
    assert time.monotonic() - asked < 2
    connection = await asyncpg.connect(dsn)
    checkpoint = await connection.fetchrow("SELECT * FROM outbox.checkpoint")
    lease = await connection.fetchrow("SELECT name, holder FROM outbox.lease")
    members = await connection.fetchval("SELECT count(*) FROM outbox.member")
    await connection.close()
    last, _ = (await entries(redis))[-1]
    assert checkpoint is not None
    assert checkpoint["name"] == KEY
    assert f"{checkpoint['ms']}-{checkpoint['seq']}" == last
    assert f"{checkpoint['end_ms']}-{checkpoint['end_seq']}" == last
    assert (tuple(lease or ()), members) == ((KEY, None), 0)
    [line] = publisher.lines("publisher.stopped")
    assert line["holder"] == publisher.holder


async def test_its_log_is_json_where_there_is_no_terminal(
    start: Start, dsn: str, redis: Redis
) -> None:
    publisher = start()
    await write(dsn, "a")
    await published(redis, 1)
    await publisher.stop()
    lines = publisher.lines()
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)
    assert (lines[0]["event"], lines[-1]["event"]) == ("publisher.started", "publisher.stopped")


async def test_killed_and_started_again_it_goes_on_exactly(
    start: Start, dsn: str, redis: Redis
) -> None:
    count = 0
    for n in range(4):
        publisher = start()
        await write(dsn, f"a-{n}-", 3000)

        async def has_begun(count: int = count) -> bool:
            return bool(await redis.xlen(KEY) > count)

        await eventually(has_begun)
        publisher.kill()
        count += 3000
    start()
    await published(redis, count)
    found = await entries(redis)
    assert len({id_ for id_, _ in found}) == count
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT payload FROM outbox.event ORDER BY id")
    await connection.close()
    assert [fields["payload"] for _, fields in found] == [row["payload"] for row in rows]


def streams(publisher: Publisher, event: str) -> list[str]:
    """Of each line about *event*: which stream, or the making of ticks."""
    return sorted(line["stream"] for line in publisher.lines(event))


async def is_held_up(publisher: Publisher, reason: str) -> None:
    async def says_so() -> bool:
        return {line["reason"] for line in publisher.lines("publisher.held_up")} == {reason}

    await eventually(says_so)


async def has_recovered(publisher: Publisher) -> None:
    """Return when it has said so once for each time that it said it was held up."""

    async def says_so() -> bool:
        held_up = streams(publisher, "publisher.held_up")
        return streams(publisher, "publisher.recovered") == held_up

    await eventually(says_so)
    held_up = streams(publisher, "publisher.held_up")
    assert len(held_up) == len(set(held_up))
    assert publisher.is_running


@pytest.mark.parametrize("ends", ["kill", "stop"])
async def test_it_goes_on_when_postgresql_is_back(
    start: Start, postgres: Postgres, dsn: str, redis: Redis, ends: str
) -> None:
    publisher = start()
    await write(dsn, "before")
    await published(redis, 1)
    await asyncio.to_thread(postgres.kill if ends == "kill" else postgres.stop)
    await is_held_up(publisher, "postgres_away")
    await asyncio.to_thread(postgres.start)
    await write(dsn, "after")
    await published(redis, 2)
    await has_recovered(publisher)
    assert await slugs(dsn) == ["before1", "after1"]


async def test_it_fills_the_stream_again_when_redis_is_back_empty(
    start: Start, valkey: Valkey, dsn: str, redis: Redis
) -> None:
    publisher = start()
    await write(dsn, "before", 10)
    await published(redis, 10)
    before = await entries(redis)
    await asyncio.to_thread(valkey.kill)
    await is_held_up(publisher, "redis_away")
    await write(dsn, "meanwhile", 10)
    await asyncio.to_thread(valkey.start)
    await published(redis, 20)
    await has_recovered(publisher)
    assert (await entries(redis))[:10] == before


async def test_it_may_be_started_before_its_servers(
    start: Start, postgres: Postgres, valkey: Valkey, dsn: str, redis: Redis
) -> None:
    await write(dsn, "before")
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(valkey.stop)
    publisher = start()

    async def is_away() -> bool:
        return bool(publisher.lines("publisher.held_up"))

    await eventually(is_away)
    await asyncio.to_thread(valkey.start)
    await asyncio.to_thread(postgres.start)
    await published(redis, 1)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"DATABASE_URL": ""}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://u:hunter2@db/catalog"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://u:hunter2@[::1/catalog"}, "DATABASE_URL"),
        ({"REDIS_URL": "http://:hunter2@cache"}, "REDIS_URL"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"PUBLISHER_BATCH_SIZE": "0"}, "PUBLISHER_BATCH_SIZE"),
        ({"CATALOG_EVENT_STREAM_PARTITIONS": "0"}, "CATALOG_EVENT_STREAM_PARTITIONS"),
    ],
)
async def test_a_bad_environment_ends_it_with_the_name_and_no_secret(
    tmp_path: Path, wrong: dict[str, str], named: str
) -> None:
    good = {"DATABASE_URL": "postgresql://u:hunter2@db/c", "REDIS_URL": "redis://:hunter2@cache"}
    publisher = Publisher(tmp_path / "publisher.log", good | wrong)
    assert await publisher.ended() == 2
    [said] = publisher.text().splitlines()
    assert said.startswith(f"{named} is ")
    assert "hunter2" not in said

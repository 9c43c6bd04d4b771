"""The publisher as it is operated: started, stopped, killed, and left alone with broken servers."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from processes import SCHEMA, Publisher, eventually
from redis.asyncio import Redis

from embedded.postgres import Postgres
from embedded.valkey import Valkey

KEY = "catalog:events"
INSERT = (
    "INSERT INTO catalog.category (slug, name)"
    " SELECT $1 || n, 'Name' FROM generate_series(1, $2::int) AS n"
)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server that these tests may kill; without prepared transactions, so the bell is in use."""
    server = Postgres(tmp_path_factory.mktemp("process") / "postgres")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A server that these tests may kill; it keeps nothing."""
    folder = tmp_path_factory.mktemp("process") / "valkey"
    server = Valkey(folder, {"save": "", "appendonly": "no"})
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
async def dsn(postgres: Postgres) -> str:
    postgres.start()
    admin = await asyncpg.connect(postgres.dsn())
    name = await admin.fetchval("SELECT 'test_' || replace(gen_random_uuid()::text, '-', '')")
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    connection = await asyncpg.connect(postgres.dsn(name))
    await connection.execute(SCHEMA.read_text("utf-8"))
    await connection.close()
    return postgres.dsn(name)


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    valkey.start()
    async with Redis.from_url(valkey.url, decode_responses=True) as client:
        await client.flushall()
        yield client


@pytest.fixture
def start(
    dsn: str, valkey: Valkey, redis: Redis, tmp_path: Path
) -> Iterator[Callable[[], Publisher]]:
    """Start a publisher; all log into one file, and none outlives the test."""
    assert redis
    started: list[Publisher] = []

    def start() -> Publisher:
        environment = {"DATABASE_URL": dsn, "REDIS_URL": valkey.url}
        started.append(Publisher(tmp_path / "publisher.log", environment))
        return started[-1]

    yield start
    for publisher in started:
        publisher.kill()


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
    start: Callable[[], Publisher], dsn: str, redis: Redis, number: signal.Signals
) -> None:
    publisher = start()
    await write(dsn, "a", 3)
    await published(redis, 3)
    asked = time.monotonic()
    assert await publisher.stop(number, within_s=5) == 0
    assert time.monotonic() - asked < 2
    connection = await asyncpg.connect(dsn)
    checkpoint = await connection.fetchval(
        "SELECT format('%s-%s', ms, seq) FROM outbox.checkpoint WHERE name = 'publisher'"
    )
    await connection.close()
    last, _ = (await entries(redis))[-1]
    assert checkpoint == last
    [line] = publisher.lines("publisher.stopped")
    assert line["place"] == last


async def test_its_log_is_json_where_there_is_no_terminal(
    start: Callable[[], Publisher], dsn: str, redis: Redis
) -> None:
    publisher = start()
    await write(dsn, "a")
    await published(redis, 1)
    await publisher.stop()
    lines = publisher.lines()
    assert [line["event"] for line in lines][0::2] != []
    assert all({"event", "level", "timestamp"} <= set(line) for line in lines)
    assert (lines[0]["event"], lines[-1]["event"]) == ("publisher.started", "publisher.stopped")


async def test_killed_and_started_again_it_goes_on_exactly(
    start: Callable[[], Publisher], dsn: str, redis: Redis
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


async def has_recovered(publisher: Publisher) -> None:
    async def says_so() -> bool:
        return bool(publisher.lines("publisher.recovered"))

    await eventually(says_so)


async def is_held_up(publisher: Publisher, reason: str) -> None:
    async def says_so() -> bool:
        return [line["reason"] for line in publisher.lines("publisher.held_up")] == [reason]

    await eventually(says_so)


@pytest.mark.parametrize("ends", ["kill", "stop"])
async def test_it_goes_on_when_postgresql_is_back(
    start: Callable[[], Publisher], postgres: Postgres, dsn: str, redis: Redis, ends: str
) -> None:
    publisher = start()
    await write(dsn, "before")
    await published(redis, 1)
    await asyncio.to_thread(postgres.kill if ends == "kill" else postgres.stop)
    await is_held_up(publisher, "OutboxUnavailable")
    await asyncio.to_thread(postgres.start)
    await write(dsn, "after")
    await published(redis, 2)
    await has_recovered(publisher)
    assert publisher.is_running
    assert len(publisher.lines("publisher.held_up")) == 1
    assert len(publisher.lines("publisher.recovered")) == 1
    assert await slugs(dsn) == ["before1", "after1"]


async def test_it_fills_the_stream_again_when_redis_is_back_empty(
    start: Callable[[], Publisher], valkey: Valkey, dsn: str, redis: Redis
) -> None:
    publisher = start()
    await write(dsn, "before", 10)
    await published(redis, 10)
    before = await entries(redis)
    await asyncio.to_thread(valkey.kill)
    await is_held_up(publisher, "StreamUnavailable")
    await write(dsn, "meanwhile", 10)
    await asyncio.to_thread(valkey.start)
    await published(redis, 20)
    await has_recovered(publisher)
    assert (await entries(redis))[:10] == before
    assert publisher.is_running
    assert len(publisher.lines("publisher.held_up")) == 1
    assert len(publisher.lines("publisher.recovered")) == 1


async def test_it_may_be_started_before_its_servers(
    start: Callable[[], Publisher], postgres: Postgres, valkey: Valkey, dsn: str, redis: Redis
) -> None:
    await write(dsn, "before")
    await asyncio.to_thread(postgres.stop)
    await asyncio.to_thread(valkey.stop)
    publisher = start()

    async def is_away() -> bool:
        return bool(publisher.log_file.exists() and publisher.lines("publisher.held_up"))

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

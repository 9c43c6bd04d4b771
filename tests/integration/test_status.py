"""The way from commit to consumer, on one screen and as JSON."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from servers import Connect

from outbox.connection import SETTINGS
from outbox.position import Position
from outbox.ticks import Ticks
from publisher.connections import redis_client
from publisher.relay import Relay
from publisher.settings import Settings
from publisher.status import Status, gather
from publisher.stream import EventStream

ROOT = Path(__file__).resolve().parents[2]
KEY = "catalog:events"


@pytest.fixture
def environment(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url}


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with asyncpg.create_pool(database, min_size=0, server_settings=SETTINGS) as pool:
        yield pool


@pytest.fixture
async def stream(environment: dict[str, str]) -> AsyncIterator[EventStream]:
    async with redis_client(Settings.from_environment(environment)) as client:
        yield EventStream(client, KEY)


async def write(connection: asyncpg.Connection, *slugs: str) -> None:
    for slug in slugs:
        await connection.execute("INSERT INTO catalog.category (slug, name) VALUES ($1, $1)", slug)


async def publish(pool: asyncpg.Pool, stream: EventStream) -> None:
    await Relay(Ticks(pool), stream, batch_size=10).publish(asyncio.Event())


async def look(pool: asyncpg.Pool, stream: EventStream) -> Status:
    return await gather(pool, Ticks(pool), stream)


async def run_status(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "publisher", "status", *arguments),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_an_empty_system_is_fine(pool: asyncpg.Pool, stream: EventStream) -> None:
    status = await look(pool, stream)
    assert (status.backlog, status.published_total, status.stream_length) == (0, 0, 0)
    assert status.problems == []


async def test_the_backlog_counts_what_is_in_a_tick_and_what_is_in_none(
    connection: asyncpg.Connection, pool: asyncpg.Pool, stream: EventStream
) -> None:
    await write(connection, "a", "b")
    await publish(pool, stream)
    await write(connection, "c")
    await Ticks(pool).make()
    await write(connection, "d", "e")
    status = await look(pool, stream)
    assert (status.backlog, status.published_total, status.stream_length) == (3, 2, 2)
    assert status.oldest_unpublished_s is not None
    assert status.oldest_unpublished_s >= 0


async def test_what_commits_after_it_was_under_way_at_the_last_tick_is_backlog(
    connect: Connect, pool: asyncpg.Pool, stream: EventStream
) -> None:
    slow, quick = await connect(), await connect()
    async with slow.transaction():
        await write(slow, "slow")
        await write(quick, "quick")
        await publish(pool, stream)
        assert (await look(pool, stream)).backlog == 0
    assert (await look(pool, stream)).backlog == 1


async def test_a_groups_distance_is_counted_in_events(
    connection: asyncpg.Connection, pool: asyncpg.Pool, stream: EventStream, redis: Redis
) -> None:
    await write(connection, "a", "b", "c")
    await publish(pool, stream)
    await redis.xgroup_create(KEY, "search", "0")
    await redis.xreadgroup("search", "one", {KEY: ">"}, count=2)
    await write(connection, "d")
    [group] = (await look(pool, stream)).groups
    assert (group.name, group.behind, group.pending, group.fell_off) == ("search", 2, 2, 0)


async def test_a_group_that_fell_off_the_stream_is_told_from_one_that_is_behind(
    connection: asyncpg.Connection, pool: asyncpg.Pool, stream: EventStream, redis: Redis
) -> None:
    await write(connection, *"abcdef")
    await publish(pool, stream)
    await redis.xgroup_create(KEY, "search", "0")
    await redis.xreadgroup("search", "one", {KEY: ">"}, count=1)
    await redis.xtrim(KEY, maxlen=2, approximate=False)
    status = await look(pool, stream)
    [group] = status.groups
    assert (group.behind, group.fell_off) == (5, 3)
    assert ["search" in problem for problem in status.problems] == [True]


async def test_what_holds_xmin_is_named(
    connection: asyncpg.Connection, connect: Connect, pool: asyncpg.Pool, stream: EventStream
) -> None:
    preparing = await connect()
    name = await connection.fetchval("SELECT current_database()")
    await preparing.execute("BEGIN")
    await write(preparing, "prepared")
    await preparing.execute(f"PREPARE TRANSACTION '{name}'")
    try:
        [holder] = (await look(pool, stream)).xmin_held_by
        assert (holder.kind, holder.name) == ("prepared transaction", name)
    finally:
        await preparing.execute(f"ROLLBACK PREPARED '{name}'")


async def test_the_command_prints_json_and_ends_with_0(
    environment: dict[str, str], connection: asyncpg.Connection, redis: Redis
) -> None:
    await write(connection, "a")
    code, out, _ = await run_status(environment, "--json")
    status: dict[str, Any] = json.loads(out)
    assert (code, status["backlog"], status["problems"]) == (0, 1, [])
    assert await redis.exists(KEY) == 0  # It only looks.


async def test_a_degraded_system_ends_with_3_and_says_why(
    environment: dict[str, str],
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    stream: EventStream,
    redis: Redis,
) -> None:
    await write(connection, *"abc")
    await publish(pool, stream)
    await redis.xgroup_create(KEY, "late", str(Position(1, 0)))
    await redis.xtrim(KEY, maxlen=1, approximate=False)
    code, out, _ = await run_status(environment)
    assert code == 3
    assert "group late has missed 2 events" in " ".join(out.split())


@pytest.mark.parametrize("away", ["DATABASE_URL", "REDIS_URL"])
async def test_a_server_that_is_away_ends_with_4(
    environment: dict[str, str], tmp_path: Path, away: str
) -> None:
    nobody = {
        "DATABASE_URL": f"postgresql://nobody:hunter2@/none?host={tmp_path}",
        "REDIS_URL": f"unix://:hunter2@{tmp_path}/none.sock",
    }
    code, out, err = await run_status(environment | {away: nobody[away]})
    assert (code, out) == (4, "")
    assert "is away" in err
    assert "hunter2" not in err


async def test_a_missing_variable_is_wrong_usage(database: str) -> None:
    code, _, err = await run_status({"DATABASE_URL": database})
    assert code == 2
    assert "REDIS_URL is not set" in err


async def test_a_database_without_the_outbox_says_what_to_do(
    empty_database: str, redis_url: str
) -> None:
    code, _, err = await run_status({"DATABASE_URL": empty_database, "REDIS_URL": redis_url})
    assert code == 1
    assert "schema.sql" in err

"""Publishers share the work, and whatever becomes of one of them the others carry on, soon."""

import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
from processes import Publisher, Start, eventually, publishers
from redis.asyncio import Redis
from traffic import Traffic, check_exact, flowing, led_by, level, shared_as

from outbox import control

KEY = "catalog:events"
KEYS = [f"{KEY}:{{{number}}}" for number in range(4)]
FOUR = {"CATALOG_EVENT_STREAM_PARTITIONS": "4"}
RUNS = int(os.environ.get("TAKEOVER_RUNS", "2"))
"""How often each takeover is timed."""


@pytest.fixture
async def connection(own_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(own_database)
    yield connection
    await connection.close()


@pytest.fixture
def start(own_database: str, own_redis_url: str, tmp_path: Path) -> Iterator[Start]:
    with publishers(own_database, own_redis_url, tmp_path) as start:
        yield start


async def test_publishers_share_the_partitions_evenly_and_again_when_one_leaves(
    start: Start, connection: asyncpg.Connection, own_database: str, own_redis: Redis
) -> None:
    async with flowing(own_database, own_redis, KEYS) as traffic:
        first = start(**FOUR)
        await shared_as(connection, {first: 4})
        second = start(**FOUR)
        await shared_as(connection, {first: 2, second: 2})
        third = start(**FOUR)
        await shared_as(connection, {first: 2, second: 1, third: 1})
        for key in KEYS:
            await traffic.arrived(key, after=traffic.written)
        assert await first.stop() == 0
        await shared_as(connection, {second: 2, third: 2})
        second.kill()
        await shared_as(connection, {third: 4})
        for key in KEYS:
            await traffic.arrived(key, after=traffic.written)
    await level(connection, own_redis, KEYS)
    await check_exact(connection, own_redis, KEYS)


async def silence_s(
    traffic: Traffic, connection: asyncpg.Connection, leader: Publisher, number: signal.Signals
) -> float:
    """For how long, after the signal, one of the leader's streams got no event."""
    streams = await led_by(connection, leader)
    for key in streams:
        await traffic.arrived(key, after=traffic.written)
    asked = time.monotonic()
    if number is signal.SIGKILL:
        leader.kill()
    else:
        assert await leader.stop(number) == 0
    ended, longest = traffic.written, 0.0
    for key in streams:
        last = (await traffic.arrived(key, after=ended)).at
        moments = [one.at for one in traffic.arrivals[key] if asked < one.at <= last]
        longest = max([longest, *(b - a for a, b in pairwise([asked, *moments]))])
    return longest


@pytest.mark.timeout(60 + 30 * RUNS)
@pytest.mark.parametrize(("number", "at_most_s"), [(signal.SIGKILL, 5.0), (signal.SIGTERM, 1.0)])
@pytest.mark.parametrize("keys", [[KEY], KEYS], ids=["standing by", "sharing"])
async def test_another_carries_on_in_time(  # noqa: PLR0913, PLR0917 - each is one thing of a test
    start: Start,
    connection: asyncpg.Connection,
    own_database: str,
    own_redis: Redis,
    keys: list[str],
    number: signal.Signals,
    at_most_s: float,
) -> None:
    environment, share = (FOUR, 2) if keys == KEYS else ({}, 0)
    took = []
    async with flowing(own_database, own_redis, keys) as traffic:
        leader = start(**environment)
        await shared_as(connection, {leader: len(keys)})
        for _ in range(RUNS):
            other = start(**environment)
            await shared_as(connection, {leader: len(keys) - share, other: share})
            took.append(await silence_s(traffic, connection, leader, number))
            leader = other
    print(  # noqa: T201 - what it came to
        f"\n{number.name}, {len(keys)} partitions:",
        f"median {statistics.median(took):.2f} s of",
        [round(seconds, 2) for seconds in took],
    )
    await level(connection, own_redis, keys)
    await check_exact(connection, own_redis, keys)
    assert max(took) <= at_most_s


async def test_while_it_is_paused_no_process_appends_and_all_go_on_after(
    start: Start, connection: asyncpg.Connection, own_database: str, own_redis: Redis
) -> None:
    async def appended() -> int:
        return sum([int(await own_redis.xlen(key)) for key in KEYS])

    async with (
        flowing(own_database, own_redis, KEYS) as traffic,
        asyncpg.create_pool(own_database, min_size=0, max_size=1) as pool,
    ):
        both = [start(**FOUR), start(**FOUR)]
        await shared_as(connection, dict.fromkeys(both, 2))
        for key in KEYS:
            await traffic.arrived(key, after=traffic.written)
        await control.pause(pool, by="on-call", reason="a test")

        async def all_say_so() -> bool:
            told = "SELECT bool_and(reason IS NOT DISTINCT FROM 'paused') FROM outbox.lease"
            return bool(await connection.fetchval(told))

        await eventually(all_say_so)
        before, written = await appended(), traffic.written
        renewed = await connection.fetchval("SELECT max(expires_at) FROM outbox.lease")

        async def all_have_renewed() -> bool:
            left = "SELECT min(expires_at) > $1 FROM outbox.lease"
            return bool(await connection.fetchval(left, renewed + timedelta(seconds=1)))

        await eventually(all_have_renewed)
        assert traffic.written > written
        assert await appended() == before
        reasons = [line["reason"] for one in both for line in one.lines("publisher.paused")]
        assert reasons == ["a test"] * 2
        await control.resume(pool)
        for key in KEYS:
            await traffic.arrived(key, after=traffic.written)
    await level(connection, own_redis, KEYS)
    await check_exact(connection, own_redis, KEYS)

"""A publisher that stands still, and goes on as if nothing had happened, does no harm."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from faulty_proxy import FaultyProxy, Message
from processes import Publisher, Start, eventually, publishers
from redis.asyncio import Redis
from traffic import check_exact, flowing, led_by, level, shared_as
from wire import RedisTalk, Side

from embedded.valkey import Valkey

KEY = "catalog:events"
KEYS = [f"{KEY}:{{{number}}}" for number in range(4)]
FOUR = {"CATALOG_EVENT_STREAM_PARTITIONS": "4"}
ROUNDS = int(os.environ.get("FROZEN_ROUNDS", "3"))
"""How often one is frozen past its leases."""
MOMENTS = int(os.environ.get("FROZEN_MOMENTS", "60"))
"""How often one is frozen for a moment."""


@pytest.fixture
async def connection(own_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(own_database)
    yield connection
    await connection.close()


@pytest.fixture
def start(own_database: str, own_redis_url: str, tmp_path: Path) -> Iterator[Start]:
    with publishers(own_database, own_redis_url, tmp_path) as start:
        yield start


async def leads_all(connection: asyncpg.Connection, publisher: Publisher) -> None:
    async def so() -> bool:
        return await led_by(connection, publisher) == KEYS

    await eventually(so)


def losses(publisher: Publisher) -> int:
    """How many times it has found out that a lease was somebody else's."""
    return len(publisher.lines("lease.lost")) + len(publisher.lines("lease.gone"))


@pytest.mark.timeout(60 + 40 * ROUNDS)
async def test_one_that_was_frozen_past_its_leases_finds_out_and_nothing_comes_of_it(
    start: Start, connection: asyncpg.Connection, own_database: str, own_redis: Redis
) -> None:
    async with flowing(own_database, own_redis, KEYS, writers=4) as traffic:
        one, other = start(**FOUR), start(**FOUR)
        await shared_as(connection, {one: 2, other: 2})
        for _ in range(ROUNDS):
            before = losses(one)
            one.freeze()
            await leads_all(connection, other)
            written = traffic.written
            for key in KEYS:
                await traffic.arrived(key, after=written)
            one.thaw()

            async def finds_out(before: int = before, frozen: Publisher = one) -> bool:
                return losses(frozen) >= before + 2

            await eventually(finds_out)
            await shared_as(connection, {one: 2, other: 2})
            one, other = other, one
    await level(connection, own_redis, KEYS)
    events = await check_exact(connection, own_redis, KEYS)
    print(f"\nfrozen {ROUNDS} times past its leases: {events:,} events")  # noqa: T201
    assert one.is_running
    assert other.is_running


@pytest.mark.timeout(300)
async def test_those_that_are_frozen_at_any_moment_lose_double_and_reorder_nothing(
    start: Start, connection: asyncpg.Connection, own_database: str, own_redis: Redis
) -> None:
    dice = random.Random(3)  # noqa: S311 - any would do
    small = FOUR | {"PUBLISHER_BATCH_SIZE": "7"}
    async with flowing(own_database, own_redis, KEYS, writers=6, pause_s=0) as traffic:
        both = [start(**small), start(**small)]
        await shared_as(connection, {both[0]: 2, both[1]: 2})
        for n in range(MOMENTS):
            frozen = both[dice.randrange(2)]
            await asyncio.sleep(0.05 * dice.random())
            frozen.freeze()
            # Now and then until it has lost its leases, and the other works on what it had begun.
            if n % 20 == 19:
                await leads_all(connection, both[1 - both.index(frozen)])
            else:
                await asyncio.sleep(0.1 * dice.random() ** 2)
            frozen.thaw()
        for key in KEYS:
            await traffic.arrived(key, after=traffic.written)
    await level(connection, own_redis, KEYS)
    events = await check_exact(connection, own_redis, KEYS)
    print(f"\nfrozen at {MOMENTS} moments: {events:,} events")  # noqa: T201 - what it came to
    assert all(publisher.is_running for publisher in both)


async def test_an_append_that_arrives_after_another_took_over_changes_nothing(
    start: Start,
    connection: asyncpg.Connection,
    own_database: str,
    own_redis: Redis,
    valkey: Valkey,
) -> None:
    held: list[Message] = []
    is_holding = False

    async def hold(message: Message) -> None:
        if is_holding and message.side is Side.CLIENT and message.name == "EVALSHA":
            held.append(message)
        else:
            await message.pass_on()

    proxy = FaultyProxy(RedisTalk, valkey.socket_path, hold)
    async with (
        proxy.listening() as (host, port),  # type: ignore[misc]
        flowing(own_database, own_redis, [KEY], writers=2) as traffic,
    ):
        one = start(REDIS_URL=f"redis://{host}:{port}")
        await shared_as(connection, {one: 1})
        other = start()
        await shared_as(connection, {one: 1, other: 0})
        await traffic.arrived(KEY, after=traffic.written)
        is_holding = True

        async def is_under_way() -> bool:
            return bool(held)

        await eventually(is_under_way)
        one.freeze()
        is_holding = False

        async def has_taken_over() -> bool:
            return await led_by(connection, other) == [KEY]

        await eventually(has_taken_over)
        await traffic.arrived(KEY, after=traffic.written)
        # What it had sent before comes through now, long after its time.
        await held[0].pass_on()
        one.thaw()

        async def finds_out() -> bool:
            return losses(one) > 0

        await eventually(finds_out)
        await traffic.arrived(KEY, after=traffic.written)
    await level(connection, own_redis, [KEY])
    await check_exact(connection, own_redis, [KEY])
    assert one.is_running

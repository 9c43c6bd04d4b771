"""Partitions: each event in one of them, an entity always in the same, IDs those of the tick."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from appending import as_entries, client_of
from publishing import (
    FOREIGN,
    GO_ON,
    KEY,
    OnePass,
    by_definition,
    entries,
    eventually,
    said,
    write,
)
from redis.asyncio import Redis
from running import QUICK, InProcess, running
from servers import Connect
from structlog.testing import capture_logs
from ticking import several_ticks

from outbox.batch import Share
from outbox.position import Position
from outbox.ticks import Ticks
from publisher.settings import Limits

OF = 4
KEYS = [f"{KEY}:{{{number}}}" for number in range(OF)]
Entries = list[tuple[str, dict[str, str]]]


def one_for_each(pool: asyncpg.Pool, client: Redis, *, batch_size: int = 1000) -> list[OnePass]:
    return [
        OnePass(pool, client, key=key, share=Share(n, OF), limits=Limits(batch_size=batch_size))
        for n, key in enumerate(KEYS)
    ]


async def in_all(redis: Redis) -> list[Entries]:
    return [await entries(redis, key) for key in KEYS]


def together(streams: Sequence[Entries]) -> Entries:
    """All entries of *streams* in the order of their IDs; each stream is in it already."""
    for stream in streams:
        ids = [Position.parse(id_) for id_, _ in stream]
        assert ids == sorted(set(ids))
    return sorted(
        (entry for stream in streams for entry in stream),
        key=lambda entry: Position.parse(entry[0]),
    )


async def each_where_it_belongs(connection: asyncpg.Connection, streams: list[Entries]) -> bool:
    """Whether every entity is in one stream alone: the one that PostgreSQL names."""
    for number, stream in enumerate(streams):
        theirs = {fields["entityId"] for _, fields in stream}
        rows = await connection.fetch(
            "SELECT DISTINCT outbox.partition_of(e, $2) AS number FROM unnest($1::text[]) AS e",
            *(list(theirs), OF),
        )
        if {row["number"] for row in rows} - {number}:
            return False
    return True


async def the_same_as_one_stream(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis
) -> bool:
    """Whether the partitions hold what a stream for all holds, ID by ID and field by field."""
    await OnePass(pool, client, key="whole").publish(GO_ON)
    whole, streams = await entries(client, "whole"), await in_all(client)
    assert together(streams) == whole
    assert whole == as_entries(await by_definition(connection))
    return await each_where_it_belongs(connection, streams)


# What is in which


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
async def test_small_ticks_and_large_ones_and_late_transactions_are_parted_exactly(
    connect: Connect,
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    client: Redis,
    batch_size: int,
) -> None:
    await several_ticks(connect, Ticks(pool))
    for relay in one_for_each(pool, client, batch_size=batch_size):
        await relay.publish(GO_ON)
    assert await the_same_as_one_stream(connection, pool, client)
    assert all(await in_all(client))


async def test_a_tick_of_many_pages_is_parted_exactly(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis
) -> None:
    await connection.execute(
        "INSERT INTO outbox.event_1 (entity, entity_id, operation, payload)"
        " SELECT 'series', 's' || n % 97, 'update', format('{\"n\":%s}', n)"
        " FROM generate_series(1, 20000) AS n"
    )
    for relay in one_for_each(pool, client, batch_size=700):
        await relay.publish(GO_ON)
    assert await the_same_as_one_stream(connection, pool, client)
    sizes = [len(stream) for stream in await in_all(client)]
    assert sum(sizes) == 20_000
    assert min(sizes) > 1000


async def test_many_small_ticks_are_parted_exactly(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis
) -> None:
    relays = one_for_each(pool, client)
    for n in range(200):
        await write(connection, f"{n % 23}")
        await Ticks(pool).make()
        if n % 40 == 0:
            await relays[n // 40 % OF].publish(GO_ON)
    for relay in relays:
        await relay.publish(GO_ON)
    assert await the_same_as_one_stream(connection, pool, client)


async def test_of_a_tick_without_events_of_its_own_a_partition_takes_note(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis
) -> None:
    relays = one_for_each(pool, client)
    for _ in range(3):
        await write(connection, "one entity", 5)
        assert sorted([await relay.publish(GO_ON) for relay in relays]) == [0, 0, 0, 5]
    last = (await Ticks(pool).after(0))[-1].last
    assert [relay.place for relay in relays] == [last] * OF
    assert sorted([len(stream) for stream in await in_all(client)]) == [0, 0, 0, 15]


@pytest.mark.parametrize(
    ("entity_id", "number"),
    [
        ("0198f0aa-0000-7000-8000-000000000001", 1),
        ("0198f0aa-0000-7000-8000-000000000004", 2),
        ("0198f0aa-0000-7000-8000-000000000005", 0),
        ("0198f0aa-0000-7000-8000-000000000006", 3),
        ("\u00e9\u2028", 1),
    ],
)
async def test_where_an_entity_belongs_never_changes(
    connection: asyncpg.Connection, entity_id: str, number: int
) -> None:
    found = "SELECT outbox.partition_of($1, 4), outbox.partition_of($1, 1)"
    assert tuple(await connection.fetchrow(found, entity_id) or ()) == (number, 0)


async def test_writers_and_publishers_at_once_part_everything_exactly(
    connect: Connect, database: str, pool: asyncpg.Pool, client: Redis
) -> None:
    writers = [await connect() for _ in range(6)]
    dice = random.Random(5)  # noqa: S311 - to be the same again

    async def keep_writing(writer: asyncpg.Connection, number: int) -> None:
        for n in range(40):
            transaction = writer.transaction()
            await transaction.start()
            for _ in range(dice.randrange(1, 5)):
                await write(writer, f"{number}/{dice.randrange(8)}", dice.randrange(1, 4))
                await asyncio.sleep(0.004 * dice.random())
            if n % 9 == 0:
                await transaction.rollback()
            else:
                await transaction.commit()

    async with (
        running(database, client, keys=KEYS) as one,
        running(database, client, keys=KEYS) as other,
    ):
        await asyncio.gather(*(keep_writing(c, number) for number, c in enumerate(writers)))
        count = await writers[0].fetchval("SELECT count(*) FROM outbox.event")

        async def all_there() -> bool:
            return bool(sum(map(len, await in_all(client))) == count)

        await eventually(all_there)
        assert sorted(one.leading.streams + other.leading.streams) == KEYS
    assert await the_same_as_one_stream(writers[0], pool, client)


# Each for itself


async def added(redis: Redis) -> list[int]:
    """How many entries were ever added to each."""
    infos: list[Any] = [await redis.xinfo_stream(key) for key in KEYS]
    return [info["entries-added"] for info in infos]


async def filled(publisher: InProcess, redis: Redis, writer: asyncpg.Connection) -> list[Entries]:
    """All streams with some entries each, when they are level with the outbox."""
    assert publisher
    before = sum(map(len, await in_all(redis)))
    for n in range(40):
        await write(writer, f"{n}")

    async def all_there() -> bool:
        return sum(map(len, await in_all(redis))) == before + 40

    await eventually(all_there)
    return await in_all(redis)


async def test_a_stream_that_is_deleted_is_put_back_and_the_others_are_not_touched(
    database: str, connection: asyncpg.Connection, client: Redis
) -> None:
    pacing = replace(QUICK, quiet_check_s=0.1)
    with capture_logs() as logs:
        async with running(database, client, keys=KEYS, pacing=pacing) as publisher:
            before = await filled(publisher, client, connection)
            counts = await added(client)
            await client.delete(KEYS[2])

            async def is_back() -> bool:
                return await in_all(client) == before

            await eventually(is_back)
            assert await added(client) == counts
            assert [line["stream"] for line in said(logs, "stream.lost")] == [KEYS[2]]
            await filled(publisher, client, connection)


async def test_a_stream_that_is_stuck_holds_up_no_other(
    database: str, pool: asyncpg.Pool, connection: asyncpg.Connection, client: Redis
) -> None:
    async with running(database, client, keys=KEYS) as publisher:
        before = [len(stream) for stream in await filled(publisher, client, connection)]
        await client.delete(KEYS[1])
        await client.set(KEYS[1], "mine")
        for n in range(40):
            await write(connection, f"{n}")

        async def others_go_on() -> bool:
            held = [0 if key == KEYS[1] else len(await entries(client, key)) for key in KEYS]
            return held == [0 if n == 1 else 2 * count for n, count in enumerate(before)]

        await eventually(others_go_on)

        async def is_told() -> bool:
            return publisher.leading.reasons == {KEYS[1]: "wrongtype"}

        await eventually(is_told)
        assert await client.get(KEYS[1]) == "mine"
        await client.delete(KEYS[1])

        async def is_back() -> bool:
            return [len(stream) for stream in await in_all(client)] == [2 * n for n in before]

        await eventually(is_back)
    assert await the_same_as_one_stream(connection, pool, client)


async def test_a_foreign_entry_above_pending_events_holds_up_its_own_stream_until_that_is_deleted(
    database: str, pool: asyncpg.Pool, connection: asyncpg.Connection, each_redis_url: str
) -> None:
    async with (
        client_of(each_redis_url) as client,
        running(database, client, keys=KEYS) as publisher,
    ):
        before = [len(stream) for stream in await filled(publisher, client, connection)]
        last, _ = (await entries(client, KEYS[1]))[-1]
        far = f"{Position.parse(last).ms + 60_000}-0"
        await client.xadd(KEYS[1], FOREIGN, id=far)  # type: ignore[arg-type]
        for n in range(40):
            await write(connection, f"{n}")

        async def others_go_on() -> bool:
            held = [len(stream) for stream in await in_all(client)]
            return held == [count + 1 if n == 1 else 2 * count for n, count in enumerate(before)]

        await eventually(others_go_on)

        async def is_told() -> bool:
            return publisher.leading.reasons == {KEYS[1]: "foreign"}

        await eventually(is_told)
        await client.delete(KEYS[1])

        async def all_there() -> bool:
            return [len(stream) for stream in await in_all(client)] == [2 * n for n in before]

        await eventually(all_there)
        assert await the_same_as_one_stream(connection, pool, client)

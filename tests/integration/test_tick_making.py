"""How a tick is made: one at a time, durable, by a snapshot younger than its lock."""

import asyncio
import random
from typing import Any, Literal

import asyncpg
import pytest
from publishing import by_definition, entity_ids, read, write
from servers import Connect

from outbox.ticks import Ticks


@pytest.fixture
def ticks(pool: asyncpg.Pool) -> Ticks:
    return Ticks(pool)


async def test_ticks_made_at_once_share_the_events_out_exactly(
    connect: Connect, pool: asyncpg.Pool
) -> None:
    dice = random.Random(7)  # noqa: S311 - to be the same again
    writers = [await connect() for _ in range(8)]
    written = set[str]()

    async def keep_writing(connection: asyncpg.Connection, writer: int) -> None:
        for n in range(40):
            name = f"{writer} {n}"
            transaction = connection.transaction()
            await transaction.start()
            for _ in range(dice.randrange(1, 4)):
                await write(connection, name, dice.randrange(1, 4))
                await asyncio.sleep(dice.choice([0, 0, 0.002]))
            if dice.random() < 0.2:
                await transaction.rollback()
            else:
                await transaction.commit()
                written.add(name)

    async def keep_ticking(writing: "asyncio.Future[Any]") -> None:
        ticks = Ticks(pool)
        while not writing.done():
            await ticks.make()

    writing = asyncio.gather(*(keep_writing(c, number) for number, c in enumerate(writers)))
    await asyncio.gather(writing, *(keep_ticking(writing) for _ in range(8)))
    ticks = Ticks(pool)
    await ticks.make()
    found = await read(ticks)
    committed = await writers[0].fetch("SELECT entity_id, payload FROM outbox.event ORDER BY id")
    assert {event.entity_id for event in found} == written
    assert sorted((e.entity_id, e.payload) for e in found) == sorted(map(tuple, committed))
    assert found == await by_definition(writers[0])
    totals = await writers[0].fetch("SELECT events, total_before FROM outbox.tick ORDER BY ms")
    assert [row["total_before"] for row in totals] == [
        sum(row["events"] for row in totals[:n]) for n in range(len(totals))
    ]
    assert sum(row["events"] for row in totals) == len(committed)


async def test_the_snapshot_is_taken_after_the_lock(
    connect: Connect, ticks: Ticks, pool: asyncpg.Pool
) -> None:
    holder, writer = await connect(), await connect()
    async with holder.transaction():
        await holder.execute("SELECT pg_advisory_xact_lock(hashtextextended('outbox.tick', 0))")
        making = asyncio.create_task(Ticks(pool).make())
        async with asyncio.timeout(10):
            while not await writer.fetchval(  # noqa: ASYNC110 - it waits in the server
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            ):
                await asyncio.sleep(0.005)
        await write(writer, "committed while it waited")
    _, tick = await making
    assert tick is not None
    assert await entity_ids(ticks) == ["committed while it waited"]


@pytest.mark.parametrize("isolation", ["repeatable_read", "serializable"])
async def test_a_tick_is_refused_where_the_snapshot_is_older_than_the_lock(
    connection: asyncpg.Connection, isolation: Literal["repeatable_read", "serializable"]
) -> None:
    await write(connection, "a")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError, match="READ COMMITTED"):
        async with connection.transaction(isolation=isolation):
            await connection.execute("SELECT outbox.make_tick()")
    assert await connection.fetchval("SELECT count(*) FROM outbox.tick") == 0


@pytest.mark.parametrize(
    ("asked", "used"), [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
async def test_a_tick_is_durable_whatever_the_session_asked_for(
    connection: asyncpg.Connection, asked: str, used: str
) -> None:
    await write(connection, "a")
    await connection.execute(f"SET synchronous_commit = {asked}")
    async with connection.transaction():
        await connection.execute("SELECT outbox.make_tick()")
        assert await connection.fetchval("SHOW synchronous_commit") == used
    assert await connection.fetchval("SHOW synchronous_commit") == asked


async def test_a_look_that_takes_a_transaction_number_makes_it_durable(
    connect: Connect, connection: asyncpg.Connection
) -> None:
    slow = await connect()
    async with slow.transaction():
        await write(slow, "slow", 2000)
        # Once before, because the first to read a page may write a record about that.
        await connection.execute("SELECT outbox.make_tick()")
        async with connection.transaction():
            written = await connection.fetchval("SELECT pg_current_wal_insert_lsn()::text")
            assert await connection.fetchval("SELECT ms FROM outbox.make_tick()") is None
            # A commit waits for the disk if its transaction has written a record, and only then.
            wrote = "SELECT pg_current_wal_insert_lsn() > $1::text::pg_lsn"
            assert await connection.fetchval(wrote, written)

"""A tick is a stored snapshot: which events are its own, and what numbers they get."""

import asyncio
import json

import asyncpg
import pytest
from captured import add_series
from publishing import entity_ids, read, write
from servers import Connect
from ticking import FAR_FUTURE_MS, make

from outbox.position import Position
from outbox.ticks import Ticks


@pytest.fixture
def ticks(pool: asyncpg.Pool) -> Ticks:
    return Ticks(pool)


async def test_an_event_gets_its_place_with_the_next_tick(
    connection: asyncpg.Connection, ticks: Ticks
) -> None:
    await write(connection, "a", 3)
    assert await read(ticks) == []
    tick = await make(ticks)
    events = await read(ticks)
    assert [event.id for event in events] == [f"{tick.ms}-{index}" for index in range(3)]
    assert [json.loads(event.payload)["n"] for event in events] == [1, 2, 3]


async def test_a_low_id_that_commits_late_belongs_to_the_later_tick(
    connect: Connect, ticks: Ticks
) -> None:
    slow, quick = await connect(), await connect()
    async with slow.transaction():
        await write(slow, "slow")
        await write(quick, "quick")
        first = await make(ticks)
        assert await entity_ids(ticks) == ["quick"]
    second = await make(ticks)
    assert await entity_ids(ticks) == ["quick", "slow"]
    assert await entity_ids(ticks, first.last) == ["slow"]
    assert second.last == Position(second.ms, 0)


async def test_a_transaction_that_outlives_several_ticks_is_not_lost(
    connect: Connect, ticks: Ticks
) -> None:
    slow, quick = await connect(), await connect()
    async with slow.transaction():
        await write(slow, "slow 1")
        for name in ("a", "b", "c"):
            await write(quick, name)
            await make(ticks)
            await write(slow, f"slow after {name}")
    await make(ticks)
    assert await entity_ids(ticks) == [
        *["a", "b", "c"],
        *["slow 1", "slow after a", "slow after b", "slow after c"],
    ]


async def test_what_commits_while_nothing_is_new_is_found_by_the_next_look(
    connect: Connect, ticks: Ticks
) -> None:
    slow, quick = await connect(), await connect()
    await write(quick, "first")
    await make(ticks)
    async with slow.transaction():
        await write(slow, "early")
        assert (await ticks.make())[1] is None
        await write(slow, "late")
        assert (await ticks.make())[1] is None
    await write(quick, "last")
    await make(ticks)
    assert await entity_ids(ticks) == ["first", "early", "late", "last"]


async def test_the_changes_of_one_entity_stay_in_the_order_of_their_commits(
    connect: Connect, ticks: Ticks
) -> None:
    writers = [await connect() for _ in range(4)]
    [series] = await add_series(writers[0])

    async def retitle(connection: asyncpg.Connection, writer: int) -> None:
        for n in range(15):
            async with connection.transaction():
                # An ID drawn long before the commit, so that ids alone would mislead.
                await write(connection, "other")
                await connection.execute(
                    "UPDATE catalog.series SET title = $2 WHERE id = $1", series, f"{writer} {n}"
                )
                await asyncio.sleep(0.001 * writer)

    writing = asyncio.gather(*(retitle(c, number) for number, c in enumerate(writers)))
    while not writing.done():
        await ticks.make()
    await writing
    await ticks.make()
    titles = [
        json.loads(event.payload)["title"]
        for event in await read(ticks)
        if event.entity_id == str(series)
    ]
    assert len(titles) == 61
    ids = await writers[0].fetch(
        "SELECT payload::json->>'title' AS title FROM outbox.event"
        " WHERE entity_id = $1 ORDER BY id",
        str(series),
    )
    assert titles == [row["title"] for row in ids]
    assert titles[-1] == await writers[0].fetchval("SELECT title FROM catalog.series")


async def test_there_is_no_tick_where_nothing_is_new(
    connection: asyncpg.Connection, ticks: Ticks
) -> None:
    assert await ticks.make() == (None, None)
    await write(connection, "a")
    tick = await make(ticks)
    assert await ticks.make() == (tick.ms, None)
    assert await ticks.make() == (tick.ms, None)
    assert await connection.fetchval("SELECT count(*) FROM outbox.tick") == 1


async def test_a_rolled_back_write_is_in_no_tick(
    connection: asyncpg.Connection, ticks: Ticks
) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await write(connection, "rolled back")
    assert (await ticks.make())[1] is None
    await transaction.rollback()
    assert (await ticks.make())[1] is None
    await write(connection, "kept")
    tick = await make(ticks)
    assert tick.events == 1
    assert await entity_ids(ticks) == ["kept"]


async def test_a_savepoint_takes_back_its_own_events_and_no_others(
    connection: asyncpg.Connection, ticks: Ticks
) -> None:
    async with connection.transaction():
        await write(connection, "before")
        await connection.execute("SAVEPOINT one")
        await write(connection, "taken back")
        await connection.execute("ROLLBACK TO one")
        await connection.execute("SAVEPOINT two")
        # Written under a transaction id of the savepoint's own, which no snapshot lists.
        await write(connection, "released")
        assert (await ticks.make())[1] is None
        await connection.execute("RELEASE two")
        await write(connection, "after")
    await make(ticks)
    assert await entity_ids(ticks) == ["before", "released", "after"]


@pytest.mark.parametrize("ends", ["COMMIT", "ROLLBACK"])
async def test_a_prepared_transaction_belongs_to_the_tick_after_its_second_commit(
    connect: Connect, ticks: Ticks, ends: str
) -> None:
    preparing, other = await connect(), await connect()
    # Its name belongs to the server, which other tests share.
    name = await other.fetchval("SELECT current_database()")
    await preparing.execute("BEGIN")
    await write(preparing, "prepared")
    await preparing.execute(f"PREPARE TRANSACTION '{name}'")
    await write(other, "quick")
    await make(ticks)
    assert (await ticks.make())[1] is None
    await other.execute(f"{ends} PREPARED '{name}'")
    await ticks.make()
    assert await entity_ids(ticks) == ["quick", *(["prepared"] if ends == "COMMIT" else [])]


# The numbers of ticks


async def test_ms_is_the_time_and_strictly_increases(
    connection: asyncpg.Connection, ticks: Ticks
) -> None:
    clock = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
    before = await connection.fetchval(clock)
    found = []
    for _ in range(20):
        await write(connection, "a")
        found.append((await make(ticks)).ms)
    assert found == sorted(set(found))
    assert before <= found[0]
    # Each is at most one above the last where they fall into the same millisecond.
    assert found[-1] <= await connection.fetchval(clock) + 20


async def test_ms_does_not_go_back_with_the_clock(
    connection: asyncpg.Connection, ticks: Ticks
) -> None:
    await write(connection, "a")
    future = await make(ticks, above_ms=FAR_FUTURE_MS)
    assert future.ms == FAR_FUTURE_MS + 1
    await write(connection, "b")
    assert (await make(ticks)).ms == FAR_FUTURE_MS + 2
    await write(connection, "c")
    assert (await make(ticks, above_ms=5)).ms == FAR_FUTURE_MS + 3
    assert await entity_ids(ticks) == ["a", "b", "c"]


async def test_the_totals_count_every_event_once(
    connection: asyncpg.Connection, ticks: Ticks
) -> None:
    made = []
    for count in (3, 1, 7):
        await write(connection, "a", count)
        made.append(await make(ticks))
    assert [(tick.total_before, tick.events) for tick in made] == [(0, 3), (3, 1), (4, 7)]

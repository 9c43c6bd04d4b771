"""A tick is a stored snapshot: which events are its own, their IDs, and what reading it costs."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any, Literal

import asyncpg
import pytest
from captured import add_series
from publishing import by_definition, entity_ids, outbox_pool, read, write
from servers import Connect

from outbox import connection as outbox_connection
from outbox import sql
from outbox.event import Event
from outbox.position import ORIGIN, Position
from outbox.tick import Tick
from outbox.ticks import Ticks

STATEMENTS = sql.load("outbox")
FAR_FUTURE_MS = 4_000_000_000_000  # the year 2096


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with outbox_pool(database) as pool:
        yield pool


@pytest.fixture
def ticks(pool: asyncpg.Pool) -> Ticks:
    return Ticks(pool)


async def make(ticks: Ticks, *, above_ms: int = 0) -> Tick:
    _, tick = await ticks.make(above_ms=above_ms)
    assert tick is not None
    return tick


# What a tick holds


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


@pytest.mark.timeout(300)
async def test_a_tick_of_a_million_events_uses_the_milliseconds_that_follow_it(
    connection: asyncpg.Connection, ticks: Ticks
) -> None:
    count, half = 1_100_000, 2**20
    await write(connection, "before")
    before = await make(ticks)
    await write(connection, "large", count)
    large = await make(ticks)
    await write(connection, "after")
    after = await make(ticks)
    assert large.events == count
    assert large.last == Position(large.ms + 1, count - half - 1)
    assert after.ms > large.ms + 1
    index = 0
    async for batch in ticks.batches_after(before.last, size=10_000):
        assert batch.events <= 10_000
        if batch.first > large.last:
            break
        numbers = range(index, index + batch.events)
        assert [(event.id, event.payload) for event in batch] == [
            (f"{large.ms + (i >> 20)}-{i & 0xFFFFF}", f'{{"n":{i + 1}}}') for i in numbers
        ]
        index += batch.events
    assert index == count
    for index in (0, 1, half - 1, half, half + 1, count - 1):
        position = Position.in_tick(large.ms, index)
        found = await ticks.event_at(position)
        assert found is not None
        assert (found.id, found.payload) == (str(position), f'{{"n":{index + 1}}}')
        async for batch in ticks.batches_after(position, size=10):
            following = Position.in_tick(large.ms, index + 1)
            assert batch.first == (following if index + 1 < count else Position(after.ms, 0))
            break
    # No event has this ID, though it lies between the tick's first and last.
    assert await ticks.event_at(Position(large.ms, half)) is None
    async for batch in ticks.batches_after(Position(large.ms, half + 5), size=10):
        assert batch.first == Position(large.ms + 1, 0)
        break


# How a tick is made


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


# Reading


async def several_ticks(connect: Connect, ticks: Ticks) -> list[Tick]:
    """Small ticks and large ones; transactions of one tick and of several, interleaved."""
    quick, one, two, three = [await connect() for _ in range(4)]
    made = []

    async def tick() -> None:
        made.append(await make(ticks))

    for name in ("a", "b", "c"):
        await write(quick, name)
    await tick()
    transactions = [connection.transaction() for connection in (one, two, three)]
    for transaction in transactions:
        await transaction.start()
    for n in range(4):
        for connection, name in ((one, "one"), (two, "two"), (three, "three")):
            await write(connection, f"{name} {n}", 1 + n % 2)
    await write(quick, "d")
    await tick()
    await write(two, "two again")
    await transactions[0].commit()
    await write(quick, "e", 2)
    await tick()
    await write(three, "three again", 3)
    await write(quick, "f", 2)
    await transactions[2].commit()
    await write(two, "two at last")
    await transactions[1].commit()
    await write(quick, "g", 3)
    await tick()
    for name in ("h", "i"):
        await write(quick, name)
        await tick()
    return made


async def test_from_every_position_every_batch_size_reads_the_same(
    connect: Connect, connection: asyncpg.Connection, ticks: Ticks
) -> None:
    made = await several_ticks(connect, ticks)
    expected = await by_definition(connection)
    assert [tick.events for tick in made] == [3, 1, 8, 22, 1, 1]
    assert len({event.id for event in expected}) == len(expected) == 36
    positions = [ORIGIN, *(Position.parse(event.id) for event in expected)]
    # Positions at which no event stands are places as well.
    positions += [Position(made[0].ms - 1, 7), Position(made[-1].ms + 1000, 0)]
    positions += [Position(tick.last.ms, tick.last.seq + 3) for tick in made]
    for position in positions:
        following = [event for event in expected if Position.parse(event.id) > position]
        for size in (1, 2, 7, 1000):
            assert await read(ticks, position, size=size) == following, (position, size)


async def test_each_event_is_found_by_its_position_and_none_between(
    connect: Connect, connection: asyncpg.Connection, ticks: Ticks
) -> None:
    made = await several_ticks(connect, ticks)
    for event in await by_definition(connection):
        assert await ticks.event_at(Position.parse(event.id)) == event
    for position in (
        *[ORIGIN, Position(made[0].ms - 1, 0), Position(made[-1].ms + 1, 0)],
        *(Position(tick.last.ms, tick.last.seq + 1) for tick in made),
    ):
        assert await ticks.event_at(position) is None


async def test_ticks_are_found_by_the_positions_in_them(connect: Connect, ticks: Ticks) -> None:
    made = await several_ticks(connect, ticks)
    assert await ticks.after(0) == made
    assert await ticks.after(made[1].ms, limit=2) == made[2:4]
    assert await ticks.around(made[3].last) == made[3]
    assert await ticks.around(Position(made[-1].ms + 5, 0)) == made[-1]
    assert await ticks.around(Position(made[0].ms - 1, 0)) is None


# New IDs for events whose own cannot be appended any more


def content(events: list[Event]) -> list[Event]:
    return [event._replace(id="") for event in events]


@pytest.mark.parametrize(("number", "index"), [(0, 0), (2, 0), (2, 3), (3, 1), (3, 21), (5, 0)])
async def test_new_ids_keep_the_events_and_their_order(
    connect: Connect, connection: asyncpg.Connection, ticks: Ticks, number: int, index: int
) -> None:
    made = await several_ticks(connect, ticks)
    before = await by_definition(connection)
    kept = sum(tick.events for tick in made[:number]) + index
    moved = await ticks.renumber(made[number], index, above_ms=FAR_FUTURE_MS)
    after = await read(ticks)
    assert moved == len(before) - kept
    assert content(after) == content(before)
    assert after[:kept] == before[:kept]
    assert all(Position.parse(event.id) > Position(FAR_FUTURE_MS, 2**64) for event in after[kept:])
    positions = [Position.parse(event.id) for event in after]
    assert positions == sorted(set(positions))
    for place, position in enumerate([ORIGIN, *positions]):
        for size in (1, 7):
            assert await read(ticks, position, size=size) == after[place:]
    for event, position in zip(after, positions, strict=True):
        assert await ticks.event_at(position) == event
    totals = await connection.fetch("SELECT events, total_before FROM outbox.tick ORDER BY ms")
    assert [row["total_before"] for row in totals] == [
        sum(row["events"] for row in totals[:n]) for n in range(len(totals))
    ]
    await write(connection, "new")
    new = await make(ticks)
    assert (new.ms > positions[-1].ms, new.total_before) == (True, len(before))


@pytest.mark.parametrize("index", [0, 3])
async def test_two_publishers_that_ask_for_new_ids_at_once_give_them_once(
    connect: Connect, ticks: Ticks, index: int
) -> None:
    made = await several_ticks(connect, ticks)
    assert await ticks.renumber(made[2], index, above_ms=FAR_FUTURE_MS) > 0
    after = await read(ticks)
    # The first may have appended some of them by now: these IDs are in the stream.
    assert await ticks.renumber(made[2], index, above_ms=FAR_FUTURE_MS) == 0
    assert await read(ticks) == after


async def test_events_that_have_new_ids_can_be_given_newer_ones(
    connect: Connect, connection: asyncpg.Connection, ticks: Ticks
) -> None:
    made = await several_ticks(connect, ticks)
    before = await by_definition(connection)
    await ticks.renumber(made[3], 10, above_ms=FAR_FUTURE_MS)
    again = await ticks.around(Position(FAR_FUTURE_MS + 1, 0))
    assert again is not None
    await ticks.renumber(again, 5, above_ms=FAR_FUTURE_MS + 10_000)
    after = await read(ticks, size=4)
    assert content(after) == content(before)
    assert [p.ms for event in after if (p := Position.parse(event.id)).ms > FAR_FUTURE_MS][4:6] == [
        FAR_FUTURE_MS + 1,
        FAR_FUTURE_MS + 10_001,
    ]


# What it costs while a transaction is held open and many rows lie in the table

TOUCHED = """
SELECT sum(touched)::bigint
  FROM (SELECT pg_stat_get_xact_tuples_returned(indexrelid) AS touched
          FROM pg_index WHERE indrelid = 'outbox.event_1'::regclass
        UNION ALL
        SELECT pg_stat_get_xact_tuples_returned('outbox.event_1'::regclass)) AS counted
"""
MANY = 200_000
FEW = 1000


@pytest.fixture
async def reader(connect: Connect) -> asyncpg.Connection:
    return await connect(server_settings=outbox_connection.SETTINGS)


async def touched(connection: asyncpg.Connection, statement: str, *arguments: object) -> int:
    """How many rows of outbox.event *statement* read, out of a table or an index."""
    async with connection.transaction():
        # Counts of earlier transactions stay in these numbers for a while.
        before: int = await connection.fetchval(TOUCHED)
        await connection.fetch(statement, *arguments)
        after: int = await connection.fetchval(TOUCHED)
    return after - before


def plan_nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in plan_nodes(part))]


async def explained(
    connection: asyncpg.Connection, statement: str, *arguments: object
) -> list[dict[str, Any]]:
    """The nodes of the plan of *statement* as it ran, generic as it becomes when it is hot."""
    [found] = json.loads(
        await connection.fetchval(
            f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *arguments
        )
    )
    return plan_nodes(found["Plan"])


async def test_an_open_transaction_is_not_read_again_by_every_look(
    connect: Connect, reader: asyncpg.Connection
) -> None:
    slow = await connect()
    async with slow.transaction():
        await write(slow, "slow", MANY)
        looked = await reader.fetchrow(STATEMENTS["make_tick"], None, None, None, None, 0, 1000)
        assert looked is not None
        assert looked["ms"] is None
        for _ in range(8):
            memo = (
                *(looked[name] for name in ("previous_ms", "snapshot", "next_xid", "id_floor")),
                0,
                1000,
            )
            assert await touched(reader, STATEMENTS["make_tick"], *memo) < FEW
            looked = await reader.fetchrow(STATEMENTS["make_tick"], *memo)
            assert looked is not None


async def test_ticks_hands_back_how_far_it_has_looked(connect: Connect, ticks: Ticks) -> None:
    slow, quick = await connect(), await connect()
    async with slow.transaction():
        await write(slow, "slow", 2000)
        assert (await ticks.make())[1] is None
        await write(quick, "quick")
        tick = await make(ticks)
        assert tick.since_floor >= 2000
    assert (await make(ticks)).events == 2000


async def test_a_look_reads_what_is_new_and_nothing_else(
    connect: Connect, reader: asyncpg.Connection, ticks: Ticks
) -> None:
    slow, quick = await connect(), await connect()
    await write(quick, "old", MANY)
    async with slow.transaction():
        await write(slow, "slow", MANY)
        await write(quick, "seen")
        await make(ticks)
        for n in range(16):
            late = await connect()
            await late.execute("BEGIN")
            await write(late, "late", 10)
            await write(quick, "new", 10)
            assert (
                await touched(reader, STATEMENTS["make_tick"], None, None, None, None, 0, 1000)
                < FEW
            )
            await late.execute("COMMIT")
            # One of ten events that end here and began before the tick above.
            assert (
                await touched(reader, STATEMENTS["make_tick"], None, None, None, None, 0, 1000)
                < FEW
            )
            if n == 8:
                await reader.execute("ANALYZE outbox.event")
        assert await reader.fetchval("SELECT count(*) FROM outbox.tick WHERE late <> '{}'") == 16


async def test_reading_touches_a_bounded_number_of_rows(
    connect: Connect, reader: asyncpg.Connection, ticks: Ticks
) -> None:
    slow, late, quick = [await connect() for _ in range(3)]
    await write(quick, "old", MANY)
    await make(ticks)
    async with slow.transaction():
        await write(slow, "slow", MANY)
        await late.execute("BEGIN")
        await write(late, "late", 50)
        await write(quick, "seen")
        first = await make(ticks)
        await late.execute("COMMIT")
        await write(quick, "new", 50)
        second = await make(ticks)
        await write(quick, "newer", 50)
        third = await make(ticks)
        span = (second.id_top, second.snapshot, second.since)
        hot: dict[str, tuple[object, ...]] = {
            "events_of_ticks": (second.ms, third.ms),
            "late_events": (second.late, 0, second.since_floor, 20, 20),
            "count_late_events": (second.late, second.since_floor),
            "new_events": (second.since_floor, *span, 20),
        }
        assert first.events == 1
        for analyzed in (False, True):
            if analyzed:
                await reader.execute("ANALYZE outbox.event")
            for mode in ("force_custom_plan", "force_generic_plan"):
                await reader.execute(f"SET plan_cache_mode = {mode}")
                for name, arguments in hot.items():
                    case = (name, mode, analyzed)
                    assert 0 < await touched(reader, STATEMENTS[name], *arguments) < FEW, case
                    nodes = await explained(reader, STATEMENTS[name], *arguments)
                    assert not [n for n in nodes if n["Node Type"] == "Seq Scan"], case
                    used = {n["Index Name"] for n in nodes if "Index Name" in n}
                    assert any(name.startswith("event_1") for name in used), case
                    if name == "new_events":
                        assert not [n for n in nodes if n["Node Type"] == "Sort"], case

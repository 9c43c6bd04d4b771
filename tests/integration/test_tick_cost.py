"""What a look costs while a transaction is held open and many rows lie in the table."""

import json
from typing import Any

import asyncpg
import pytest
from publishing import write
from servers import Connect
from ticking import make

from outbox import connection as outbox_connection
from outbox import sql
from outbox.ticks import Ticks

STATEMENTS = sql.load("outbox")


@pytest.fixture
def ticks(pool: asyncpg.Pool) -> Ticks:
    return Ticks(pool)


TOUCHED = """
SELECT sum(touched)::bigint
  FROM (SELECT pg_stat_get_xact_tuples_returned(indexrelid) AS touched
          FROM pg_index WHERE indrelid = 'outbox.event_1'::regclass
        UNION ALL
        SELECT pg_stat_get_xact_tuples_returned('outbox.event_1'::regclass)) AS counted
"""
MANY = 200_000
FEW = 1000
HOW = (0, 1000, None)
"""The rest of what a tick is made with: above what, packed up to, settled for."""
NEW_LOOK = (None, None, None, None, *HOW)


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
        looked = await reader.fetchrow(STATEMENTS["make_tick"], *NEW_LOOK)
        assert looked is not None
        assert looked["ms"] is None
        for _ in range(8):
            memo = (
                *(looked[name] for name in ("previous_ms", "snapshot", "next_xid", "id_floor")),
                *HOW,
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
            assert await touched(reader, STATEMENTS["make_tick"], *NEW_LOOK) < FEW
            await late.execute("COMMIT")
            # One of ten events that end here and began before the tick above.
            assert await touched(reader, STATEMENTS["make_tick"], *NEW_LOOK) < FEW
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

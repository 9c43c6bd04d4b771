"""New IDs for events whose own cannot be appended any more."""

import asyncpg
import pytest
from publishing import by_definition, read, write
from servers import Connect
from ticking import FAR_FUTURE_MS, make, several_ticks

from outbox.event import Event
from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks


@pytest.fixture
def ticks(pool: asyncpg.Pool) -> Ticks:
    return Ticks(pool)


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

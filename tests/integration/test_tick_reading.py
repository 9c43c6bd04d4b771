"""Reading ticks: from any position, in batches of any size, of any size themselves."""

import asyncpg
import pytest
from publishing import by_definition, read, write
from servers import Connect
from ticking import make, several_ticks

from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks


@pytest.fixture
def ticks(pool: asyncpg.Pool) -> Ticks:
    return Ticks(pool)


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

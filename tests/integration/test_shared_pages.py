"""Partitions of one process read together: all that is theirs, each page once, nobody held up."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection
from typing import Any

import asyncpg
import pytest
from publishing import by_definition, write
from servers import Connect
from ticking import FAR_FUTURE_MS, make, several_ticks

from outbox import connection as outbox_connection
from outbox.batch import Share
from outbox.errors import OutboxUnavailable, OutboxUnreadable
from outbox.event import Event
from outbox.pages import Pages, SharedPage
from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks

OF = 3


@pytest.fixture
def statements() -> Counter[str]:
    """How often each statement was run."""
    return Counter()


@pytest.fixture
async def pool(database: str, statements: Counter[str]) -> AsyncIterator[asyncpg.Pool]:
    async def count(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(lambda record: statements.update([record.query]))

    async with asyncpg.create_pool(
        database, min_size=0, max_size=8, server_settings=outbox_connection.SETTINGS, init=count
    ) as pool:
        yield pool


@pytest.fixture
def whole(pool: asyncpg.Pool) -> Ticks:
    return Ticks(pool)


@pytest.fixture
def shares(pool: asyncpg.Pool) -> list[Ticks]:
    pages = Pages()
    return [Ticks(pool, Share(number, OF), pages) for number in range(OF)]


async def read(ticks: Ticks, after: Position = ORIGIN, *, size: int = 100) -> list[Event]:
    events: list[Event] = []
    async for batch in ticks.batches_after(after, size=size):
        here = list(batch)
        assert batch.events == len(here) <= size
        if here:
            assert (str(batch.first), str(batch.last)) == (here[0].id, here[-1].id)
            assert batch.last <= batch.reached
            assert batch.largest >= max(len(event.payload) for event in here)
        events += here
    return events


def in_order(parts: Collection[list[Event]]) -> list[Event]:
    return sorted((e for part in parts for e in part), key=lambda e: Position.parse(e.id))


def pages_read(statements: Counter[str]) -> int:
    return sum(n for query, n in statements.items() if "outbox.packed" in query)


async def test_together_they_hold_each_event_once_from_wherever_each_begins(
    connect: Connect, connection: asyncpg.Connection, whole: Ticks, shares: list[Ticks]
) -> None:
    await several_ticks(connect, whole)
    expected = await by_definition(connection)
    theirs = [
        {row["entity_id"] for row in rows}
        for number in range(OF)
        if (
            rows := await connection.fetch(
                "SELECT entity_id FROM outbox.event WHERE outbox.partition_of(entity_id, $2) = $1",
                *(number, OF),
            )
        )
    ]
    places = [ORIGIN, *(Position.parse(event.id) for event in expected)]
    for size in (1, 2, 3, 7, 10, 1000):
        for n in range(len(places)):
            begun = [places[(n + 5 * number) % len(places)] for number in range(OF)]
            parts = await asyncio.gather(
                *(read(ticks, place, size=size) for ticks, place in zip(shares, begun, strict=True))
            )
            for part, place, own in zip(parts, begun, theirs, strict=True):
                assert part == [
                    event
                    for event in expected
                    if event.entity_id in own and Position.parse(event.id) > place
                ], (size, place)


@pytest.mark.parametrize(("per_tick", "at_most"), [(1, 14), (30, 25), (1000, 14)])
async def test_a_page_is_read_once_for_all_whatever_place_each_is_at(  # noqa: PLR0913, PLR0917
    connection: asyncpg.Connection,
    whole: Ticks,
    shares: list[Ticks],
    statements: Counter[str],
    per_tick: int,
    at_most: int,
) -> None:
    await write(connection, "before", 50)
    await make(whole)
    await asyncio.gather(*(read(ticks) for ticks in shares))
    for n in range(1000 // per_tick):
        await write(connection, str(n), per_tick)
        await make(whole)
    ids = [Position.parse(event.id) for event in await by_definition(connection)]
    statements.clear()
    # Each begins inside of another page of a hundred, and goes on for ten more.
    places = [ids[60], ids[87], ids[121]]
    await asyncio.gather(*(read(ticks, place) for ticks, place in zip(shares, places, strict=True)))
    assert pages_read(statements) <= at_most


async def test_events_with_new_ids_are_read_again_under_them(
    connection: asyncpg.Connection, whole: Ticks, shares: list[Ticks]
) -> None:
    for n in range(20):
        await write(connection, str(n))
    tick = await make(whole)
    await asyncio.gather(*(read(ticks) for ticks in shares[1:]))
    await whole.renumber(tick, 8, above_ms=FAR_FUTURE_MS)
    parts = await asyncio.gather(*(read(ticks) for ticks in shares))
    assert [event.id for event in in_order(parts)] == [
        *(f"{tick.ms}-{n}" for n in range(8)),
        *(f"{FAR_FUTURE_MS + 1}-{n}" for n in range(12)),
    ]


async def test_an_event_that_cannot_be_packed_holds_up_its_own_partition_only(
    connection: asyncpg.Connection, whole: Ticks, shares: list[Ticks]
) -> None:
    large = "x" * 40_000
    number = await connection.fetchval("SELECT outbox.partition_of($1, $2)", large, OF)
    for name in ("a", "b", "c", large, "d", "e", "f"):
        await write(connection, name)
    await make(whole)
    parts: list[Any] = await asyncio.gather(
        *(read(ticks) for ticks in shares), return_exceptions=True
    )
    assert isinstance(parts[number], OutboxUnreadable)
    others = [part for n, part in enumerate(parts) if n != number]
    found = [event.entity_id for part in others for event in part]
    rows = await connection.fetch(
        "SELECT entity_id FROM outbox.event WHERE outbox.partition_of(entity_id, $2) <> $1",
        *(number, OF),
    )
    assert sorted(found) == sorted(row["entity_id"] for row in rows)


# The pages themselves


class Source:
    """Hands over empty pages, once it may."""

    def __init__(self, size_bytes: int = 0) -> None:
        self.may = asyncio.Event()
        self.read_for: list[list[int]] = []
        self.failure: Exception | None = None
        self._size_bytes = size_bytes

    async def read(self, numbers: Collection[int]) -> SharedPage:
        self.read_for.append(list(numbers))
        await self.may.wait()
        if self.failure:
            raise self.failure
        page = SharedPage([])
        page.size_bytes = self._size_bytes
        return page


async def known(pages: Pages, *numbers: int) -> None:
    """Let the partitions *numbers* have asked for something."""
    source = Source()
    source.may.set()
    for number in numbers:
        await pages.take(number, ("known", number), source.read)


async def test_who_is_stopped_while_reading_leaves_the_page_to_the_others() -> None:
    pages, source = Pages(), Source()
    await known(pages, 0, 1)
    first = asyncio.create_task(pages.take(0, "page", source.read))
    second = asyncio.create_task(pages.take(1, "page", source.read))
    while not source.read_for:  # noqa: ASYNC110 - it is a matter of a few turns
        await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.may.set()
    await second
    assert source.read_for == [[0, 1]]


async def test_a_failure_is_told_to_all_who_wait_and_then_forgotten() -> None:
    pages, source = Pages(), Source()
    await known(pages, 0, 1, 2)
    source.failure = OutboxUnavailable()
    source.may.set()
    waiting = [pages.take(number, "page", source.read) for number in (0, 1)]
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert failures == [source.failure] * 2
    source.failure = None
    await pages.take(2, "page", source.read)
    assert source.read_for == [[0, 1, 2]] * 2


async def test_who_asks_again_has_it_read_anew() -> None:
    pages, source = Pages(), Source()
    await known(pages, 0, 1)
    source.may.set()
    for number in (0, 0, 1, 1):
        await pages.take(number, "page", source.read)
    assert len(source.read_for) == 3


async def test_only_a_bounded_number_of_bytes_waits_for_those_who_are_behind() -> None:
    pages, source = Pages(), Source(size_bytes=15 << 20)
    await known(pages, 0, 1)
    source.may.set()
    for key in ("one", "two", "three"):
        await pages.take(0, key, source.read)
    source.read_for.clear()
    for key in ("three", "two"):
        await pages.take(1, key, source.read)
    assert source.read_for == []
    await pages.take(1, "one", source.read)
    assert source.read_for == [[0, 1]]

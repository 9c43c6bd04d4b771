"""Events once more, in a stream beside the live one."""

import json
import time
from collections.abc import AsyncIterator

import asyncpg
import pytest
from on_call import typed
from publishing import KEY, entries, outbox_pool, read, write
from redis.asyncio import Redis

from outbox.event import Event
from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks
from process.redis import connection as redis_connection
from publisher.audit.replay import Replayed, Selection, replay, resumed, select
from publisher.errors import ReplayRefused
from publisher.store.stream import EventStream

SIDE = "catalog:events:replay:x"
END = Position(2**64 - 1, 0)
FAST = 10**6


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with outbox_pool(database) as pool:
        yield pool


@pytest.fixture
async def side(redis_url: str) -> AsyncIterator[EventStream]:
    settings = {"DATABASE_URL": "postgresql://", "REDIS_URL": redis_url}
    async with redis_connection.client(settings["REDIS_URL"]) as client:
        yield EventStream(client, SIDE)


@pytest.fixture
async def events(connection: asyncpg.Connection, pool: asyncpg.Pool) -> list[Event]:
    """Twelve events of three entities in four ticks."""
    ticks = Ticks(pool)
    for _ in range(2):
        await write(connection, "a", 3)
        await write(connection, "b", 2)
        await ticks.make()
        await write(connection, "c", 1)
        await ticks.make()
    return await read(ticks)


async def run(
    pool: asyncpg.Pool,
    side: EventStream | None,
    selection: Selection,
    *,
    go_on: bool = False,
    rate: int = FAST,
) -> Replayed:
    selection = await select(Ticks(pool), selection)
    if side:
        selection = await resumed(Ticks(pool), selection, side, go_on=go_on)
    return await replay(pool, Ticks(pool), side, selection, rate=rate, watch=lambda _: None)


def as_entries(events: list[Event]) -> list[tuple[str, dict[str, str]]]:
    return [(event.id, event.fields()) for event in events]


def at(event: Event) -> Position:
    return Position.parse(event.id)


async def test_events_are_written_again_with_the_same_ids_and_fields(
    pool: asyncpg.Pool, side: EventStream, redis: Redis, events: list[Event]
) -> None:
    for first in (at(events[0]), ORIGIN):
        await redis.delete(SIDE)
        done = await run(pool, side, Selection(first, END))
        assert await entries(redis, SIDE) == as_entries(events)
        assert (done.events, done.looked_at, done.of, done.last) == (12, 12, 12, events[-1].id)


@pytest.mark.parametrize(("first", "last"), [(0, 3), (2, 2), (4, 9), (7, 11)])
async def test_both_ends_are_included(  # noqa: PLR0913, PLR0917 - fixtures
    pool: asyncpg.Pool,
    side: EventStream,
    redis: Redis,
    events: list[Event],
    first: int,
    last: int,
) -> None:
    done = await run(pool, side, Selection(at(events[first]), at(events[last])))
    assert await entries(redis, SIDE) == as_entries(events[first : last + 1])
    assert done.of == done.events == last + 1 - first


async def test_one_kind_or_one_entity_may_be_chosen(
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    side: EventStream,
    redis: Redis,
    events: list[Event],
) -> None:
    await run(pool, side, Selection(at(events[0]), END, entity_id="a"))
    assert await entries(redis, SIDE) == as_entries([e for e in events if e.entity_id == "a"])
    await redis.delete(SIDE)
    assert (await run(pool, side, Selection(at(events[0]), END, entity="season"))).events == 0
    await connection.execute(
        "INSERT INTO outbox.event_1 (entity, entity_id, operation, payload)"
        " VALUES ('season', 's', 'update', '{}')"
    )
    await Ticks(pool).make()
    await run(pool, side, Selection(at(events[0]), END, entity="season"))
    assert [fields["entityId"] for _, fields in await entries(redis, SIDE)] == ["s"]


async def test_only_counted_nothing_is_written(
    pool: asyncpg.Pool, redis: Redis, events: list[Event]
) -> None:
    done = await run(pool, None, Selection(at(events[1]), END, entity_id="b"))
    assert (done.events, done.looked_at) == (4, 11)
    assert done.size_bytes > 0
    assert await redis.keys() == []


async def test_what_was_not_in_a_tick_at_the_start_is_left_to_the_live_stream(
    connection: asyncpg.Connection, pool: asyncpg.Pool, side: EventStream, events: list[Event]
) -> None:
    selection = await select(Ticks(pool), Selection(at(events[0]), END))
    await write(connection, "later", 2)
    await Ticks(pool).make()
    done = await replay(pool, Ticks(pool), side, selection, rate=FAST, watch=lambda _: None)
    assert done.events == 12


async def test_a_dead_letter_is_left_out(
    connection: asyncpg.Connection,
    pool: asyncpg.Pool,
    side: EventStream,
    redis: Redis,
    events: list[Event],
) -> None:
    dead = at(events[4])
    await connection.execute(
        "INSERT INTO outbox.dead_letter (ms, seq, stream, at, entity, entity_id, operation,"
        " payload, reason, attempts)"
        " VALUES ($1, $2, 'catalog:events', now(), 'series', 'b', 'update', '{}', 'large', 5)",
        *(dead.ms, dead.seq),
    )
    done = await run(pool, side, Selection(at(events[0]), END))
    assert await entries(redis, SIDE) == as_entries(events[:4] + events[5:])
    assert (done.events, done.dead_letters) == (11, 1)


async def test_it_begins_no_earlier_than_what_is_kept_and_says_where_that_is(
    connection: asyncpg.Connection, pool: asyncpg.Pool, events: list[Event]
) -> None:
    await connection.execute("DELETE FROM outbox.tick WHERE ms = $1", at(events[0]).ms)
    oldest = events[5].id
    with pytest.raises(ReplayRefused, match=f"before {oldest} are kept no longer"):
        await select(Ticks(pool), Selection(at(events[0]), END))


async def test_from_beyond_the_newest_event_there_is_nothing(
    pool: asyncpg.Pool, events: list[Event]
) -> None:
    with pytest.raises(ReplayRefused, match=f"the newest is {events[-1].id}"):
        await select(Ticks(pool), Selection(Position(at(events[-1]).ms + 1, 0), END))


async def test_an_empty_outbox_has_nothing_to_replay(pool: asyncpg.Pool) -> None:
    with pytest.raises(ReplayRefused, match="no event in the outbox"):
        await select(Ticks(pool), Selection(ORIGIN, END))


async def test_a_stream_that_has_come_so_far_already_is_gone_on_with_only_when_asked(
    pool: asyncpg.Pool, side: EventStream, redis: Redis, events: list[Event]
) -> None:
    await run(pool, side, Selection(at(events[0]), at(events[4])))
    with pytest.raises(ReplayRefused, match=f"entries up to {events[4].id} already"):
        await run(pool, side, Selection(at(events[0]), END))
    done = await run(pool, side, Selection(at(events[0]), END), go_on=True)
    assert done.events == 7
    assert await entries(redis, SIDE) == as_entries(events)
    assert (await run(pool, side, Selection(at(events[0]), END), go_on=True)).events == 0
    # Where it ends before that anyway, there is nothing to ask.
    await redis.delete(SIDE)
    await run(pool, side, Selection(at(events[0]), at(events[2])))
    await run(pool, side, Selection(at(events[8]), END))
    assert await entries(redis, SIDE) == as_entries(events[:3] + events[8:])


async def test_after_somebody_elses_entry_it_does_not_go_on_and_leave_events_out(
    pool: asyncpg.Pool, side: EventStream, redis: Redis, events: list[Event]
) -> None:
    await run(pool, side, Selection(at(events[0]), at(events[4])))
    await redis.xadd(SIDE, {"from": "somebody else"})
    with pytest.raises(ReplayRefused, match="no event of ours"):
        await run(pool, side, Selection(at(events[0]), END), go_on=True)


async def test_the_rate_is_kept(pool: asyncpg.Pool, side: EventStream, events: list[Event]) -> None:
    began = time.monotonic()
    await run(pool, side, Selection(at(events[0]), END), rate=40)
    assert time.monotonic() - began > 12 / 40 * 0.9


@pytest.fixture
def environment(database: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database, "REDIS_URL": redis_url}


async def test_the_command_writes_beside_the_live_stream_and_says_where(
    environment: dict[str, str], redis: Redis, events: list[Event]
) -> None:
    key = f"{KEY}:replay:{events[2].id}"
    counted = await typed(environment, "replay", "--from", events[2].id, "--dry-run")
    assert counted[0] == 0
    assert f"10 events, 0.0 MiB, would be written to {key}" in " ".join(counted[1].split())
    assert await redis.keys() == []
    code, out, _ = await typed(environment, "replay", "--from", events[2].id, "--json")
    report = json.loads(out)
    assert (code, report["events"], report["key"]) == (0, 10, key)
    assert await entries(redis, key) == as_entries(events[2:])
    assert await redis.keys() == [key]
    code, out, err = await typed(environment, "replay", "--from", events[2].id)
    assert (code, out) == (1, "")
    assert "--continue" in err
    code, out, _ = await typed(environment, "replay", "--from", events[2].id, "--continue")
    assert (code, out.split("\n")[0]) == (0, f"0 events written to {key}")


async def test_with_partitions_there_is_one_side_stream_in_the_order_of_the_whole(
    environment: dict[str, str], redis: Redis, events: list[Event]
) -> None:
    environment["CATALOG_EVENT_STREAM_PARTITIONS"] = "4"
    code, _, _ = await typed(environment, "replay", "--from", events[0].id, "--key", SIDE)
    assert code == 0
    assert await entries(redis, SIDE) == as_entries(events)


@pytest.mark.parametrize("key", [KEY, f"{KEY}:{{0}}", f"{KEY}:{{7}}"])
async def test_the_live_stream_is_refused(
    environment: dict[str, str], redis: Redis, events: list[Event], key: str
) -> None:
    code, out, err = await typed(environment, "replay", "--from", events[0].id, "--key", key)
    assert (code, out) == (2, "")
    assert "is the live stream" in err
    assert await redis.keys() == []


async def test_a_start_that_is_kept_no_longer_is_refused_with_the_oldest(
    environment: dict[str, str], connection: asyncpg.Connection, events: list[Event]
) -> None:
    code, out, _ = await typed(environment, "replay", "--from", "7d", "--dry-run", "--json")
    assert (code, json.loads(out)["events"]) == (0, 12)  # Nothing was dropped so far.
    await connection.execute("DELETE FROM outbox.tick WHERE ms = $1", at(events[0]).ms)
    code, _, err = await typed(environment, "replay", "--from", "7d", "--dry-run")
    assert code == 1
    assert f"before {events[5].id} are kept no longer" in " ".join(err.split())

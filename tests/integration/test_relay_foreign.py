"""Somebody else writes to the stream: no event is lost by it, and none is out of order."""

import asyncio
import random
from typing import Any

import asyncpg
import pytest
from appending import as_entries
from publishing import (
    FOREIGN,
    GO_ON,
    KEY,
    MakeRelay,
    OnePass,
    by_definition,
    entries,
    eventually,
    holds_more_than,
    names,
    ours,
    read,
    relays,
    said,
    write,
)
from redis.asyncio import Redis
from servers import Connect
from structlog.testing import capture_logs

from outbox.position import Position
from outbox.ticks import Ticks


@pytest.fixture
def make_relay(pool: asyncpg.Pool, client: Redis) -> MakeRelay:
    return relays(pool, client)


@pytest.fixture
def relay(make_relay: MakeRelay) -> OnePass:
    return make_relay()


async def test_a_foreign_entry_between_two_events_is_reported_and_survived(
    connection: asyncpg.Connection, relay: OnePass, redis: Redis
) -> None:
    await write(connection, "a")
    await relay.publish(GO_ON)
    foreign = await redis.xadd(KEY, FOREIGN)  # type: ignore[arg-type]
    await write(connection, "b")
    with capture_logs() as logs:
        await relay.publish(GO_ON)
    assert await names(redis) == ["a", "*", "b"]
    assert [line["found"] for line in said(logs, "stream.foreign")] == [foreign]
    assert said(logs, "stream.foreign")[0]["log_level"] == "error"
    assert await ours(redis) == as_entries(await by_definition(connection))


async def test_a_foreign_entry_before_the_first_event_is_survived(
    connection: asyncpg.Connection, relay: OnePass, redis: Redis
) -> None:
    await redis.xadd(KEY, FOREIGN)  # type: ignore[arg-type]
    with capture_logs() as logs:
        await relay.publish(GO_ON)
        await write(connection, "a")
        await relay.publish(GO_ON)
    assert await names(redis) == ["*", "a"]
    assert said(logs, "stream.foreign") != []


async def test_a_foreign_entry_in_the_same_millisecond_is_told_apart(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis
) -> None:
    relay = make_relay()
    await write(connection, "a", 3)
    await relay.publish(GO_ON)
    assert relay.place is not None
    await redis.xadd(KEY, FOREIGN, id=f"{relay.place.ms}-3")  # type: ignore[arg-type]
    await write(connection, "b")
    await relay.publish(GO_ON)
    await redis.xadd(KEY, FOREIGN, id=f"{relay.place.ms}-1")  # type: ignore[arg-type]
    await write(connection, "c")
    await make_relay().publish(GO_ON)
    assert await names(redis) == ["a", "a", "a", "*", "b", "*", "c"]


@pytest.mark.parametrize("starts_again", [False, True])
@pytest.mark.parametrize("published", [0, 1, 3])
async def test_events_below_a_foreign_entry_get_ids_above_it(  # noqa: PLR0913
    connection: asyncpg.Connection,
    make_relay: MakeRelay,
    pool: asyncpg.Pool,
    redis: Redis,
    published: int,
    *,
    starts_again: bool,
) -> None:
    relay = make_relay()
    for n in range(published):
        await write(connection, f"early {n}")
        await relay.publish(GO_ON)
    before = await entries(redis)
    for n in range(3):
        await write(connection, f"pending {n}", 2)
        await Ticks(pool).make()
    last = (await Ticks(pool).after(0))[-1].last
    foreign = await redis.xadd(KEY, FOREIGN, id=f"{last.ms + 1000}-0")  # type: ignore[arg-type]
    with capture_logs() as logs:
        await (make_relay() if starts_again else relay).publish(GO_ON)
        await write(connection, "later")
        await (make_relay() if starts_again else relay).publish(GO_ON)
    assert (await entries(redis))[:published] == before
    pending = [f"pending {n}" for n in range(3) for _ in range(2)]
    assert await names(redis) == [
        *[f"early {n}" for n in range(published)],
        *["*", *pending, "later"],
    ]
    [line] = [line for line in said(logs, "stream.foreign") if line["renumbered"]]
    assert (line["found"], line["renumbered"]) == (foreign, 6)
    assert await ours(redis) == as_entries(await read(Ticks(pool)))
    assert await make_relay().publish(GO_ON) == 0


async def test_a_foreign_entry_in_the_middle_of_a_large_tick_divides_it(
    connection: asyncpg.Connection, make_relay: MakeRelay, pool: asyncpg.Pool, redis: Redis
) -> None:
    await write(connection, "large", 5000)
    stop = asyncio.Event()
    publishing = asyncio.create_task(make_relay(batch_size=100).publish(stop))
    await eventually(lambda: holds_more_than(redis, 1000))
    stop.set()
    held = await publishing
    place = Position.parse((await entries(redis))[-1][0])
    await redis.xadd(KEY, FOREIGN, id=f"{place.ms}-{place.seq + 10}")  # type: ignore[arg-type]
    await make_relay(batch_size=100).publish(GO_ON)
    await write(connection, "later")
    await make_relay(batch_size=100).publish(GO_ON)
    assert await names(redis) == ["large"] * held + ["*"] + ["large"] * (5000 - held) + ["later"]
    payloads = [fields["payload"] for _, fields in await ours(redis)]
    assert payloads[:5000] == [f'{{"n":{n}}}' for n in range(1, 5001)]
    assert await ours(redis) == as_entries(await read(Ticks(pool), size=100))


async def test_a_foreign_entry_that_trims_ours_away_hides_no_event(
    connection: asyncpg.Connection, relay: OnePass, pool: asyncpg.Pool, redis: Redis
) -> None:
    await write(connection, "published", 3)
    await relay.publish(GO_ON)
    await write(connection, "pending", 2)
    await Ticks(pool).make()
    last = (await Ticks(pool).after(0))[-1].last
    await redis.xadd(
        KEY,
        FOREIGN,  # type: ignore[arg-type]
        id=f"{last.ms + 1000}-0",
        maxlen=1,
        approximate=False,
    )
    await relay.publish(GO_ON)
    # Whether a group had read those that it trimmed nobody knows: they come again, above it.
    assert await names(redis) == ["*", *["published"] * 3, *["pending"] * 2]


async def test_a_stream_lost_and_begun_anew_by_somebody_else_holds_every_event_again(
    connection: asyncpg.Connection, relay: OnePass, redis: Redis
) -> None:
    await write(connection, "before", 3)
    await relay.publish(GO_ON)
    await redis.delete(KEY)
    await redis.xadd(KEY, FOREIGN)  # type: ignore[arg-type]
    await write(connection, "after", 2)
    await relay.publish(GO_ON)
    assert await names(redis) == ["*", *["before"] * 3, *["after"] * 2]


async def test_an_emitter_that_writes_all_the_time_costs_no_event(
    connect: Connect, make_relay: MakeRelay, pool: asyncpg.Pool, redis: Redis
) -> None:
    writers = [await connect() for _ in range(4)]
    relays = [make_relay(batch_size=7), make_relay(batch_size=100)]
    dice = random.Random(11)  # noqa: S311 - to be the same again

    async def keep_writing(writer: asyncpg.Connection, number: int) -> None:
        for n in range(60):
            async with writer.transaction():
                await write(writer, f"{number} {n}", dice.randrange(1, 15))
                await asyncio.sleep(0.002 * dice.randrange(3))

    async def interfere(writing: "asyncio.Future[Any]") -> int:
        count = 0
        while not writing.done():
            await redis.xadd(KEY, FOREIGN)  # type: ignore[arg-type]
            count += 1
            await asyncio.sleep(0.004 * dice.random())
        return count

    async def keep_publishing(relay: OnePass, writing: "asyncio.Future[Any]") -> None:
        while not writing.done():
            await relay.publish(GO_ON)

    writing = asyncio.gather(*(keep_writing(c, number) for number, c in enumerate(writers)))
    with capture_logs() as logs:
        _, foreign, *_ = await asyncio.gather(
            writing, interfere(writing), *(keep_publishing(relay, writing) for relay in relays)
        )
        await relays[0].publish(GO_ON)
    found = await entries(redis)
    positions = [Position.parse(id_) for id_, _ in found]
    assert positions == sorted(set(positions))
    assert len(found) - len(await ours(redis)) == foreign
    assert said(logs, "stream.foreign") != []
    committed = await writers[0].fetch("SELECT entity_id, payload FROM outbox.event ORDER BY id")
    published = [(fields["entityId"], fields["payload"]) for _, fields in await ours(redis)]
    assert sorted(published) == sorted(map(tuple, committed))
    assert await ours(redis) == as_entries(await read(Ticks(pool)))

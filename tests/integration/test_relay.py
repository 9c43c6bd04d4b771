"""From the outbox into the stream: nothing lost, nothing twice, whatever happens to either end."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
from publishing import (
    KEY,
    OnePass,
    by_definition,
    entries,
    eventually,
    outbox_pool,
    read,
    write,
)
from redis.asyncio import Redis
from servers import Connect, cloned
from structlog.testing import capture_logs

from embedded.postgres import Postgres
from outbox.event import Event
from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks
from publisher import connections
from publisher.bell import Bell
from publisher.pacing import Pacing
from publisher.settings import Limits, Settings
from publisher.stream import EventStream

SCHEMA = Path(__file__).resolve().parents[2] / "schema.sql"
FOREIGN = {"from": "somebody else"}
GO_ON = asyncio.Event()
"""Never set."""


class MakeRelay(Protocol):
    """A relay of its own, as another process would have."""

    def __call__(self, *, batch_size: int = 1000) -> OnePass: ...


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with outbox_pool(database) as pool:
        yield pool


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    """A client as the publisher's is."""
    settings = {"DATABASE_URL": "postgresql://", "REDIS_URL": redis_url}
    async with connections.redis_client(Settings.from_environment(settings)) as client:
        yield client


@pytest.fixture
def make_relay(pool: asyncpg.Pool, client: Redis) -> MakeRelay:
    def make_relay(*, batch_size: int = 1000) -> OnePass:
        return OnePass(pool, client, limits=Limits(batch_size=batch_size))

    return make_relay


@pytest.fixture
def relay(make_relay: MakeRelay) -> OnePass:
    return make_relay()


def as_entries(events: list[Event]) -> list[tuple[str, dict[str, str]]]:
    return [(event.id, event.fields()) for event in events]


async def ours(redis: Redis) -> list[tuple[str, dict[str, str]]]:
    return [(id_, fields) for id_, fields in await entries(redis) if fields != FOREIGN]


async def names(redis: Redis) -> list[str]:
    """The entity ids in the stream, and * for an entry of somebody else."""
    return [fields.get("entityId", "*") for _, fields in await entries(redis)]


def said(logs: Any, event: str) -> list[dict[str, Any]]:  # noqa: ANN401 - structlog's
    return [line for line in logs if line["event"] == event]


async def test_what_was_committed_is_in_the_stream_after_one_pass(
    connection: asyncpg.Connection, relay: OnePass, redis: Redis
) -> None:
    assert await relay.publish(GO_ON) == 0
    assert not await redis.exists(KEY)
    await write(connection, "a", 3)
    assert await relay.publish(GO_ON) == 3
    await write(connection, "b", 2)
    assert await relay.publish(GO_ON) == 2
    assert await relay.publish(GO_ON) == 0
    assert await entries(redis) == as_entries(await by_definition(connection))
    assert str(relay.place) == (await entries(redis))[-1][0]


async def test_a_relay_goes_on_where_the_stream_ends(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis
) -> None:
    for name in ("a", "b", "c"):
        await write(connection, name, 2)
        await make_relay().publish(GO_ON)
    assert await make_relay().publish(GO_ON) == 0
    assert await entries(redis) == as_entries(await by_definition(connection))


# The stream is lost


async def test_a_stream_deleted_while_all_is_quiet_comes_back_the_same(
    connection: asyncpg.Connection, relay: OnePass, redis: Redis
) -> None:
    for name in ("a", "b"):
        await write(connection, name, 3)
        await relay.publish(GO_ON)
    before = await entries(redis)
    await redis.delete(KEY)
    with capture_logs() as logs:
        assert await relay.publish(GO_ON) == 6
    assert await entries(redis) == before
    [line] = said(logs, "stream.lost")
    assert (line["end"], line["events"], line["beyond_retention"]) == ("0-0", 6, 0)


async def test_a_stream_deleted_in_the_middle_of_work_comes_back_the_same(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis
) -> None:
    relay = make_relay(batch_size=5)
    for n in range(10):
        await write(connection, f"{n}", 20)
        await relay.publish(GO_ON)

    async def delete_now_and_then() -> None:
        while True:
            await redis.delete(KEY)
            await asyncio.sleep(0.02)

    deleting = asyncio.create_task(delete_now_and_then())
    try:
        for n in range(10, 30):
            await write(connection, f"{n}", 20)
            # It would go on as long as the stream goes on being deleted.
            stop = asyncio.Event()
            asyncio.get_running_loop().call_later(0.1, stop.set)
            await relay.publish(stop)
    finally:
        deleting.cancel()
        await asyncio.wait([deleting])
    await relay.publish(GO_ON)
    assert await entries(redis) == as_entries(await by_definition(connection))


async def test_a_stream_that_lost_its_end_gets_the_same_end_again(
    connection: asyncpg.Connection, relay: OnePass, redis: Redis
) -> None:
    for n in range(5):
        await write(connection, f"{n}")
        await relay.publish(GO_ON)
    before = await entries(redis)
    # As after a failover to a replica that was behind.
    await redis.delete(KEY)
    for id_, fields in before[:2]:
        await redis.xadd(KEY, fields, id=id_)  # type: ignore[arg-type]
    await write(connection, "new")
    await relay.publish(GO_ON)
    assert (await entries(redis))[:5] == before
    assert await names(redis) == ["0", "1", "2", "3", "4", "new"]


@pytest.mark.parametrize("left", [0, 1, 3])
async def test_a_trimmed_stream_is_not_filled_again(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis, left: int
) -> None:
    relay = make_relay()
    for n in range(5):
        await write(connection, f"{n}")
        await relay.publish(GO_ON)
    await redis.xtrim(KEY, maxlen=left, approximate=False)
    assert await relay.publish(GO_ON) == 0
    assert await make_relay().publish(GO_ON) == 0
    await write(connection, "new")
    assert await make_relay().publish(GO_ON) == 1
    assert (await names(redis))[-1] == "new"
    assert await redis.xlen(KEY) == left + 1


@pytest.mark.parametrize("left", [0, 1])
async def test_a_publisher_that_lags_behind_a_trimmed_stream_changes_nothing(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis, left: int
) -> None:
    ahead, lagging = make_relay(), make_relay()
    await write(connection, "first")
    await ahead.publish(GO_ON)
    await lagging.publish(GO_ON)
    for n in range(5):
        await write(connection, f"{n}")
        await ahead.publish(GO_ON)
    await redis.xtrim(KEY, maxlen=left, approximate=False)
    before, events = await entries(redis), await by_definition(connection)
    with capture_logs() as logs:
        await lagging.publish(GO_ON)
    assert await entries(redis) == before
    assert await by_definition(connection) == events
    assert said(logs, "stream.foreign") == []
    await write(connection, "new")
    await lagging.publish(GO_ON)
    assert len(await entries(redis)) == left + 1


# Several publishers, and one that is interrupted


async def test_two_publishers_at_once_write_each_event_once(
    connect: Connect, make_relay: MakeRelay, redis: Redis
) -> None:
    writers = [await connect() for _ in range(4)]
    relays = [make_relay(batch_size=7), make_relay(batch_size=100)]

    async def keep_writing(writer: asyncpg.Connection, number: int) -> None:
        for n in range(50):
            await write(writer, f"{number} {n}", 1 + n % 5)

    async def keep_publishing(relay: OnePass, writing: "asyncio.Future[Any]") -> None:
        while not writing.done():
            await relay.publish(GO_ON)

    writing = asyncio.gather(*(keep_writing(c, number) for number, c in enumerate(writers)))
    with capture_logs() as logs:
        await asyncio.gather(writing, *(keep_publishing(relay, writing) for relay in relays))
        for relay in relays:
            await relay.publish(GO_ON)
    found = await entries(redis)
    assert found == as_entries(await by_definition(writers[0]))
    assert len(found) == 4 * 150
    assert said(logs, "stream.foreign") + said(logs, "stream.behind") == []


async def test_a_publisher_stopped_in_a_large_tick_goes_on_behind_the_last_batch(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis
) -> None:
    await write(connection, "large", 5000)
    relay = make_relay(batch_size=100)
    stop = asyncio.Event()
    publishing = asyncio.create_task(relay.publish(stop))
    await eventually(lambda: holds_more_than(redis, 500))
    stop.set()
    moved = await publishing
    assert 500 < moved == await redis.xlen(KEY) < 5000
    # The same one goes on, and so does another.
    second = asyncio.Event()
    publishing = asyncio.create_task(relay.publish(second))
    await eventually(lambda: holds_more_than(redis, moved + 500))
    second.set()
    moved += await publishing
    assert moved + await make_relay(batch_size=100).publish(GO_ON) == 5000
    assert await entries(redis) == as_entries(await by_definition(connection))


async def test_a_publisher_cancelled_in_a_large_tick_is_followed_exactly(
    connection: asyncpg.Connection, make_relay: MakeRelay, redis: Redis
) -> None:
    await write(connection, "large", 5000)
    for n in (500, 1500, 3000):
        publishing = asyncio.create_task(make_relay(batch_size=100).publish(GO_ON))
        await eventually(lambda n=n: holds_more_than(redis, n))  # type: ignore[misc]
        publishing.cancel()
        await asyncio.wait([publishing])
    await make_relay(batch_size=1000).publish(GO_ON)
    assert await entries(redis) == as_entries(await by_definition(connection))


async def holds_more_than(redis: Redis, count: int) -> bool:
    return bool(await redis.xlen(KEY) > count)


# Somebody else writes to the stream


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



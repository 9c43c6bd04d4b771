"""Which streams a publisher leads: it takes part, steps back, pauses, and survives PostgreSQL."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import chain

import asyncpg
from faulty_proxy import Cut, FaultyProxy, Message
from publishing import eventually, said, write
from redis.asyncio import Redis
from running import QUICK, InProcess, running
from structlog.testing import capture_logs
from wire import PostgresTalk, Side

from embedded.postgres import Postgres
from outbox import control
from outbox.batch import Share
from outbox.position import ORIGIN
from outbox.ticks import Ticks
from publisher.store.stream import EventStream

KEYS = [f"catalog:events:{{{number}}}" for number in range(4)]


async def shared_as(publishers: list[InProcess], shares: list[int]) -> None:
    """Return when each of *publishers* leads as many streams as *shares* say, all in all all."""

    async def so() -> bool:
        led = [publisher.leading.streams for publisher in publishers]
        return list(map(len, led)) == shares and sorted(chain(*led)) == sorted(KEYS)

    await eventually(so)


async def published(redis: Redis, count: int) -> None:
    """Return when the streams hold *count* entries together."""

    async def there() -> bool:
        return await total(redis) == count

    await eventually(there)


async def total(redis: Redis) -> int:
    return sum([int(await redis.xlen(key)) for key in KEYS])


async def write_some(connection: asyncpg.Connection, count: int = 40) -> None:
    for n in range(count):
        await write(connection, f"{n}")


async def test_publishers_share_streams_evenly_and_again_when_one_leaves(
    database: str, connection: asyncpg.Connection, client: Redis
) -> None:
    async with AsyncExitStack() as stack:
        publishers: list[InProcess] = []
        leave: list[AsyncExitStack] = []
        for shares in ([4], [2, 2], [2, 1, 1], [1, 1, 1, 1]):
            leave.append(await stack.enter_async_context(AsyncExitStack()))
            one = running(database, client, keys=KEYS)
            publishers.append(await leave[-1].enter_async_context(one))
            await shared_as(publishers, shares)
            await write_some(connection)
            await published(client, 40 * len(publishers))
        for number, shares in enumerate(([2, 1, 1], [2, 2], [4]), 5):
            await leave.pop(0).aclose()
            publishers.pop(0)
            await shared_as(publishers, shares)
            await write_some(connection)
            await published(client, 40 * number)


async def test_one_more_publisher_than_streams_stands_by_and_takes_nothing(
    database: str, connection: asyncpg.Connection, client: Redis
) -> None:
    async with running(database, client, keys=KEYS[:1]) as leads:

        async def has_begun() -> bool:
            return leads.leading.streams == KEYS[:1]

        await eventually(has_begun)
        async with running(database, client, keys=KEYS[:1]) as stands_by:

            async def has_renewed() -> bool:
                return bool(
                    await connection.fetchval(
                        "SELECT bool_and(expires_at > joined_at + $1::interval) AND count(*) = 2"
                        " FROM outbox.member",
                        timedelta(seconds=QUICK.lease_s + 2 * QUICK.renew_s),
                    )
                )

            await eventually(has_renewed)
            await write_some(connection)
            await published(client, 40)
            assert (leads.leading.streams, stands_by.leading.streams) == (KEYS[:1], [])
            assert stands_by.leading.stands_by
            assert await connection.fetchval("SELECT epoch FROM outbox.lease") == 1


# Pause


async def test_nothing_is_appended_while_it_is_paused_anywhere_and_it_goes_on_after(
    database: str, pool: asyncpg.Pool, connection: asyncpg.Connection, client: Redis
) -> None:
    async with (
        running(database, client, keys=KEYS) as one,
        running(database, client, keys=KEYS) as other,
    ):
        await shared_as([one, other], [2, 2])
        await write_some(connection)
        await published(client, 40)
        with capture_logs() as logs:
            await control.pause(pool, by="on-call", reason="a test")

            async def both_paused() -> bool:
                return bool(one.leading.paused and other.leading.paused)

            await eventually(both_paused)
            await write_some(connection)

            async def said_in_the_table() -> bool:
                reasons = "SELECT array_agg(DISTINCT reason) FROM outbox.lease"
                return bool(await connection.fetchval(reasons) == ["paused"])

            await eventually(said_in_the_table)
            # By now each has renewed its leases since the writes, and would have taken them up.
            assert await total(client) == 40
            await control.resume(pool)
            await published(client, 80)
        paused, resumed = said(logs, "publisher.paused"), said(logs, "publisher.resumed")
        assert [(line["by"], line["reason"]) for line in paused] == [("on-call", "a test")] * 2
        assert len(resumed) == 2


async def test_one_that_is_started_while_it_is_paused_waits(
    database: str, pool: asyncpg.Pool, connection: asyncpg.Connection, client: Redis
) -> None:
    await control.pause(pool, by="on-call", reason="a test")
    await write_some(connection)
    async with running(database, client, keys=KEYS) as publisher:

        async def leads() -> bool:
            return len(publisher.leading.streams) == 4

        await eventually(leads)
        assert await total(client) == 0
        await control.resume(pool)
        await published(client, 40)


# PostgreSQL goes away


@asynccontextmanager
async def through(
    server: Postgres, database: str, *, cuts: Callable[[Message], bool]
) -> AsyncIterator[str]:
    """The address of *database* behind a proxy that cuts the connection where *cuts* says so."""

    async def hook(message: Message) -> None:
        if message.side is Side.CLIENT and cuts(message):
            raise Cut
        await message.pass_on()

    proxy = FaultyProxy(PostgresTalk, server.socket_path, hook)
    async with proxy.listening() as (host, port):  # type: ignore[misc]
        name = database.partition("@/")[2].partition("?")[0]
        yield f"postgresql://postgres@{host}:{port}/{name}"


def once(statement: bytes) -> Callable[[Message], bool]:
    """Cut the first time that *statement* is sent."""
    left = [statement]

    def cuts(message: Message) -> bool:
        if left and left[0] in message.data:
            left.clear()
            return True
        return False

    return cuts


async def test_a_lease_that_cannot_be_released_just_now_is_released_later(
    postgres_server: Postgres, database: str, connection: asyncpg.Connection, client: Redis
) -> None:
    cuts = once(b"outbox.release_lease")
    with capture_logs() as logs:
        async with (
            through(postgres_server, database, cuts=cuts) as address,
            running(address, client, keys=KEYS) as one,
        ):
            await shared_as([one], [4])
            async with running(database, client, keys=KEYS) as other:
                await shared_as([one, other], [2, 2])
                await write_some(connection)
                await published(client, 40)
    assert len(said(logs, "lease.not_released")) == 1


async def test_a_holder_that_cannot_raise_its_epoch_just_now_raises_it_later(
    postgres_server: Postgres,
    database: str,
    pool: asyncpg.Pool,
    connection: asyncpg.Connection,
    client: Redis,
) -> None:
    cuts = once(b"outbox.raise_epoch")
    pacing = replace(QUICK, renew_s=60)
    with capture_logs() as logs:
        async with (
            through(postgres_server, database, cuts=cuts) as address,
            running(address, client, keys=KEYS, pacing=pacing),
        ):
            await write_some(connection)
            await published(client, 40)
            stream, place = EventStream(client, KEYS[0]), ORIGIN
            mine = Ticks(pool, Share(0, len(KEYS)))
            async for batch in mine.batches_after(ORIGIN, size=1000):
                await stream.append(batch, after=place, epoch=7)
                place = batch.last
            await write_some(connection)
            await published(client, 80)
    assert [line["epoch"] for line in said(logs, "lease.raised")] == [8]


async def test_one_that_cannot_renew_lets_go_when_its_leases_expire_and_comes_back(
    postgres_server: Postgres, database: str, connection: asyncpg.Connection, client: Redis
) -> None:
    away = False
    pacing = replace(QUICK, lease_s=1.0, quiet_check_s=0.1)
    with capture_logs() as logs:
        async with (
            through(postgres_server, database, cuts=lambda _: away) as address,
            running(address, client, keys=KEYS, pacing=pacing) as one,
            running(database, client, keys=KEYS, pacing=replace(pacing, lease_s=30)) as other,
        ):
            await shared_as([one, other], [2, 2])
            away = True
            await shared_as([one, other], [0, 4])
            await write_some(connection)
            await published(client, 40)
            away = False
            await shared_as([one, other], [2, 2])
            await write_some(connection)
            await published(client, 80)
    assert len(said(logs, "lease.not_renewed")) == 1
    assert len(said(logs, "lease.gone")) == 2
    taken = [line for line in said(logs, "lease.taken") if line["taken_from"]]
    assert [line["taken_from"] for line in taken] == [one.member.holder] * 2

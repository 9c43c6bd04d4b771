"""The doorbell: a commit wakes a publisher that sleeps, and costs nothing while it is awake."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import asyncpg
from publishing import KEY, eventually, said, write
from redis.asyncio import Redis
from running import QUICK, InProcess, running
from structlog.testing import capture_logs

INSERT = "INSERT INTO catalog.category (slug, name) VALUES ($1, 'Name')"


@asynccontextmanager
async def sleeping(
    dsn: str, redis: Redis, *, backstop_s: float = 60
) -> AsyncIterator[tuple[InProcess, Callable[[], Awaitable[asyncpg.Connection]]]]:
    """A publisher that runs, and how to connect to its database."""
    async with (
        AsyncExitStack() as opened,
        running(dsn, redis, pacing=replace(QUICK, backstop_s=backstop_s)) as publisher,
    ):

        async def connect() -> asyncpg.Connection:
            connection: asyncpg.Connection = await asyncpg.connect(dsn)
            opened.push_async_callback(connection.close, timeout=10)
            return connection

        yield publisher, connect


async def falls_asleep(publisher: InProcess) -> None:
    """Return when it waits for the bell."""

    async def waits() -> bool:
        # A quiet look has come after it took the bell, or is under way.
        return publisher.bell.is_asleep and [r.moved for r in publisher.reports[-1:]] == [0]

    await eventually(waits)


async def published(redis: Redis, count: int) -> None:
    async def holds() -> bool:
        return bool(await redis.xlen(KEY) == count)

    await eventually(holds)


async def listening(connection: asyncpg.Connection) -> list[str]:
    """The rings that *connection* hears from now on."""
    heard: list[str] = []

    def hear(*rung: object) -> None:
        heard.append(str(rung[-2]))

    await connection.add_listener("outbox.bell", hear)
    return heard


async def test_a_commit_wakes_a_publisher_that_sleeps(own_database: str, redis: Redis) -> None:
    async with sleeping(own_database, redis) as (publisher, connect):
        writer, ear = await connect(), await connect()
        heard = await listening(ear)
        for n in range(3):
            await falls_asleep(publisher)
            await writer.execute(INSERT, f"c-{n}")
            await published(redis, n + 1)
            await ear.fetchval("SELECT 1")
            assert heard == ["outbox.bell"] * (n + 1)


async def test_while_the_publisher_is_awake_no_commit_rings(
    own_database: str, redis: Redis
) -> None:
    holder = await asyncpg.connect(own_database)
    async with holder.transaction():
        # It found nobody asleep, and as long as it is under way the publisher cannot fall asleep.
        await holder.execute(INSERT, "held")
        async with sleeping(own_database, redis) as (_, connect):
            writer, ear = await connect(), await connect()
            heard = await listening(ear)
            for n in range(20):
                await writer.execute(INSERT, f"c-{n}")
                await published(redis, n + 1)
            await ear.fetchval("SELECT 1")
            assert heard == []
    await holder.close()


async def test_a_writer_that_found_the_publisher_awake_keeps_it_awake(
    own_database: str, redis: Redis
) -> None:
    async with sleeping(own_database, redis) as (publisher, connect):
        writer = await connect()
        await falls_asleep(publisher)
        # This one wakes it, and the next one looks at the bell while it is awake.
        await writer.execute(INSERT, "first")
        await published(redis, 1)
        for n in range(20):
            transaction = writer.transaction()
            await transaction.start()
            await writer.execute(INSERT, f"c-{n}")
            passes = len(publisher.reports)

            async def passed(passes: int = passes) -> bool:
                return len(publisher.reports) > passes + 3 or publisher.bell.is_asleep

            await eventually(passed)
            await transaction.commit()
            # The backstop is a minute away: who is missed stays missed.
            await published(redis, n + 2)


async def test_where_prepared_transactions_are_in_use_the_publisher_polls(
    database: str, redis: Redis
) -> None:
    with capture_logs() as logs:
        async with sleeping(database, redis) as (publisher, connect):
            writer, ear = await connect(), await connect()
            heard = await listening(ear)

            async def looked_often() -> bool:
                return len(publisher.reports) > 5

            await eventually(looked_often)
            await writer.execute("BEGIN")
            await writer.execute(INSERT, "prepared")
            name = await ear.fetchval("SELECT current_database()")
            await writer.execute(f"PREPARE TRANSACTION '{name}'")
            await writer.execute(f"COMMIT PREPARED '{name}'")
            await published(redis, 1)
            assert heard == []
            assert not publisher.bell.is_asleep
    assert len(said(logs, "bell.off")) == 1


async def test_a_bell_that_lost_its_connection_rings_again_later(
    own_database: str, redis: Redis
) -> None:
    async with sleeping(own_database, redis, backstop_s=0.2) as (publisher, connect):
        writer, ear = await connect(), await connect()
        heard = await listening(ear)
        await falls_asleep(publisher)
        assert await writer.fetchval(
            "SELECT bool_and(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'catalog-publisher-bell' AND datname = current_database()"
        )
        await writer.execute(INSERT, "unheard")
        await published(redis, 1)
        heard.clear()

        async def rings() -> bool:
            await falls_asleep(publisher)
            await writer.execute(INSERT, f"c-{len(publisher.reports)}")
            await ear.fetchval("SELECT 1")
            return bool(heard)

        await eventually(rings)


async def test_a_bell_that_stays_silent_is_given_up_and_nothing_is_lost(
    own_database: str, redis: Redis
) -> None:
    with capture_logs() as logs:
        async with sleeping(own_database, redis, backstop_s=0.05) as (publisher, connect):
            writer = await connect()
            # A writer that rings nobody, as behind a pooler that drops notifications.
            for n in range(5):
                await falls_asleep(publisher) if not said(logs, "bell.off") else None
                await write(writer, f"{n}")
                await published(redis, n + 1)
    assert len(said(logs, "bell.quiet")) == 3
    assert len(said(logs, "bell.off")) == 1


async def test_a_publisher_without_a_lease_neither_looks_nor_holds_the_bell(
    own_database: str, redis: Redis
) -> None:
    bells = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'catalog-publisher-bell' AND datname = current_database()"
    )
    async with sleeping(own_database, redis) as (leads, connect):
        watcher = await connect()
        await falls_asleep(leads)
        async with running(own_database, redis) as stands_by:

            async def has_joined() -> bool:
                return bool(await watcher.fetchval("SELECT count(*) FROM outbox.member") == 2)

            await eventually(has_joined)
            for n in range(5):
                await watcher.execute(INSERT, f"c-{n}")
                await published(redis, n + 1)
            assert stands_by.reports == []
            assert await watcher.fetchval(bells) == 1


async def test_a_commit_wakes_every_one_of_several_publishers(
    own_database: str, redis: Redis
) -> None:
    keys = ["events:{0}", "events:{1}"]
    async with (
        running(own_database, redis, keys=keys) as one,
        running(own_database, redis, keys=keys) as other,
    ):

        async def share() -> bool:
            return len(one.leading.streams) == len(other.leading.streams) == 1

        await eventually(share)
        async with asyncpg.create_pool(own_database, min_size=0) as pool:
            for n in range(20):
                await pool.execute(INSERT, f"c-{n}")

                async def there(count: int = n + 1) -> bool:
                    return sum([await redis.xlen(key) for key in keys]) == count

                await eventually(there)
        assert all([await redis.xlen(key) for key in keys])

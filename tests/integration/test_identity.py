"""PostgreSQL is not what it was: restored, rewound, failed over. Nothing goes out by mistake."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import asyncpg
import clusters
import pytest
from faulty_proxy import FaultyProxy
from partitions import Publishers, expected, publishers, write_some
from publishing import entries, eventually, outbox_pool, write
from redis.asyncio import Redis
from running import QUICK, running
from servers import IN_A_HURRY, SCHEMA, cloned, postgres_running, with_schema
from structlog.testing import capture_logs
from wire import PostgresTalk

from embedded.postgres import Postgres
from outbox.epochs import Epochs
from outbox.errors import OutboxReplaced, OutboxUnavailable
from outbox.position import Position
from outbox.ticks import Ticks
from publisher import identity
from publisher.errors import IdentityChanged

Entry = tuple[str, dict[str, str]]

# Each block with an EXCEPTION is a subtransaction, with a transaction number of its own.
USE_UP_NUMBERS = """
DO $$ BEGIN
    CREATE TEMPORARY TABLE used (n integer);
    FOR n IN 1..3000 LOOP
        BEGIN INSERT INTO used VALUES (n); EXCEPTION WHEN division_by_zero THEN NULL; END;
    END LOOP;
END $$
"""
PAST_NUMBERS = """
SELECT count(DISTINCT xid) FROM outbox.event
 WHERE id > (SELECT max(id_floor) FROM outbox.tick)
   AND pg_visible_in_snapshot(xid, (SELECT snapshot FROM outbox.tick ORDER BY ms LIMIT 1))
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """Another cluster."""
    with postgres_running(tmp_path_factory.mktemp("servers") / "elsewhere") as server:
        yield server


@asynccontextmanager
async def restored(server: Postgres, dumped: bytes) -> AsyncIterator[str]:
    """The address of a database out of a dump."""
    async with cloned(server, "template1") as dsn:
        await asyncio.to_thread(clusters.restore, dsn, dumped)
        yield dsn


@contextmanager
def running_server(server: Postgres) -> Iterator[Postgres]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


async def with_schema_there(server: Postgres) -> asyncpg.Connection:
    connection = await asyncpg.connect(server.dsn())
    await connection.execute(SCHEMA.read_text("utf-8"))
    return connection


async def until_promoted(connection: asyncpg.Connection) -> None:
    async def is_primary() -> bool:
        return not await connection.fetchval("SELECT pg_is_in_recovery()")

    await eventually(is_primary)


async def has_replayed(standby: Postgres, primary: asyncpg.Connection) -> None:
    """Return when *standby* has all that *primary* has written."""
    written = await primary.fetchval("SELECT pg_current_wal_lsn()::text")

    async def has_all() -> bool:
        answer = await clusters.execute(
            standby.dsn(), f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
        )
        return bool(answer)

    await eventually(has_all)


async def receives_nothing(standby: asyncpg.Connection) -> None:
    async def is_cut_off() -> bool:
        return not await standby.fetchval("SELECT count(*) FROM pg_stat_wal_receiver")

    await eventually(is_cut_off)


async def situation(of: Publishers) -> identity.Situation:
    return await identity.look(Epochs(of.pool), Ticks(of.pool), [one.places for one in of.all])


async def reanchor(of: Publishers) -> int:
    """As on-call does; how many events were written anew."""
    horizon = of.all[0].places.horizon
    moved = await identity.reanchor(Epochs(of.pool), await situation(of), horizon, by="on-call")
    assert moved is not None
    return moved


async def refuses(publishing: Publishers) -> None:
    """Nothing is published, and no tick is made."""
    before = await publishing.streams()
    newest = await Ticks(publishing.pool).newest()
    for number in range(len(publishing.all)):
        with pytest.raises(IdentityChanged, match="make reanchor"):
            await publishing.publish(number)
    assert await publishing.streams() == before
    assert await Ticks(publishing.pool).newest() == newest


def contents(stream: list[Entry]) -> list[tuple[str, str]]:
    return [(fields["entityId"], fields["payload"]) for _, fields in stream]


async def all_events(connection: asyncpg.Connection) -> list[tuple[str, str]]:
    rows = await connection.fetch("SELECT entity_id, payload FROM outbox.event ORDER BY id")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("redis_has", ["the future", "nothing"])
@pytest.mark.parametrize("partitions", [1, 3])
async def test_restored_into_another_cluster_it_loses_nothing_and_all_ids_are_above(  # noqa: PLR0913, PLR0917
    database: str,
    connection: asyncpg.Connection,
    elsewhere: Postgres,
    redis: Redis,
    redis_url: str,
    partitions: int,
    redis_has: str,
) -> None:
    async with outbox_pool(database) as pool, publishers(pool, redis_url, partitions) as before:
        await connection.execute(USE_UP_NUMBERS)
        for _ in range(3):
            await write_some(connection, 7)
            await before.publish()
        published = await before.streams()
        await write_some(connection, 10)
        waiting = (await all_events(connection))[sum(map(len, published)) :]
        dumped = await asyncio.to_thread(clusters.dump, database)
        # The future, which the dump knows nothing of.
        await before.publish()
        await write_some(connection, 10)
        await before.publish()
        future = await before.streams()
    if redis_has == "nothing":
        await redis.flushall()
        future = [[] for _ in range(partitions)]
    async with (
        restored(elsewhere, dumped) as dsn,
        outbox_pool(dsn) as pool,
        publishers(pool, redis_url, partitions) as after,
    ):
        there = await asyncpg.connect(dsn)
        restored_events = len(await all_events(there))
        # Under transaction numbers that were past in the other cluster.
        await write_some(there, 5)
        assert await there.fetchval(PAST_NUMBERS) == 5
        waiting += (await all_events(there))[restored_events:]
        await refuses(after)
        moved = await reanchor(after)
        now = await situation(after)
        assert now.is_settled
        await after.publish()
        found = await after.streams()
        new = [stream[len(was) :] for stream, was in zip(found, future, strict=True)]
        assert [stream[: len(was)] for stream, was in zip(found, future, strict=True)] == future
        assert new == await expected(there, partitions)
        if redis_has == "nothing":
            # Not older than the streams are meant to reach back: it comes back under new IDs.
            waiting = [pair for stream in published for pair in contents(stream)] + waiting
        assert moved == sum(map(len, new)) == len(waiting)
        assert sorted(pair for stream in new for pair in contents(stream)) == sorted(waiting)
        assert all(Position.parse(id_) > now.epoch.until for stream in new for id_, _ in stream)
        # And on it goes.
        await there.execute("INSERT INTO catalog.category (slug, name) VALUES ('new', 'New')")
        assert await after.publish() == 1
        assert await there.fetchval("SELECT outbox.rotate('0')") != []
        await there.execute("INSERT INTO catalog.category (slug, name) VALUES ('newer', 'Newer')")
        assert await after.publish() == 1
        await there.close()


async def test_in_another_cluster_each_partition_goes_on_where_it_was_stuck(
    database: str, connection: asyncpg.Connection, elsewhere: Postgres, redis_url: str
) -> None:
    async with outbox_pool(database) as pool, publishers(pool, redis_url, 3) as before:
        await write_some(connection, 20)
        await before.publish()
        stuck = await before.streams()
        await write_some(connection, 20)
        await before.publish(0, 2)
        published = await before.streams()
        whole = await expected(connection, 3)
        dumped = await asyncio.to_thread(clusters.dump, database)
    assert published[1] == stuck[1] != whole[1]
    async with (
        restored(elsewhere, dumped) as dsn,
        outbox_pool(dsn) as pool,
        publishers(pool, redis_url, 3) as after,
    ):
        await refuses(after)
        assert await reanchor(after) == len(whole[1]) - len(stuck[1])
        await after.publish()
        found = await after.streams()
        assert [found[0], found[2]] == [whole[0], whole[2]]
        assert contents(found[1]) == contents(whole[1])
        assert found[1][: len(stuck[1])] == stuck[1]


async def test_a_writer_that_is_under_way_while_it_reanchors_loses_nothing(
    database: str, connection: asyncpg.Connection, elsewhere: Postgres, redis_url: str
) -> None:
    async with outbox_pool(database) as pool, publishers(pool, redis_url) as before:
        await write_some(connection, 5)
        await before.publish()
        dumped = await asyncio.to_thread(clusters.dump, database)
    async with (
        restored(elsewhere, dumped) as dsn,
        outbox_pool(dsn) as pool,
        publishers(pool, redis_url) as after,
    ):
        early, late = [await asyncpg.connect(dsn) for _ in range(2)]
        insert = "INSERT INTO catalog.category (slug, name) VALUES ($1, 'Name')"
        open_transaction = early.transaction()
        await open_transaction.start()
        await early.execute(insert, "early")
        reanchoring = asyncio.create_task(reanchor(after))
        await waits_for_a_lock(late)
        writing = asyncio.create_task(late.execute(insert, "late"))
        await waits_for_a_lock(early, 2)
        await open_transaction.commit()
        assert await reanchoring == 1
        await writing
        await after.publish()
        [stream] = await after.streams()
        assert [fields["entity"] for _, fields in stream[-2:]] == ["category"] * 2
        assert ["early" in fields["payload"] for _, fields in stream[-2:]] == [True, False]
        assert len(stream) == 9 + 2
        await early.close()
        await late.close()


async def waits_for_a_lock(connection: asyncpg.Connection, count: int = 1) -> None:
    """Return when that many others wait for a lock in this database."""

    async def waits() -> bool:
        waiting = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(waiting == count)

    await eventually(waits)


async def test_a_database_that_others_have_published_to_is_not_begun_by_itself(
    database: str, connection: asyncpg.Connection, elsewhere: Postgres, redis_url: str
) -> None:
    async with outbox_pool(database) as pool, publishers(pool, redis_url) as before:
        await write_some(connection, 5)
        await before.publish()
        [was] = await before.streams()
    async with (
        with_schema(elsewhere) as dsn,
        outbox_pool(dsn) as pool,
        publishers(pool, redis_url) as after,
    ):
        there = await asyncpg.connect(dsn)
        await write_some(there, 5)
        await refuses(after)
        await reanchor(after)
        await after.publish()
        [now] = await after.streams()
        assert now[: len(was)] == was
        assert [now[len(was) :]] == await expected(there, 1)
        await there.close()


# The same cluster, at another time


async def test_an_older_copy_of_itself_is_not_published_until_somebody_says_so(
    tmp_path: Path, redis_url: str
) -> None:
    with postgres_running(tmp_path / "server") as server:
        async with with_schema(server) as dsn:
            connection = await asyncpg.connect(dsn)
            async with outbox_pool(dsn) as pool, publishers(pool, redis_url) as before:
                await write_some(connection, 5)
                await before.publish()
                await connection.close()
                server.stop()
                clusters.copy(server.home, tmp_path / "copy")
                server.start()
                connection = await asyncpg.connect(dsn)
                await write_some(connection, 3)
                await before.publish()
                [future] = await before.streams()
                await connection.close()
            server.stop()
            clusters.copy(tmp_path / "copy", server.home)
            server.start()
            connection = await asyncpg.connect(dsn)
            async with outbox_pool(dsn) as pool, publishers(pool, redis_url) as after:
                await write_some(connection, 4)
                await refuses(after)
                known = await situation(after)
                assert not known.is_another_cluster
                assert known.identity == known.epoch.identity
                assert str(known.lost.until) == future[-1][0]
                assert str(known.lost.after) == future[8][0]
                assert await reanchor(after) == 0
                await after.publish()
                [found] = await after.streams()
                assert found[: len(future)] == future
                assert [found[:9] + found[len(future) :]] == await expected(connection, 1)
                assert len(found) == len(future) + 7
            await connection.close()


async def test_restored_to_a_point_in_time_it_is_not_published_until_somebody_says_so(
    tmp_path: Path, redis_url: str
) -> None:
    archive, folder = tmp_path / "archive", tmp_path / "restored"
    archive.mkdir(mode=0o777)
    archive.chmod(0o777)
    settings = IN_A_HURRY | {"archive_mode": "on", "archive_command": f"cp '%p' '{archive}/%f'"}
    with postgres_running(tmp_path / "server", settings) as server:
        connection = await with_schema_there(server)
        async with outbox_pool(server.dsn()) as pool, publishers(pool, redis_url) as before:
            await write_some(connection, 5)
            await before.publish()
            clusters.base_backup(server, folder)
            await write_some(connection, 5)
            await before.publish()
            await connection.execute("SELECT pg_create_restore_point('here')")
            # It is a long time between two events of what is lost.
            await write(connection, "lost")
            _, first = await Ticks(pool).make()
            await write(connection, "lost")
            assert first is not None
            await Ticks(pool).make(above_ms=first.ms + 100_000)
            await before.publish()
            [future] = await before.streams()
        await connection.close()
    with running_server(clusters.restored_to("here", folder, archive)) as server:
        connection = await asyncpg.connect(server.dsn())
        await until_promoted(connection)
        async with outbox_pool(server.dsn()) as pool, publishers(pool, redis_url) as after:
            await write_some(connection, 5)
            await refuses(after)
            known = await situation(after)
            assert known.identity.timeline > known.epoch.identity.timeline
            assert not known.is_another_cluster
            assert str(known.lost.first) == future[-2][0]
            assert str(known.lost.until) == future[-1][0]
            await reanchor(after)
            await after.publish()
            [found] = await after.streams()
            assert found[: len(future)] == future
            assert [future[:-2] + found[len(future) :]] == await expected(connection, 1)
            assert len(found) == len(future) + 9
        await connection.close()


async def test_a_promoted_standby_that_lost_its_tail_goes_on_by_itself_above(
    tmp_path: Path, redis_url: str
) -> None:
    with postgres_running(tmp_path / "primary") as primary:
        connection = await with_schema_there(primary)
        with running_server(clusters.standby(primary, tmp_path / "standby")) as standby:
            async with outbox_pool(primary.dsn()) as pool, publishers(pool, redis_url) as before:
                await write_some(connection, 5)
                await before.publish()
                await has_replayed(standby, connection)
                there = await asyncpg.connect(standby.dsn())
                await there.execute("ALTER SYSTEM SET primary_conninfo = ''")
                await there.execute("SELECT pg_reload_conf()")
                await receives_nothing(there)
                await write_some(connection, 3)
                await before.publish()
                [future] = await before.streams()
                await connection.close()
            primary.kill()
            async with outbox_pool(standby.dsn()) as pool:
                with pytest.raises(OutboxUnavailable, match="standby"):
                    await Epochs(pool).identity()
            await there.execute("SELECT pg_promote()")
            async with outbox_pool(standby.dsn()) as pool, publishers(pool, redis_url) as after:
                await write_some(there, 4)
                with capture_logs() as logs:
                    assert await after.publish() == 7
                [line] = [line for line in logs if line["event"] == "epoch.opened"]
                assert line["abandoned_after"] == future[8][0]
                assert Position.parse(line["abandoned_until"]) >= Position.parse(future[-1][0])
                assert line["log_level"] == "warning"
                [found] = await after.streams()
                assert found[: len(future)] == future
                assert [future[:9] + found[len(future) :]] == await expected(there, 1)
                epochs = await there.fetch("SELECT * FROM outbox.epoch ORDER BY number")
                assert [row["number"] for row in epochs] == [1, 2]
                assert epochs[0]["system_identifier"] == epochs[1]["system_identifier"]
                assert epochs[0]["timeline"] + 1 == epochs[1]["timeline"]
                assert Position(epochs[1]["after_ms"], epochs[1]["after_seq"]) == Position.parse(
                    future[8][0]
                )
            await there.close()


async def test_a_dump_restored_in_its_place_is_not_published_until_somebody_says_so(
    postgres_server: Postgres, template: str, redis_url: str
) -> None:
    async with (
        cloned(postgres_server, template) as dsn,
        outbox_pool(dsn) as pool,
        publishers(pool, redis_url) as before,
    ):
        connection = await asyncpg.connect(dsn)
        await write_some(connection, 10)
        await before.publish()
        await write_some(connection, 5)
        dumped = await asyncio.to_thread(clusters.dump, dsn)
        await before.publish()
        await write_some(connection, 5)
        await before.publish()
        [future] = await before.streams()
        await connection.close()
    async with (
        restored(postgres_server, dumped) as dsn,
        outbox_pool(dsn) as pool,
        publishers(pool, redis_url) as after,
    ):
        there = await asyncpg.connect(dsn)
        await write_some(there, 4)
        await refuses(after)
        known = await situation(after)
        assert (known.identity, known.is_another_cluster) == (known.epoch.identity, False)
        await reanchor(after)
        await after.publish()
        [found] = await after.streams()
        assert found[: len(future)] == future
        events = await all_events(there)
        assert contents(found[:19] + found[len(future) :]) == events
        assert len(events) == 19 + 9 + 7
        await there.close()


# What a process that runs sees of it


async def test_no_tick_is_made_in_another_incarnation_than_the_one_that_was_settled_for(
    own_database: str, postgres: Postgres, own_redis_url: str
) -> None:
    async with outbox_pool(own_database) as pool, publishers(pool, own_redis_url) as publishing:
        await publishing.publish()
        ticks, settled_for = Ticks(pool), (await situation(publishing)).incarnation
        await ticks.make_and_read(size=0, settled_for=settled_for)
    postgres.restart()
    async with outbox_pool(own_database) as pool, publishers(pool, own_redis_url) as publishing:
        connection = await asyncpg.connect(own_database)
        await write_some(connection, 1)
        with pytest.raises(OutboxReplaced):
            await Ticks(pool).make_and_read(size=0, settled_for=settled_for)
        assert await Ticks(pool).newest() is None
        # It is the same cluster, and no new epoch.
        assert await publishing.publish() == 1
        assert (await situation(publishing)).epoch.number == 1
        await connection.close()


@asynccontextmanager
async def twin(dsn: str, server: Postgres) -> AsyncIterator[str]:
    """A database without the schema that has the same name on another server."""
    name = dsn.split("?", maxsplit=1)[0].rsplit("/", maxsplit=1)[1]
    await clusters.execute(server.dsn(), f"CREATE DATABASE {name}")
    try:
        yield server.dsn(name)
    finally:
        await clusters.execute(server.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


class Address(NamedTuple):
    """An address that may lead elsewhere."""

    proxy: FaultyProxy
    dsn: str

    def lead_to(self, server: Postgres) -> None:
        """Connections are cut while nobody uses them, so that nobody need notice."""
        self.proxy.target = server.socket_path
        self.proxy.cut()


@asynccontextmanager
async def an_address(dsn: str, server: Postgres, folder: Path) -> AsyncIterator[Address]:
    """For the database at *dsn* of *server*, or for its twin."""
    proxy = FaultyProxy(PostgresTalk, server.socket_path)
    async with proxy.listening(folder / server.socket_path.name):
        yield Address(proxy, f"{dsn.split('?', maxsplit=1)[0]}?host={folder}&port=5432")


async def test_what_was_seen_in_one_cluster_hides_nothing_in_another(
    own_database: str, postgres: Postgres, elsewhere: Postgres, tmp_path: Path
) -> None:
    async with (
        twin(own_database, elsewhere) as its_twin,
        an_address(own_database, postgres, tmp_path) as address,
        outbox_pool(address.dsn) as pool,
    ):
        here, there = await asyncpg.connect(own_database), await asyncpg.connect(its_twin)
        await there.execute(SCHEMA.read_text("utf-8"))
        await here.execute(USE_UP_NUMBERS)
        transaction = here.transaction()
        await transaction.start()
        await write(here, "rolled back", 2000)
        await transaction.rollback()
        ticks, epochs = Ticks(pool), Epochs(pool)
        _, incarnation = await epochs.identity()
        assert (await ticks.make_and_read(size=0, settled_for=incarnation))[1] is None
        address.lead_to(elsewhere)
        await write(there, "new", 3)
        _, incarnation = await epochs.identity()
        _, tick, _ = await ticks.make_and_read(size=0, settled_for=incarnation)
        assert tick is not None
        assert tick.events == 3
        await here.close()
        await there.close()


async def test_another_database_is_noticed_before_a_tick_is_made_though_no_statement_fails(
    own_database: str, postgres: Postgres, elsewhere: Postgres, redis: Redis, tmp_path: Path
) -> None:
    pacing = replace(QUICK, backstop_s=0.05, quiet_check_s=60)
    async with (
        twin(own_database, elsewhere) as its_twin,
        an_address(own_database, postgres, tmp_path) as address,
        running(address.dsn, redis, pacing=pacing) as publisher,
        outbox_pool(own_database) as pool,
    ):
        here = await asyncpg.connect(own_database)
        await write_some(here, 5)

        async def is_level() -> bool:
            return len(await entries(redis)) == 9 and publisher.bell.is_asleep

        await eventually(is_level)
        dumped = await asyncio.to_thread(clusters.dump, own_database)
        await asyncio.to_thread(clusters.restore, its_twin, dumped)
        newest = await Ticks(pool).newest()
        there = await asyncpg.connect(its_twin)
        await write_some(there, 5)
        address.lead_to(elsewhere)

        async def is_noticed() -> bool:
            return any(isinstance(report.error, IdentityChanged) for report in publisher.reports)

        await eventually(is_noticed)
        assert len(await entries(redis)) == 9
        assert newest is not None
        assert await there.fetchval("SELECT max(ms) FROM outbox.tick") == newest.ms
        await here.close()
        await there.close()

"""PostgreSQL becomes another one under a publisher that runs: restored elsewhere, failed over."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import clusters
import pytest
from faulty_proxy import FaultyProxy
from processes import Publisher, command, eventually, publishers
from redis.asyncio import Redis
from servers import SCHEMA, postgres_running
from wire import PostgresTalk

from embedded.postgres import Postgres
from outbox.position import Position

WRITE = """
INSERT INTO outbox.event_1 (entity, entity_id, operation, payload)
SELECT 'series', 'entity ' || n % 20, 'update', format('{"n":%s}', n)
  FROM generate_series($1::int, $2::int) AS n
"""
EVENTS = "SELECT entity_id, payload FROM outbox.event ORDER BY id"


@contextmanager
def started(server: Postgres) -> Iterator[Postgres]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def an_address(server: Postgres, folder: Path) -> AsyncIterator[tuple[FaultyProxy, str]]:
    """Where PostgreSQL is, whichever server that is by now."""
    proxy = FaultyProxy(PostgresTalk, server.socket_path)
    async with proxy.listening(folder / server.socket_path.name):
        yield proxy, f"postgresql://postgres@/postgres?host={folder}&port=5432"


async def connected(server: Postgres) -> asyncpg.Connection:
    return await asyncpg.connect(server.dsn())


async def contents(redis: Redis, keys: list[str]) -> list[tuple[Position, tuple[str, str]]]:
    """Of all streams together, in the order of the IDs."""
    streams: Any = [await redis.xrange(key) for key in keys]
    return sorted(
        (Position.parse(id_), (fields["entityId"], fields["payload"]))
        for stream in streams
        for id_, fields in stream
    )


async def hold(redis: Redis, keys: list[str], count: int) -> None:
    async def holds() -> bool:
        return sum([await redis.xlen(key) for key in keys]) >= count

    await eventually(holds)


async def says(publisher: Publisher, event: str, **fields: str) -> dict[str, Any]:
    """The line in which it says that, once it has."""

    def found() -> list[dict[str, Any]]:
        return [line for line in publisher.lines(event) if fields.items() <= line.items()]

    async def has_said() -> bool:
        return bool(found())

    await eventually(has_said)
    return found()[0]


@pytest.mark.parametrize("partitions", [1, 3])
async def test_restored_elsewhere_it_waits_for_reanchor_and_goes_on_by_itself(
    own_redis_url: str, own_redis: Redis, tmp_path: Path, partitions: int
) -> None:
    redis, keys = own_redis, ["catalog:events"]
    if partitions > 1:
        keys = [f"catalog:events:{{{number}}}" for number in range(partitions)]
    settings = {"CATALOG_EVENT_STREAM_PARTITIONS": str(partitions)}
    with (
        postgres_running(tmp_path / "here") as here,
        postgres_running(tmp_path / "elsewhere") as elsewhere,
    ):
        connection = await connected(here)
        await connection.execute(SCHEMA.read_text("utf-8"))
        async with an_address(here, tmp_path) as (proxy, dsn):
            with publishers(dsn, own_redis_url, tmp_path) as start:
                publisher = start(**settings)
                await connection.execute(WRITE, 1, 100)
                await hold(redis, keys, 100)
                dumped = await asyncio.to_thread(clusters.dump, here.dsn())
                await connection.execute(WRITE, 101, 150)
                await hold(redis, keys, 150)
                future = await contents(redis, keys)
                await connection.close()

                await asyncio.to_thread(clusters.restore, elsewhere.dsn(), dumped)
                there = await connected(elsewhere)
                await there.execute(WRITE, 1001, 1030)
                proxy.target = elsewhere.socket_path
                here.kill()
                line = await says(publisher, "publisher.held_up", reason="identity")
                assert "make reanchor" in line["error"]
                assert await contents(redis, keys) == future

                environment = {"DATABASE_URL": dsn, "REDIS_URL": own_redis_url} | settings
                assert (await command(environment, "reanchor"))[0] == 1
                code, out = await command(environment, "reanchor", "--dry-run", "--json")
                told = json.loads(out)
                assert (code, told["opened"], told["anotherCluster"]) == (0, False, True)
                assert told["abandoned"]["entries"] == 50
                assert told["was"]["system_identifier"] != told["is"]["system_identifier"]
                assert await contents(redis, keys) == future

                code, out = await command(environment, "reanchor", "--yes", "--json")
                assert (code, json.loads(out)["renumbered"]) == (0, 30)
                await hold(redis, keys, 180)
                await says(publisher, "publisher.recovered", stream="ticks")
                await there.execute(WRITE, 1031, 1040)
                await hold(redis, keys, 190)
                found = await contents(redis, keys)
                assert found[:150] == future
                new = await there.fetch(EVENTS)
                assert [content for _, content in found[150:]] == [tuple(row) for row in new]
                assert len(new) == 40
                assert publisher.is_running
                assert (await command(environment, "reanchor", "--json"))[0] == 0
                await there.close()


async def test_after_a_failover_that_lost_the_tail_it_goes_on_by_itself(
    own_redis_url: str, own_redis: Redis, tmp_path: Path
) -> None:
    redis, keys = own_redis, ["catalog:events"]
    with postgres_running(tmp_path / "primary") as primary:
        connection = await connected(primary)
        await connection.execute(SCHEMA.read_text("utf-8"))
        with started(clusters.standby(primary, tmp_path / "standby")) as standby:
            async with an_address(primary, tmp_path) as (proxy, dsn):
                with publishers(dsn, own_redis_url, tmp_path) as start:
                    publisher = start()
                    await connection.execute(WRITE, 1, 100)
                    await hold(redis, keys, 100)
                    there = await connected(standby)
                    await has_replayed(connection, there)
                    await there.execute("ALTER SYSTEM SET primary_conninfo = ''")
                    await there.execute("SELECT pg_reload_conf()")
                    await receives_nothing(there)
                    await connection.execute(WRITE, 101, 150)
                    await hold(redis, keys, 150)
                    future = await contents(redis, keys)
                    await connection.close()

                    primary.kill()
                    proxy.target = standby.socket_path
                    await says(publisher, "publisher.held_up", reason="postgres_away")
                    await there.execute("SELECT pg_promote()")
                    await there.execute(WRITE, 1001, 1030)
                    await hold(redis, keys, 180)
                    line = await says(publisher, "epoch.opened")
                    assert line["abandoned_after"] == str(future[99][0])
                    assert Position.parse(line["abandoned_until"]) >= future[-1][0]
                    found = await contents(redis, keys)
                    assert found[:150] == future
                    new = (await there.fetch(EVENTS))[100:]
                    assert [content for _, content in found[150:]] == [tuple(row) for row in new]
                    reasons = {line["reason"] for line in publisher.lines("publisher.held_up")}
                    assert reasons == {"postgres_away"}
                    assert publisher.is_running
                    await there.close()


async def has_replayed(primary: asyncpg.Connection, standby: asyncpg.Connection) -> None:
    written = await primary.fetchval("SELECT pg_current_wal_lsn()::text")

    async def has_all() -> bool:
        return bool(
            await standby.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", written)
        )

    await eventually(has_all)


async def receives_nothing(standby: asyncpg.Connection) -> None:
    async def is_cut_off() -> bool:
        return not await standby.fetchval("SELECT count(*) FROM pg_stat_wal_receiver")

    await eventually(is_cut_off)

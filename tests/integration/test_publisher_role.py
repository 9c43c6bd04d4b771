"""The role outbox_publisher: a publisher that has no other rights does all of its work."""

import asyncpg
import pytest
from publishing import FOREIGN, KEY, eventually, write
from redis.asyncio import Redis
from running import running

from outbox import control, leases
from outbox.leases import Lease

READ, ADD, CHANGE = "SELECT", "INSERT SELECT", "INSERT SELECT UPDATE"
TABLES = {
    "outbox.attempt": CHANGE,
    "outbox.backfill": CHANGE,
    "outbox.checkpoint": CHANGE,
    "outbox.control": CHANGE,
    "outbox.dead_letter": CHANGE,
    "outbox.epoch": READ,
    "outbox.event": READ,
    "outbox.lease": CHANGE,
    "outbox.member": "DELETE INSERT SELECT UPDATE",
    "outbox.stretch": READ,
    "outbox.tick": ADD,
    "outbox.watched": READ,
}
_RIGHTS = """
SELECT c.oid::regclass::text AS name, string_agg(p, ' ' ORDER BY p) AS rights
  FROM pg_class AS c,
       unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER,MAINTAIN}'::text[]) AS p
 WHERE c.relnamespace IN ('outbox'::regnamespace, 'catalog'::regnamespace)
   AND c.relkind IN ('r', 'p', 'v', 'm') AND has_table_privilege('outbox_publisher', c.oid, p)
 GROUP BY 1
"""


@pytest.fixture
async def as_publisher(database: str, connection: asyncpg.Connection) -> str:
    """The address of the database for one who is a member of the role and nothing else."""
    # Roles belong to the server, and outlive the test's database.
    name = await connection.fetchval("SELECT 'publisher_of_' || current_database()")
    await connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE outbox_publisher")
    return database.replace("//postgres@", f"//{name}@")


async def test_it_has_the_rights_on_tables_that_a_publisher_needs_and_no_more(
    connection: asyncpg.Connection,
) -> None:
    rows = await connection.fetch(_RIGHTS)
    assert {row["name"]: row["rights"] for row in rows} == TABLES


async def test_publishers_that_have_it_alone_share_publish_pause_and_let_go(
    as_publisher: str, connection: asyncpg.Connection, client: Redis
) -> None:
    keys = [f"{KEY}:{{0}}", f"{KEY}:{{1}}"]

    async def published(count: int) -> None:
        async def there() -> bool:
            return bool(sum([await client.xlen(key) for key in keys]) == count)

        await eventually(there)

    async with asyncpg.create_pool(as_publisher, min_size=0) as pool:
        async with (
            running(as_publisher, client, keys=keys) as one,
            running(as_publisher, client, keys=keys) as other,
        ):

            async def share() -> bool:
                return len(one.leading.streams) == len(other.leading.streams) == 1

            await eventually(share)
            for n in range(20):
                await write(connection, f"{n}")
            await published(20)
            await control.pause(pool, by="on-call", reason="a test")

            async def are_paused() -> bool:
                return bool(one.leading.paused and other.leading.paused)

            await eventually(are_paused)
            assert await control.resume(pool)
            [name] = one.leading.streams
            await leases.raise_epoch(pool, Lease(name, one.member.holder, 0), above=7)
            for n in range(20):
                await write(connection, f"{n}")
            await published(40)
        assert await connection.fetchval("SELECT count(*) FROM outbox.checkpoint") == 2
        assert await connection.fetchval("SELECT count(holder) FROM outbox.lease") == 0
        assert await connection.fetchval("SELECT count(*) FROM outbox.member") == 0


async def test_one_that_has_it_alone_gives_new_ids_above_what_somebody_else_wrote(
    as_publisher: str, connection: asyncpg.Connection, client: Redis
) -> None:
    await write(connection, "before", 3)
    async with asyncpg.create_pool(as_publisher, min_size=0) as pool:
        await pool.fetch("SELECT * FROM outbox.make_tick()")
    far = await connection.fetchval("SELECT ms + 60000 FROM outbox.tick")
    await client.xadd(KEY, FOREIGN, id=f"{far}-0")  # type: ignore[arg-type]
    async with running(as_publisher, client):

        async def there() -> bool:
            return bool(await client.xlen(KEY) == 4)

        await eventually(there)
    assert await connection.fetchval("SELECT min(ms) FROM outbox.tick") > far

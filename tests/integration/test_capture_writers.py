"""Who may write what: a writer needs no right on the outbox, and cannot bend what it records."""

import asyncpg
import pytest
from captured import CREATED_AT, Change, add_series, captured
from servers import Connect

BEYOND_A_WRITER = [
    "SELECT * FROM outbox.event",
    "SELECT * FROM outbox.event_1",
    (
        "INSERT INTO outbox.event (stretch, entity, entity_id, operation, payload)"
        " VALUES (1, 'series', '', 'create', '{}')"
    ),
    "DELETE FROM outbox.event_1",
    "SELECT * FROM outbox.tick",
    "SELECT * FROM outbox.watched",
    "SELECT nextval('outbox.event_id')",
    "SELECT outbox.make_tick()",
    "SELECT outbox.watch('catalog.series', entity => 'mine')",
    "SELECT outbox.unwatch('catalog.series')",
    "SELECT catalog.set_cdn_base_url('https://mine.example.com')",
    "TRUNCATE catalog.series CASCADE",
    "ALTER TABLE catalog.series DISABLE TRIGGER outbox_insert",
    "DROP TRIGGER outbox_insert ON catalog.series",
    "SET session_replication_role = replica",
]
BEYOND_A_READER = [
    "INSERT INTO catalog.category (slug, name) VALUES ('c', 'Name')",
    "UPDATE catalog.series SET title = 'New'",
    "DELETE FROM catalog.series",
    (
        "INSERT INTO outbox.event (stretch, entity, entity_id, operation, payload)"
        " VALUES (1, 'series', '', 'create', '{}')"
    ),
    "UPDATE outbox.event SET payload = '{}'",
    "DELETE FROM outbox.event",
    "TRUNCATE outbox.event",
    "UPDATE outbox.tick SET events = 1",
    "DELETE FROM outbox.tick",
    "DELETE FROM outbox.checkpoint",
    "SELECT outbox.unwatch('catalog.series')",
]


async def log_in(connect: Connect, granted: str) -> asyncpg.Connection:
    """A connection of a new login role that is a member of *granted* and nothing else."""
    owner = await connect()
    # Roles belong to the server, and outlive the test's database.
    name = await owner.fetchval(f"SELECT '{granted}_of_' || current_database()")
    await owner.execute(f"CREATE ROLE {name} LOGIN IN ROLE {granted}")
    return await connect(user=name)


async def allowed(connection: asyncpg.Connection, statements: list[str]) -> list[str]:
    """Those of *statements* that *connection* has the right to run."""
    found = []
    for statement in statements:
        try:
            await connection.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        found.append(statement)
    return found


async def test_a_catalog_writer_is_captured_without_a_right_on_the_outbox(
    connect: Connect, connection: asyncpg.Connection
) -> None:
    writer = await log_in(connect, "catalog_writer")
    await writer.execute("INSERT INTO catalog.category (slug, name) VALUES ('c', 'Name')")
    await writer.execute("UPDATE catalog.category SET name = 'New'")
    await writer.execute("DELETE FROM catalog.category")
    operations = [change.operation for change in await captured(connection)]
    assert operations == ["create", "update", "delete"]


async def test_a_catalog_writer_cannot_read_write_or_evade_the_outbox(connect: Connect) -> None:
    writer = await log_in(connect, "catalog_writer")
    assert await allowed(writer, BEYOND_A_WRITER) == []


async def test_a_writers_own_schemas_functions_and_operators_change_nothing(
    connect: Connect, connection: asyncpg.Connection
) -> None:
    [series] = await add_series(connection)
    writer = await log_in(connect, "catalog_writer")
    name = await writer.fetchval("SELECT current_user")
    await connection.execute(f"CREATE SCHEMA hostile AUTHORIZATION {name}")
    await writer.execute(
        "CREATE FUNCTION hostile.never(a text, b text) RETURNS boolean LANGUAGE sql AS 'SELECT"
        " false';"
        "CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.never);"
        "CREATE FUNCTION hostile.concat_ws(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS"
        " $$SELECT 'stolen'$$;"
        "CREATE FUNCTION hostile.to_json(anyelement) RETURNS json LANGUAGE sql AS"
        " $$SELECT '\"stolen\"'::json$$;"
        "CREATE FUNCTION hostile.nextval(regclass) RETURNS bigint LANGUAGE sql AS 'SELECT"
        " 1::bigint';"
        "CREATE FUNCTION hostile.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
        " $$SELECT '1970-01-01Z'::timestamptz$$;"
        "CREATE FUNCTION hostile.nullif(text, text) RETURNS text LANGUAGE sql AS 'SELECT NULL';"
        "CREATE TABLE hostile.event_1 (); CREATE TEMPORARY TABLE event_1 ();"
        "CREATE TEMPORARY TABLE new_rows (id uuid); CREATE TEMPORARY TABLE old_rows (id uuid);"
        "CREATE TEMPORARY TABLE media_asset (id uuid);"
        "SET search_path = pg_temp, hostile, catalog, pg_catalog"
    )
    await writer.execute("UPDATE catalog.series SET title = 'New' WHERE id = $1", series)
    await writer.execute(
        "INSERT INTO catalog.series (slug, title, created_at)"
        " SELECT 's-' || n, 'Title', $1::pg_catalog.text::pg_catalog.timestamptz"
        " FROM pg_catalog.generate_series(1, 2) AS n",
        CREATED_AT,
    )
    [_, update, *creates] = await captured(connection)
    assert update == Change(
        "series", str(series), "update", {"slug": "s-0", "categoryId": None, "title": "New"}
    )
    assert [create.payload["title"] for create in creates] == ["Title"] * 2
    assert await connection.fetchval("SELECT min(at) > '2020-01-01' FROM outbox.event")


@pytest.mark.parametrize("role", ["outbox_publisher", "feed_projector"])
async def test_a_reader_of_the_outbox_makes_ticks_and_reads_events(
    connect: Connect, connection: asyncpg.Connection, role: str
) -> None:
    await add_series(connection)
    reader = await log_in(connect, role)
    assert await reader.fetchval("SELECT (outbox.make_tick()).events") == 1
    assert await reader.fetchval("SELECT count(*) FROM outbox.event") == 1
    assert await reader.fetchval("SELECT events FROM outbox.tick") == 1
    await reader.execute("INSERT INTO outbox.checkpoint VALUES ('mine', 1, 0)")
    await reader.execute("UPDATE outbox.checkpoint SET seq = 1")


@pytest.mark.parametrize("role", ["outbox_publisher", "feed_projector", "feed_reader"])
async def test_a_reader_of_the_outbox_writes_neither_catalog_nor_events(
    connect: Connect, role: str
) -> None:
    reader = await log_in(connect, role)
    assert await allowed(reader, BEYOND_A_READER) == []


async def test_a_publisher_does_not_read_the_catalog(connect: Connect) -> None:
    publisher = await log_in(connect, "outbox_publisher")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await publisher.execute("SELECT * FROM catalog.series")

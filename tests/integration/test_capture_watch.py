"""watch() and unwatch(): what they refuse, what a second call does, what they leave behind."""

import asyncpg
import pytest
from captured import Change, captured, last_id
from servers import Connect

TABLES = """
CREATE SCHEMA app;
CREATE TABLE app.plain (id int PRIMARY KEY, other int, maybe int UNIQUE, name text);
CREATE UNIQUE INDEX ON app.plain (other) WHERE other > 0;
CREATE TABLE app.pair (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE app.keyless (id int NOT NULL);
CREATE VIEW app.view AS SELECT * FROM app.plain;
CREATE MATERIALIZED VIEW app.stored AS SELECT * FROM app.plain;
CREATE TABLE app.whole (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE app.slice PARTITION OF app.whole FOR VALUES FROM (0) TO (10);
CREATE TABLE app.piece (id int PRIMARY KEY, plain_id int);
CREATE TEMPORARY TABLE passing (id int PRIMARY KEY);
"""


@pytest.fixture
async def owner(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute(TABLES)
    return connection


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("'app.plain', entity => 'x', key => 'nope'", ("app.plain", "column nope")),
        ("'app.plain', entity => 'x', context => '{name,ctx}'", ("app.plain", "column ctx")),
        ("'app.plain', entity => 'x', long => '{\"Long\"}'", ("app.plain", 'column "Long"')),
        ("'app.plain', entity => 'x', ignore => '{xmin}'", ("app.plain", "column xmin")),
        ("'app.plain', entity => 'x', soft_delete => 'gone_at'", ("app.plain", "column gone_at")),
        ("'app.plain', entity => 'x', key => 'name'", ("app.plain", "key name", "unique")),
        ("'app.plain', entity => 'x', key => 'maybe'", ("app.plain", "key maybe", "not null")),
        ("'app.plain', entity => 'x', key => 'other'", ("app.plain", "key other", "unique")),
        ("'app.pair', entity => 'x', key => 'a'", ("app.pair", "key a", "unique")),
        ("'app.keyless', entity => 'x'", ("app.keyless", "key id", "unique")),
        ("'app.view', entity => 'x'", ("app.view", "views")),
        ("'app.stored', entity => 'x'", ("app.stored", "views")),
        ("'app.whole', entity => 'x'", ("app.whole", "partition")),
        ("'app.slice', entity => 'x'", ("app.slice", "partitions")),
        ("'passing', entity => 'x'", ("passing", "temporary")),
        ("'app.plain'", ("app.plain", "entity NULL")),
        ("'app.plain', entity => ''", ("app.plain", "entity ''")),
        ("'app.plain', entity => 'two words'", ("app.plain", "entity 'two words'")),
        ("'app.plain', entity => E'x\\x1fy'", ("app.plain", "entity ")),
        ("'app.plain', entity => NULL, part => 'p'", ("app.plain", "entity NULL")),
        ("'app.piece', key => 'plain_id', part => 'p', part_of => 'app.plain'",
         ("app.piece", "app.plain", "watch that table first")),
        ("'app.piece', key => 'plain_id', part_of => 'catalog.series'",
         ("app.piece", "catalog.series", "part")),
        ("'app.piece', key => 'nope', part => 'p', part_of => 'catalog.series'",
         ("app.piece", "column nope")),
        ("'app.piece', key => 'plain_id', part => 'p', part_of => 'catalog.media_asset_variant'",
         ("app.piece", "catalog.media_asset_variant", "watch that table first")),
    ],
)  # fmt: skip
async def test_a_request_that_cannot_work_is_refused_by_table_and_field(
    owner: asyncpg.Connection, arguments: str, said: tuple[str, ...]
) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await owner.execute(f"SELECT outbox.watch({arguments})")
    message = str(refused.value)
    assert message.startswith("cannot watch ")
    assert [part for part in said if part not in message] == []
    assert await owner.fetchval("SELECT count(*) FROM outbox.watched") == 6


async def test_an_entity_and_a_part_at_once_are_refused(owner: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.PostgresError, match=r"cannot watch app\.piece"):
        await owner.execute(
            "SELECT outbox.watch('app.piece', entity => 'x', key => 'plain_id', part => 'p',"
            " part_of => 'catalog.series')"
        )


async def test_a_column_added_later_is_captured_after_another_watch(
    owner: asyncpg.Connection,
) -> None:
    await owner.execute("SELECT outbox.watch('app.plain', entity => 'plain')")
    await owner.execute(
        "ALTER TABLE app.plain ADD COLUMN added_later int, DROP COLUMN other CASCADE"
    )
    await owner.execute("SELECT outbox.watch('app.plain', entity => 'plain')")
    await owner.execute("INSERT INTO app.plain (id, name, added_later) VALUES (1, 'n', 2)")
    await owner.execute("UPDATE app.plain SET added_later = 3")
    assert await captured(owner) == [
        Change("plain", "1", "create", {"name": "n", "addedLater": 2}),
        Change("plain", "1", "update", {"addedLater": 3}),
    ]


async def test_a_column_added_without_another_watch_does_not_break_its_writers(
    owner: asyncpg.Connection,
) -> None:
    await owner.execute("SELECT outbox.watch('app.plain', entity => 'plain')")
    await owner.execute("ALTER TABLE app.plain ADD COLUMN added_later int")
    await owner.execute("INSERT INTO app.plain (id, name, added_later) VALUES (1, 'n', 2)")
    await owner.execute("UPDATE app.plain SET name = 'm'")
    assert [change.payload for change in await captured(owner)] == [{"name": "n"}, {"name": "m"}]


async def test_a_watch_with_other_arguments_replaces_the_first(owner: asyncpg.Connection) -> None:
    await owner.execute("SELECT outbox.watch('app.plain', entity => 'plain')")
    await owner.execute(
        "SELECT outbox.watch('app.plain', entity => 'other', context => '{name}',"
        " ignore => '{maybe}')"
    )
    await owner.execute("INSERT INTO app.plain VALUES (1, 2, 3, 'n')")
    assert await captured(owner) == [Change("other", "1", "create", {"name": "n", "other": 2})]


async def test_a_second_watch_repairs_a_trigger_that_somebody_dropped_or_disabled(
    owner: asyncpg.Connection,
) -> None:
    await owner.execute("SELECT outbox.watch('app.plain', entity => 'plain')")
    await owner.execute(
        "DROP TRIGGER outbox_insert ON app.plain;"
        "ALTER TABLE app.plain DISABLE TRIGGER outbox_update;"
        "SELECT outbox.watch('app.plain', entity => 'plain');"
        "INSERT INTO app.plain VALUES (1); UPDATE app.plain SET name = 'n'"
    )
    assert [change.operation for change in await captured(owner)] == ["create", "update"]


async def test_a_second_watch_that_changes_nothing_takes_no_lock_on_the_table(
    connect: Connect,
) -> None:
    writer, owner = await connect(), await connect()
    watch = (
        "SELECT outbox.watch('catalog.category', entity => 'category', context => '{slug}',"
        " long => '{description}', soft_delete => 'deleted_at',"
        " ignore => '{updated_at,created_by_admin_id,updated_by_admin_id}')"
    )
    async with writer.transaction(), owner.transaction():
        await writer.execute("INSERT INTO catalog.category (slug, name) VALUES ('a', 'N')")
        await owner.execute("SET LOCAL lock_timeout = '5s'")
        await owner.execute(watch)
        held = await owner.fetchval(
            "SELECT array_agg(mode) FROM pg_locks WHERE pid = pg_backend_pid()"
            " AND relation = 'catalog.category'::regclass AND mode <> 'AccessShareLock'"
        )
        assert held is None


async def test_an_unwatched_table_raises_nothing_and_keeps_its_past_events(
    owner: asyncpg.Connection,
) -> None:
    await owner.execute(
        "SELECT outbox.watch('app.plain', entity => 'plain'); INSERT INTO app.plain VALUES (1)"
    )
    await owner.execute("SELECT outbox.unwatch('app.plain')")
    await owner.execute("UPDATE app.plain SET name = 'n'")
    await owner.execute("TRUNCATE app.plain")
    assert [change.operation for change in await captured(owner)] == ["create"]
    left = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'capture_app_plain%'"
    assert await owner.fetchval(left) == 0
    await owner.execute("SELECT outbox.unwatch('app.plain')")


async def test_a_table_with_a_watched_part_is_not_unwatched_before_the_part(
    connection: asyncpg.Connection,
) -> None:
    with pytest.raises(asyncpg.ObjectInUseError) as refused:
        await connection.execute("SELECT outbox.unwatch('catalog.media_asset')")
    assert "cannot unwatch catalog.media_asset" in str(refused.value)
    assert "outbox.unwatch('catalog.media_asset_variant')" in str(refused.value)
    await connection.execute("SELECT outbox.unwatch('catalog.media_asset_variant')")
    await connection.execute("SELECT outbox.unwatch('catalog.media_asset')")


async def test_a_part_follows_its_owner_when_that_is_watched_with_another_context(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        "CREATE TABLE owner (id int PRIMARY KEY, name text);"
        "CREATE TABLE piece (id int PRIMARY KEY, owner_id int REFERENCES owner);"
        "SELECT outbox.watch('owner', entity => 'owner');"
        "SELECT outbox.watch('piece', key => 'owner_id', part => 'pieces', part_of => 'owner');"
        "SELECT outbox.watch('owner', entity => 'renamed', context => '{name}');"
        "INSERT INTO owner VALUES (1, 'n')"
    )
    before = await last_id(connection)
    await connection.execute("INSERT INTO piece VALUES (1, 1)")
    assert await captured(connection, after=before) == [
        Change("renamed", "1", "update", {"name": "n", "pieces": None, "$omitted": ["pieces"]})
    ]


async def test_tables_whose_names_differ_beyond_a_names_length_do_not_share_functions(
    connection: asyncpg.Connection,
) -> None:
    names = [f"a_table_with_a_very_long_name_indeed_{'x' * 20}_{n}" for n in (1, 2)]
    for name in names:
        await connection.execute(
            f"CREATE TABLE {name} (id int PRIMARY KEY, only_{name[-1]} int);"
            f"SELECT outbox.watch('{name}', entity => 'long{name[-1]}')"
        )
    for name in names:
        await connection.execute(f"INSERT INTO {name} VALUES (1, 2)")  # noqa: S608 - ours
    assert await captured(connection) == [
        Change("long1", "1", "create", {"only1": 2}),
        Change("long2", "1", "create", {"only2": 2}),
    ]

"""However PostgreSQL is told to write, every row that changed has its event."""

from collections import Counter

import asyncpg
import pytest
from captured import add_assets, add_series, add_variants, captured, last_id

BULK = 5_000


async def kinds(connection: asyncpg.Connection, *, after: int = 0) -> Counter[tuple[str, str]]:
    changes = await captured(connection, after=after)
    return Counter((change.entity, change.operation) for change in changes)


async def add_bulk(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "INSERT INTO catalog.series (slug, title)"
        " SELECT 's-' || n, 'Title' FROM generate_series(1, $1) AS n",
        BULK,
    )


async def test_a_bulk_insert_update_and_delete_has_one_event_per_row(
    connection: asyncpg.Connection,
) -> None:
    await add_bulk(connection)
    await connection.execute("UPDATE catalog.series SET title = 'Title ' || slug")
    await connection.execute("DELETE FROM catalog.series")
    changes = await captured(connection)
    assert Counter(change.operation for change in changes) == dict.fromkeys(
        ("create", "update", "delete"), BULK
    )
    updates = [change.payload for change in changes if change.operation == "update"]
    assert all(payload["title"] == f"Title {payload['slug']}" for payload in updates)
    assert len({payload["slug"] for payload in updates}) == BULK


async def test_copy_has_one_create_per_row(connection: asyncpg.Connection) -> None:
    await connection.copy_records_to_table(
        "category",
        schema_name="catalog",
        columns=["slug", "name"],
        records=[(f"c-{n}", "Name") for n in range(100)],
    )
    changes = await captured(connection)
    assert {change.payload["slug"] for change in changes} == {f"c-{n}" for n in range(100)}
    assert {change.operation for change in changes} == {"create"}


async def test_an_upsert_creates_what_is_new_and_updates_what_was_there(
    connection: asyncpg.Connection,
) -> None:
    await add_series(connection, 2)
    before = await last_id(connection)
    await connection.execute(
        "INSERT INTO catalog.series (slug, title) VALUES ('s-0', 'New'), ('s-9', 'Title')"
        " ON CONFLICT (slug) DO UPDATE SET title = excluded.title"
    )
    changes = await captured(connection, after=before)
    assert sorted((change.operation, change.payload["slug"]) for change in changes) == [
        ("create", "s-9"),
        ("update", "s-0"),
    ]
    [update] = [change for change in changes if change.operation == "update"]
    assert update.payload == {"slug": "s-0", "categoryId": None, "title": "New"}


@pytest.mark.parametrize(
    "conflict",
    [
        (
            "INSERT INTO catalog.series (slug, title) VALUES ('s-0', 'New')"
            " ON CONFLICT (slug) DO NOTHING"
        ),
        (
            "INSERT INTO catalog.series (slug, title) VALUES ('s-0', 'Title')"
            " ON CONFLICT (slug) DO UPDATE SET title = excluded.title, updated_at = now()"
        ),
        (
            "INSERT INTO catalog.series (slug, title) VALUES ('s-0', 'New')"
            " ON CONFLICT (slug) DO UPDATE SET title = 'Never' WHERE excluded.title = 'Other'"
        ),
    ],
    ids=["do nothing", "same values", "where is false"],
)
async def test_an_upsert_that_changes_nothing_raises_no_event(
    connection: asyncpg.Connection, conflict: str
) -> None:
    await add_series(connection)
    before = await last_id(connection)
    await connection.execute(conflict)
    assert await kinds(connection, after=before) == {}


async def test_a_merge_that_inserts_updates_and_deletes_raises_each(
    connection: asyncpg.Connection,
) -> None:
    await add_series(connection, 4)
    before = await last_id(connection)
    await connection.execute(
        "MERGE INTO catalog.series AS s"
        " USING (VALUES ('s-0', 'go'), ('s-1', 'New'), ('s-2', 'Title'), ('s-9', 'Nine'))"
        "   AS wanted (slug, title) ON s.slug = wanted.slug"
        " WHEN MATCHED AND wanted.title = 'go' THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET title = wanted.title"
        " WHEN NOT MATCHED THEN INSERT (slug, title) VALUES (wanted.slug, wanted.title)"
    )
    changes = await captured(connection, after=before)
    assert sorted((change.operation, change.payload["slug"]) for change in changes) == [
        ("create", "s-9"),
        ("delete", "s-0"),
        ("update", "s-1"),
    ]


async def test_a_statement_that_writes_two_tables_has_the_events_of_both(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        "WITH added AS (INSERT INTO catalog.category (slug, name) VALUES ('a', 'N') RETURNING id)"
        " INSERT INTO catalog.series (slug, title, category_id) SELECT 's', 'T', id FROM added"
    )
    assert await kinds(connection) == {("category", "create"): 1, ("series", "create"): 1}


async def test_a_deleted_series_takes_everything_below_it_along(
    connection: asyncpg.Connection,
) -> None:
    pairs = await add_assets(connection, 3)
    await add_variants(connection, [asset for asset, _ in pairs], "1080p", "720p")
    await connection.execute(
        "INSERT INTO catalog.season (series_id, sequence_number) SELECT id, 1 FROM catalog.series;"
        "UPDATE catalog.episode SET season_id = (SELECT id FROM catalog.season)"
    )
    before = await last_id(connection)
    await connection.execute("DELETE FROM catalog.series")
    assert await kinds(connection, after=before) == {
        ("series", "delete"): 1,
        ("season", "delete"): 1,
        ("episode", "delete"): 3,
        ("mediaAsset", "delete"): 3,
    }


async def test_a_cascade_is_silent_about_what_was_soft_deleted(
    connection: asyncpg.Connection,
) -> None:
    [(_, episode), *_] = await add_assets(connection, 2)
    await connection.execute("UPDATE catalog.episode SET deleted_at = now() WHERE id = $1", episode)
    before = await last_id(connection)
    await connection.execute("DELETE FROM catalog.series")
    assert await kinds(connection, after=before) == {
        ("series", "delete"): 1,
        ("episode", "delete"): 1,
        ("mediaAsset", "delete"): 2,
    }


async def test_an_update_that_cascades_through_a_foreign_key_is_an_event_of_each_row(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        "CREATE TABLE shelf (id int PRIMARY KEY);"
        "CREATE TABLE book (id int PRIMARY KEY, shelf_id int REFERENCES shelf ON UPDATE CASCADE"
        " ON DELETE SET NULL);"
        "SELECT outbox.watch('shelf', entity => 'shelf');"
        "SELECT outbox.watch('book', entity => 'book', context => '{shelf_id}');"
        "INSERT INTO shelf VALUES (1); INSERT INTO book VALUES (1, 1), (2, 1)"
    )
    before = await last_id(connection)
    await connection.execute("UPDATE shelf SET id = 7")
    await connection.execute("DELETE FROM shelf")
    changes = await captured(connection, after=before)
    assert Counter((change.entity, change.operation) for change in changes) == {
        ("shelf", "delete"): 2,
        ("shelf", "create"): 1,
        ("book", "update"): 4,
    }
    assert [change.payload for change in changes if change.entity == "book"] == [
        {"shelfId": 7, "$previous": {"shelfId": 1}},
        {"shelfId": 7, "$previous": {"shelfId": 1}},
        {"shelfId": None, "$previous": {"shelfId": 7}},
        {"shelfId": None, "$previous": {"shelfId": 7}},
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO catalog.series (slug, title) SELECT 'x', 'x' WHERE false",
        "UPDATE catalog.series SET title = 'New' WHERE false",
        "DELETE FROM catalog.series WHERE false",
        "UPDATE catalog.media_asset_variant SET width = 1 WHERE false",
        "DELETE FROM catalog.media_asset_variant WHERE false",
    ],
)
async def test_a_statement_that_touches_no_row_raises_nothing(
    connection: asyncpg.Connection, statement: str
) -> None:
    await add_series(connection)
    before = await last_id(connection)
    await connection.execute(statement)
    assert await kinds(connection, after=before) == {}


@pytest.mark.parametrize(
    ("truncate", "table"),
    [
        ("TRUNCATE catalog.media_asset_variant", "catalog.media_asset_variant"),
        ("TRUNCATE catalog.category CASCADE", "catalog.category"),
        ("TRUNCATE catalog.series CASCADE", "catalog.series"),
    ],
)
async def test_truncate_is_refused_with_a_hint(
    connection: asyncpg.Connection, truncate: str, table: str
) -> None:
    await add_series(connection)
    with pytest.raises(asyncpg.FeatureNotSupportedError) as refused:
        await connection.execute(truncate)
    assert f"TRUNCATE of {table}" in str(refused.value)
    assert f"outbox.unwatch('{table}')" in str(getattr(refused.value, "hint", None))
    assert await connection.fetchval("SELECT count(*) FROM catalog.series") == 1


async def test_truncate_of_an_unwatched_table_does_not_reach_a_watched_one_by_cascade(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        "CREATE TABLE parent (id int PRIMARY KEY);"
        "CREATE TABLE child (id int PRIMARY KEY, parent_id int REFERENCES parent);"
        "SELECT outbox.watch('child', entity => 'child');"
        "INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1, 1)"
    )
    with pytest.raises(asyncpg.FeatureNotSupportedError, match=r"TRUNCATE of public\.child"):
        await connection.execute("TRUNCATE parent CASCADE")
    assert await connection.fetchval("SELECT count(*) FROM child") == 1

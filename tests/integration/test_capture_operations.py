"""Which write is which operation; each through the way of one row and the way of several."""

from typing import Any

import asyncpg
import pytest
from captured import CREATED_AT, CREATED_AT_JSON, add_series, by_entity, captured, last_id

CONTEXT = {"categoryId": None}


@pytest.fixture(params=[1, 3], ids=["one row", "several rows"])
def rows(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def fields(**own: object) -> dict[str, object]:
    """What a create of a series carries beside its context, for `add_series`."""
    return {
        "title": "Title",
        "tags": [],
        "status": "DRAFT",
        "visibility": "PRIVATE",
        "createdAt": CREATED_AT_JSON,
        **own,
    }


async def written(
    connection: asyncpg.Connection, statement: str, *arguments: object
) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Run one statement and return the changes it raised."""
    before = await last_id(connection)
    await connection.execute(statement, *arguments)
    changes = await captured(connection, after=before)
    assert {change.entity for change in changes} <= {"series"}
    return by_entity(changes)


async def test_an_insert_is_a_create_with_the_fields_that_are_not_null(
    connection: asyncpg.Connection, rows: int
) -> None:
    changes = await written(
        connection,
        "INSERT INTO catalog.series (slug, title, tags, release_date, created_at)"
        " SELECT 's-' || n, 'Title ' || n, ARRAY['a', 'b'], '2026-05-01', $1::text::timestamptz"
        " FROM generate_series(1, $2) AS n",
        CREATED_AT,
        rows,
    )
    ids = await connection.fetch("SELECT id::text FROM catalog.series ORDER BY slug")
    assert changes == {
        row["id"]: [
            (
                "create",
                {
                    "slug": f"s-{n}",
                    **CONTEXT,
                    **fields(title=f"Title {n}", tags=["a", "b"], releaseDate="2026-05-01"),
                },
            )
        ]
        for n, row in enumerate(ids, start=1)
    }


async def test_an_update_carries_the_context_and_only_what_changed(
    connection: asyncpg.Connection, rows: int
) -> None:
    ids = await add_series(connection, rows)
    changes = await written(connection, "UPDATE catalog.series SET title = 'New', status = 'DRAFT'")
    assert changes == {
        str(series): [("update", {"slug": f"s-{n}", **CONTEXT, "title": "New"})]
        for n, series in enumerate(ids)
    }


async def test_an_update_of_several_fields_is_one_event(
    connection: asyncpg.Connection, rows: int
) -> None:
    ids = await add_series(connection, rows)
    changes = await written(
        connection,
        "UPDATE catalog.series"
        " SET title = 'New', status = 'PUBLISHED', tags = '{x}', release_date = '2026-05-01'",
    )
    new = {"title": "New", "status": "PUBLISHED", "tags": ["x"], "releaseDate": "2026-05-01"}
    assert changes == {
        str(series): [("update", {"slug": f"s-{n}", **CONTEXT, **new})]
        for n, series in enumerate(ids)
    }


async def test_a_field_set_to_null_is_in_the_update_as_null(
    connection: asyncpg.Connection, rows: int
) -> None:
    ids = await add_series(connection, rows)
    await connection.execute("UPDATE catalog.series SET hero_image_url = 'https://a/b'")
    changes = await written(connection, "UPDATE catalog.series SET hero_image_url = NULL")
    assert changes == {
        str(series): [("update", {"slug": f"s-{n}", **CONTEXT, "heroImageUrl": None})]
        for n, series in enumerate(ids)
    }


@pytest.mark.parametrize(
    "update",
    [
        "UPDATE catalog.series SET title = title, tags = tags, slug = slug, deleted_at = NULL",
        "UPDATE catalog.series SET id = id",
        "UPDATE catalog.series SET updated_at = now() + '1 day'",
        "UPDATE catalog.series SET created_by_admin_id = id, updated_by_admin_id = id",
    ],
    ids=["same values", "same key", "updated_at", "audit columns"],
)
async def test_an_update_that_changes_nothing_watched_raises_no_event(
    connection: asyncpg.Connection, rows: int, update: str
) -> None:
    await add_series(connection, rows)
    assert await written(connection, update) == {}


async def test_setting_deleted_at_is_a_delete_with_nothing_but_context(
    connection: asyncpg.Connection, rows: int
) -> None:
    ids = await add_series(connection, rows)
    changes = await written(connection, "UPDATE catalog.series SET deleted_at = now(), title = 'N'")
    assert changes == {
        str(series): [("delete", {"slug": f"s-{n}", **CONTEXT})] for n, series in enumerate(ids)
    }


async def test_a_soft_deleted_row_is_silent_until_it_is_cleared_which_is_a_create(
    connection: asyncpg.Connection, rows: int
) -> None:
    ids = await add_series(connection, rows)
    await connection.execute("UPDATE catalog.series SET deleted_at = now()")
    for silent in (
        "UPDATE catalog.series SET title = 'Meanwhile'",
        "UPDATE catalog.series SET deleted_at = now() + '1 s'",
        "UPDATE catalog.series SET slug = slug || '-moved'",
    ):
        assert await written(connection, silent) == {}

    changes = await written(
        connection, "UPDATE catalog.series SET deleted_at = NULL, status = 'REVIEW'"
    )
    assert changes == {
        str(series): [
            (
                "create",
                {"slug": f"s-{n}-moved", **CONTEXT, **fields(title="Meanwhile", status="REVIEW")},
            )
        ]
        for n, series in enumerate(ids)
    }


async def test_a_row_inserted_as_soft_deleted_raises_nothing_until_it_is_cleared(
    connection: asyncpg.Connection, rows: int
) -> None:
    insert = (
        "INSERT INTO catalog.series (slug, title, deleted_at)"
        " SELECT 's-' || n, 'Title', now() FROM generate_series(1, $1) AS n"
    )
    assert await written(connection, insert, rows) == {}
    changes = await written(connection, "UPDATE catalog.series SET deleted_at = NULL")
    assert [[operation for operation, _ in found] for found in changes.values()] == [
        ["create"]
    ] * rows


async def test_a_hard_delete_is_a_delete(connection: asyncpg.Connection, rows: int) -> None:
    ids = await add_series(connection, rows)
    assert await written(connection, "DELETE FROM catalog.series") == {
        str(series): [("delete", {"slug": f"s-{n}", **CONTEXT})] for n, series in enumerate(ids)
    }


async def test_a_hard_delete_of_a_soft_deleted_row_raises_nothing(
    connection: asyncpg.Connection, rows: int
) -> None:
    await add_series(connection, rows)
    await connection.execute("UPDATE catalog.series SET deleted_at = now()")
    assert await written(connection, "DELETE FROM catalog.series") == {}


async def test_a_changed_primary_key_is_a_delete_of_the_old_then_a_create_of_the_new(
    connection: asyncpg.Connection, rows: int
) -> None:
    old = await add_series(connection, rows)
    before = await last_id(connection)
    await connection.execute("UPDATE catalog.series SET id = gen_random_uuid(), title = 'New'")
    changes = await captured(connection, after=before)

    found = await connection.fetch("SELECT id::text, slug FROM catalog.series")
    assert [change.operation for change in changes] == ["delete"] * rows + ["create"] * rows
    assert by_entity(changes) == {
        **{str(key): [("delete", {"slug": f"s-{n}", **CONTEXT})] for n, key in enumerate(old)},
        **{
            row["id"]: [("create", {"slug": row["slug"], **CONTEXT, **fields(title="New")})]
            for row in found
        },
    }


async def test_a_primary_key_changed_while_soft_deleted_raises_nothing(
    connection: asyncpg.Connection, rows: int
) -> None:
    await add_series(connection, rows)
    await connection.execute("UPDATE catalog.series SET deleted_at = now()")
    assert await written(connection, "UPDATE catalog.series SET id = gen_random_uuid()") == {}


async def test_keys_that_two_rows_swap_are_an_update_of_each(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        "CREATE TABLE slot (id int PRIMARY KEY DEFERRABLE, name text, shelf text);"
        "SELECT outbox.watch('slot', entity => 'slot', context => '{shelf}');"
        "INSERT INTO slot VALUES (1, 'one', 'upper'), (2, 'two', 'lower')"
    )
    before = await last_id(connection)
    await connection.execute("UPDATE slot SET id = 3 - id")
    assert by_entity(await captured(connection, after=before)) == {
        "1": [("update", {"shelf": "lower", "name": "two", "$previous": {"shelf": "upper"}})],
        "2": [("update", {"shelf": "upper", "name": "one", "$previous": {"shelf": "lower"}})],
    }


async def test_rows_of_one_statement_may_each_meet_another_rule(
    connection: asyncpg.Connection,
) -> None:
    ids = await add_series(connection, 5)
    await connection.execute("UPDATE catalog.series SET deleted_at = now() WHERE slug > 's-2'")
    changes = await written(
        connection,
        "UPDATE catalog.series SET"
        " title = CASE slug WHEN 's-1' THEN title ELSE 'New' END,"
        " deleted_at = CASE WHEN slug IN ('s-2', 's-4') THEN now() END",
    )
    assert changes == {
        str(ids[0]): [("update", {"slug": "s-0", **CONTEXT, "title": "New"})],
        str(ids[2]): [("delete", {"slug": "s-2", **CONTEXT})],
        str(ids[3]): [("create", {"slug": "s-3", **CONTEXT, **fields(title="New")})],
    }

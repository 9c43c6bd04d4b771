"""Capture is not tied to the catalog: other names, other columns, other keys."""

import json

import asyncpg
import pytest
from captured import by_entity, captured, last_id

ORM = """
CREATE SCHEMA "Admin";
CREATE TABLE "Admin"."catalogItem" (
    "itemId" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "parentId" uuid, "displayName" text,
    "longText" text, "updatedAt" timestamptz, "deletedAt" timestamptz, "has ""a"" quote" text
);
SELECT outbox.watch('"Admin"."catalogItem"', entity => 'catalogItem', key => 'itemId',
    context => '{parentId}', long => '{longText}', ignore => '{updatedAt}',
    soft_delete => 'deletedAt');
"""


# Its variables, aliases and outputs.
CAPTURE_WORDS = (
    "o n p fields omitted previous change context operation found old_rows new_rows entity"
    " entity_id payload is_there was_there old_id new_id tg_op stretch xid at"
)


@pytest.fixture(params=[1, 3], ids=["one row", "several rows"])
def rows(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


async def test_a_table_as_an_orm_creates_it_follows_every_rule(
    connection: asyncpg.Connection, rows: int
) -> None:
    await connection.execute(ORM)
    await connection.execute(
        'INSERT INTO "Admin"."catalogItem" ("displayName")'
        " SELECT 'a' FROM generate_series(1, $1)",
        rows,
    )
    for statement in (
        'UPDATE "Admin"."catalogItem" SET "displayName" = \'b\', "longText" = \'long\'',
        'UPDATE "Admin"."catalogItem" SET "updatedAt" = now()',
        'UPDATE "Admin"."catalogItem" SET "has ""a"" quote" = \'q\'',
        'UPDATE "Admin"."catalogItem" SET "deletedAt" = now()',
        'UPDATE "Admin"."catalogItem" SET "deletedAt" = NULL',
        'DELETE FROM "Admin"."catalogItem"',
    ):
        await connection.execute(statement)
    context = {"parentId": None}
    long = {"longText": None, "$omitted": ["longText"]}
    story = [
        ("create", {**context, "displayName": "a"}),
        ("update", {**context, "displayName": "b", **long}),
        ("update", {**context, 'has "a" quote': "q"}),
        ("delete", context),
        ("create", {**context, "displayName": "b", 'has "a" quote': "q", **long}),
        ("delete", context),
    ]
    changes = await captured(connection)
    assert {change.entity for change in changes} == {"catalogItem"}
    assert list(by_entity(changes).values()) == [story] * rows


@pytest.mark.parametrize("name", ["at@home", "@.", "100%", "%1$s", "%I", "it's", "a\\b", "$body$"])
async def test_a_column_may_have_any_name(
    connection: asyncpg.Connection, rows: int, name: str
) -> None:
    await connection.execute(
        f'CREATE TABLE odd (id int PRIMARY KEY, "{name}" text, parent int);'
        "SELECT outbox.watch('odd', entity => 'odd', context => '{parent}')"
    )
    await connection.execute("INSERT INTO odd SELECT generate_series(1, $1)", rows)
    before = await last_id(connection)
    await connection.execute(f'UPDATE odd SET "{name}" = $1', "x")  # noqa: S608 - ours
    payloads = [change.payload for change in await captured(connection, after=before)]
    assert payloads == [{"parent": None, name: "x"}] * rows


async def test_a_soft_delete_column_may_be_the_only_column_beside_the_key(
    connection: asyncpg.Connection, rows: int
) -> None:
    await connection.execute(
        "CREATE TABLE bare (id int PRIMARY KEY, gone timestamptz);"
        "SELECT outbox.watch('bare', entity => 'bare', soft_delete => 'gone')"
    )
    await connection.execute("INSERT INTO bare SELECT generate_series(1, $1)", rows)
    await connection.execute("UPDATE bare SET id = id")
    await connection.execute("UPDATE bare SET gone = now()")
    changes = await captured(connection)
    assert [(change.operation, change.payload) for change in changes] == (
        [("create", {})] * rows + [("delete", {})] * rows
    )


async def test_columns_named_like_the_words_of_the_capture_are_told_apart(
    connection: asyncpg.Connection, rows: int
) -> None:
    names = CAPTURE_WORDS.split()
    await connection.execute(
        f"CREATE TABLE odd (id int PRIMARY KEY, {' text, '.join(names)} text);"
        "SELECT outbox.watch('odd', entity => 'odd', context => '{o,context}')"
    )
    await connection.execute("INSERT INTO odd SELECT generate_series(1, $1)", rows)
    before = await last_id(connection)
    assignments = ", ".join(f"{name} = '{name}'" for name in names)
    await connection.execute(f"UPDATE odd SET {assignments}")  # noqa: S608
    await connection.execute("DELETE FROM odd")
    camel = {name.replace("_i", "I").replace("_r", "R").replace("_t", "T").replace("_o", "O"): name
             for name in names}  # fmt: skip
    context = {"o": "o", "context": "context"}
    update = {**camel, "$previous": {"o": None, "context": None}}
    payloads = [change.payload for change in await captured(connection, after=before)]
    assert payloads == [update] * rows + [context] * rows


@pytest.mark.parametrize("separator", ["\x1e", "\x1f"])
async def test_a_text_key_with_a_separator_in_it_is_refused_with_its_name(
    connection: asyncpg.Connection, separator: str
) -> None:
    await connection.execute(
        "CREATE TABLE odd (id text PRIMARY KEY); SELECT outbox.watch('odd', entity => 'odd')"
    )
    with pytest.raises(asyncpg.InvalidParameterValueError) as refused:
        await connection.execute("INSERT INTO odd VALUES ($1)", f"a{separator}b")
    shown = json.dumps(f"a{separator}b")
    assert shown in str(refused.value)
    assert "odd" in str(refused.value)
    assert await connection.fetchval("SELECT count(*) FROM odd") == 0
    await connection.execute("INSERT INTO odd VALUES ($1)", "a\n\t é")
    assert [change.entity_id for change in await captured(connection)] == ["a\n\t é"]

"""Values of every type: compared exactly, written as JSON that no session setting bends."""

from typing import Any

import asyncpg
import pytest
from captured import Change, captured, last_id
from servers import Connect

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'it''s "fine"');
CREATE TYPE place AS (name text, at date);
CREATE TYPE boxed AS (content json, spot point);
CREATE DOMAIN short AS text CHECK (length(value) < 100);
CREATE DOMAIN loose AS json;
"""


@pytest.fixture(params=[1, 3], ids=["one row", "several rows"])
def rows(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


@pytest.mark.parametrize(
    ("column_type", "values", "as_json"),
    [
        ("json", ('{"a": 1}', '{"a":\n 2, "b": [null]}'), {"a": 2, "b": [None]}),
        ("json", ('{"a": 1}', "null"), None),
        ("jsonb", ('{"a": 1}', '{"a": 1, "b": "\\u001e\\""}'), {"a": 1, "b": '\x1e"'}),
        ("text", ("a", 'tab\t, \x1e \x1f \x01 \x7f \\ " é \U0001f600\n'),
         'tab\t, \x1e \x1f \x01 \x7f \\ " é \U0001f600\n'),
        ("text[]", ("{a}", '{a,NULL,"b,c"}'), ["a", None, "b,c"]),
        ("int[]", ("{}", "{{1,2},{3,4}}"), [[1, 2], [3, 4]]),
        ("json[]", ("{}", '{"{\\"a\\": 1}"}'), [{"a": 1}]),
        ("date[]", ("{}", "{2026-12-31}"), ["2026-12-31"]),
        ("numeric", ("1", "12345678901234567890"), 12345678901234567890),
        ("numeric", ("1", "NaN"), "NaN"),
        ("float8", ("1", "-Infinity"), "-Infinity"),
        ("bigint", ("1", "9223372036854775807"), 9223372036854775807),
        ("boolean", ("true", "false"), False),
        ("bytea", ("\\x00", "\\x00ff"), "\\x00ff"),
        ("uuid", ("9d1ad1a4-7a6b-4d0d-93a8-5d8d4ed0bd00", "9d1ad1a47a6b4d0d93a85d8d4ed0bd01"),
         "9d1ad1a4-7a6b-4d0d-93a8-5d8d4ed0bd01"),
        ("mood", ("sad", "it's \"fine\""), "it's \"fine\""),
        ("mood[]", ("{}", "{sad}"), ["sad"]),
        ("place", ("(here,2026-01-01)", "(there,2026-12-31)"),
         {"name": "there", "at": "2026-12-31"}),
        ("place[]", ("{}", '{"(here,)"}'), [{"name": "here", "at": None}]),
        ("short", ("a", "b"), "b"),
        ("short[]", ("{a}", "{b}"), ["b"]),
        ("loose", ("1", '{"a": 2}'), {"a": 2}),
        ("loose[]", ("{1}", "{2}"), [2]),
        ("boxed", ('("{""a"": 1}","(1,2)")', '("{""a"": 2}","(1,2)")'),
         {"content": {"a": 2}, "spot": "(1,2)"}),
        ("boxed[]", ("{}", '{"(1,)"}'), [{"content": 1, "spot": None}]),
        ("char(3)", ("a", "b"), "b  "),
        ("date", ("2026-01-01", "infinity"), "infinity"),
        ("time", ("10:00", "10:00:00.5"), "10:00:00.5"),
        ("timestamp", ("2026-01-01", "2026-12-31 10:00"), "2026-12-31T10:00:00"),
        ("interval", ("1 month", "30 days"), "30 days"),
        ("interval[]", ("{1 day}", "{24:00}"), ["24:00:00"]),
        ("int4range", ("[1,2)", "[1,3)"), "[1,3)"),
        ("int4multirange", ("{}", "{[1,3)}"), "{[1,3)}"),
        ("inet", ("10.0.0.1", "10.0.0.2/8"), "10.0.0.2/8"),
        ("point", ("(1,2)", "(1,3)"), "(1,3)"),
        ("box", ("(1,4),(0,0)", "(2,2),(0,0)"), "(2,2),(0,0)"),
        ("box[]", ("{(1,4),(0,0)}", "{(2,2),(0,0)}"), ["(2,2),(0,0)"]),
        ("bit(3)", ("000", "101"), "101"),
        ("jsonpath", ("$.a", "$.b"), '$."b"'),
        ("refcursor", ("a", "b"), "b"),
        ("tsvector", ("a", "b"), "'b'"),
        ("pg_snapshot", ("1:2:", "1:3:"), "1:3:"),
        ("name", ("a", "b"), "b"),
    ],
)  # fmt: skip
async def test_a_changed_value_of_any_type_is_in_the_update(
    connection: asyncpg.Connection, column_type: str, values: tuple[str, str], as_json: object
) -> None:
    old, new = values
    await connection.execute(
        f"{TYPES} CREATE TABLE odd (id int PRIMARY KEY, value {column_type});"
        "SELECT outbox.watch('odd', entity => 'odd')"
    )
    await connection.execute(
        f"INSERT INTO odd SELECT n, $1::text::{column_type} FROM generate_series(1, 3) AS n",  # noqa: S608
        old,
    )
    before = await last_id(connection)
    for value in (old, new, None):
        for ids in ([1], [2, 3]):
            await connection.execute(
                f"UPDATE odd SET value = $1::text::{column_type} WHERE id = ANY ($2)",  # noqa: S608
                value,
                ids,
            )
    payloads = [change.payload for change in await captured(connection, after=before)]
    assert payloads == [{"value": as_json}] * 3 + [{"value": None}] * 3
    lines = await connection.fetch(r"SELECT FROM outbox.event WHERE payload ~ '[\x01-\x1f]'")
    assert lines == [], "a payload holds a control character"


@pytest.mark.parametrize("setting", [
    {"DateStyle": "SQL, DMY"}, {"IntervalStyle": "sql_standard"}, {"extra_float_digits": "-15"},
    {"bytea_output": "escape"}, {"TimeZone": "Asia/Kathmandu"}, {"quote_all_identifiers": "on"},
], ids=lambda setting: next(iter(setting)))  # fmt: skip
async def test_a_payload_does_not_depend_on_the_settings_of_the_writers_session(
    connect: Connect, rows: int, setting: dict[str, str]
) -> None:
    owner, writer = await connect(), await connect(server_settings=setting)
    await owner.execute(
        "CREATE TABLE odd (id int PRIMARY KEY, i interval, f float8, b bytea, d date, p point,"
        " t timestamptz, r tstzrange, a timestamptz[]);"
        "SELECT outbox.watch('odd', entity => 'odd')"
    )
    insert = (
        "INSERT INTO odd SELECT n, '1 day 02:03', 0.1::float8 + 0.2, '\\x00ff', '2026-12-31',"
        " point(0.1::float8 + 0.2, 1), '2026-12-31 10:00Z', '[2026-12-31 10:00Z,)',"
        " '{2026-12-31 10:00Z}' FROM generate_series(1, $1) AS n"
    )
    await writer.execute(insert, rows)
    await writer.execute("UPDATE odd SET f = f + 0.0000000001, p = p + point(0, 0.0000000001)")
    value: dict[str, Any] = {
        "i": "1 day 02:03:00", "f": 0.1 + 0.2, "b": "\\x00ff", "d": "2026-12-31",
        "p": "(0.30000000000000004,1)", "t": "2026-12-31T10:00:00+00:00",
        "r": '["2026-12-31 10:00:00+00",)', "a": ["2026-12-31T10:00:00+00:00"],
    }  # fmt: skip
    assert [change.payload for change in await captured(owner)] == [value] * rows + [
        {"f": 0.1 + 0.2 + 1e-10, "p": "(0.30000000000000004,1.0000000001)"}
    ] * rows


async def test_generated_columns_are_captured_as_they_are_stored(
    connection: asyncpg.Connection, rows: int
) -> None:
    virtual = (
        ""
        if connection.get_server_version().major < 18
        else ", v int GENERATED ALWAYS AS (n * 3) VIRTUAL"
    )
    await connection.execute(
        "CREATE TABLE odd (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int,"
        f" twice int GENERATED ALWAYS AS (n * 2) STORED{virtual});"
        "SELECT outbox.watch('odd', entity => 'odd')"
    )
    await connection.execute("INSERT INTO odd (n) SELECT 1 FROM generate_series(1, $1)", rows)
    await connection.execute("UPDATE odd SET n = 2")
    payloads = [change.payload for change in await captured(connection)]
    assert payloads == [{"n": 1, "twice": 2}] * rows + [{"n": 2, "twice": 4}] * rows


async def test_a_text_is_compared_by_its_bytes_not_by_its_collation(
    connection: asyncpg.Connection, rows: int
) -> None:
    await without_case(connection)
    await connection.execute(
        "CREATE TABLE odd (id text COLLATE without_case PRIMARY KEY, name text COLLATE"
        " without_case, names text[] COLLATE without_case);"
        "SELECT outbox.watch('odd', entity => 'odd')"
    )
    await connection.execute(
        "INSERT INTO odd SELECT 'k' || n, 'a', '{a}' FROM generate_series(1, $1) AS n", rows
    )
    before = await last_id(connection)
    await connection.execute("UPDATE odd SET name = 'A'")
    await connection.execute("UPDATE odd SET names = '{A}'")
    payloads = [change.payload for change in await captured(connection, after=before)]
    assert payloads == [{"name": "A"}] * rows + [{"names": ["A"]}] * rows


@pytest.mark.parametrize(
    ("key_type", "old", "new"), [("text COLLATE without_case", "k1", "K1"), ("numeric", "1", "1.0")]
)
async def test_an_entity_id_that_changes_is_a_delete_and_a_create_though_the_keys_are_equal(
    connection: asyncpg.Connection, key_type: str, old: str, new: str
) -> None:
    if "without_case" in key_type:
        await without_case(connection)
    await connection.execute(
        f"CREATE TABLE odd (id {key_type} PRIMARY KEY, name text);"
        "SELECT outbox.watch('odd', entity => 'odd')"
    )
    for statement, value in (
        ("INSERT INTO odd SELECT $1::text::{}, 'n'", old),
        ("UPDATE odd SET id = $1::text::{}", new),
    ):
        await connection.execute(statement.format(key_type), value)
    assert await captured(connection) == [
        Change("odd", old, "create", {"name": "n"}),
        Change("odd", old, "delete", {}),
        Change("odd", new, "create", {"name": "n"}),
    ]


async def without_case(connection: asyncpg.Connection) -> None:
    """Make the collation `without_case`; a PostgreSQL built without ICU has none."""
    try:
        await connection.execute(
            "CREATE COLLATION without_case"
            " (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
    except asyncpg.FeatureNotSupportedError as error:
        pytest.skip(f"nondeterministic collations are untested: {error}")

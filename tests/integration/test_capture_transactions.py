"""An event belongs to the transaction of its write: committed with it, gone with it."""

import asyncpg
import pytest
from captured import add_series, captured, last_id
from servers import Connect

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

INSERT = "INSERT INTO catalog.category (slug, name) VALUES ($1, 'Name')"


async def slugs(connection: asyncpg.Connection) -> list[str]:
    return [change.payload["slug"] for change in await captured(connection)]


async def test_nobody_sees_an_event_before_its_write_is_committed(connect: Connect) -> None:
    writer, reader = await connect(), await connect()
    async with writer.transaction():
        await writer.execute(INSERT, "a")
        assert await slugs(writer) == ["a"]
        assert await slugs(reader) == []
    assert await slugs(reader) == ["a"]


async def test_a_rolled_back_write_leaves_no_event(connection: asyncpg.Connection) -> None:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(INSERT, "a")
    await connection.execute("UPDATE catalog.category SET name = 'New'")
    await connection.execute("DELETE FROM catalog.category")
    assert len(await captured(connection)) == 3
    await transaction.rollback()
    assert await captured(connection) == []


async def test_a_statement_that_fails_leaves_no_event(connection: asyncpg.Connection) -> None:
    await connection.execute(INSERT, "a")
    with pytest.raises(asyncpg.UniqueViolationError):
        await connection.execute(
            "INSERT INTO catalog.category (slug, name) VALUES ('b', 'N'), ('a', 'N')"
        )
    assert await slugs(connection) == ["a"]


async def test_a_rolled_back_savepoint_takes_only_its_own_events(
    connection: asyncpg.Connection,
) -> None:
    async with connection.transaction():
        await connection.execute(INSERT, "before")
        await connection.execute("SAVEPOINT s")
        await connection.execute(INSERT, "within")
        await connection.execute("UPDATE catalog.category SET name = 'New'")
        await connection.execute("ROLLBACK TO s")
        await connection.execute(INSERT, "after")
    assert await slugs(connection) == ["before", "after"]


async def test_an_exception_block_takes_back_its_events(connection: asyncpg.Connection) -> None:
    await connection.execute(
        "DO $$ BEGIN"
        "   INSERT INTO catalog.category (slug, name) VALUES ('a', 'Name');"
        "   BEGIN"
        "     INSERT INTO catalog.category (slug, name) VALUES ('b', 'Name');"
        "     RAISE division_by_zero;"
        "   EXCEPTION WHEN division_by_zero THEN"
        "     INSERT INTO catalog.category (slug, name) VALUES ('c', 'Name');"
        "   END;"
        " END $$"
    )
    assert await slugs(connection) == ["a", "c"]


async def test_every_event_carries_the_top_level_transaction_however_deep_its_savepoint(
    connection: asyncpg.Connection,
) -> None:
    async with connection.transaction():
        async with connection.transaction():
            async with connection.transaction():
                await connection.execute(INSERT, "deep")
                xmin = await connection.fetchval("SELECT xmin::text FROM outbox.event")
            await connection.execute(INSERT, "less-deep")
        await connection.execute(INSERT, "top")
        top = await connection.fetchval("SELECT pg_current_xact_id()::text")
    assert xmin != top, "the savepoints had no transaction of their own"
    found = await connection.fetch("SELECT DISTINCT xid::text FROM outbox.event")
    assert [row["xid"] for row in found] == [top]


@pytest.mark.parametrize(("end", "expected"), [("COMMIT", ["a"]), ("ROLLBACK", [])])
async def test_a_prepared_transaction_has_its_events_when_it_is_committed(
    connect: Connect, end: str, expected: list[str]
) -> None:
    writer, other = await connect(), await connect()
    name = f"{end}-{writer.get_server_pid()}"
    await writer.execute("BEGIN")
    await writer.execute(INSERT, "a")
    await writer.execute(f"PREPARE TRANSACTION '{name}'")
    try:
        assert await slugs(other) == []
    finally:
        await other.execute(f"{end} PREPARED '{name}'")
    assert await slugs(other) == expected


async def test_ids_rise_in_the_order_of_the_writes_to_one_row(
    connection: asyncpg.Connection,
) -> None:
    [series] = await add_series(connection)
    for title in ("a", "b", "c"):
        await connection.execute(
            "UPDATE catalog.series SET title = $1 WHERE id = $2", title, series
        )
    changes = await captured(connection)
    assert [change.payload["title"] for change in changes] == ["Title", "a", "b", "c"]


async def test_an_event_holds_the_time_of_its_write(connection: asyncpg.Connection) -> None:
    async with connection.transaction():
        before = await connection.fetchval("SELECT clock_timestamp()")
        await connection.execute(INSERT, "a")
        after = await connection.fetchval("SELECT clock_timestamp()")
    assert before <= await connection.fetchval("SELECT at FROM outbox.event") <= after


async def traceparents(connection: asyncpg.Connection) -> list[str | None]:
    rows = await connection.fetch("SELECT traceparent FROM outbox.event ORDER BY id")
    return [row["traceparent"] for row in rows]


async def set_local(connection: asyncpg.Connection, traceparent: str) -> None:
    await connection.execute("SELECT set_config('outbox.traceparent', $1, true)", traceparent)


async def test_a_traceparent_is_on_every_event_of_its_transaction_and_on_no_other(
    connection: asyncpg.Connection,
) -> None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL outbox.traceparent = '{TRACEPARENT}'")
        await connection.execute(INSERT, "a")
        await connection.execute("UPDATE catalog.category SET name = 'New'")
        await connection.execute("DELETE FROM catalog.category")
    # From now on the setting is an empty string in this session, not absent.
    await connection.execute(INSERT, "b")
    assert await traceparents(connection) == [TRACEPARENT] * 3 + [None]


async def test_a_traceparent_is_on_the_update_of_an_asset_by_its_variants(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(
        "INSERT INTO catalog.series (slug, title) VALUES ('s', 'T');"
        "INSERT INTO catalog.episode (slug, series_id, title) SELECT 'e', id, 'T' FROM"
        " catalog.series; INSERT INTO catalog.media_asset (episode_id) SELECT id FROM"
        " catalog.episode"
    )
    async with connection.transaction():
        await set_local(connection, TRACEPARENT)
        await connection.execute(
            "INSERT INTO catalog.media_asset_variant"
            " (media_asset_id, label, width, height, bitrate_kbps, codec)"
            " SELECT id, '1080p', 1920, 1080, 6000, 'h264' FROM catalog.media_asset"
        )
    assert (await traceparents(connection))[-1] == TRACEPARENT


@pytest.mark.parametrize(
    "malformed",
    [
        "",
        "nonsense",
        TRACEPARENT.upper(),
        TRACEPARENT[:-1],
        TRACEPARENT + "-x",
        f" {TRACEPARENT}",
        f"{TRACEPARENT}\n",
        f"{TRACEPARENT}\x1f",
        "x\n" + TRACEPARENT,
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "ff" + TRACEPARENT[2:],
    ],
)
async def test_a_malformed_traceparent_is_left_out(
    connection: asyncpg.Connection, malformed: str
) -> None:
    async with connection.transaction():
        await set_local(connection, malformed)
        await connection.execute(INSERT, "a")
    assert await slugs(connection) == ["a"]
    assert await traceparents(connection) == [None]


async def test_events_of_an_old_session_setting_do_not_survive_a_reset(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute(f"SET outbox.traceparent = '{TRACEPARENT}'")
    await connection.execute(INSERT, "a")
    await connection.execute("RESET outbox.traceparent")
    before = await last_id(connection)
    await connection.execute(INSERT, "b")
    assert [change.payload["slug"] for change in await captured(connection, after=before)] == ["b"]
    assert await traceparents(connection) == [TRACEPARENT, None]

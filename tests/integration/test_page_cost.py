"""What a page costs in a feed of many items, wherever it is."""

import json
from typing import Any

import asyncpg
import pytest
from feeding import version_at
from servers import Connect

from outbox import connection as outbox_connection
from outbox import sql

STATEMENTS = sql.load("snapshot_server")
MANY = 200_000
PER_TICK = 50
LAST_ORDINAL = 2**31 - 1
FILL = f"""
INSERT INTO feed.item
SELECT 2, gen_random_uuid(), {version_at(1)} + (n / {PER_TICK} << 20), n % {PER_TICK},
       decode(repeat('ab', 700), 'hex'), 1
  FROM generate_series(0, {MANY - 1}::bigint) AS n
"""  # noqa: S608 - numbers
TOUCHED = """
SELECT pg_stat_get_xact_tuples_returned('feed.item'::regclass)
     + pg_stat_get_xact_tuples_returned('feed.item_in_order'::regclass)
     + pg_stat_get_xact_tuples_returned('feed.item_pkey'::regclass)
"""


@pytest.fixture
async def reader(connect: Connect) -> asyncpg.Connection:
    return await connect(server_settings=outbox_connection.SETTINGS)


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", []) for node in nodes_of(part))]


async def test_a_page_reads_its_own_rows_by_one_index(
    connection: asyncpg.Connection, reader: asyncpg.Connection
) -> None:
    await connection.execute(FILL)
    newest = version_at(MANY // PER_TICK)
    await connection.execute("INSERT INTO feed.state VALUES (true, 0, $1, 0, 0, 0, 0, 1)", newest)
    incremental = version_at(MANY // PER_TICK - 2)
    pages = {
        "start": (0, 0, 0, None, 1000),
        "end": (newest, version_at(MANY // PER_TICK - 20), LAST_ORDINAL, newest, 1000),
        "incremental": (incremental, incremental, LAST_ORDINAL, incremental, 1000),
        "one": (0, 0, 0, None, 1),
        "level": (newest, newest, LAST_ORDINAL, newest, 1000),
    }
    expected = {"start": 1000, "end": 1000, "incremental": 100, "one": 1, "level": 0}
    for analyzed in (False, True):
        if analyzed:
            await connection.execute("ANALYZE feed.item")
        for mode in ("force_custom_plan", "force_generic_plan"):
            await reader.execute(f"SET plan_cache_mode = {mode}")
            for name, page in pages.items():
                case, arguments = (name, mode, analyzed), (*page, 1 << 20, 4 << 20)
                async with reader.transaction():
                    before = await reader.fetchval(TOUCHED)
                    rows = await reader.fetch(STATEMENTS["feed_page"], *arguments)
                    touched = await reader.fetchval(TOUCHED) - before
                assert sum(row["items"] or 0 for row in rows) == expected[name], case
                assert touched <= 2 * expected[name] + 2, case
                [found] = json.loads(
                    await reader.fetchval(
                        f"EXPLAIN (ANALYZE, FORMAT JSON) {STATEMENTS['feed_page']}", *arguments
                    )
                )
                nodes = nodes_of(found["Plan"])
                scans = [node for node in nodes if node.get("Relation Name") == "item"]
                assert [node.get("Index Name") for node in scans] == ["item_in_order"], case

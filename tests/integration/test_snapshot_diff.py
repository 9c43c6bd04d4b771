"""``make snapshot-diff``: whatever differs between feed and tables is found, and nothing else."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from projecting import projecting

from snapshot_server.feed.audit import FeedLate, Verdict, audit
from snapshot_server.feed.comparison import What

ROOT = Path(__file__).resolve().parents[2]
EPISODES = 12
Follow = Callable[[], Awaitable[Any]]

_SERIES = """
INSERT INTO catalog.series (slug, title, status, visibility)
VALUES ('s', 'Series', 'PUBLISHED', 'PUBLIC'), ('draft', 'Draft', 'DRAFT', 'PUBLIC')
"""
_EPISODES = """
INSERT INTO catalog.episode (slug, series_id, title, status, visibility)
SELECT 'e' || n, id, 'Episode ' || n, 'PUBLISHED', 'PUBLIC'
  FROM catalog.series, generate_series(1, $1::int) AS n
 WHERE series.slug = 's'
"""


@pytest.fixture
async def follow(connection: asyncpg.Connection, database: str) -> AsyncIterator[Follow]:
    """Lets the feed follow a catalog with a series, a draft, and a dozen episodes."""
    await connection.execute(_SERIES)
    await connection.execute(_EPISODES, EPISODES)
    async with projecting(database) as follow:
        await follow()
        yield follow


async def behind_its_back(connection: asyncpg.Connection, statement: str) -> None:
    """Past the capture triggers."""
    async with connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(statement)


def found(verdict: Verdict) -> list[tuple[What, str]]:
    return [(difference.what, difference.detail) for difference in verdict.first]


async def id_of(connection: asyncpg.Connection, slug: str) -> UUID:
    id_: UUID = await connection.fetchval("SELECT id FROM catalog.episode WHERE slug = $1", slug)
    return id_


@pytest.mark.parametrize("page", [1, 2, 5, 12, 500])
async def test_a_feed_that_is_level_is_equal_in_every_byte(
    connection: asyncpg.Connection, pool: asyncpg.Pool, follow: Follow, page: int
) -> None:
    await connection.execute("DELETE FROM catalog.episode WHERE slug IN ('e3', 'e7')")
    await connection.execute("UPDATE catalog.episode SET status = 'DRAFT' WHERE slug = 'e4'")
    await follow()
    verdict = await audit(pool, page=page)
    assert verdict.is_clean
    assert (verdict.items, verdict.equal, verdict.unsettled) == (10, 10, 0)


async def test_what_the_feed_has_not_reached_is_waited_for_and_in_the_end_given_up(
    connection: asyncpg.Connection, pool: asyncpg.Pool, follow: Follow
) -> None:
    await connection.execute("UPDATE catalog.episode SET title = 'new' WHERE slug = 'e1'")
    with pytest.raises(FeedLate):
        await audit(pool, within_s=0)
    waiting = asyncio.create_task(audit(pool))
    await follow()
    assert (await waiting).is_clean


async def test_a_feed_that_was_never_built_is_late(pool: asyncpg.Pool) -> None:
    with pytest.raises(FeedLate):
        await audit(pool, within_s=0)


@pytest.mark.parametrize("page", [1, 3, 500])
@pytest.mark.usefixtures("follow")
async def test_what_is_missing_or_surplus_is_found_wherever_it_stands(
    connection: asyncpg.Connection, pool: asyncpg.Pool, page: int
) -> None:
    gone = [await id_of(connection, slug) for slug in ("e1", "e2")]
    hidden = [await id_of(connection, slug) for slug in ("e5", "e6")]
    await connection.execute("DELETE FROM feed.item WHERE id = $1", gone[0])
    await connection.execute("UPDATE feed.item SET body = NULL WHERE id = $1", gone[1])
    await behind_its_back(connection, "DELETE FROM catalog.episode WHERE slug = 'e5'")
    await behind_its_back(
        connection, "UPDATE catalog.episode SET visibility = 'PRIVATE' WHERE slug = 'e6'"
    )
    verdict = await audit(pool, page=page)
    assert verdict.differences == {What.MISSING: 2, What.SURPLUS: 2, What.TOTALS: 2}
    keys = {(difference.what, difference.key.id) for difference in verdict.first if difference.key}
    assert keys == {(What.MISSING, id_) for id_ in gone} | {(What.SURPLUS, id_) for id_ in hidden}
    assert verdict.equal == 9


@pytest.mark.usefixtures("follow")
async def test_the_fields_that_differ_are_named(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await behind_its_back(
        connection, "UPDATE catalog.episode SET title = 'x', synopsis = '' WHERE slug = 'e1'"
    )
    verdict = await audit(pool)
    assert found(verdict) == [(What.CONTENT, "title, synopsis")]
    await behind_its_back(connection, "UPDATE catalog.series SET title = 'x' WHERE slug = 's'")
    verdict = await audit(pool)
    assert verdict.differences == {What.CONTENT: EPISODES + 1}
    assert set(found(verdict)) == {
        (What.CONTENT, "title, synopsis, series.title"),
        (What.CONTENT, "title, series.title"),
        (What.CONTENT, "series.title"),
    }


@pytest.mark.usefixtures("follow")
async def test_totals_that_are_not_those_of_the_items_are_found(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await connection.execute("UPDATE feed.state SET digest = digest # 1, series = 7")
    verdict = await audit(pool)
    assert [what for what, _ in found(verdict)] == [What.TOTALS, What.TOTALS]
    assert found(verdict)[0][1] == "series 7, and its items come to 1"


@pytest.mark.usefixtures("follow")
async def test_an_item_that_is_ahead_of_the_feed_is_found(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await connection.execute("UPDATE feed.item SET version = version * 2 WHERE kind = 1")
    verdict = await audit(pool)
    assert verdict.differences[What.AHEAD] == 1
    assert verdict.unsettled == 1


@pytest.mark.usefixtures("follow")
async def test_what_an_earlier_encoder_made_is_counted_and_no_difference(
    connection: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    await connection.execute("UPDATE feed.item SET encoding = 0, body = 'old' WHERE kind = 1")
    verdict = await audit(pool)
    assert verdict.is_clean
    assert (verdict.outdated, verdict.equal) == (1, EPISODES)


async def test_what_is_touched_after_the_tick_is_looked_at_again(
    connection: asyncpg.Connection, pool: asyncpg.Pool, follow: Follow
) -> None:
    async def ticks() -> int:
        count: int = await connection.fetchval("SELECT count(*) FROM outbox.tick")
        return count

    await connection.execute("UPDATE catalog.episode SET title = 'new' WHERE slug = 'e1'")
    before = await ticks()
    comparing = asyncio.create_task(audit(pool))
    while await ticks() == before:  # noqa: ASYNC110 - it is PostgreSQL that we wait for
        await asyncio.sleep(0)
    # The feed never stands at that tick: it goes on to the next one at once.
    await connection.execute(
        "UPDATE catalog.episode SET title = 'newer' WHERE slug IN ('e1', 'e2')"
    )
    await follow()
    verdict = await comparing
    assert (verdict.items, verdict.unsettled) == (EPISODES + 1, 0)
    assert verdict.is_clean


async def test_beside_writers_and_the_projector_nothing_differs(
    connection: asyncpg.Connection, pool: asyncpg.Pool, follow: Follow
) -> None:
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            slug = f"e{number % EPISODES + 1}"
            visibility = "PRIVATE" if number % 3 else "PUBLIC"
            await connection.execute(
                "UPDATE catalog.episode SET visibility = $2 WHERE slug = $1", slug, visibility
            )
            await follow()

    writing = asyncio.create_task(write())
    for _ in range(10):
        assert (await audit(pool, page=3)).is_clean
    stop.set()
    await writing


@pytest.mark.usefixtures("follow")
async def test_the_command_says_what_differs_and_ends_with_1(
    connection: asyncpg.Connection, database: str
) -> None:
    async def diff(*words: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "snapshot_server", "diff", *words),
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "DATABASE_URL": database},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    code, out = await diff()
    assert code == 0
    assert "13" in out
    assert "clean" in out
    await behind_its_back(connection, "UPDATE catalog.episode SET title = 'x' WHERE slug = 'e1'")
    code, out = await diff("--json")
    assert code == 1
    report = json.loads(out)
    assert (report["clean"], report["differences"]) == (False, {"content": 1})
    id_ = str(await id_of(connection, "e1"))
    assert report["first"] == [{"what": "content", "kind": "episode", "id": id_, "detail": "title"}]

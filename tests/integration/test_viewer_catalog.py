"""How the viewer reads the catalog: with few rights, few rows, and whatever is in it."""

import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from shown import CDN, Catalog
from viewing import name_of

from outbox import sql
from viewer import catalog
from viewer.documents import Document, episode_page, series_page
from viewer.keys import Kind
from viewer.manifest import Cdn
from viewer.rows import EpisodeRows, SeriesRows

MANY = """
WITH s AS (
  INSERT INTO catalog.series (slug, title, status, visibility)
  SELECT 'series-' || n, 'S', 'PUBLISHED', 'PUBLIC' FROM generate_series(1, 500) AS n
  RETURNING id, slug
), n AS (
  INSERT INTO catalog.season (series_id, sequence_number) SELECT id, 1 FROM s
  RETURNING id, series_id
), e AS (
  INSERT INTO catalog.episode (slug, series_id, season_id, title, status, visibility)
  SELECT s.slug || '-' || k, s.id, n.id, 'E', 'PUBLISHED', 'PUBLIC'
    FROM s JOIN n ON n.series_id = s.id, generate_series(1, 5) AS k RETURNING id
), a AS (
  INSERT INTO catalog.media_asset (episode_id, manifest_url, status)
  SELECT id, 'https://cdn.example.com/a.m3u8', 'READY' FROM e RETURNING id
)
INSERT INTO catalog.media_asset_variant (media_asset_id, label, width, height, bitrate_kbps, codec)
SELECT id, k::text, 1, 1, 1, 'h264' FROM a, generate_series(1, 3) AS k
"""


@pytest.fixture
def rows(connection: asyncpg.Connection) -> Catalog:
    return Catalog(connection)


async def test_the_role_of_the_viewer_reads_the_catalog_and_can_do_nothing_else(
    rows: Catalog, database: str
) -> None:
    # Roles belong to the server, and outlive the test's database.
    name = await rows.connection.fetchval("SELECT 'viewer_of_' || current_database()")
    await rows.connection.execute(f"CREATE ROLE {name} LOGIN IN ROLE catalog_viewer")
    await rows.episode("pond", await rows.series("frogs"))
    async with catalog.pool(database.replace("//postgres@", f"//{name}@")) as as_viewer:
        tables = catalog.Catalog(as_viewer)
        await tables.answers()
        assert await tables.find(name_of(Kind.EPISODE, "pond"))
        assert await tables.find(name_of(Kind.SERIES, "frogs"))
    granted = await rows.connection.fetch(
        "SELECT DISTINCT table_schema, privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = 'catalog_viewer'"
    )
    assert [tuple(row) for row in granted] == [("catalog", "SELECT")]


async def test_a_page_is_read_by_key_however_large_the_catalog_is(
    rows: Catalog, database: str
) -> None:
    await rows.connection.execute(MANY)
    [(series, episode)] = await rows.connection.fetch(
        "SELECT series_id, id FROM catalog.episode WHERE slug = 'series-7-3'"
    )
    wanted: list[tuple[Kind, UUID, str]] = [
        (Kind.SERIES, uuid4(), "series-7"),
        (Kind.SERIES, series, str(series)),
        (Kind.EPISODE, uuid4(), "series-7-3"),
        (Kind.EPISODE, episode, str(episode)),
    ]
    statements = sql.load("viewer")
    async with catalog.pool(database) as pool, pool.acquire() as reader:
        for analyzed in (False, True):
            if analyzed:
                await rows.connection.execute("ANALYZE")
            for kind, id_, slug in wanted:
                text = await reader.fetchval(
                    f"EXPLAIN (ANALYZE, FORMAT JSON) {statements[kind]}", id_, slug
                )
                [plan] = json.loads(text)
                assert most_rows(plan["Plan"]) <= 20, text


async def test_whatever_the_tables_hold_is_on_a_page(rows: Catalog, database: str) -> None:
    series = await rows.series("frogs", title='\u2028"\\', tags=["a", None])
    season = await rows.season(series, 1)
    episode = await rows.episode("pond", series, season_id=season)
    await rows.connection.execute(
        "UPDATE catalog.series SET release_date = 'infinity', tags = '{{a,b},{c,NULL}}'"
    )
    await rows.connection.execute("UPDATE catalog.season SET release_date = '-infinity'")
    await rows.connection.execute(
        "UPDATE catalog.episode SET published_at = '294276-01-01',"
        " availability_start = '-infinity', availability_end = 'infinity', captions = '{\"en\": 1}'"
    )
    await rows.connection.execute("UPDATE catalog.media_asset_variant SET frame_rate = 'NaN'")
    async with catalog.pool(database) as pool:
        tables = catalog.Catalog(pool)
        found = await tables.find(name_of(Kind.EPISODE, episode))
        listed = await tables.find(name_of(Kind.SERIES, series))
    assert isinstance(found, EpisodeRows)
    assert isinstance(listed, SeriesRows)
    page = body(episode_page(found, Cdn.parse(CDN)))
    assert page["series"]["title"] == '\u2028"\\'
    assert page["series"]["releaseDate"] is None
    assert page["availability"] == {"start": None, "end": None}
    assert page["publishedAt"] == "294276-01-01T00:00:00.000Z"
    assert page["playback"]["variants"][0]["frameRate"] is None
    assert body(series_page(listed, Cdn.parse(CDN)))["tags"] == ["a", "b", "c"]


def body(page: object) -> dict[str, Any]:
    assert isinstance(page, Document)
    found: dict[str, Any] = json.loads(page.body)
    return found


def most_rows(plan: dict[str, Any]) -> float:
    """Of any step, all its loops together, with those that it threw away."""
    own: float = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan[
        "Actual Loops"
    ]
    return max([own, *(most_rows(part) for part in plan.get("Plans", []))])

"""The feed follows the tables: what an event touches is made anew, at the event's place."""

from uuid import UUID

import asyncpg
import pytest
from projecting import assert_state_agrees, items, projecting


def named(letters: str) -> UUID:
    return UUID(f"00000000-0000-0000-0000-0000000000{letters}")


CATEGORY, SEASON, S1, S2, E1, E2, E3 = map(named, ("c1", "d1", "a1", "a2", "e1", "e2", "e3"))

_CATEGORY = "INSERT INTO catalog.category (id, slug, name) VALUES ($1, 'drama', 'Drama')"
_SERIES = """
INSERT INTO catalog.series (id, slug, title, category_id, status, visibility)
SELECT id, 's' || n, 'Series ' || n, $2, 'PUBLISHED', 'PUBLIC'
  FROM unnest($1::uuid[]) WITH ORDINALITY AS s (id, n)
"""
_SEASON = """
INSERT INTO catalog.season (id, series_id, sequence_number, title) VALUES ($1, $2, 1, 'First')
"""
_EPISODES = """
INSERT INTO catalog.episode (id, slug, series_id, season_id, title, status, visibility)
SELECT id, 'e' || n, $2, $3, 'Episode ' || n, 'PUBLISHED', 'PUBLIC'
  FROM unnest($1::uuid[]) WITH ORDINALITY AS e (id, n)
"""
_ASSET = """
  WITH asset AS (
       INSERT INTO catalog.media_asset (episode_id, manifest_url, status)
       VALUES ($1, 'https://cdn.example.com/1.m3u8', 'READY') RETURNING id
  )
INSERT INTO catalog.media_asset_variant (media_asset_id, label, width, height, bitrate_kbps, codec)
SELECT id, '720p', 1280, 720, 3000, 'h264' FROM asset
"""


@pytest.fixture
async def catalog(connection: asyncpg.Connection) -> asyncpg.Connection:
    await connection.execute(_CATEGORY, CATEGORY)
    await connection.execute(_SERIES, [S1, S2], CATEGORY)
    await connection.execute(_SEASON, SEASON, S1)
    await connection.execute(_EPISODES, [E1, E2, E3], S1, SEASON)
    await connection.execute(_ASSET, E1)
    return connection


async def test_the_first_pass_builds_the_feed_from_the_tables(
    catalog: asyncpg.Connection, database: str
) -> None:
    async with projecting(database) as follow:
        done = await follow()

    assert (done.items, done.removed, done.rebuilt) == (5, 0, True)
    found = await items(catalog)
    assert set(found) == {("series", S1), ("series", S2), *(("episode", e) for e in (E1, E2, E3))}
    episode = found["episode", E1]
    assert episode["series"]["category"]["name"] == "Drama"
    assert episode["season"]["title"] == "First"
    assert episode["playback"]["variants"][0]["label"] == "720p"
    await assert_state_agrees(catalog)


@pytest.mark.parametrize(
    ("write", "touched"),
    [
        ("UPDATE catalog.episode SET title = 'new' WHERE slug = 'e1'", {E1}),
        ("UPDATE catalog.season SET title = 'new'", {E1, E2, E3}),
        ("UPDATE catalog.series SET title = 'new' WHERE slug = 's1'", {S1, E1, E2, E3}),
        ("UPDATE catalog.category SET name = 'new'", {S1, S2, E1, E2, E3}),
        ("UPDATE catalog.media_asset SET status = 'FAILED'", {E1}),
        ("UPDATE catalog.media_asset_variant SET bitrate_kbps = 1", {E1}),
        ("DELETE FROM catalog.media_asset_variant", {E1}),
        ("DELETE FROM catalog.media_asset", {E1}),
        (
            (
                "UPDATE catalog.media_asset"
                " SET episode_id = (SELECT id FROM catalog.episode WHERE slug = 'e2')"
            ),
            {E1, E2},
        ),
        ("UPDATE catalog.season SET deleted_at = now()", {E1, E2, E3}),
        ("UPDATE catalog.category SET deleted_at = now()", {S1, S2, E1, E2, E3}),
        (
            (
                "UPDATE catalog.episode SET season_id = NULL,"
                " series_id = (SELECT id FROM catalog.series WHERE slug = 's2') WHERE slug = 'e2'"
            ),
            {E2},
        ),
        ("UPDATE catalog.series SET updated_at = now()", set()),
    ],
)
async def test_an_event_touches_the_items_that_hold_what_it_changed(
    catalog: asyncpg.Connection, database: str, write: str, touched: set[UUID]
) -> None:
    async with projecting(database) as follow:
        await follow()
        before = await items(catalog)
        await catalog.execute(write)
        done = await follow()

    after = await items(catalog)
    assert {id_ for (kind, id_) in after if after[kind, id_] != before[kind, id_]} == touched
    assert (done.items if done else 0) == len(touched)
    await assert_state_agrees(catalog)


@pytest.mark.parametrize(
    ("write", "removed"),
    [
        ("DELETE FROM catalog.episode WHERE slug = 'e1'", {E1}),
        ("UPDATE catalog.episode SET deleted_at = now() WHERE slug = 'e1'", {E1}),
        ("UPDATE catalog.episode SET status = 'ARCHIVED' WHERE slug = 'e1'", {E1}),
        ("UPDATE catalog.episode SET visibility = 'UNLISTED' WHERE slug = 'e1'", {E1}),
        ("UPDATE catalog.series SET visibility = 'PRIVATE' WHERE slug = 's1'", {S1, E1, E2, E3}),
        ("DELETE FROM catalog.series WHERE slug = 's1'", {S1, E1, E2, E3}),
        ("UPDATE catalog.series SET deleted_at = now() WHERE slug = 's1'", {S1, E1, E2, E3}),
    ],
)
async def test_what_viewers_may_not_see_any_more_is_removed_and_remembered(
    catalog: asyncpg.Connection, database: str, write: str, removed: set[UUID]
) -> None:
    async with projecting(database) as follow:
        await follow()
        before = set(await items(catalog))
        await catalog.execute(write)
        await follow()

    gone = await catalog.fetch("SELECT id FROM feed.item WHERE body IS NULL")
    assert {row["id"] for row in gone} == removed
    assert {id_ for _, id_ in before - set(await items(catalog))} == removed
    await assert_state_agrees(catalog)


async def test_an_item_that_comes_back_has_a_higher_version_than_its_removal(
    catalog: asyncpg.Connection, database: str
) -> None:
    async with projecting(database) as follow:
        await follow()
        await catalog.execute("UPDATE catalog.episode SET status = 'DRAFT' WHERE slug = 'e1'")
        await follow()
        removal = await catalog.fetchval("SELECT version FROM feed.item WHERE id = $1", E1)
        await catalog.execute("UPDATE catalog.episode SET status = 'PUBLISHED' WHERE slug = 'e1'")
        await follow()

    assert int((await items(catalog))["episode", E1]["version"]) > removal
    await assert_state_agrees(catalog)


async def test_a_draft_that_changes_leaves_no_trace(
    catalog: asyncpg.Connection, database: str
) -> None:
    async with projecting(database) as follow:
        await follow()
        await catalog.execute(
            "INSERT INTO catalog.episode (slug, series_id, title) SELECT 'draft', $1, 'Draft'", S1
        )
        done = await follow()

    assert (done.events, done.items, done.removed) == (1, 0, 0)
    await assert_state_agrees(catalog)


@pytest.mark.parametrize(
    "came_and_went",
    [
        (
            "UPDATE catalog.episode SET status = 'PUBLISHED' WHERE slug = 'hidden'",
            "UPDATE catalog.episode SET status = 'DRAFT' WHERE slug = 'hidden'",
        ),
        (
            "UPDATE catalog.episode SET status = 'PUBLISHED' WHERE slug = 'hidden'",
            "DELETE FROM catalog.episode WHERE slug = 'hidden'",
        ),
    ],
)
async def test_what_came_and_went_between_two_passes_is_removed_too(
    catalog: asyncpg.Connection, database: str, came_and_went: tuple[str, ...]
) -> None:
    hidden = await catalog.fetchval(
        "INSERT INTO catalog.episode (slug, series_id, title, visibility)"
        " VALUES ('hidden', $1, 'Hidden', 'PUBLIC') RETURNING id",
        S1,
    )
    async with projecting(database) as follow:
        await follow()
        for write in came_and_went:
            await catalog.execute(write)
            await catalog.execute("SELECT outbox.make_tick()")
        await follow()

    # Whoever held the catalog as of the first of these ticks held the episode.
    [gone] = await catalog.fetch("SELECT id, version FROM feed.item WHERE body IS NULL")
    assert gone["id"] == hidden
    assert gone["version"] >> 20 == await catalog.fetchval("SELECT max(ms) FROM outbox.tick")
    await assert_state_agrees(catalog)


async def test_the_version_is_that_of_the_event(catalog: asyncpg.Connection, database: str) -> None:
    async with projecting(database) as follow:
        await follow()
        await catalog.execute("UPDATE catalog.series SET title = title || '!'")
        await follow()

    ms = await catalog.fetchval("SELECT max(ms) FROM outbox.tick")
    found = await items(catalog)
    assert {found["series", S1]["event_id"], found["series", S2]["event_id"]} == {
        f"{ms}-0",
        f"{ms}-1",
    }
    # Those of its episodes stand at the event of their series, one behind the other.
    ordinals = await catalog.fetch("SELECT ordinal FROM feed.item WHERE kind = 2 ORDER BY ordinal")
    assert len({row["ordinal"] for row in ordinals}) == 3


@pytest.mark.usefixtures("catalog")
async def test_nothing_new_moves_nothing(database: str) -> None:
    async with projecting(database) as follow:
        await follow()
        assert await follow() is None


async def test_an_empty_catalog_is_a_feed_too(
    connection: asyncpg.Connection, database: str
) -> None:
    async with projecting(database) as follow:
        done = await follow()

    assert str(done.position) == "0-1"
    await assert_state_agrees(connection)


async def test_the_checkpoint_moves_with_the_feed(
    catalog: asyncpg.Connection, database: str
) -> None:
    async with projecting(database) as follow:
        done = await follow()

    [row] = await catalog.fetch("SELECT ms, seq FROM outbox.checkpoint WHERE name = 'projector'")
    assert (row["ms"], row["seq"]) == (done.position.ms, done.position.seq)


@pytest.mark.parametrize(
    "at", ["infinity", "-infinity", "10000-01-01", "290000-01-01", "0100-01-01 BC"]
)
async def test_no_date_of_postgresql_stops_the_projector(
    catalog: asyncpg.Connection, database: str, at: str
) -> None:
    for write in (
        "UPDATE catalog.episode SET published_at = $1::text::timestamptz",
        "UPDATE catalog.season SET deleted_at = $1::text::timestamptz",
        "UPDATE catalog.category SET deleted_at = $1::text::timestamptz",
        "UPDATE catalog.series SET release_date = $1::text::date",
    ):
        await catalog.execute(write, at)
    async with projecting(database) as follow:
        done = await follow()

    assert done.items == 5
    assert "season" not in (await items(catalog))["episode", E1]

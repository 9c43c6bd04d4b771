"""schema.sql over nothing, over itself and over an older catalog; and what the catalog refuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from captured import add_assets, add_series, captured, last_id

SCHEMA = (Path(__file__).resolve().parents[2] / "schema.sql").read_text("utf-8")
CDN = "https://cdn.example.com"

# As a platform had it before there was an outbox: other types and no constraints of ours.
OLDER = """
CREATE SCHEMA catalog;
CREATE TABLE catalog.category (id uuid PRIMARY KEY, slug text UNIQUE, name text, description text,
    display_order int, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    created_by_admin_id uuid, updated_by_admin_id uuid);
CREATE TABLE catalog.series (id uuid PRIMARY KEY, slug text UNIQUE, title text, synopsis text,
    hero_image_url text, banner_image_url text, tags text[], status text, visibility text,
    release_date date, owner_id uuid, category_id uuid, created_at timestamptz,
    updated_at timestamptz, deleted_at timestamptz, created_by_admin_id uuid,
    updated_by_admin_id uuid);
CREATE TABLE catalog.season (id uuid PRIMARY KEY, series_id uuid, sequence_number int, title text,
    synopsis text, status text, release_date date, created_at timestamptz, updated_at timestamptz,
    deleted_at timestamptz, created_by_admin_id uuid, updated_by_admin_id uuid);
CREATE TABLE catalog.episode (id uuid PRIMARY KEY, slug text UNIQUE, series_id uuid,
    season_id uuid, title text, synopsis text, duration_seconds int, status text, visibility text,
    published_at timestamptz, availability_start timestamptz, availability_end timestamptz,
    hero_image_url text, default_thumbnail_url text, captions jsonb, tags text[],
    created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    created_by_admin_id uuid, updated_by_admin_id uuid);
CREATE TABLE catalog.media_asset (id uuid PRIMARY KEY, episode_id uuid UNIQUE,
    source_upload_id uuid, streaming_asset_id text, manifest_url text, default_thumbnail_url text,
    status text, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz,
    created_by_admin_id uuid, updated_by_admin_id uuid);
CREATE TABLE catalog.media_asset_variant (id uuid PRIMARY KEY, media_asset_id uuid, label text,
    width int, height int, bitrate_kbps int, codec text, frame_rate numeric);
INSERT INTO catalog.series (id, slug, title)
    VALUES ('9d1ad1a4-7a6b-4d0d-93a8-5d8d4ed0bd00', 'kept', 'Title');
INSERT INTO catalog.media_asset (id, episode_id, manifest_url)
    VALUES (gen_random_uuid(), gen_random_uuid(), 'https://cdn.example.com/a.m3u8');
"""


@pytest.fixture
async def unprepared(empty_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_database)
    try:
        yield connection
    finally:
        await connection.close()


async def test_applied_again_it_keeps_every_row_event_tick_and_setting(
    connection: asyncpg.Connection,
) -> None:
    await connection.execute("SELECT catalog.set_cdn_base_url('https://other.example.org')")
    await add_series(connection)
    await connection.execute("SELECT outbox.make_tick()")
    await connection.execute("UPDATE catalog.series SET title = 'Pending'")
    await connection.execute("INSERT INTO outbox.checkpoint VALUES ('catalog:events', 1, 2)")

    async def state() -> list[list[asyncpg.Record]]:
        return [
            await connection.fetch(f"SELECT t.*, t.xmin FROM {table} AS t")  # noqa: S608 - ours
            for table in ("catalog.series", "outbox.event", "outbox.tick", "outbox.checkpoint",
                          "outbox.watched")
        ]  # fmt: skip

    before = await state()
    await connection.execute(SCHEMA)
    assert await state() == before
    await connection.execute("UPDATE catalog.series SET title = 'After'")
    assert [change.operation for change in await captured(connection)] == [
        "create", "update", "update",
    ]  # fmt: skip
    await add_assets(connection)
    await connection.execute(
        "UPDATE catalog.media_asset SET manifest_url = 'https://other.example.org/m.m3u8'"
    )


async def test_over_the_tables_of_an_older_catalog_it_keeps_the_rows_and_captures(
    unprepared: asyncpg.Connection,
) -> None:
    await unprepared.execute(OLDER)
    await unprepared.execute(SCHEMA)
    assert await captured(unprepared) == []
    await unprepared.execute("UPDATE catalog.series SET title = 'New'")
    assert [change.payload for change in await captured(unprepared)] == [
        {"slug": "kept", "categoryId": None, "title": "New"}
    ]
    with pytest.raises(asyncpg.CheckViolationError, match="media_asset_manifest_on_cdn"):
        await unprepared.execute("UPDATE catalog.media_asset SET manifest_url = 'http://a/b'")


async def test_over_an_older_catalog_a_ready_asset_without_a_manifest_is_refused_too(
    unprepared: asyncpg.Connection,
) -> None:
    await unprepared.execute(OLDER)
    await unprepared.execute(SCHEMA)
    with pytest.raises(asyncpg.CheckViolationError, match="media_asset_ready_has_manifest"):
        await unprepared.execute(
            "UPDATE catalog.media_asset SET status = 'READY', manifest_url = NULL"
        )


async def test_over_a_catalog_that_lacks_a_watched_column_it_names_it_and_changes_nothing(
    unprepared: asyncpg.Connection,
) -> None:
    await unprepared.execute(OLDER)
    await unprepared.execute("ALTER TABLE catalog.series DROP COLUMN deleted_at")
    with pytest.raises(asyncpg.UndefinedColumnError, match=r"catalog\.series.*deleted_at"):
        await unprepared.execute(SCHEMA)
    await unprepared.execute("ROLLBACK")
    assert await unprepared.fetchval("SELECT to_regnamespace('outbox')") is None


async def test_over_an_older_manifest_off_the_cdn_it_says_so_and_changes_nothing(
    unprepared: asyncpg.Connection,
) -> None:
    await unprepared.execute(OLDER)
    await unprepared.execute("UPDATE catalog.media_asset SET manifest_url = 'https://b/m.m3u8'")
    with pytest.raises(asyncpg.CheckViolationError, match="media_asset_manifest_on_cdn"):
        await unprepared.execute(SCHEMA)
    await unprepared.execute("ROLLBACK")
    assert await unprepared.fetchval("SELECT to_regnamespace('outbox')") is None


@pytest.fixture
async def catalog(connection: asyncpg.Connection) -> asyncpg.Connection:
    """One asset with one variant, its episode, season and series, and two categories."""
    await add_assets(connection)
    await connection.execute(
        "INSERT INTO catalog.category (slug, name) VALUES ('a', 'N'), ('b', 'N');"
        "INSERT INTO catalog.season (series_id, sequence_number) SELECT id, 1 FROM catalog.series;"
        "INSERT INTO catalog.media_asset_variant"
        " (media_asset_id, label, width, height, bitrate_kbps, codec)"
        " SELECT id, '1080p', 1920, 1080, 6000, 'h264' FROM catalog.media_asset;"
        "UPDATE catalog.media_asset SET manifest_url = 'https://cdn.example.com/m.m3u8'"
    )
    return connection


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE catalog.category SET slug = 'c'", "category_slug_unique"),
        ("INSERT INTO catalog.series (slug, title) VALUES ('of-assets', '')",
         "series_slug_unique"),
        (("INSERT INTO catalog.episode (slug, series_id, title)"
         " SELECT slug, series_id, '' FROM catalog.episode"), "episode_slug_unique"),
        (("INSERT INTO catalog.season (series_id, sequence_number)"
         " SELECT series_id, 1 FROM catalog.season"), "season_number_unique_in_series"),
        ("UPDATE catalog.season SET sequence_number = 0", "season_sequence_number_positive"),
        ("UPDATE catalog.episode SET duration_seconds = -1", "episode_duration_not_negative"),
        ("UPDATE catalog.episode SET captions = '[]'", "episode_captions_by_language"),
        ("UPDATE catalog.episode SET availability_start = now(), availability_end = now()",
         "episode_availability_in_order"),
        ("INSERT INTO catalog.media_asset (episode_id) SELECT id FROM catalog.episode",
         "media_asset_one_per_episode"),
        ("UPDATE catalog.media_asset SET status = 'READY', manifest_url = NULL",
         "media_asset_ready_has_manifest"),
        (("INSERT INTO catalog.media_asset_variant"
         " (media_asset_id, label, width, height, bitrate_kbps, codec)"
         " SELECT id, '1080p', 1, 1, 1, 'av1' FROM catalog.media_asset"),
         "media_asset_variant_label_unique_in_asset"),
        ("UPDATE catalog.media_asset_variant SET width = 0", "media_asset_variant_width_positive"),
        ("UPDATE catalog.media_asset_variant SET height = 0",
         "media_asset_variant_height_positive"),
        ("UPDATE catalog.media_asset_variant SET bitrate_kbps = 0",
         "media_asset_variant_bitrate_positive"),
        ("UPDATE catalog.media_asset_variant SET frame_rate = 0",
         "media_asset_variant_frame_rate_positive"),
    ],
)  # fmt: skip
async def test_the_catalog_refuses_what_breaks_a_rule(
    catalog: asyncpg.Connection, statement: str, constraint: str
) -> None:
    before = await last_id(catalog)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match=f'"{constraint}"'):
        await catalog.execute(statement)
    assert await captured(catalog, after=before) == []


@pytest.mark.parametrize("table", ["category", "series", "episode"])
async def test_a_slug_is_lower_case_words_with_single_hyphens(
    catalog: asyncpg.Connection, table: str
) -> None:
    await catalog.execute("DELETE FROM catalog.category WHERE slug = 'b'")
    update = f"UPDATE catalog.{table} SET slug = $1"  # noqa: S608 - ours
    for slug in ("", "A", "a b", "-a", "a-", "a--b", "ä", "a/b", "a_b", "a\n", "a" * 201):
        with pytest.raises(asyncpg.CheckViolationError, match=f'"{table}_slug_form"'):
            await catalog.execute(update, slug)
    for slug in ("a", "1-2-b", "a" * 200):
        await catalog.execute(update, slug)


REFUSED_MANIFESTS = [
    "", "http://cdn.example.com/m.m3u8", "HTTPS://cdn.example.com/m.m3u8", "//cdn.example.com/m",
    "https://cdn.example.com", "https://cdn.example.com.evil.com/m.m3u8",
    "https://cdn.example.community/m.m3u8", "https://cdn.example.com@evil.com/m.m3u8",
    "https://evil.com/https://cdn.example.com/m.m3u8", "https://cdn.example.com:8443/m.m3u8",
    "https://evil-cdn.example.com/m", "https://cdn.example.com\\@evil.com/m",
    " https://cdn.example.com/m.m3u8", "https://cdn.example.com/a b", "https://cdn.example.com/a\n",
    "https://cdn.example.com/a/../b", "https://cdn.example.com/..", "https://cdn.example.com/a\\..",
    "https://cdn.example.com/a/%2e%2e/b", "https://cdn.example.com/a/.%2E/b", "javascript:x", CDN,
    "https://cdn.example.com/a/..?x", "https://cdn.example.com/a/..#x",
]  # fmt: skip


async def test_a_manifest_is_https_on_the_origin_of_the_cdn(catalog: asyncpg.Connection) -> None:
    update = "UPDATE catalog.media_asset SET manifest_url = $1"
    outcomes = {}
    for manifest in REFUSED_MANIFESTS:
        try:
            outcomes[manifest] = await catalog.execute(update, manifest)
        except asyncpg.CheckViolationError as refused:
            outcomes[manifest] = refused.as_dict()["constraint_name"]
    assert outcomes == dict.fromkeys(REFUSED_MANIFESTS, "media_asset_manifest_on_cdn")
    for path in ("/m.m3u8", "/a/b/m.m3u8?token=a.b..c", "/a..b/m", "/.well-known/m", "/..a/m"):
        await catalog.execute(update, CDN + path)


async def test_below_a_path_of_the_cdn_a_manifest_stays_below_it(
    catalog: asyncpg.Connection,
) -> None:
    await catalog.execute("UPDATE catalog.media_asset SET manifest_url = NULL")
    await catalog.execute("SELECT catalog.set_cdn_base_url('https://cdn.example.com:8443/vod/')")
    update = "UPDATE catalog.media_asset SET manifest_url = $1"
    await catalog.execute(update, "https://cdn.example.com:8443/vod/m.m3u8")
    for manifest in ("https://cdn.example.com:8443/m", "https://cdn.example.com:8443/vod-2/m",
                     "https://cdn.example.com:8443/vod/../m"):  # fmt: skip
        with pytest.raises(asyncpg.CheckViolationError):
            await catalog.execute(update, manifest)


@pytest.mark.parametrize(
    "base_url",
    [None, "", "cdn.example.com", "http://cdn.example.com", "https://", "https:///a",
     "https://user@cdn.example.com", "https://cdn.example.com/a?b", "https://cdn.example.com/a#b",
     "https://cdn.example.com/../a", "https://cdn.example.com'); DROP TABLE x; --",
     "https://cdn.example.com\n", "https://cdn example.com", "https://..", "https://-", "https://a:"],
)  # fmt: skip
async def test_a_cdn_base_url_that_is_none_is_refused_and_the_old_one_stays(
    catalog: asyncpg.Connection, base_url: str | None
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="CDN base URL"):
        await catalog.execute("SELECT catalog.set_cdn_base_url($1)", base_url)
    with pytest.raises(asyncpg.CheckViolationError):
        await catalog.execute("UPDATE catalog.media_asset SET manifest_url = 'https://x/m'")


async def test_a_cdn_that_existing_manifests_are_not_on_is_refused_and_changes_nothing(
    catalog: asyncpg.Connection,
) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="media_asset_manifest_on_cdn"):
        await catalog.execute("SELECT catalog.set_cdn_base_url('https://other.example.org')")
    await catalog.execute("UPDATE catalog.media_asset SET manifest_url = manifest_url || '?v=2'")
    with pytest.raises(asyncpg.CheckViolationError):
        await catalog.execute(
            "UPDATE catalog.media_asset SET manifest_url = 'https://other.example.org/m.m3u8'"
        )

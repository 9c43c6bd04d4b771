"""What a payload holds: context, changed fields, $omitted, $previous."""

import json
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from captured import (
    CREATED_AT,
    CREATED_AT_JSON,
    Change,
    add_assets,
    add_series,
    by_entity,
    captured,
    last_id,
)

KIB = 1024
AUDIT = {"created_at": CREATED_AT, "updated_at": CREATED_AT}
PUBLISHED = {"status": "PUBLISHED", "visibility": "PUBLIC"}
CATEGORY, SERIES, SEASON, EPISODE, ASSET = (uuid4() for _ in range(5))


@pytest.fixture(params=[1, 3], ids=["one row", "several rows"])
def rows(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


async def insert(connection: asyncpg.Connection, table: str, **row: object) -> Change:
    """The one change that inserting *row* raises."""
    before = await last_id(connection)
    await connection.execute(
        f"INSERT INTO catalog.{table} ({', '.join(row)})"  # noqa: S608 - names of this file
        f" SELECT {', '.join(row)} FROM jsonb_populate_record(NULL::catalog.{table}, $1)",
        json.dumps(row, default=str),
    )
    [change] = await captured(connection, after=before)
    return change


async def updates(
    connection: asyncpg.Connection, statement: str, *arguments: object
) -> list[dict[str, Any]]:
    """The payloads of the updates that *statement* raises, in the order of their slugs."""
    before = await last_id(connection)
    await connection.execute(statement, *arguments)
    changes = await captured(connection, after=before)
    assert {change.operation for change in changes} <= {"update"}
    return sorted((change.payload for change in changes), key=lambda payload: payload["slug"])


async def test_every_entity_carries_its_slug_its_parents_and_its_watched_fields(
    connection: asyncpg.Connection,
) -> None:
    assert await insert(
        connection, "category", id=CATEGORY, slug="c", name="N", description="D",
        display_order=0, **AUDIT,
    ) == Change("category", str(CATEGORY), "create", {
        "slug": "c", "name": "N", "description": None, "displayOrder": 0,
        "createdAt": CREATED_AT_JSON, "$omitted": ["description"],
    })  # fmt: skip
    assert await insert(
        connection, "series", id=SERIES, slug="s", title="T", synopsis="S", tags=["a"],
        hero_image_url="https://h", banner_image_url="https://b", release_date="2026-05-01",
        owner_id=EPISODE, category_id=CATEGORY, **PUBLISHED, **AUDIT,
    ) == Change("series", str(SERIES), "create", {
        "slug": "s", "categoryId": str(CATEGORY), "title": "T", "synopsis": None, "tags": ["a"],
        "heroImageUrl": "https://h", "bannerImageUrl": "https://b", "releaseDate": "2026-05-01",
        "ownerId": str(EPISODE), **PUBLISHED, "createdAt": CREATED_AT_JSON,
        "$omitted": ["synopsis"],
    })  # fmt: skip
    assert await insert(
        connection, "season", id=SEASON, series_id=SERIES, sequence_number=1, title="T",
        synopsis="S", status="REVIEW", release_date="2026-05-01", **AUDIT,
    ) == Change("season", str(SEASON), "create", {
        "seriesId": str(SERIES), "sequenceNumber": 1, "title": "T", "synopsis": None,
        "status": "REVIEW", "releaseDate": "2026-05-01", "createdAt": CREATED_AT_JSON,
        "$omitted": ["synopsis"],
    })  # fmt: skip
    assert await insert(
        connection, "episode", id=EPISODE, slug="e", series_id=SERIES, season_id=SEASON,
        title="T", synopsis="S", duration_seconds=60, published_at=CREATED_AT,
        availability_start=CREATED_AT, availability_end="2027-01-02T00:00:00.123456Z",
        hero_image_url="https://h", default_thumbnail_url="https://t", captions={"en": "x"},
        tags=[], **PUBLISHED, **AUDIT,
    ) == Change("episode", str(EPISODE), "create", {
        "slug": "e", "seriesId": str(SERIES), "seasonId": str(SEASON), "title": "T",
        "synopsis": None, "durationSeconds": 60, "publishedAt": CREATED_AT_JSON,
        "availabilityStart": CREATED_AT_JSON,
        "availabilityEnd": "2027-01-02T00:00:00.123456+00:00",
        "heroImageUrl": "https://h", "defaultThumbnailUrl": "https://t", "captions": None,
        "tags": [], **PUBLISHED, "createdAt": CREATED_AT_JSON,
        "$omitted": ["synopsis", "captions"],
    })  # fmt: skip
    assert await insert(
        connection, "media_asset", id=ASSET, episode_id=EPISODE, source_upload_id=SERIES,
        streaming_asset_id="a", manifest_url="https://cdn.example.com/m.m3u8",
        default_thumbnail_url="https://t", status="READY", **AUDIT,
    ) == Change("mediaAsset", str(ASSET), "create", {
        "episodeId": str(EPISODE), "sourceUploadId": str(SERIES), "streamingAssetId": "a",
        "manifestUrl": "https://cdn.example.com/m.m3u8", "defaultThumbnailUrl": "https://t",
        "status": "READY", "createdAt": CREATED_AT_JSON,
    })  # fmt: skip


async def test_a_parent_that_is_null_is_in_the_context_as_null(
    connection: asyncpg.Connection, rows: int
) -> None:
    [series] = await add_series(connection)
    for n in range(rows):
        await insert(connection, "episode", slug=f"e-{n}", series_id=series, title="T",
                     captions={}, tags=[], status="DRAFT", visibility="PUBLIC", id=uuid4(),
                     **AUDIT)  # fmt: skip
    assert await updates(connection, "UPDATE catalog.episode SET title = 'New'") == [
        {"slug": f"e-{n}", "seriesId": str(series), "seasonId": None, "title": "New"}
        for n in range(rows)
    ]


async def test_a_long_value_is_null_and_named_until_it_becomes_null_itself(
    connection: asyncpg.Connection, rows: int
) -> None:
    await add_series(connection, rows)
    context = [{"slug": f"s-{n}", "categoryId": None} for n in range(rows)]
    assert await updates(connection, "UPDATE catalog.series SET synopsis = 'x'") == [
        {**of_one, "synopsis": None, "$omitted": ["synopsis"]} for of_one in context
    ]
    assert await updates(connection, "UPDATE catalog.series SET title = 'Other'") == [
        {**of_one, "title": "Other"} for of_one in context
    ]
    assert await updates(connection, "UPDATE catalog.series SET synopsis = NULL") == [
        {**of_one, "synopsis": None} for of_one in context
    ]


@pytest.mark.parametrize("fits", ["x" * KIB, "é" * (KIB // 2)], ids=["ASCII", "two bytes each"])
async def test_a_value_of_one_kib_travels_and_a_longer_one_is_named(
    connection: asyncpg.Connection, rows: int, fits: str
) -> None:
    await add_series(connection, rows)
    for value, expected in (
        (fits, {"title": fits}),
        (fits + "x", {"title": None, "$omitted": ["title"]}),
        (fits, {"title": fits}),
    ):
        assert await updates(connection, "UPDATE catalog.series SET title = $1", value) == [
            {"slug": f"s-{n}", "categoryId": None, **expected} for n in range(rows)
        ]


async def test_a_value_over_one_kib_is_named_in_a_create_too(
    connection: asyncpg.Connection, rows: int
) -> None:
    await connection.execute(
        "INSERT INTO catalog.series (slug, title, tags, synopsis, status, created_at)"
        " SELECT 's-' || n, repeat('t', 1025), ARRAY[repeat('x', 2000)], 'S', 'REVIEW', $1"
        " FROM generate_series(1, $2) AS n",
        await connection.fetchval("SELECT $1::text::timestamptz", CREATED_AT),
        rows,
    )
    [*payloads] = [change.payload for change in await captured(connection)]
    assert [{**payload, "slug": ""} for payload in payloads] == [
        {
            "slug": "",
            "categoryId": None,
            "title": None,
            "synopsis": None,
            "tags": None,
            "status": "REVIEW",
            "visibility": "PRIVATE",
            "createdAt": CREATED_AT_JSON,
            "$omitted": ["title", "synopsis", "tags"],
        }
    ] * rows


async def test_a_changed_context_field_has_its_old_value_under_previous(
    connection: asyncpg.Connection, rows: int
) -> None:
    await add_series(connection, rows)
    category: UUID = await connection.fetchval(
        "INSERT INTO catalog.category (slug, name) VALUES ('c', 'N') RETURNING id"
    )
    assert await updates(connection, "UPDATE catalog.series SET slug = slug || '-new'") == [
        {"slug": f"s-{n}-new", "categoryId": None, "$previous": {"slug": f"s-{n}"}}
        for n in range(rows)
    ]
    assert await updates(
        connection,
        "UPDATE catalog.series SET slug = left(slug, 3), category_id = $1, title = 'T'",
        category,
    ) == [
        {
            "slug": f"s-{n}",
            "categoryId": str(category),
            "title": "T",
            "$previous": {"slug": f"s-{n}-new", "categoryId": None},
        }
        for n in range(rows)
    ]


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("UPDATE catalog.series SET slug = slug || '-x', deleted_at = now()", "delete"),
        ("UPDATE catalog.series SET slug = slug || '-x', deleted_at = NULL", "create"),
    ],
)
async def test_a_slug_changed_with_the_deletion_or_the_return_is_under_previous(
    connection: asyncpg.Connection, rows: int, statement: str, operation: str
) -> None:
    ids = await add_series(connection, rows)
    if operation == "create":
        await connection.execute("UPDATE catalog.series SET deleted_at = now()")
    before = await last_id(connection)
    await connection.execute(statement)
    changes = by_entity(await captured(connection, after=before))
    own = {
        "title": "Title", "tags": [], "status": "DRAFT", "visibility": "PRIVATE",
        "createdAt": CREATED_AT_JSON,
    } if operation == "create" else {}  # fmt: skip
    assert changes == {
        str(series): [
            (
                operation,
                {
                    "slug": f"s-{n}-x",
                    "categoryId": None,
                    **own,
                    "$previous": {"slug": f"s-{n}"},
                },
            )
        ]
        for n, series in enumerate(ids)
    }


async def test_an_asset_moved_to_another_episode_names_the_episode_it_left(
    connection: asyncpg.Connection,
) -> None:
    [(asset, first), (_, second)] = await add_assets(connection, 2)
    await connection.execute("DELETE FROM catalog.media_asset WHERE episode_id = $1", second)
    before = await last_id(connection)
    await connection.execute("UPDATE catalog.media_asset SET episode_id = $1", second)
    assert await captured(connection, after=before) == [
        Change("mediaAsset", str(asset), "update",
               {"episodeId": str(second), "$previous": {"episodeId": str(first)}})
    ]  # fmt: skip

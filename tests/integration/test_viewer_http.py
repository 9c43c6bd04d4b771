"""What a gateway gets from the viewer."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis
from shown import CDN, Catalog, manifest_of
from viewing import TOKEN, Viewer, keys_in, viewing

NOT_SHOWN: list[dict[str, Any]] = [
    *({"status": status} for status in ("DRAFT", "REVIEW", "ARCHIVED")),
    *({"visibility": seen} for seen in ("UNLISTED", "PRIVATE")),
    {"deleted_at": datetime(2026, 1, 2, tzinfo=UTC)},
]
NO_IDENTIFIERS = [
    *("Frogs", "-", "a--b", "a" * 201, "a" * 5000, "%00", "%0d%0aDEL%20x", "*", "a:b"),
    *("..%2f..%2fadmin", "%2e%2e", "{frogs}", "caf%C3%A9", "%ff%fe", "frogs%20", "'or'1'='1"),
]
BAD_MANIFESTS = [
    (None, "READY", "MANIFEST_MISSING", "missing_manifest"),
    (f"{CDN}/a.m3u8", "PROCESSING", "MANIFEST_MISSING", "missing_manifest"),
    ("http://cdn.example.com/a.m3u8", "READY", "MANIFEST_INVALID", "invalid_manifest"),
    ("https://evil.test/a.m3u8", "READY", "MANIFEST_INVALID", "invalid_manifest"),
]
ADMITTED = [
    {"Authorization": f"Bearer {TOKEN}"},
    {"Authorization": TOKEN},
    {"x-service-token": TOKEN},
    {"Authorization": "Bearer of-a-user", "X-Service-Token": TOKEN},
]
REFUSED = [
    {},
    {"Authorization": "Bearer guess"},
    {"Authorization": f"Basic {TOKEN}"},
    {"x-service-token": ""},
    {"x-service-token": f"{TOKEN}x"},
    {"x-service-token": "schwertfisch-ä"},
]


@pytest.fixture
def rows(connection: asyncpg.Connection) -> Catalog:
    return Catalog(connection)


@pytest.fixture
async def viewer(database: str, redis_url: str) -> AsyncIterator[Viewer]:
    async with viewing(database, redis_url) as viewer:
        yield viewer


async def test_an_episode_and_its_series_are_found_by_id_and_by_slug(
    rows: Catalog, viewer: Viewer, redis: Redis
) -> None:
    premiere = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    category = await rows.category("nature")
    series = await rows.series("frogs", category_id=category)
    season = await rows.season(series, 1, title="One")
    episode = await rows.episode(
        *("frogs-s1e1", series), season_id=season, duration_seconds=1440, published_at=premiere
    )
    film = await rows.episode("frogs-film", series, captions='{"en": "https://x/en.vtt"}')
    for identifier in (episode, str(episode).upper(), "frogs-s1e1"):
        found = await viewer.episode(identifier)
        assert (found.status, found.headers["Content-Type"]) == (
            *(200, "application/json; charset=utf-8"),
        )
        assert found.page["id"] == str(episode)
        assert found.page["playback"]["manifestUrl"] == manifest_of("frogs-s1e1")
        assert found.page["playback"]["variants"] == [
            {"label": "720p", "width": 1280, "height": 720, "bitrateKbps": 3000}
            | {"codec": "h264", "frameRate": 25.0}
        ]
        assert found.page["publishedAt"] == "2026-01-02T03:04:05.678Z"
        assert found.page["series"]["category"]["name"] == "Nature"
        assert found.page["season"]["title"] == "One"
    for identifier in (series, "frogs"):
        found = await viewer.series(identifier)
        [listed] = found.page["seasons"]
        assert [one["id"] for one in listed["episodes"]] == [str(episode)]
        assert [one["id"] for one in found.page["episodes"]] == [str(film)]
        assert listed["episodes"][0]["playback"]["variants"][0]["bitrateKbps"] == 3000
    assert await keys_in(redis) == {
        *(f"catalog:episode:{episode}", "catalog:episode:frogs-s1e1"),
        *(f"catalog:series:{series}", "catalog:series:frogs"),
    }
    assert 0 < await redis.ttl("catalog:series:frogs") <= 330


async def test_a_page_is_a_miss_first_and_a_hit_then_and_counted(
    rows: Catalog, viewer: Viewer
) -> None:
    await rows.episode("pond", await rows.series("frogs"))
    first, second = await viewer.episode("pond"), await viewer.episode("pond")
    assert (first.cache, second.cache) == ("miss", "hit")
    assert first.page == second.page
    for event, times in (("miss", 1), ("set", 1), ("hit", 1)):
        labels = {"cache_event": event, "cache_key": "catalog:episode"}
        assert viewer.counted("content_cache_events_total", **labels) == times


async def test_what_is_not_published_public_and_there_is_not_found(
    rows: Catalog, viewer: Viewer, redis: Redis
) -> None:
    frogs = await rows.series("frogs")
    for number, columns in enumerate(NOT_SHOWN):
        episode = await rows.episode(f"hidden-{number}", frogs, **columns)
        series = await rows.series(f"unseen-{number}", **columns)
        below = await rows.episode(f"below-{number}", series)
        for found in (
            *(await viewer.episode(episode), await viewer.episode(f"hidden-{number}")),
            *(await viewer.series(series), await viewer.series(f"unseen-{number}")),
            *(
                await viewer.episode(below),
                await viewer.episode(frogs),
                await viewer.series(episode),
            ),
        ):
            assert (found.status, found.page["code"]) == (404, "NOT_FOUND")
            assert found.headers["Content-Type"] == "application/problem+json"
    assert (await viewer.series("frogs")).page["episodes"] == []
    assert await keys_in(redis) == {"catalog:series:frogs"}


async def test_what_can_be_no_identifier_is_not_found_and_nobody_is_asked(
    viewer: Viewer, redis: Redis
) -> None:
    await redis.config_resetstat()
    for identifier in NO_IDENTIFIERS:
        for path in (f"/v1/catalog/episodes/{identifier}", f"/v1/catalog/series/{identifier}"):
            found = await viewer.get(path)
            assert (found.status, found.page["code"]) == (404, "NOT_FOUND"), identifier
    assert "cmdstat_evalsha" not in await redis.info("commandstats")


async def test_a_manifest_that_cannot_be_used_is_an_error_told_and_counted_and_never_cached(
    rows: Catalog, viewer: Viewer, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    # As in a database that holds manifests to another CDN.
    await rows.connection.execute(
        "ALTER TABLE catalog.media_asset DROP CONSTRAINT media_asset_manifest_on_cdn"
    )
    for number, (manifest, status, code, issue) in enumerate(BAD_MANIFESTS):
        series = await rows.series(f"frogs-{number}")
        slug = f"pond-{number}"
        await rows.episode(f"lake-{number}", series)
        episode = await rows.episode(slug, series, manifest=manifest, asset=status)
        before = viewer.counted("content_data_quality_issues_total", issue=issue)
        for found in (
            *(await viewer.episode(slug), await viewer.episode(episode)),
            await viewer.series(series),
        ):
            assert (found.status, found.page["status"], found.page["code"]) == (500, 500, code)
            assert found.page["episodeId"] == str(episode)
            assert found.headers["Content-Type"] == "application/problem+json"
            assert found.headers["Cache-Control"] == "no-store"
        assert viewer.counted("content_data_quality_issues_total", issue=issue) == before + 3
        assert (await viewer.episode(f"lake-{number}")).status == 200
    assert "episode.unplayable" in capsys.readouterr().out
    assert await keys_in(redis) == {f"catalog:episode:lake-{n}" for n in range(len(BAD_MANIFESTS))}


async def test_a_token_is_shown_in_either_header_and_without_one_nothing_is_told(
    viewer: Viewer,
) -> None:
    for headers in ADMITTED:
        assert (await viewer.get("/v1/catalog/series/frogs", headers=headers)).status == 404
    for headers in REFUSED:
        for path in ("episodes/pond", "series/frogs", "series/%00"):
            found = await viewer.get(f"/v1/catalog/{path}", headers=headers)
            assert (found.status, found.page["code"]) == (401, "UNAUTHORIZED"), headers
            assert found.headers["WWW-Authenticate"] == "Bearer"


async def test_other_methods_and_paths_are_problems_too(viewer: Viewer, rows: Catalog) -> None:
    await rows.series("frogs")
    assert (await viewer.get("/v1/catalog/series/frogs", method="HEAD")).status == 200
    wrong = await viewer.get("/v1/catalog/series/frogs", method="POST")
    assert (wrong.status, wrong.page["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["Allow"] == "GET, HEAD"
    assert (await viewer.get("/v1/catalog/films/frogs")).page["code"] == "NOT_FOUND"


async def test_while_the_catalog_cannot_be_read_what_is_cached_is_served(
    rows: Catalog, viewer: Viewer
) -> None:
    await rows.series("frogs")
    assert (await viewer.series("frogs")).status == 200
    await rows.connection.execute("ALTER SCHEMA catalog RENAME TO away")
    assert (await viewer.series("frogs")).cache == "hit"
    found = await viewer.series("toads")
    assert (found.status, found.page["code"]) == (503, "CATALOG_UNAVAILABLE")
    assert found.headers["Retry-After"] == "1"
    await rows.connection.execute("ALTER SCHEMA away RENAME TO catalog")
    assert (await viewer.series("toads")).status == 404

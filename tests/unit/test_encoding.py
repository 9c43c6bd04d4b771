"""An item says, field by field, what the rows say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from uuid import UUID

import pytest

from content_proto import content_pb2 as wire
from snapshot_server.feed.catalog import Asset, Category, Episode, Season, Series, Variant
from snapshot_server.feed.encoding import ENCODING, encoded_episode, encoded_series, series_message

VERSION = 1795347471648 << 20 | 7
PAST = datetime(2026, 1, 2, tzinfo=UTC)
CATEGORY = Category(UUID(int=1), "drama", "Drama")
SERIES = Series(
    UUID(int=2),
    "dark-water",
    "Dark Water",
    "A river town.",
    "https://img/hero.jpg",
    "https://img/banner.jpg",
    ["river", "slow"],
    date(1969, 12, 31),
)
SEASON = Season(UUID(int=3), SERIES.id, 2, "The Flood")
EPISODE = Episode(
    UUID(int=4),
    "dark-water-s2e1",
    SERIES.id,
    SEASON.id,
    "Rain",
    "It begins.",
    2520,
    datetime(2026, 5, 1, 20, 15, 0, 123456, UTC),
    datetime(1969, 12, 31, 23, 59, 59, 500000, UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    "https://img/rain.jpg",
    "https://img/rain-small.jpg",
    '{"pt-BR": {"label": "Português", "url": "https://cdn/pt.vtt"}, "en": "https://cdn/en.vtt"}',
    ["flood", "river", "flood"],
)
ASSET = Asset(UUID(int=5), "READY", "https://cdn/m.m3u8", "https://cdn/frame.jpg")
HIGH = Variant("1080p", 1920, 1080, 6000, "hevc", Decimal("23.976"))
LOW = Variant("360p", 640, 360, 800, "h264")
BARE_EPISODE = Episode(UUID(int=4), "rain", SERIES.id, None, "Rain")
BARE_SERIES = Series(UUID(int=2), "dark-water", "Dark Water")


def item(body: bytes) -> wire.CatalogFeedItem:
    chunk = wire.CatalogSnapshotChunk.FromString(body)
    [only] = chunk.items
    return only


def episode_item(
    episode: Episode = EPISODE,
    season: Season | None = SEASON,
    asset: Asset | None = ASSET,
    variants: tuple[Variant, ...] = (HIGH, LOW),
) -> wire.CatalogFeedItem:
    series = series_message(SERIES, CATEGORY)
    return item(encoded_episode(episode, series, season, asset, variants, version=VERSION))


def set_fields(message: wire.CatalogFeedItem | wire.Series) -> set[str]:
    return {field.name for field, _ in message.ListFields()}


SERIES_WHOLE = wire.Series(
    id=str(SERIES.id),
    slug="dark-water",
    title="Dark Water",
    synopsis="A river town.",
    hero_image_url="https://img/hero.jpg",
    banner_image_url="https://img/banner.jpg",
    category={"id": str(CATEGORY.id), "slug": "drama", "name": "Drama"},
    release_date={"seconds": -86400},
)


def test_an_episode_carries_all_that_the_catalog_has() -> None:
    assert episode_item() == wire.CatalogFeedItem(
        kind=wire.ITEM_KIND_EPISODE,
        id="00000000-0000-0000-0000-000000000004",
        version=VERSION,
        event_id="1795347471648-7",
        slug="dark-water-s2e1",
        title="Rain",
        tags=["flood", "river", "flood"],
        synopsis="It begins.",
        hero_image_url="https://img/rain.jpg",
        default_thumbnail_url="https://img/rain-small.jpg",
        duration_seconds=2520,
        published_at={"seconds": 1777666500, "nanos": 123456000},
        availability={"start": {"seconds": -1, "nanos": 500000000}, "end": {"seconds": 0}},
        season={"id": str(SEASON.id), "sequence_number": 2, "title": "The Flood"},
        series=SERIES_WHOLE,
        playback={
            "status": "READY",
            "manifest_url": "https://cdn/m.m3u8",
            "default_thumbnail_url": "https://cdn/frame.jpg",
            "variants": [
                {
                    "label": "360p",
                    "width": 640,
                    "height": 360,
                    "bitrate_kbps": 800,
                    "codec": "h264",
                },
                {
                    "label": "1080p",
                    "width": 1920,
                    "height": 1080,
                    "bitrate_kbps": 6000,
                    "codec": "hevc",
                    "frame_rate": 23.976,
                },
            ],
        },
        localization={
            "captions": [
                {"language": "en", "url": "https://cdn/en.vtt"},
                {"language": "pt-BR", "label": "Português", "url": "https://cdn/pt.vtt"},
            ],
            "available_languages": ["en", "pt-BR"],
        },
    )


def test_a_series_carries_its_own_fields_and_itself() -> None:
    assert item(encoded_series(SERIES, CATEGORY, version=VERSION)) == wire.CatalogFeedItem(
        kind=wire.ITEM_KIND_SERIES,
        id="00000000-0000-0000-0000-000000000002",
        version=VERSION,
        event_id="1795347471648-7",
        slug="dark-water",
        title="Dark Water",
        tags=["river", "slow"],
        synopsis="A river town.",
        hero_image_url="https://img/hero.jpg",
        series=SERIES_WHOLE,
    )


def test_what_the_catalog_does_not_have_is_absent() -> None:
    head = {"kind", "id", "version", "event_id", "slug", "title", "series"}
    assert set_fields(episode_item(BARE_EPISODE, None, None, ())) == head
    bare = item(encoded_series(BARE_SERIES, None, version=VERSION))
    assert set_fields(bare) == head
    assert set_fields(bare.series) == {"id", "slug", "title"}


def test_what_is_there_but_empty_or_zero_is_not_absent() -> None:
    found = episode_item(
        EPISODE._replace(
            synopsis="", duration_seconds=0, published_at=datetime.fromtimestamp(0, UTC)
        ),
        SEASON._replace(title=""),
    )
    assert found.HasField("synopsis")
    assert found.HasField("duration_seconds")
    assert found.HasField("published_at")
    assert found.season.HasField("title")
    epoch_day = series_message(SERIES._replace(release_date=date(1970, 1, 1)), None)
    assert epoch_day.HasField("release_date")


@pytest.mark.parametrize(
    "season", [SEASON._replace(deleted_at=PAST), SEASON._replace(series_id=UUID(int=9)), None]
)
def test_a_season_that_is_deleted_or_of_another_series_is_left_out(season: Season | None) -> None:
    assert not episode_item(season=season).HasField("season")


def test_a_category_that_is_deleted_is_left_out() -> None:
    gone = CATEGORY._replace(deleted_at=PAST)
    assert not series_message(SERIES, gone).HasField("category")


def test_a_media_asset_that_is_deleted_is_left_out_and_lends_no_thumbnail() -> None:
    found = episode_item(
        EPISODE._replace(default_thumbnail_url=None), asset=ASSET._replace(deleted_at=PAST)
    )
    assert not found.HasField("playback")
    assert not found.HasField("default_thumbnail_url")


def test_the_thumbnail_falls_back_to_that_of_the_media_asset() -> None:
    found = episode_item(EPISODE._replace(default_thumbnail_url=None))
    assert found.default_thumbnail_url == "https://cdn/frame.jpg"


def test_a_window_that_is_open_on_one_side_has_one_bound() -> None:
    until = episode_item(EPISODE._replace(availability_start=None)).availability
    assert until.HasField("end")
    assert not until.HasField("start")


def test_a_moment_is_the_same_in_every_time_zone() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    assert EPISODE.published_at is not None
    there = EPISODE._replace(published_at=EPISODE.published_at.astimezone(east))
    assert episode_item(there) == episode_item()


def test_infinity_is_no_bound() -> None:
    # What asyncpg makes of it: the last moment there is, without a time zone.
    end, start = datetime.max, datetime.min  # noqa: DTZ901
    found = episode_item(EPISODE._replace(availability_start=start, availability_end=end))
    assert not found.HasField("availability")
    assert not series_message(SERIES._replace(release_date=date.max), None).HasField("release_date")


def test_variants_are_ordered_by_height_bitrate_and_label() -> None:
    same = [LOW._replace(label=label, bitrate_kbps=rate) for label, rate in [("b", 9), ("a", 9)]]
    found = episode_item(variants=(HIGH, *same, LOW._replace(bitrate_kbps=1)))
    assert [v.label for v in found.playback.variants] == ["360p", "a", "b", "1080p"]


def test_nulls_and_dimensions_of_an_array_of_tags_do_no_harm() -> None:
    # Typed as PostgreSQL declares it; asyncpg hands over what is really in it.
    nested: list[str | None] = ["a", None, *[["b", None], ["c", "d"]]]  # type: ignore[list-item]
    assert list(episode_item(EPISODE._replace(tags=nested)).tags) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        ('{"en": null}', {"language": "en"}),
        ('{"en": ["https://cdn/en.vtt"]}', {"language": "en"}),
        ('{"en": {"label": 3, "url": null}}', {"language": "en"}),
        ('{"en": {"label": "English"}}', {"language": "en", "label": "English"}),
        (f'{{"en": {"9" * 5000}}}', {"language": "en"}),
    ],
    ids=["null", "list", "numbers", "label alone", "long number"],
)
def test_captions_of_another_form_still_name_their_language(
    captions: str, expected: dict[str, str]
) -> None:
    found = episode_item(EPISODE._replace(captions=captions))
    assert list(found.localization.captions) == [wire.Caption(**expected)]
    assert list(found.localization.available_languages) == ["en"]


def test_captions_nested_too_deep_to_read_do_not_stop_the_item() -> None:
    deep = '{"en": ' + "[" * 100_000 + "]" * 100_000 + "}"
    assert episode_item(EPISODE._replace(captions=deep)).title == "Rain"


def test_other_bytes_need_another_encoding() -> None:
    body = encoded_episode(
        EPISODE, series_message(SERIES, CATEGORY), SEASON, ASSET, (HIGH, LOW), version=VERSION
    )
    assert (ENCODING, sha256(body).hexdigest()[:16]) == (1, "b1cac0e75d0c9fbd")

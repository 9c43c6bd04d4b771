"""What is wrong with an item is told, and the item made all the same."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from snapshot_server.feed.catalog import (
    Asset,
    Category,
    Episode,
    Issue,
    Season,
    issues_of_episode,
    issues_of_series,
)

PAST = datetime(2026, 1, 2, tzinfo=UTC)
CATEGORY = Category(UUID(int=1), "drama", "Drama")
SEASON = Season(UUID(int=3), UUID(int=2), 1)
EPISODE = Episode(
    UUID(int=4), "rain", UUID(int=2), SEASON.id, "Rain", default_thumbnail_url="https://img/s.jpg"
)
ASSET = Asset(UUID(int=5), "READY", "https://cdn/m.m3u8", "https://cdn/frame.jpg")


def test_a_sound_item_has_no_issue() -> None:
    assert list(issues_of_episode(EPISODE, SEASON, ASSET)) == []
    assert list(issues_of_episode(EPISODE._replace(season_id=None), None, ASSET)) == []
    assert list(issues_of_series(CATEGORY)) == []


@pytest.mark.parametrize("category", [None, CATEGORY._replace(deleted_at=PAST)])
def test_a_series_without_a_category_is_told(category: Category | None) -> None:
    assert list(issues_of_series(category)) == [Issue.MISSING_SERIES_CATEGORY]


@pytest.mark.parametrize(
    "asset",
    [
        None,
        ASSET._replace(deleted_at=PAST),
        ASSET._replace(status="PROCESSING"),
        ASSET._replace(manifest_url=None),
    ],
)
def test_an_episode_that_cannot_be_played_is_told(asset: Asset | None) -> None:
    assert list(issues_of_episode(EPISODE, SEASON, asset)) == [Issue.MISSING_MANIFEST]


@pytest.mark.parametrize("url", [None, ""])
def test_an_episode_without_any_thumbnail_is_told(url: str | None) -> None:
    bare = EPISODE._replace(default_thumbnail_url=url)
    asset = ASSET._replace(default_thumbnail_url=None)
    assert list(issues_of_episode(bare, SEASON, asset)) == [Issue.MISSING_THUMBNAIL]


def test_the_thumbnail_of_the_media_asset_is_one() -> None:
    bare = EPISODE._replace(default_thumbnail_url=None)
    assert list(issues_of_episode(bare, SEASON, ASSET)) == []


@pytest.mark.parametrize(
    "season", [None, SEASON._replace(deleted_at=PAST), SEASON._replace(series_id=UUID(int=9))]
)
def test_an_episode_of_a_season_that_is_not_its_series_is_told(season: Season | None) -> None:
    assert list(issues_of_episode(EPISODE, season, ASSET)) == [Issue.ORPHAN_EPISODE]

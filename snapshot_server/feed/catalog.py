"""Rows of the catalog, as far as items are made of them, and what may be wrong with them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID


class Category(NamedTuple):
    """A row of catalog.category."""

    id: UUID
    slug: str
    name: str
    deleted_at: datetime | None = None


class Series(NamedTuple):
    """A row of catalog.series."""

    id: UUID
    slug: str
    title: str
    synopsis: str | None = None
    hero_image_url: str | None = None
    banner_image_url: str | None = None
    tags: Sequence[str | None] = ()
    release_date: date | None = None


class Season(NamedTuple):
    """A row of catalog.season."""

    id: UUID
    series_id: UUID
    sequence_number: int
    title: str | None = None
    deleted_at: datetime | None = None


class Episode(NamedTuple):
    """A row of catalog.episode."""

    id: UUID
    slug: str
    series_id: UUID
    season_id: UUID | None
    title: str
    synopsis: str | None = None
    duration_seconds: int | None = None
    published_at: datetime | None = None
    availability_start: datetime | None = None
    availability_end: datetime | None = None
    hero_image_url: str | None = None
    default_thumbnail_url: str | None = None
    captions: str = "{}"
    """JSON, as text: an object by language, of addresses or of objects with label and url."""
    tags: Sequence[str | None] = ()


class Asset(NamedTuple):
    """A row of catalog.media_asset."""

    id: UUID
    status: str
    manifest_url: str | None = None
    default_thumbnail_url: str | None = None
    deleted_at: datetime | None = None


class Variant(NamedTuple):
    """A row of catalog.media_asset_variant."""

    label: str
    width: int
    height: int
    bitrate_kbps: int
    codec: str
    frame_rate: Decimal | float | None = None


class Issue(StrEnum):
    """What is wrong with an item that is in the feed all the same."""

    MISSING_MANIFEST = "missing_manifest"
    """An episode that nobody can play: no media asset that is READY and has a manifest."""
    MISSING_THUMBNAIL = "missing_thumbnail"
    """An episode without a small picture of its own or of its media asset."""
    ORPHAN_EPISODE = "orphan_episode"
    """An episode in a season that is deleted, or is another series'."""
    MISSING_SERIES_CATEGORY = "missing_series_category"
    """A series in no category, or in one that is deleted."""


def is_season_of(episode: Episode, season: Season) -> bool:
    """Whether the season is there, and one of the episode's series."""
    return season.deleted_at is None and season.series_id == episode.series_id


def thumbnail_of(episode: Episode, asset: Asset | None) -> str | None:
    """The episode's own, else that of its media asset."""
    if episode.default_thumbnail_url is not None or asset is None or asset.deleted_at is not None:
        return episode.default_thumbnail_url
    return asset.default_thumbnail_url


def issues_of_series(category: Category | None) -> Iterator[Issue]:
    """What is wrong with a series in this category."""
    if category is None or category.deleted_at is not None:
        yield Issue.MISSING_SERIES_CATEGORY


def issues_of_episode(
    episode: Episode, season: Season | None, asset: Asset | None
) -> Iterator[Issue]:
    """What is wrong with an episode."""
    if asset is None or asset.deleted_at or asset.status != "READY" or not asset.manifest_url:
        yield Issue.MISSING_MANIFEST
    if not thumbnail_of(episode, asset):
        yield Issue.MISSING_THUMBNAIL
    if episode.season_id is not None and not (season and is_season_of(episode, season)):
        yield Issue.ORPHAN_EPISODE

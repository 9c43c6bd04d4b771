"""What the tables have for a page: its ids, times and days are text already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Category(NamedTuple):
    """A row of catalog.category."""

    id: str
    slug: str
    name: str
    is_deleted: bool = False


class Series(NamedTuple):
    """A row of catalog.series that viewers may see."""

    id: str
    slug: str
    title: str
    synopsis: str | None = None
    hero_image_url: str | None = None
    banner_image_url: str | None = None
    tags: Sequence[Any] = ()
    """Of a PostgreSQL array, which may hold nulls, and arrays."""
    release_date: str | None = None
    category_id: str | None = None


class Season(NamedTuple):
    """A row of catalog.season."""

    id: str
    series_id: str
    sequence_number: int
    title: str | None = None
    synopsis: str | None = None
    release_date: str | None = None
    status: str = "PUBLISHED"
    is_deleted: bool = False


class Episode(NamedTuple):
    """A row of catalog.episode that viewers may see."""

    id: str
    slug: str
    series_id: str
    season_id: str | None
    title: str
    synopsis: str | None = None
    duration_seconds: int | None = None
    published_at: str | None = None
    availability_start: str | None = None
    availability_end: str | None = None
    hero_image_url: str | None = None
    default_thumbnail_url: str | None = None
    captions: str = "{}"
    """JSON, as text: an object by language, of addresses or of objects with label and url."""
    tags: Sequence[Any] = ()


class Asset(NamedTuple):
    """A row of catalog.media_asset."""

    status: str
    manifest_url: str | None = None
    default_thumbnail_url: str | None = None
    is_deleted: bool = False


class Variant(NamedTuple):
    """A row of catalog.media_asset_variant."""

    label: str
    width: int
    height: int
    bitrate_kbps: int
    codec: str
    frame_rate: Any = None
    """A number, null, or the text NaN."""


class Playable(NamedTuple):
    """An episode with what is played."""

    episode: Episode
    asset: Asset | None
    variants: Sequence[Variant]


class EpisodeRows(NamedTuple):
    """All that the page of an episode is made of."""

    playable: Playable
    series: Series
    category: Category | None
    season: Season | None


class SeriesRows(NamedTuple):
    """All that the page of a series is made of."""

    series: Series
    category: Category | None
    seasons: Sequence[Season]
    """Those that are not deleted, by number."""
    episodes: Sequence[Playable]
    """Those that viewers may see."""

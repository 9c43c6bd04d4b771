"""What is to be in the catalog: values to compare and to write, with ids that never change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID, uuid5

_IDS = UUID("0b6c1f0e-6d0a-5f0f-9d3e-2f1c8a4be7d5")


class Status(StrEnum):
    """catalog.publication_status."""

    DRAFT = "DRAFT"
    REVIEW = "REVIEW"
    PUBLISHED = "PUBLISHED"
    ARCHIVED = "ARCHIVED"


@dataclass(frozen=True, slots=True)
class Category:
    """A shelf. Its slug is its identity: one that the catalog has already is used as it is."""

    slug: str
    name: str
    description: str | None = None
    display_order: int = 0

    @property
    def id(self) -> UUID:
        """The id of a new one."""
        return uuid5(_IDS, f"category {self.slug}")


@dataclass(frozen=True, slots=True)
class Variant:
    """One rendition of a media asset."""

    label: str
    width: int
    height: int
    bitrate_kbps: int
    codec: str
    frame_rate: Decimal


@dataclass(frozen=True, slots=True)
class Season:
    """A season of a series."""

    id: UUID
    number: int
    release_date: date
    status: Status = Status.PUBLISHED

    @property
    def title(self) -> str:
        """Its name for people."""
        return f"Season {self.number}"


@dataclass(frozen=True, slots=True)
class Episode:
    """An episode with a READY asset.

    *slug_ending* follows the slug of its series, None for a film; *captions* are paths on the CDN
    by language.
    """

    id: UUID
    season_id: UUID | None
    slug_ending: str | None
    title: str
    duration_seconds: int
    published_at: datetime
    synopsis: str | None = None
    tags: tuple[str, ...] = ()
    captions: Mapping[str, str] = field(default_factory=dict)
    available: tuple[datetime | None, datetime | None] = (None, None)
    status: Status = Status.PUBLISHED

    @property
    def asset_id(self) -> UUID:
        """The id of its media asset."""
        return uuid5(self.id, "asset")


@dataclass(frozen=True, slots=True)
class Title:
    """A series or a film, with all that belongs to it; *line* is where it stands in its file."""

    id: UUID
    line: int
    slugs: tuple[str, ...]
    title: str
    synopsis: str | None
    category: Category | None
    tags: tuple[str, ...]
    release_date: date
    seasons: tuple[Season, ...]
    episodes: tuple[Episode, ...]
    status: Status = Status.PUBLISHED


LADDER = (
    Variant("360p", 640, 360, 800, "h264", Decimal(25)),
    Variant("720p", 1280, 720, 3000, "h264", Decimal(25)),
    Variant("1080p", 1920, 1080, 6000, "hevc", Decimal(25)),
)


def title_id(key: str) -> UUID:
    """The id of the title that its source calls *key*."""
    return uuid5(_IDS, f"title {key}")


def season_id(series_id: UUID, number: int) -> UUID:
    """The id of this season of this series."""
    return uuid5(series_id, f"season {number}")


def variant_id(asset_id: UUID, variant: Variant) -> UUID:
    """The id of this rendition of this asset."""
    return uuid5(asset_id, variant.label)

"""Rows of the catalog become the bytes of an item: always the same bytes for the same rows."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING

from content_proto import content_pb2 as wire
from snapshot_server.feed.catalog import is_season_of, thumbnail_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.timestamp_pb2 import Timestamp

    from snapshot_server.feed.catalog import Asset, Category, Episode, Season, Series, Variant

ENCODING = 1
"""To be raised with every change of the bytes: the projector then encodes all items anew."""

_SEQ_BITS = 20
_LAST_SEQ = (1 << _SEQ_BITS) - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = _EPOCH.toordinal()
_DAY_S = 86400
_SEVEN_BITS, _GOES_ON = 0x7F, 0x80
_SIZE = attrgetter("height", "bitrate_kbps", "label")
# Numbers are not looked at, and Python refuses whole ones of more than 4300 digits.
_JSON = json.JSONDecoder(parse_int=float)


def encoded_series(series: Series, category: Category | None, *, version: int) -> bytes:
    """The item of a series as it stands in a chunk: tag, length and CatalogFeedItem."""
    item = wire.CatalogFeedItem()
    _put_head(item, wire.ITEM_KIND_SERIES, series, version)
    item.series.CopyFrom(series_message(series, category))
    return _framed(item.SerializeToString())


def encoded_episode(  # noqa: PLR0913
    episode: Episode,
    series: wire.Series,
    season: Season | None,
    asset: Asset | None,
    variants: Iterable[Variant],
    *,
    version: int,
) -> bytes:
    """The item of an episode as it stands in a chunk.

    *series* comes from series_message(), once for all episodes of the series.
    """
    item = wire.CatalogFeedItem()
    _put_head(item, wire.ITEM_KIND_EPISODE, episode, version)
    if (thumbnail := thumbnail_of(episode, asset)) is not None:
        item.default_thumbnail_url = thumbnail
    if episode.duration_seconds is not None:
        item.duration_seconds = episode.duration_seconds
    if published := _finite(episode.published_at):
        _put_time(item.published_at, published)
    if start := _finite(episode.availability_start):
        _put_time(item.availability.start, start)
    if end := _finite(episode.availability_end):
        _put_time(item.availability.end, end)
    if season and is_season_of(episode, season):
        _put_season(item.season, season)
    item.series.CopyFrom(series)
    if asset and asset.deleted_at is None:
        _put_playback(item.playback, asset, variants)
    if episode.captions != "{}":
        _put_captions(item.localization, episode.captions)
    return _framed(item.SerializeToString())


def series_message(series: Series, category: Category | None) -> wire.Series:
    """A series, as its own item and those of its episodes hold it."""
    message = wire.Series(id=str(series.id), slug=series.slug, title=series.title)
    if series.synopsis is not None:
        message.synopsis = series.synopsis
    if series.hero_image_url is not None:
        message.hero_image_url = series.hero_image_url
    if series.banner_image_url is not None:
        message.banner_image_url = series.banner_image_url
    if category and category.deleted_at is None:
        message.category.id = str(category.id)
        message.category.slug = category.slug
        message.category.name = category.name
    # asyncpg's dates for -infinity and infinity.
    if series.release_date not in (None, date.min, date.max):
        message.release_date.seconds = (series.release_date.toordinal() - _EPOCH_DAY) * _DAY_S
    return message


def _framed(item: bytes) -> bytes:
    """As field 1 of a chunk."""
    framed = bytearray(b"\x0a")
    rest = len(item)
    while rest > _SEVEN_BITS:
        framed.append(rest & _SEVEN_BITS | _GOES_ON)
        rest >>= 7
    framed.append(rest)
    return bytes(framed + item)


def _put_head(
    item: wire.CatalogFeedItem, kind: wire.ItemKind, row: Series | Episode, version: int
) -> None:
    item.kind = kind
    item.id = str(row.id)
    item.version = version
    item.event_id = f"{version >> _SEQ_BITS}-{version & _LAST_SEQ}"
    item.slug = row.slug
    item.title = row.title
    item.tags.extend(_words(row.tags))
    if row.synopsis is not None:
        item.synopsis = row.synopsis
    if row.hero_image_url is not None:
        item.hero_image_url = row.hero_image_url


def _put_season(message: wire.Season, season: Season) -> None:
    message.id = str(season.id)
    message.sequence_number = season.sequence_number
    if season.title is not None:
        message.title = season.title


def _put_playback(message: wire.Playback, asset: Asset, variants: Iterable[Variant]) -> None:
    message.status = asset.status
    if asset.manifest_url is not None:
        message.manifest_url = asset.manifest_url
    if asset.default_thumbnail_url is not None:
        message.default_thumbnail_url = asset.default_thumbnail_url
    message.MergeFromString(_renditions(tuple(variants)))


@lru_cache(4096)
def _renditions(variants: tuple[Variant, ...]) -> bytes:
    """Field 4 of a Playback. Few ladders serve many videos."""
    message = wire.Playback()
    for variant in sorted(variants, key=_SIZE):
        rendition = message.variants.add()
        rendition.label = variant.label
        rendition.width = variant.width
        rendition.height = variant.height
        rendition.bitrate_kbps = variant.bitrate_kbps
        rendition.codec = variant.codec
        if variant.frame_rate is not None:
            rendition.frame_rate = float(variant.frame_rate)
    return message.SerializeToString()


def _put_captions(message: wire.Localization, captions: str) -> None:
    """What is not an address or an object has a language, and nothing else."""
    try:
        by_language, _ = _JSON.raw_decode(captions)
    except RecursionError:
        # PostgreSQL takes what is nested deeper; the item is worth more than its captions.
        return
    languages = sorted(by_language)
    for language in languages:
        caption = message.captions.add()
        caption.language = language
        value = by_language[language]
        if isinstance(value, str):
            caption.url = value
        elif isinstance(value, dict):
            if isinstance(label := value.get("label"), str):
                caption.label = label
            if isinstance(url := value.get("url"), str):
                caption.url = url
    message.available_languages.extend(languages)


def _put_time(message: Timestamp, at: datetime) -> None:
    since = at - _EPOCH
    message.seconds = since.days * _DAY_S + since.seconds
    message.nanos = since.microseconds * 1000


def _finite(at: datetime | None) -> datetime | None:
    """None for -infinity and infinity, which asyncpg hands over without a time zone."""
    return at if at is not None and at.tzinfo is not None else None


def _words(tags: Iterable[object]) -> Iterator[str]:
    """The strings of an array, which in PostgreSQL may hold nulls and have several dimensions."""
    for tag in tags:
        if isinstance(tag, str):
            yield tag
        elif isinstance(tag, list):
            yield from _words(tag)

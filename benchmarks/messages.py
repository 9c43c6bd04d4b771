"""Items as betterproto2 has them: what a service would build that encodes them for each request."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from content_proto.content import v1
from snapshot_server.feed.catalog import thumbnail_of
from snapshot_server.feed.rows import EpisodeRow, SeriesRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from content_proto import content_pb2 as wire
    from snapshot_server.feed.catalog import Asset, Season, Variant


def item_of(row: SeriesRow | EpisodeRow) -> v1.CatalogFeedItem:
    """The message, to be encoded."""
    return _series_item(row) if isinstance(row, SeriesRow) else _episode_item(row)


def _series_item(row: SeriesRow) -> v1.CatalogFeedItem:
    series, category = row
    return v1.CatalogFeedItem(
        kind=v1.ItemKind.SERIES,
        id=str(series.id),
        slug=series.slug,
        title=series.title,
        tags=[tag for tag in series.tags if tag],
        synopsis=series.synopsis,
        hero_image_url=series.hero_image_url,
        series=v1.Series(
            id=str(series.id),
            slug=series.slug,
            title=series.title,
            synopsis=series.synopsis,
            hero_image_url=series.hero_image_url,
            banner_image_url=series.banner_image_url,
            category=v1.Category(id=str(category.id), slug=category.slug, name=category.name)
            if category
            else None,
            release_date=datetime(
                *(series.release_date.year, series.release_date.month, series.release_date.day),
                tzinfo=UTC,
            )
            if series.release_date
            else None,
        ),
        version=1,
        event_id="0-1",
    )


def _episode_item(row: EpisodeRow) -> v1.CatalogFeedItem:
    episode = row.episode
    return v1.CatalogFeedItem(
        kind=v1.ItemKind.EPISODE,
        id=str(episode.id),
        slug=episode.slug,
        title=episode.title,
        tags=[tag for tag in episode.tags if tag],
        synopsis=episode.synopsis,
        hero_image_url=episode.hero_image_url,
        default_thumbnail_url=thumbnail_of(episode, row.asset),
        duration_seconds=episode.duration_seconds,
        published_at=episode.published_at,
        availability=v1.Availability(
            start=episode.availability_start, end=episode.availability_end
        ),
        season=_season(row.season) if row.season else None,
        series=_series(row.series),
        playback=_playback(row.asset, row.variants) if row.asset else None,
        localization=_localization(json.loads(episode.captions)),
        version=1,
        event_id="0-1",
    )


def _season(season: Season) -> v1.Season:
    return v1.Season(id=str(season.id), sequence_number=season.sequence_number, title=season.title)


def _series(series: wire.Series) -> v1.Series:
    category = series.category
    return v1.Series(
        id=series.id,
        slug=series.slug,
        title=series.title,
        synopsis=series.synopsis,
        hero_image_url=series.hero_image_url,
        banner_image_url=series.banner_image_url,
        category=v1.Category(id=category.id, slug=category.slug, name=category.name),
        release_date=series.release_date.ToDatetime(tzinfo=UTC),
    )


def _playback(asset: Asset, variants: Iterable[Variant]) -> v1.Playback:
    return v1.Playback(
        status=asset.status,
        manifest_url=asset.manifest_url,
        default_thumbnail_url=asset.default_thumbnail_url,
        variants=[
            v1.Variant(
                label=variant.label,
                width=variant.width,
                height=variant.height,
                bitrate_kbps=variant.bitrate_kbps,
                codec=variant.codec,
                frame_rate=float(variant.frame_rate) if variant.frame_rate else None,
            )
            for variant in variants
        ],
    )


def _localization(captions: dict[str, Any]) -> v1.Localization:
    return v1.Localization(
        captions=[
            v1.Caption(language=language, label=caption["label"], url=caption["url"])
            for language, caption in captions.items()
        ],
        available_languages=list(captions),
    )

"""Rows of the catalog become a page: camelCase JSON, or word of what makes it unplayable."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from viewer.keys import Kind, members, tag
from viewer.manifest import Cdn, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viewer.rows import (
        Asset,
        Category,
        Episode,
        EpisodeRows,
        Playable,
        Season,
        Series,
        SeriesRows,
        Variant,
    )

FORMAT = 1
"""To be raised with every change of the pages: what an earlier version cached is then purged."""

_READY, _PUBLISHED = "READY", "PUBLISHED"
# Numbers are not looked at, and Python refuses whole ones of more than 4300 digits.
_JSON = json.JSONDecoder(parse_int=float)
# As we write it: within a text each of the quotes would have a backslash.
_MANIFEST = re.compile(rb'"manifestUrl":("(?:[^"\\]|\\.)*")')

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """A page as it is sent."""

    body: bytes
    tags: frozenset[str]
    """What it was made from: a change of any of these makes it old."""


@dataclass(frozen=True, slots=True)
class Broken:
    """An episode that viewers may see and nobody can play."""

    episode_id: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Unplayable:
    """A page that must not be sent."""

    episodes: tuple[Broken, ...]


def episode_page(rows: EpisodeRows, cdn: Cdn) -> Document | Unplayable:
    """The page of an episode, with its series and season."""
    if broken := tuple(_broken([rows.playable], cdn)):
        return Unplayable(broken)
    episode, season = rows.playable.episode, rows.season
    page = _episode(rows.playable) | {
        "series": _series(rows.series, rows.category),
        "season": _season(season) if season and _is_season_of(season, episode) else None,
    }
    made_from = {tag(Kind.EPISODE, episode.id), *_tags_of_series(rows.series)}
    if episode.season_id:
        made_from.add(tag("season", episode.season_id))
    return _document(page, made_from)


def series_page(rows: SeriesRows, cdn: Cdn) -> Document | Unplayable:
    """The page of a series, with its seasons and their episodes; those of no season beside them."""
    if broken := tuple(_broken(rows.episodes, cdn)):
        return Unplayable(broken)
    known = {season.id for season in rows.seasons}
    by_season: dict[str | None, list[Json]] = {}
    for playable in rows.episodes:
        season_id = playable.episode.season_id
        place = by_season.setdefault(season_id if season_id in known else None, [])
        place.append(_episode(playable))
    page = _series(rows.series, rows.category) | {
        "tags": list(_words(rows.series.tags)),
        "seasons": [
            _season(season)
            | {"synopsis": season.synopsis, "releaseDate": season.release_date}
            | {"episodes": by_season.get(season.id, [])}
            for season in rows.seasons
            # One that is not published is shown for the sake of its episodes alone.
            if season.status == _PUBLISHED or season.id in by_season
        ],
        "episodes": by_season.get(None, []),
    }
    made_from = {members(rows.series.id), *_tags_of_series(rows.series)}
    # A media asset's events name the episode alone.
    made_from.update(tag(Kind.EPISODE, playable.episode.id) for playable in rows.episodes)
    return _document(page, made_from)


def manifests_in(body: bytes) -> list[str]:
    """The manifest URLs of a page, each once."""
    return list(dict.fromkeys(json.loads(url) for url in _MANIFEST.findall(body)))


def _document(page: Json, made_from: Iterable[str]) -> Document:
    text = json.dumps(page, ensure_ascii=False, separators=(",", ":"))
    return Document(text.encode(), frozenset(made_from))


def _tags_of_series(series: Series) -> Iterator[str]:
    yield tag(Kind.SERIES, series.id)
    # Also of a category that is deleted, and not shown: it may come back.
    if series.category_id:
        yield tag("category", series.category_id)


def _broken(episodes: Iterable[Playable], cdn: Cdn) -> Iterator[Broken]:
    for episode, asset, _ in episodes:
        verdict = cdn.verdict(_manifest(asset))
        if verdict is not Verdict.FINE:
            yield Broken(episode.id, verdict)


def _manifest(asset: Asset | None) -> str | None:
    """As in the snapshot: an asset that is deleted, or not READY, has none."""
    return asset.manifest_url if asset and not asset.is_deleted and asset.status == _READY else None


def _is_season_of(season: Season, episode: Episode) -> bool:
    return not season.is_deleted and season.series_id == episode.series_id


def _episode(playable: Playable) -> Json:
    episode, asset, variants = playable
    thumbnail = asset.default_thumbnail_url if asset else None
    return {
        "id": episode.id,
        "slug": episode.slug,
        "title": episode.title,
        "synopsis": episode.synopsis,
        "durationSeconds": episode.duration_seconds,
        "publishedAt": episode.published_at,
        "availability": {"start": episode.availability_start, "end": episode.availability_end},
        "heroImageUrl": episode.hero_image_url,
        "defaultThumbnailUrl": episode.default_thumbnail_url or thumbnail,
        "tags": list(_words(episode.tags)),
        "captions": list(_captions(episode.captions)),
        "playback": {
            "manifestUrl": _manifest(asset),
            "defaultThumbnailUrl": thumbnail,
            "variants": [_variant(variant) for variant in variants],
        },
    }


def _series(series: Series, category: Category | None) -> Json:
    return {
        "id": series.id,
        "slug": series.slug,
        "title": series.title,
        "synopsis": series.synopsis,
        "heroImageUrl": series.hero_image_url,
        "bannerImageUrl": series.banner_image_url,
        "releaseDate": series.release_date,
        "category": {"id": category.id, "slug": category.slug, "name": category.name}
        if category and not category.is_deleted
        else None,
    }


def _season(season: Season) -> Json:
    return {"id": season.id, "sequenceNumber": season.sequence_number, "title": season.title}


def _variant(variant: Variant) -> Json:
    rate = variant.frame_rate
    return {
        "label": variant.label,
        "width": variant.width,
        "height": variant.height,
        "bitrateKbps": variant.bitrate_kbps,
        "codec": variant.codec,
        "frameRate": rate if isinstance(rate, int | float) else None,
    }


def _captions(text: str) -> Iterator[Json]:
    """By language; what is neither an address nor an object has a language, and nothing else."""
    try:
        by_language, _ = _JSON.raw_decode(text)
    except RecursionError:
        # PostgreSQL takes what is nested deeper; the page is worth more than its captions.
        return
    for language, value in sorted(by_language.items()):
        found = value if isinstance(value, dict) else {"url": value}
        label, url = (found.get(name) for name in ("label", "url"))
        yield {
            "language": language,
            "label": label if isinstance(label, str) else None,
            "url": url if isinstance(url, str) else None,
        }


def _words(tags: Iterable[Any]) -> Iterator[str]:
    for found in tags:
        if isinstance(found, str):
            yield found
        elif isinstance(found, list):
            yield from _words(found)

"""What the tables have for items: only for those that viewers may see."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from outbox import sql
from outbox.connection import translated
from snapshot_server.feed import catalog
from snapshot_server.feed.encoding import encoded_episode, encoded_series, series_message
from snapshot_server.feed.writer import EPISODE, SERIES, Key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from uuid import UUID

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from content_proto import content_pb2 as wire
    from snapshot_server.feed.catalog import (
        Asset,
        Category,
        Episode,
        Issue,
        Season,
        Series,
        Variant,
    )

    Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy

_SQL = sql.load("snapshot_server")


class SeriesRow(NamedTuple):
    """All that the item of a series is made of."""

    series: Series
    category: Category | None

    @property
    def issues(self) -> Iterable[Issue]:
        """What is wrong with it."""
        return catalog.issues_of_series(self.category)

    def encoded(self, version: int) -> bytes:
        """The item, as it stands in a chunk."""
        return encoded_series(self.series, self.category, version=version)


class EpisodeRow(NamedTuple):
    """All that the item of an episode is made of."""

    episode: Episode
    series: wire.Series
    season: Season | None
    asset: Asset | None
    variants: Sequence[Variant]

    @property
    def issues(self) -> Iterable[Issue]:
        """What is wrong with it."""
        return catalog.issues_of_episode(self.episode, self.season, self.asset)

    def encoded(self, version: int) -> bytes:
        """The item, as it stands in a chunk."""
        return encoded_episode(
            self.episode, self.series, self.season, self.asset, self.variants, version=version
        )


Found: TypeAlias = dict[Key, SeriesRow | EpisodeRow]
"""By item; those that are not there, viewers may not see."""


async def read_items(connection: Connection, keys: Collection[Key]) -> Found:
    """What the tables, as *connection* sees them, have for the items *keys*.

    A few hundred to a few thousand at a time: they are looked up one by one in the indexes.
    Raises OutboxUnavailable.
    """
    series_ids = [key.id for key in keys if key.kind == SERIES]
    episode_ids = [key.id for key in keys if key.kind == EPISODE]
    found: Found = {}
    with translated():
        episodes = await connection.fetch(_SQL["episode_rows"], episode_ids) if episode_ids else []
        parents = {row["series_id"] for row in episodes}
        wanted = parents.union(series_ids)
        series = await connection.fetch(_SQL["series_rows"], list(wanted)) if wanted else []
        assets = [row["asset_id"] for row in episodes if row["asset_id"]]
        variants = await connection.fetch(_SQL["variant_rows"], assets) if assets else []
    rows = {row["id"]: _series(row) for row in series}
    for id_ in series_ids:
        if id_ in rows:
            found[Key(SERIES, id_)] = rows[id_]
    messages = {id_: series_message(*rows[id_]) for id_ in parents}
    variants_of = {id_: _ladder(text) for id_, text in variants}
    for row in episodes:
        found[Key(EPISODE, row["id"])] = _episode(row, messages, variants_of)
    return found


_SERIES = len(catalog.Series._fields)
_EPISODE = len(catalog.Episode._fields)
_SEASON = _EPISODE + len(catalog.Season._fields)


def _series(row: asyncpg.Record) -> SeriesRow:
    category = catalog.Category(*row[_SERIES:]) if row["category_id"] else None
    return SeriesRow(catalog.Series(*row[:_SERIES]), category)


@lru_cache(4096)
def _ladder(variants: str) -> tuple[Variant, ...]:
    return tuple(catalog.Variant(*variant) for variant in json.loads(variants))


def _episode(
    row: asyncpg.Record,
    messages: dict[UUID, wire.Series],
    variants_of: dict[UUID, tuple[Variant, ...]],
) -> EpisodeRow:
    asset_id = row["asset_id"]
    return EpisodeRow(
        catalog.Episode(*row[:_EPISODE]),
        messages[row["series_id"]],
        catalog.Season(*row[_EPISODE:_SEASON]) if row["season_key"] else None,
        catalog.Asset(*row[_SEASON:]) if asset_id else None,
        variants_of.get(asset_id, ()),
    )

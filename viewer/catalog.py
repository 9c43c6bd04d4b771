"""Reads what a page is made of: at one moment, by key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, assert_never

import asyncpg

from outbox import connection, sql
from outbox.connection import translated
from viewer.keys import Kind
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

if TYPE_CHECKING:
    from viewer.keys import PageName

_SQL = sql.load("viewer")
_CONNECTIONS = 8
_CONNECT_TIMEOUT_S = 5.0
_ACQUIRE_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 5.0
# Dates go into JSON as text.
_SETTINGS: Final = connection.SETTINGS | {
    "application_name": "catalog-viewer",
    "DateStyle": "ISO",
    "default_transaction_read_only": "on",
}


class Catalog:
    """The tables, through connections of *pool*. Never of a standby: it may be behind a purge."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def find(self, name: PageName) -> EpisodeRows | SeriesRows | None:
        """What viewers may see under *name*; None if nothing. Raises OutboxUnavailable."""
        with translated():
            async with self._pool.acquire(timeout=_ACQUIRE_TIMEOUT_S) as connection:
                text = await connection.fetchval(
                    _SQL[name.kind], name.id, name.identifier, timeout=_READ_TIMEOUT_S
                )
        if text is None:
            return None
        found = json.loads(text)
        match name.kind:
            case Kind.EPISODE:
                return _episode_rows(*found)
            case Kind.SERIES:
                return _series_rows(*found)
            case _:
                assert_never(name.kind)

    async def answers(self) -> None:
        """Returns if PostgreSQL does. Raises OutboxUnavailable, or OutboxMissing."""
        with translated():
            async with self._pool.acquire(timeout=_ACQUIRE_TIMEOUT_S) as connection:
                await connection.fetchval(_SQL["answers"], timeout=_READ_TIMEOUT_S)


def pool(database_url: str) -> asyncpg.Pool:
    """Connects when it is first used, so that PostgreSQL may still be away."""
    return asyncpg.create_pool(
        database_url,
        min_size=0,
        max_size=_CONNECTIONS,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_READ_TIMEOUT_S,
        reset=_leave_as_it_is,
        server_settings=_SETTINGS,
    )


async def _leave_as_it_is(_: asyncpg.Connection) -> None:
    """Nothing to reset: we leave no state behind, and a reset is a round trip for each page."""


def _episode_rows(  # noqa: PLR0913, PLR0917 - the columns
    episode: list[Any],
    asset: list[Any] | None,
    variants: list[list[Any]] | None,
    series: list[Any],
    category: list[Any] | None,
    season: list[Any] | None,
) -> EpisodeRows:
    return EpisodeRows(
        _playable(episode, asset, variants),
        Series(*series),
        Category(*category) if category else None,
        Season(*season) if season else None,
    )


def _series_rows(
    series: list[Any],
    category: list[Any] | None,
    seasons: list[list[Any]] | None,
    episodes: list[Any] | None,
) -> SeriesRows:
    return SeriesRows(
        Series(*series),
        Category(*category) if category else None,
        [Season(*season) for season in seasons or ()],
        [_playable(*playable) for playable in episodes or ()],
    )


def _playable(
    episode: list[Any], asset: list[Any] | None, variants: list[list[Any]] | None
) -> Playable:
    return Playable(
        Episode(*episode),
        Asset(*asset) if asset else None,
        [Variant(*variant) for variant in variants or ()],
    )

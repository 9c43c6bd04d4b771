"""Pages of the feed, as clients get them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.connection import translated
from snapshot_server.positions import Bounds, FeedState

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from content_proto import content_pb2 as pb
    from snapshot_server.cursor import Cursor
    from snapshot_server.limits import Limits

_SQL = sql.load("snapshot_server")
# For a connection; with as many readers as there may be, each waits for a few pages of others.
_ACQUIRE_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 30.0
_LOOK_TIMEOUT_S = 5.0
_U64 = 1 << 64


class Removal(NamedTuple):
    """An item that is not there any more."""

    kind: pb.ItemKind
    id: UUID
    version: int


class Page(NamedTuple):
    """What follows a cursor, and what the feed was when it was read."""

    state: FeedState
    items: int
    bodies: bytes
    """The items, each as in a chunk."""
    removed: list[Removal]
    cursor: Cursor
    """Behind the page."""
    is_last: bool
    too_large: str | None
    """Kind and ID of the item that comes next and is larger than a message may be."""


class Pages:
    """Reads the feed. Holds a connection of *pool* for as long as a statement takes."""

    def __init__(self, pool: asyncpg.Pool, limits: Limits) -> None:
        self._pool = pool
        self._limits = limits

    async def after(self, cursor: Cursor, limit: int) -> Page | None:
        """At most *limit* items and removals; None if there is no feed.

        The page means something only where its state can serve the cursor. Raises
        OutboxUnavailable.
        """
        row = await _fetchrow(
            self._pool,
            "feed_page",
            *(cursor.seen, cursor.version, cursor.ordinal, cursor.start),
            *(limit, self._limits.max_chunk_bytes, self._limits.max_message_bytes),
            timeout_s=_READ_TIMEOUT_S,
        )
        if row is None:
            return None
        (version, purged, series, episodes, digest, is_stale, is_abandoned) = row[:7]
        (found, taken, items, last, bodies, too_large, kinds, ids, versions) = row[7:]
        return Page(
            FeedState(version, purged, is_stale, is_abandoned, series, episodes, digest % _U64),
            items,
            bodies or b"",
            [Removal(*one) for one in zip(kinds, ids, versions, strict=True)] if kinds else [],
            cursor.moved(
                seen=version,
                version=last[0] if last else cursor.version,
                ordinal=last[1] if last else cursor.ordinal,
            ),
            is_last=taken == found < limit,
            too_large=too_large,
        )


class Places:
    """Where the feed is, and what lies before and after it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def feed(self) -> int | None:
        """How far the feed has come; None if there is none. Raises OutboxUnavailable."""
        row = await _fetchrow(self._pool, "feed_version", timeout_s=_LOOK_TIMEOUT_S)
        return row["version"] if row else None

    async def bounds(self, version: int = 0) -> Bounds:
        """What can be used, and whether *version* was abandoned. Raises OutboxUnavailable."""
        row = await _fetchrow(self._pool, "standing", version, timeout_s=_LOOK_TIMEOUT_S)
        assert row is not None  # noqa: S101 - it has no FROM
        return Bounds(row["purged"] or 0, row["newest"], row["is_abandoned"])


async def _fetchrow(
    pool: asyncpg.Pool, statement: str, *arguments: object, timeout_s: float
) -> asyncpg.Record | None:
    with translated():
        async with pool.acquire(timeout=_ACQUIRE_TIMEOUT_S) as connection:
            row: asyncpg.Record | None = await connection.fetchrow(
                _SQL[statement], *arguments, timeout=timeout_s
            )
            return row

"""Pages of the feed, as clients get them."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.connection import translated
from snapshot_server.content.positions import Bounds, FeedState

if TYPE_CHECKING:
    from uuid import UUID

    import asyncpg

    from content_proto import content_pb2 as pb
    from snapshot_server.content.cursor import Cursor
    from snapshot_server.content.limits import Limits

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
    bodies: list[bytes]
    """The items, each as in a chunk, several in each of these."""
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
        rows = await _fetch(
            self._pool,
            "feed_page",
            *(cursor.seen, cursor.version, cursor.ordinal, cursor.start),
            *(limit, self._limits.max_chunk_bytes, self._limits.max_message_bytes),
            timeout_s=_READ_TIMEOUT_S,
        )
        return _page(cursor, limit, rows) if rows else None


def _page(cursor: Cursor, limit: int, rows: list[asyncpg.Record]) -> Page:
    """Put together what the statement found: the same state in each row, and a part each."""
    version, purged, series, episodes, digest, is_stale, is_abandoned = rows[0][:7]
    state = FeedState(version, purged, is_stale, is_abandoned, series, episodes, digest % _U64)
    parts = sorted((row for row in rows if row["taken"]), key=itemgetter("part"))
    removed = [
        Removal(*one)
        for row in parts
        if row["removed_kinds"]
        for one in zip(
            *(row["removed_kinds"], row["removed_ids"], row["removed_versions"]), strict=True
        )
    ]
    last = (parts[-1]["last_version"], parts[-1]["last_ordinal"]) if parts else None
    at_version, at_ordinal = last or (cursor.version, cursor.ordinal)
    found = sum(row["found"] or 0 for row in rows)
    return Page(
        state,
        sum(row["items"] for row in parts),
        [row["bodies"] for row in parts if row["bodies"]],
        removed,
        cursor.moved(seen=version, version=at_version, ordinal=at_ordinal),
        is_last=sum(row["taken"] for row in parts) == found < limit,
        too_large=next((row["too_large"] for row in parts if row["too_large"]), None),
    )


class Places:
    """Where the feed is, and what lies before and after it."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def feed(self) -> int | None:
        """How far the feed has come; None if there is none. Raises OutboxUnavailable."""
        rows = await _fetch(self._pool, "feed_version", timeout_s=_LOOK_TIMEOUT_S)
        return rows[0]["version"] if rows else None

    async def bounds(self, version: int = 0) -> Bounds:
        """What can be used, and whether *version* was abandoned. Raises OutboxUnavailable."""
        [row] = await _fetch(self._pool, "standing", version, timeout_s=_LOOK_TIMEOUT_S)
        return Bounds(row["purged"] or 0, row["newest"], row["is_abandoned"])


async def _fetch(
    pool: asyncpg.Pool, statement: str, *arguments: object, timeout_s: float
) -> list[asyncpg.Record]:
    with translated():
        async with pool.acquire(timeout=_ACQUIRE_TIMEOUT_S) as connection:
            return await connection.fetch(_SQL[statement], *arguments, timeout=timeout_s)

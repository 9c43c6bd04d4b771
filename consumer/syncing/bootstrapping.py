"""The catalog first, then the stream: how a consumer that holds a copy begins, and is mended."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

from consumer.syncing import sync_log
from consumer.syncing.sync_reports import BeganAnew, EventUnknown, Interrupted, Synced
from outbox.errors import BadPosition
from outbox.position import Position
from snapshot_server.client.errors import StreamCut, SummaryMismatch
from snapshot_server.client.tally import Totals
from snapshot_server.errors import (
    AtLeastAbandoned,
    AtLeastFuture,
    AtLeastMalformed,
    CursorRefused,
)

if TYPE_CHECKING:
    from consumer.event import Gap, Group
    from consumer.syncing.sync_reports import Observe
    from snapshot_server.client.chunk import Chunk
    from snapshot_server.client.client import Progress, SnapshotClient

_MOST_BEGINNINGS = 3
"""In one call; what is refused more often is not mended by beginning anew."""
_UNKNOWN_EVENT = (AtLeastMalformed, AtLeastFuture, AtLeastAbandoned)


class Target(Protocol):
    """A copy of the catalog, in a store of the consumer's own."""

    async def bookmark(self) -> str | None:
        """What `apply` stored last; None: there is no copy, or it is to be made anew."""

    async def begin_anew(self) -> None:
        """Forget the bookmark: the whole catalog comes now.

        What is held may go on serving. With the chunk that has the position goes what did not come
        again since the newest call of this; versions from before it count for nothing.
        """

    async def apply(self, chunk: Chunk) -> Totals | None:
        """Store what *chunk* has, and its bookmark, in one transaction; what is held then.

        The bookmark is ``chunk.position or chunk.next_cursor``. A lower version than the one that
        is held changes nothing. None: nobody counts, or events change the copy too.
        """


async def bootstrap(  # noqa: PLR0913
    client: SnapshotClient,
    target: Target,
    *,
    after: Position | None = None,
    at_least: Position | None = None,
    limit: int = 1000,
    observe: Observe = sync_log.observe,
) -> Position:
    """Bring *target* level with the catalog, from wherever it is; the position to read on from.

    *after*: the target has also applied the stream's events up to there. *at_least*: an event that
    it must include. *limit*: items in a chunk, 1000 at most. Interrupted anywhere, even killed, the
    next call goes on at the bookmark. A cursor that is refused, or a copy that is not what the
    service says, begins anew. Raises SyncUnavailable, SyncRefused, and what is wrong even then.
    """
    began, beginnings = time.monotonic(), 0
    while True:
        try:
            sync = _Sync(client, target, limit, observe)
            position = await sync.run(after, at_least, anew=beginnings > 0)
        except _UNKNOWN_EVENT as exc:
            if at_least is None:
                raise
            observe(EventUnknown(str(at_least), exc))
            at_least = None
        except (CursorRefused, SummaryMismatch) as exc:
            beginnings += 1
            if beginnings > _MOST_BEGINNINGS:
                raise
            observe(BeganAnew(exc))
        else:
            took_s = time.monotonic() - began
            observe(Synced(position, sync.items, sync.removed, took_s))
            return position


class _Sync:
    """One sync, from the bookmark to a position."""

    def __init__(
        self, client: SnapshotClient, target: Target, limit: int, observe: Observe
    ) -> None:
        self._client, self._target, self._observe = client, target, observe
        self._limit = limit
        self.items = self.removed = 0

    async def run(
        self, after: Position | None, at_least: Position | None, *, anew: bool
    ) -> Position:
        cursor = None if anew else furthest(await self._target.bookmark(), after)
        if cursor is None:
            await self._target.begin_anew()
        sync = self._client.sync(
            cursor,
            at_least=str(at_least) if at_least else None,
            limit=self._limit,
            progress=self._watch,
        )
        async with aclosing(sync) as chunks:
            async for chunk in chunks:
                held = await self._target.apply(chunk)
                self.items += len(chunk.items)
                self.removed += len(chunk.removed)
                if chunk.position:
                    _verify(chunk, held)
                    return Position.parse(chunk.position)
        raise StreamCut

    def _watch(self, progress: Progress) -> None:
        if progress.error:
            self._observe(Interrupted(progress.error, progress.pause_s))


def furthest(bookmark: str | None, after: Position | None) -> str | None:
    """From where to sync. Where no copy is whole, what came before *after* would be missing."""
    held = position_in(bookmark)
    return str(max(held, after)) if held and after else bookmark


def position_in(bookmark: str | None) -> Position | None:
    """The position that it is, if it is one: a cursor in the middle of a sync is none."""
    try:
        return Position.parse(bookmark or "")
    except BadPosition:
        return None


def _verify(chunk: Chunk, held: Totals | None) -> None:
    if held and chunk.summary and chunk.position:
        expected = Totals(chunk.summary.series, chunk.summary.episodes, chunk.summary.digest)
        if expected != held:
            raise SummaryMismatch(chunk.position, expected, held)


class SnapshotFirst:
    """What a consumer of events needs to begin with the catalog, and to be mended by it.

    ``Consumer(…, start=first.start, on_gap=first.heal)``
    """

    def __init__(
        self,
        client: SnapshotClient,
        target: Target,
        *,
        observe: Observe = sync_log.observe,
    ) -> None:
        self._client, self._target, self._observe = client, target, observe
        # Partitions begin, and fall behind, at the same moment.
        self._one_at_a_time = asyncio.Lock()

    async def start(self, _: Group) -> Position:
        """Before the group is made: the catalog, and the position to make it at."""
        return await self._level()

    async def heal(self, gap: Gap) -> Position:
        """What was touched since the last event that was handled, and where to read on."""
        return await self._level(after=gap.after, at_least=gap.first)

    async def _level(
        self, *, after: Position | None = None, at_least: Position | None = None
    ) -> Position:
        async with self._one_at_a_time:
            return await bootstrap(
                self._client,
                self._target,
                after=after,
                at_least=at_least,
                observe=self._observe,
            )

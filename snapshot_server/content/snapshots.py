"""CatalogSnapshot: pages of the feed, one after the other, until the client is level with it."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, assert_never

from outbox.errors import CatalogStreamError, OutboxUnavailable
from snapshot_server.content import reports
from snapshot_server.content.chunking import chunk_of
from snapshot_server.content.cursor import BEGINNING, Cursor, event_position
from snapshot_server.content.limits import items_of
from snapshot_server.content.positions import Standing, standing
from snapshot_server.content.reports import SyncEnded, SyncKind, SyncOutcome
from snapshot_server.content.statuses import reason_of
from snapshot_server.content.transport import send
from snapshot_server.errors import (
    AtLeastAbandoned,
    AtLeastFuture,
    AtLeastMalformed,
    CursorAbandoned,
    CursorExpired,
    CursorFuture,
    CursorMalformed,
    CursorRefused,
    Draining,
    FeedAbsent,
    FeedBehind,
    FullSyncsExhausted,
    ItemTooLarge,
    ReaderStalled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from grpclib.server import Stream

    from content_proto import content_pb2 as pb
    from snapshot_server.content.limits import Limits
    from snapshot_server.content.pages import Page, Pages, Places
    from snapshot_server.content.reports import Report
    from snapshot_server.content.waiting import FeedWatch


@dataclass(slots=True)
class _Sent:
    """What a call has sent so far."""

    kind: SyncKind = SyncKind.FULL
    items: int = 0
    removed: int = 0
    chunks: int = 0
    bytes: int = 0


class Snapshots:
    """The syncs of one server process."""

    def __init__(
        self,
        pages: Pages,
        places: Places,
        watch: FeedWatch,
        limits: Limits,
        observe: Callable[[Report], None],
    ) -> None:
        self._pages, self._places, self._watch = pages, places, watch
        self._limits = limits
        self._observe = observe
        self._full_syncs = 0
        self._draining = False

    def drain(self) -> None:
        """End each sync at its next chunk, and begin none."""
        self._draining = True
        self._watch.refuse(Draining())

    async def serve(self, stream: Stream[Any, Any], request: pb.CatalogSnapshotRequest) -> None:
        """Answer one call. Raises CatalogStreamError."""
        began, sent, outcome = time.perf_counter(), _Sent(), SyncOutcome.FAILED
        try:
            await self._sync(stream, request, sent)
            outcome = SyncOutcome.FINISHED
        except CatalogStreamError as exc:
            outcome = _outcome_of(exc)
            if isinstance(exc, CursorRefused):
                self._observe(reports.CursorRefused(reason_of(exc)))
            raise
        except asyncio.CancelledError:
            # Also how grpclib wakes up a call whose deadline has passed.
            is_late = stream.deadline is not None and stream.deadline.time_remaining() <= 0
            outcome = SyncOutcome.DEADLINE if is_late else SyncOutcome.CANCELLED
            raise
        finally:
            took_s = time.perf_counter() - began
            self._observe(
                SyncEnded(
                    *(sent.kind, outcome, sent.items, sent.removed, sent.chunks, sent.bytes),
                    took_s,
                )
            )

    async def _sync(
        self, stream: Stream[Any, Any], request: pb.CatalogSnapshotRequest, sent: _Sent
    ) -> None:
        if self._draining:
            raise Draining
        cursor = await self._cursor_of(request)
        sent.kind = SyncKind.FULL if cursor.is_full else SyncKind.INCREMENTAL
        wait_s = None if stream.deadline else self._limits.feed_wait_s
        limit = items_of(request.limit)
        with self._counted(cursor):
            if request.HasField("at_least"):
                await self._reach(request.at_least, wait_s)
            page = await self._page(cursor, limit, wait_s)
            while not page.is_last:
                self._check(page)
                # At most two pages of a sync are in memory: one is sent, one is read.
                ahead = asyncio.create_task(self._page(page.cursor, limit, wait_s))
                try:
                    await self._send(stream, page, sent)
                    page = await ahead
                finally:
                    await _stopped(ahead)
            self._check(page)
            await self._send(stream, page, sent)

    def _check(self, page: Page) -> None:
        if self._draining:
            raise Draining
        if page.too_large:
            kind, item = page.too_large.split()
            name = "series" if kind == "1" else "episode"
            raise ItemTooLarge(f"the {name} {item} is larger than a message may be")

    async def _send(self, stream: Stream[Any, Any], page: Page, sent: _Sent) -> None:
        sent.bytes += await send(stream, *chunk_of(page), within_s=self._limits.stalled_reader_s)
        sent.chunks += 1
        sent.items += page.items
        sent.removed += len(page.removed)
        # A client that reads as fast as we send would keep all other calls waiting.
        await asyncio.sleep(0)

    async def _page(self, cursor: Cursor, limit: int, wait_s: float | None) -> Page:
        """The page behind *cursor*, as soon as the feed has come so far. Raises CursorRefused."""
        while True:
            page = await self._pages.after(cursor, limit)
            how = standing(cursor, page.state if page else None)
            match how:
                case Standing.FINE:
                    assert page is not None  # noqa: S101 - it would be absent
                    return page
                case Standing.ABSENT:
                    await self._wait(0, wait_s, FeedAbsent)
                case Standing.AHEAD:
                    if cursor.seen > (await self._places.bounds()).newest:
                        raise await self._refusal(CursorFuture)
                    await self._wait(cursor.seen, wait_s, FeedBehind)
                case Standing.EXPIRED:
                    raise await self._refusal(CursorExpired)
                case Standing.ABANDONED:
                    raise await self._refusal(CursorAbandoned)
                case _:
                    assert_never(how)

    async def _cursor_of(self, request: pb.CatalogSnapshotRequest) -> Cursor:
        if not request.HasField("cursor"):
            return BEGINNING
        try:
            return Cursor.parse(request.cursor)
        except CursorMalformed:
            raise await self._refusal(CursorMalformed) from None

    async def _reach(self, at_least: str, wait_s: float | None) -> None:
        try:
            version = event_position(at_least).version
        except CursorMalformed:
            raise await self._refusal(AtLeastMalformed) from None
        bounds = await self._places.bounds(version)
        if bounds.is_abandoned:
            raise await self._refusal(AtLeastAbandoned)
        if version > bounds.newest:
            raise await self._refusal(AtLeastFuture)
        await self._wait(version, wait_s, FeedBehind)

    async def _wait(
        self, version: int, wait_s: float | None, too_late: type[CatalogStreamError]
    ) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._watch.reach(version)
        except TimeoutError as exc:
            raise too_late from exc

    async def _refusal(self, error: type[CursorRefused]) -> CursorRefused:
        """With what could be used instead, if PostgreSQL says so."""
        try:
            bounds = await self._places.bounds()
        except OutboxUnavailable:
            return error()
        return error(oldest=bounds.oldest_text, newest=bounds.newest_text)

    @contextmanager
    def _counted(self, cursor: Cursor) -> Iterator[None]:
        if not cursor.is_full:
            yield
            return
        if self._full_syncs >= self._limits.max_full_syncs:
            raise FullSyncsExhausted
        self._full_syncs += 1
        try:
            yield
        finally:
            self._full_syncs -= 1


async def _stopped(task: asyncio.Task[Any]) -> None:
    """Leave no page behind that is still being read."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


def _outcome_of(error: CatalogStreamError) -> SyncOutcome:
    match error:
        case CursorRefused():
            return SyncOutcome.REFUSED
        case FullSyncsExhausted():
            return SyncOutcome.BUSY
        case Draining():
            return SyncOutcome.DRAINED
        case ReaderStalled():
            return SyncOutcome.STALLED
        case FeedAbsent() | FeedBehind() | OutboxUnavailable():
            return SyncOutcome.UNAVAILABLE
        case _:
            return SyncOutcome.FAILED

"""What has to be done now and then: look at the backlog, trim the streams, drop what is old."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from outbox.errors import OutboxUnavailable, StreamRefused, StreamUnavailable
from publisher import backlog
from publisher.labels import Log, Trim
from publisher.metrics import GroupSeen
from publisher.trimming import Because
from publisher.view import look
from publisher.worker import pause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import asyncpg
    from redis.asyncio import Redis

    from outbox.retention import Retention
    from outbox.ticks import Ticks
    from publisher.backlog import Backlog
    from publisher.leading import Leading
    from publisher.metrics import Metrics
    from publisher.stream import EventStream
    from publisher.trimmer import Trimmer
    from publisher.view import GroupView, StreamView

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 1.0
_LOOK_AT_STREAMS_EVERY_S = 5.0
_TRIM_EVERY_S = 10.0
_RETAIN_EVERY_S = 60.0
_SHARE_OF_TIME = 20  # of which looking may take one


class Housekeeping:
    """Runs beside the workers. Failing here holds up no event."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
        self,
        pool: asyncpg.Pool,
        redis: Redis,
        ticks: Ticks,
        streams: Sequence[EventStream],
        leading: Leading,
        metrics: Metrics,
        *,
        trimmers: Mapping[str, Trimmer],
        retention: Retention,
        keep_s: float,
    ) -> None:
        self._pool = pool
        self._redis = redis
        self._ticks = ticks
        self._streams = streams
        self._leading = leading
        self._metrics = metrics
        self._trimmers = trimmers
        self._retention = retention
        self._keep_s = keep_s
        self._waiting: tuple[str, ...] = ()
        self.seen: Backlog | None = None
        """The last look at the backlog."""
        self.seen_at = 0.0
        """When that was, by the monotonic clock."""

    async def run(self, stop: asyncio.Event) -> None:
        """Do everything at its time until *stop* is set."""
        async with asyncio.TaskGroup() as tasks:
            for name, work, every_s in (
                ("backlog", self._look_at_backlog, _LOOK_EVERY_S),
                ("streams", self._look_at_streams, _LOOK_AT_STREAMS_EVERY_S),
                ("trimming", self._trim, _TRIM_EVERY_S),
                ("retention", self._retain, _RETAIN_EVERY_S),
            ):
                tasks.create_task(_every(name, work, every_s, stop))

    async def _look_at_backlog(self) -> None:
        seen = await backlog.look(self._pool, self._ticks, self._streams)
        self.seen, self.seen_at = seen, time.monotonic()
        self._metrics.observed(
            backlog=seen.events, oldest_unpublished_s=seen.oldest_s, dead_letters=seen.dead_letters
        )

    async def _look_at_streams(self) -> None:
        held = self._leading.streams
        for stream in self._streams:
            if stream.key not in held:
                self._metrics.stream_forgotten(stream.key)
                continue
            view = await look(self._redis, stream.key)
            self._metrics.stream_observed(
                stream.key,
                entries=view.length,
                memory_bytes=view.memory_bytes,
                first_ms=view.first.ms if view.first else None,
                last_ms=view.last.ms or None,
                groups=[await self._group(view, group) for group in view.groups],
            )

    async def _group(self, view: StreamView, group: GroupView) -> GroupSeen:
        """Distances in events of the whole outbox: exact where there is one partition."""
        delivered = await self._ticks.total_at(group.delivered)
        lag = max(await self._ticks.total_at(view.last) - delivered, 0)
        fell_off = 0
        if view.first and group.delivered < view.first:
            fell_off = max(await self._ticks.total_at(view.first) - 1 - delivered, 0)
        unread = group.oldest_unread
        return GroupSeen(
            name=group.name,
            lag=lag,
            lag_s=max(time.time() - unread.ms / 1000, 0.0) if unread else 0.0,
            pending=group.pending,
            fell_off=fell_off,
        )

    async def _trim(self) -> None:
        for key in self._leading.streams:
            trimmed = await self._trimmers[key].trim()
            if trimmed.because is not Because.NOTHING:
                self._metrics.trimmed(key, Trim(trimmed.because), entries=trimmed.removed)

    async def _retain(self) -> None:
        """One process does it: the one that leads the first stream."""
        if self._streams[0].key not in self._leading.streams:
            return
        kept = await self._retention.keep_up(self._keep_s)
        for partition in kept.created:
            log.info("partition.created", partition=partition)
            self._metrics.partitions_created(_log_of(partition))
        for partition in kept.dropped:
            log.info("partition.dropped", partition=partition)
            self._metrics.partitions_dropped(_log_of(partition))
        waiting = tuple(str(wait) for wait in kept.waiting_for)
        if waiting != self._waiting:
            self._waiting = waiting
            log.warning("partition.waiting", waits=list(waiting))
        for of in Log:
            overdue = sum(_log_of(wait.partition) is of for wait in kept.waiting_for)
            self._metrics.partitions_overdue(of, overdue)


def _log_of(partition: str) -> Log:
    return Log.TICK if "tick" in partition else Log.EVENT


async def _every(
    name: str, work: Callable[[], Awaitable[None]], seconds: float, stop: asyncio.Event
) -> None:
    failed: str | None = None
    while not stop.is_set():
        started = time.monotonic()
        try:
            await work()
        except (OutboxUnavailable, StreamUnavailable, StreamRefused) as exc:
            if failed != type(exc).__name__:
                failed = type(exc).__name__
                log.warning("housekeeping.failed", work=name, error=str(exc))
        else:
            failed = None
        # What takes long, because there is much to count, is done less often.
        await pause(stop, max(seconds, _SHARE_OF_TIME * (time.monotonic() - started)))

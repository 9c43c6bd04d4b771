"""What has to be done now and then: look at the backlog, trim the streams, drop what is old."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import asyncpg
import structlog
from redis.exceptions import RedisError

from outbox.errors import CatalogStreamError, OutboxUnavailable, StreamUnavailable
from outbox.position import Position
from publisher.survey.survey import survey
from publisher.trim.trimming import Because
from publisher.web.labels import Log, Trim
from publisher.web.metrics import GroupSeen
from publisher.worker import pause

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from redis.asyncio import Redis

    from outbox.clock import ServerClock
    from outbox.retention import Retention
    from publisher.leading import Leading
    from publisher.settings import Settings
    from publisher.survey.status import Status, StreamStatus
    from publisher.trim.trimmer import Trimmer
    from publisher.web.metrics import Metrics

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 2.0
_TRIM_EVERY_S = 10.0
_RETAIN_EVERY_S = 60.0
_HOUR_S = 3600.0
_SHARE_OF_TIME = 20  # of which looking may take one


class Housekeeping:
    """Runs beside the workers. Failing here holds up no event."""

    def __init__(  # noqa: PLR0913 - each is one thing it is handed
        self,
        pool: asyncpg.Pool,
        redis: Redis,
        settings: Settings,
        leading: Leading,
        metrics: Metrics,
        *,
        clock: ServerClock,
        trimmers: Mapping[str, Trimmer],
        retention: Retention,
        keep_s: float,
    ) -> None:
        self._pool = pool
        self._redis = redis
        self._settings = settings
        self._leading = leading
        self._metrics = metrics
        self._clock = clock
        self._trimmers = trimmers
        self._retention = retention
        self._keep_s = keep_s
        self._waiting: tuple[str, ...] = ()
        self.seen: Status | None = None
        """The last look at both servers."""
        self.seen_at = 0.0
        """When that was, by the monotonic clock."""

    async def run(self, stop: asyncio.Event) -> None:
        """Do everything at its time until *stop* is set."""
        async with asyncio.TaskGroup() as tasks:
            for name, work, every_s in (
                ("look", self._look, _LOOK_EVERY_S),
                ("trimming", self._trim, _TRIM_EVERY_S),
                ("retention", self._retain, _RETAIN_EVERY_S),
            ):
                tasks.create_task(_every(name, work, every_s, stop))

    async def _look(self) -> None:
        now = await survey(self._settings, self._pool, self._redis)
        if now.publishers is None:
            raise OutboxUnavailable(now.away["postgresql"])
        self.seen, self.seen_at = now, time.monotonic()
        self._metrics.observed(
            backlog=now.backlog or 0,
            oldest_unpublished_s=now.oldest_unpublished_s,
            dead_letters=now.publishers.dead_letters,
        )
        if "redis" in now.away:
            raise StreamUnavailable(now.away["redis"])
        held = self._leading.streams
        for stream in now.streams:
            if stream.key in held:
                self._observe(stream)
            else:
                self._metrics.stream_forgotten(stream.key)

    def _observe(self, stream: StreamStatus) -> None:
        self._metrics.stream_observed(
            stream.key,
            entries=stream.length or 0,
            memory_bytes=stream.memory_bytes or 0,
            entries_bytes=stream.entries_bytes or 0,
            budget_bytes=stream.budget_bytes,
            first_ms=Position.parse(stream.first).ms if stream.first else None,
            last_ms=Position.parse(stream.last).ms if stream.last else None,
            groups=[
                GroupSeen(
                    name=group.name,
                    lag=group.behind or 0,
                    lag_s=group.unread_s or 0.0,
                    pending=group.pending,
                    fell_off=group.fell_off or 0,
                    budget_left_s=(
                        None if group.budget_left_h is None else group.budget_left_h * _HOUR_S
                    ),
                )
                for group in stream.groups
            ],
        )

    async def _trim(self) -> None:
        await self._clock.ask()
        for key in self._leading.streams:
            trimmed = await self._trimmers[key].trim()
            if trimmed.because is not Because.NOTHING:
                self._metrics.trimmed(key, Trim(trimmed.because), entries=trimmed.removed)

    async def _retain(self) -> None:
        """One process does it: the one that leads the first stream."""
        if self._settings.stream_keys[0] not in self._leading.streams:
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
        except (CatalogStreamError, asyncpg.PostgresError, RedisError) as exc:
            if failed != type(exc).__name__:
                failed = type(exc).__name__
                log.warning("housekeeping.failed", work=name, error=str(exc))
        else:
            failed = None
        # What takes long, because there is much to count, is done less often.
        await pause(stop, max(seconds, _SHARE_OF_TIME * (time.monotonic() - started)))

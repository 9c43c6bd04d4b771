"""The publisher as a process: its loop, its log and its checkpoint."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import structlog

from outbox import checkpoints
from outbox.errors import OutboxUnavailable
from outbox.ticks import Ticks
from publisher.bell import Bell
from publisher.pacing import Pacing
from publisher.relay import Relay
from publisher.stream import EventStream
from publisher.worker import PassReport, run_worker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    import asyncpg
    from redis.asyncio import Redis

    from outbox.position import Position
    from publisher.settings import Settings

log = structlog.get_logger(__name__)

CHECKPOINT = "publisher"
_CHECKPOINT_EVERY_S = 5.0


async def run(
    settings: Settings,
    pool: asyncpg.Pool,
    redis: Redis,
    connect: Callable[[], Awaitable[asyncpg.Connection]],
    stop: asyncio.Event,
) -> None:
    """Publish until *stop* is set. Closes nothing that it was handed."""
    relay = Relay(
        Ticks(pool), EventStream(redis, settings.stream_key), batch_size=settings.batch_size
    )
    bell = Bell(connect, enabled=settings.doorbell)
    changes = StateLog()
    saved = _Checkpoint(pool)

    async def one_pass() -> int:
        moved = await relay.publish(stop)
        await saved.at_most_now_and_then(relay.place, quiet=not moved)
        return moved

    log.info("publisher.started", stream_key=settings.stream_key)
    try:
        await run_worker(
            one_pass, bell, Pacing(), stop, observe=changes.observe, dice=random.random
        )
    finally:
        await bell.close()
    await saved.finally_(relay.place)
    log.info("publisher.stopped", place=str(relay.place))


class StateLog:
    """One log line for each change of state: away, back."""

    def __init__(self) -> None:
        self._trouble: str | None = None
        self._since = 0.0

    def observe(self, report: PassReport) -> None:
        """Log *report* if it says something new."""
        trouble = type(report.error).__name__ if report.error else None
        if trouble == self._trouble:
            return
        if report.error:
            log.warning("publisher.held_up", reason=trouble, error=str(report.error))
            self._since = self._since or time.monotonic()
        else:
            held_up_s = round(time.monotonic() - self._since, 1)
            log.info("publisher.recovered", held_up_s=held_up_s)
            self._since = 0.0
        self._trouble = trouble


class _Checkpoint:
    """Saves the place when all is quiet, and every few seconds under load."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._saved: Position | None = None
        self._saved_at = 0.0

    async def at_most_now_and_then(self, place: Position | None, *, quiet: bool) -> None:
        now = time.monotonic()
        pause = _CHECKPOINT_EVERY_S if not quiet else 1.0
        if place is not None and place != self._saved and now - self._saved_at >= pause:
            await checkpoints.save(self._pool, CHECKPOINT, place)
            self._saved, self._saved_at = place, now

    async def finally_(self, place: Position | None) -> None:
        self._saved_at = -_CHECKPOINT_EVERY_S
        try:
            await self.at_most_now_and_then(place, quiet=True)
        except OutboxUnavailable as exc:
            # Nothing is lost: the stream itself says where to go on.
            log.warning("checkpoint.not_saved", error=str(exc))

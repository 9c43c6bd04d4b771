"""What the reference consumers share: the process around a consumer."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from consumer.errors import DatabaseUnavailable
from consumer.settings import Options
from consumer.watching.metrics import Metrics
from consumer.watching.observing import log_lines
from consumer.watching.readiness import Readiness
from process import http, logging
from process.redis.connection import client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio import Redis

    from consumer.consumer import Consumer
    from consumer.reference.environment import Settings
    from consumer.reports import Report

log = structlog.get_logger(__name__)

_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Process:
    """What a consumer is made with, for as long as the process runs."""

    settings: Settings
    redis: Redis
    readiness: Readiness
    observe: Callable[[Report], None]
    stop: asyncio.Event

    @property
    def options(self) -> dict[str, Any]:
        """What the environment says of any consumer: ``Consumer(process.redis, …, **options)``."""
        settings = self.settings
        return {
            "stream": settings.streams.stream,
            "partitions": settings.streams.partitions,
            "lanes": settings.lanes,
            "name": settings.name,
            "options": Options(lease_s=settings.lease_s, attempts=settings.attempts),
            "observe": self.observe,
        }

    async def prepare(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Do that first, and wait for a database that is still away, unless asked to end."""
        is_news = True
        while not self.stop.is_set():
            try:
                await prepare()
            except DatabaseUnavailable as exc:
                if is_news:
                    log.warning("consumer.held_up", doing="prepare", error=str(exc))
                is_news = False
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), _LOOK_AGAIN_S)
            else:
                return

    async def run(self, consumer: Consumer) -> None:
        """Until the process is asked to end."""
        async with consumer:
            self.readiness.running = True
            try:
                await consumer.run(self.stop)
            finally:
                self.readiness.running = False


@asynccontextmanager
async def started(settings: Settings, group: str) -> AsyncIterator[Process]:
    """Log, signals, Redis, health and metrics; all closed at the end. Raises BadSetting."""
    logging.configure(settings.log_level)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics, readiness, lines = Metrics(), Readiness(), log_lines(group)
    counted = metrics.of(group, settings.streams.keys)

    def observe(report: Report) -> None:
        lines(report)
        counted(report)
        readiness.observe(report)

    probes = http.serving_probes(
        settings.http_address,
        readiness.health,
        metrics.rendered,
        variable="CONSUMER_HTTP_ADDRESS",
    )
    async with client(settings.streams.redis_url) as redis, probes:
        log.info("consumer.started", group=group, streams=settings.streams.keys, pid=os.getpid())
        yield Process(settings, redis, readiness, observe, stop)
    log.info("consumer.stopped", group=group, pid=os.getpid())

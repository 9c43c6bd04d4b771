"""An invalidator process: what it is made of, and the order in which that ends."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from aiohttp import ClientSession

from consumer.consumer import Consumer
from consumer.settings import Options
from consumer.watching.metrics import Metrics as ConsumerMetrics
from consumer.watching.observing import log_lines
from consumer.watching.readiness import Readiness
from outbox.streams import stream_keys
from process import http
from process.redis.connection import client
from viewer.cache.store import Store
from viewer.metrics import InvalidatorMetrics
from viewer.observing import InvalidatorObserver
from viewer.purging.invalidator import GROUP, Invalidator
from viewer.purging.webhook import Hook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumer.reports import Report
    from viewer.reports import ObservePurges
    from viewer.settings import InvalidatorSettings, Webhook

log = structlog.get_logger(__name__)

_HOOK_DRAIN_S = 5.0
# A page that waits for its purge is old: rather try again soon.
_OPTIONS = Options(backoff_base_s=0.05, backoff_cap_s=1.0)


async def invalidate(settings: InvalidatorSettings, stop: asyncio.Event) -> None:
    """Purge until *stop* is set. Raises BadSetting, or what ends the consumer."""
    metrics = InvalidatorMetrics()
    observe = InvalidatorObserver(metrics)
    streams = stream_keys(settings.stream, settings.partitions)
    reading = ConsumerMetrics(metrics.registry)
    readiness = Readiness()
    watchers = (log_lines(GROUP), reading.of(GROUP, streams), readiness.observe)

    def observe_reading(report: Report) -> None:
        for watcher in watchers:
            watcher(report)

    async with AsyncExitStack() as opened:
        redis = await opened.enter_async_context(client(settings.redis_url))
        cache = await opened.enter_async_context(client(settings.cache.redis_url, timeout_s=5.0))
        hook = await opened.enter_async_context(_hook(settings.webhook, observe))
        await opened.enter_async_context(
            http.serving_probes(
                settings.http_address,
                readiness.health,
                reading.rendered,
                variable="CACHE_HTTP_ADDRESS",
            )
        )
        invalidator = Invalidator(redis, Store(cache), observe, hook=hook)
        log.info("invalidator.started", streams=streams, webhook=bool(hook), pid=os.getpid())
        async with Consumer(
            redis,
            group=GROUP,
            batch_handler=invalidator.purge,
            stream=settings.stream,
            partitions=settings.partitions,
            start=invalidator.begin,
            on_gap=invalidator.heal,
            effects_in_redis=True,
            options=_OPTIONS,
            observe=observe_reading,
        ) as consumer:
            readiness.running = True
            try:
                await consumer.run(stop)
            finally:
                readiness.running = False
    log.info("invalidator.stopped", pid=os.getpid())


@asynccontextmanager
async def _hook(settings: Webhook | None, observe: ObservePurges) -> AsyncIterator[Hook | None]:
    """One that sends meanwhile, and has a moment for the rest at the end."""
    if settings is None:
        yield None
        return
    async with ClientSession() as session:
        hook = Hook(session, settings, observe)
        sending = asyncio.create_task(hook.run())
        try:
            yield hook
            await hook.drain(within_s=_HOOK_DRAIN_S)
        finally:
            sending.cancel()

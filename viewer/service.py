"""A viewer process: what it is made of, and the order in which that ends."""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING

import structlog

from process import http
from process.redis.connection import client
from viewer import catalog, documents
from viewer.app import application
from viewer.cache.shield import Shield
from viewer.cache.store import Store
from viewer.health import Watch
from viewer.metrics import Metrics
from viewer.observing import Observer
from viewer.pages import Pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from viewer.settings import Settings

log = structlog.get_logger(__name__)

_CLOSE_TIMEOUT_S = 1.0
_CACHE_TIMEOUT_S = 2.0
"""For the cache to be found usable, before the first request is answered without."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until *stop* is set; then drain. Raises BadSetting, or whatever ends a part."""
    # What is imported stays: no collection need look at it.
    gc.freeze()
    metrics = Metrics()
    observe = Observer(metrics)
    async with AsyncExitStack() as opened:
        pool = await opened.enter_async_context(_closing(catalog.pool(settings.database_url)))
        cached = settings.cache
        # A repair may take longer than a request waits; the shield has a time of its own.
        redis = await opened.enter_async_context(client(cached.redis_url, timeout_s=5.0))
        cache = Shield(
            Store(redis, maker=_maker(settings)),
            ttl_s=cached.ttl_s,
            timeout_s=cached.timeout_s,
            observe=observe,
        )
        tables = catalog.Catalog(pool)
        watch = Watch(tables, cache, metrics)
        pages = Pages(tables, cache, settings.cdn, observe)
        served = application(pages, settings.tokens, metrics)
        http.add_probes(served, watch.health, metrics.rendered)
        async with _tasks() as tasks:
            parts = {"cache": tasks.create_task(cache.run())}
            await cache.usable(within_s=_CACHE_TIMEOUT_S)
            parts["watch"] = tasks.create_task(watch.run())
            watch.parts = parts
            async with http.serving(
                served,
                settings.address,
                variable="VIEWER_HTTP_ADDRESS",
                can_be_off=False,
                close_timeout_s=settings.drain_s,
            ) as address:
                log.info("viewer.started", address=str(address), pid=os.getpid())
                if settings.tokens is None:
                    log.warning("viewer.open_to_all", address=str(address))
                await stop.wait()
                watch.parts = {}
                watch.drain()
            for part in parts.values():
                part.cancel()
    log.info("viewer.stopped", pid=os.getpid())


@asynccontextmanager
async def _tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """A task group that raises what ended it as it is."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        raise _first_of(group) from group


def _first_of(group: BaseExceptionGroup) -> BaseException:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


def _maker(settings: Settings) -> str:
    """Pages that were made otherwise, or for another CDN, are not served."""
    return sha256(f"{documents.FORMAT} {settings.cdn}".encode()).hexdigest()[:16]


@asynccontextmanager
async def _closing(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Pool]:
    await pool
    try:
        yield pool
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), _CLOSE_TIMEOUT_S)

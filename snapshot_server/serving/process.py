"""One server process: what it is made of, and the order in which that ends."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog
from grpclib.health.check import ServiceStatus
from grpclib.health.service import OVERALL, Health
from grpclib.reflection.service import ServerReflection

from outbox.leases import Member
from process import http
from snapshot_server.connections import projector_pool
from snapshot_server.content.codec import ContentCodec
from snapshot_server.content.service import ContentService
from snapshot_server.feed.catalog import Issue
from snapshot_server.feed.projector import LEASE, Projector
from snapshot_server.serving import pools
from snapshot_server.serving.calls import Calls
from snapshot_server.serving.draining import drain
from snapshot_server.serving.metrics import Metrics
from snapshot_server.serving.server import GrpcServer
from snapshot_server.serving.tls import Certificates
from snapshot_server.serving.watch import HealthWatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    import asyncpg
    from grpclib._typing import IServable

    from process.address import Address
    from snapshot_server.settings import Settings

log = structlog.get_logger(__name__)

_SECONDS_IN_A_DAY = 86_400
_PASS_TIMEOUT_S = 1.0
"""A rebuild takes a minute, and whoever takes over does it again."""


async def serve(settings: Settings, stop: asyncio.Event, *, shared: bool = False) -> None:
    """Serve, and take part in projecting, until *stop* is set; then drain.

    *shared*: beside other processes at the same port. Raises BadSetting, or whatever ends a part.
    """
    url = settings.database_url
    certificates = Certificates(settings.tls) if settings.tls else None
    stop_projecting = asyncio.Event()
    async with AsyncExitStack() as opened:
        bulk = await opened.enter_async_context(pools.closing(pools.bulk(url)))
        unary = await opened.enter_async_context(pools.closing(pools.unary(url)))
        metrics = Metrics(issues=list(Issue))
        service = ContentService(bulk, unary, settings.limits, metrics.served)
        metrics.expect(service.__mapping__())
        status = ServiceStatus()
        server = GrpcServer(
            _services(service, status, reflection=settings.reflection), ContentCodec()
        )
        calls = Calls(settings.tokens, metrics)
        calls.of(server)
        metrics.connected(lambda: len(server.connections))
        watch = HealthWatch(unary, metrics, status.set, max_lag_s=settings.ready_max_lag_s)
        await opened.enter_async_context(_probes(settings, metrics, watch))
        tls = certificates.context if certificates else None
        address = await server.listen(settings.address, tls=tls, shared=shared)
        log.info("server.started", address=str(address), pid=os.getpid(), tls=tls is not None)
        if settings.tokens is None:
            log.warning("server.open_to_all", address=str(address))
        try:
            async with asyncio.TaskGroup() as tasks:
                parts = {"watch": tasks.create_task(watch.run())}
                projecting = None
                if certificates:
                    parts["tls"] = tasks.create_task(certificates.watch())
                if settings.projector:
                    pool = await opened.enter_async_context(pools.closing(projector_pool(url)))
                    projector = _projector(settings, pool, metrics)
                    projecting = tasks.create_task(projector.run(stop_projecting))
                    parts["projector"] = projecting
                watch.parts = parts
                await stop.wait()
                watch.parts = {}
                # Whoever takes over begins while clients are still led out here.
                stop_projecting.set()
                await drain(
                    server, service, calls, not_serving=watch.drain, within_s=settings.drain_s
                )
                if projecting:
                    await _let_go(projecting)
                _end(parts)
        except BaseExceptionGroup as group:
            raise first_of(group) from group
    log.info("server.stopped", pid=os.getpid())


async def project(settings: Settings, stop: asyncio.Event) -> None:
    """Take part in projecting until *stop* is set, and serve nothing but health and metrics."""
    url, metrics = settings.database_url, Metrics(issues=list(Issue))
    async with AsyncExitStack() as opened:
        pool = await opened.enter_async_context(pools.closing(projector_pool(url)))
        watch = HealthWatch(pool, metrics, lambda _: None, max_lag_s=settings.ready_max_lag_s)
        await opened.enter_async_context(_probes(settings, metrics, watch))
        projector = _projector(settings, pool, metrics)
        log.info("projector.started", pid=os.getpid())
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(watch.run())
                watch.parts = parts = {"watch": watching}
                projecting = tasks.create_task(projector.run(stop))
                parts["projector"] = projecting
                await stop.wait()
                watch.parts = {}
                await _let_go(projecting)
                _end(parts)
        except BaseExceptionGroup as group:
            raise first_of(group) from group
    log.info("projector.stopped", pid=os.getpid())


def _probes(
    settings: Settings, metrics: Metrics, watch: HealthWatch
) -> AbstractAsyncContextManager[Address | None]:
    return http.serving_probes(
        settings.http_address, watch.health, metrics.rendered, variable="SNAPSHOT_HTTP_ADDRESS"
    )


def first_of(group: BaseExceptionGroup) -> BaseException:
    """What was raised first, without the groups that tasks wrap it in."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first


async def _let_go(projecting: asyncio.Task[None]) -> None:
    """Give the pass under way a moment; then break it off, which leaves the feed as it was."""
    await asyncio.wait({projecting}, timeout=_PASS_TIMEOUT_S)
    projecting.cancel()


def _end(parts: Mapping[str, asyncio.Task[None]]) -> None:
    """What has nothing to finish; a look may hang for as long as PostgreSQL is away."""
    for task in parts.values():
        task.cancel()


def _services(
    service: ContentService, status: ServiceStatus, *, reflection: bool
) -> list[IServable]:
    services: list[IServable] = [service, Health({service: [status], OVERALL: [status]})]
    # From google's default pool, where the messages of health are too.
    return ServerReflection.extend(services) if reflection else services


def _projector(settings: Settings, pool: asyncpg.Pool, metrics: Metrics) -> Projector:
    return Projector(
        pool,
        _this_process(),
        keep_removals_s=settings.tombstone_days * _SECONDS_IN_A_DAY,
        observe=metrics.projected,
    )


def _this_process() -> Member:
    host = socket.gethostname()
    holder = f"{host}/{os.getpid()}/{secrets.token_hex(4)}"
    return Member(kind=LEASE, holder=holder, host=host, pid=os.getpid())

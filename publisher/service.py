"""The publisher as a process: who shares its work, what it looks at, and how it ends."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import time
from typing import TYPE_CHECKING

import structlog

from outbox.batch import Share
from outbox.clock import ServerClock
from outbox.dead_letters import DeadLetters
from outbox.epochs import Epochs
from outbox.leases import Member
from outbox.pages import Pages
from outbox.retention import Retention
from outbox.ticks import Ticks
from process import http
from publisher import identity
from publisher.bell import Bell
from publisher.board import Board
from publisher.housekeeping import Housekeeping
from publisher.leading import Leading
from publisher.observing import Observer
from publisher.pacing import Pacing
from publisher.partition import Partition
from publisher.place import Places
from publisher.start import until_fit
from publisher.store.stream import EventStream
from publisher.ticker import Ticker
from publisher.trim.trimmer import Trimmer
from publisher.trim.trimming import Limits
from publisher.web.health import Known, health_of
from publisher.web.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg
    from redis.asyncio import Redis

    from process.health import Health
    from publisher.settings import Settings
    from publisher.worker import PassReport

log = structlog.get_logger(__name__)

_SECONDS_IN_AN_HOUR = 3600
_SECONDS_IN_A_DAY = 86_400


async def run(
    settings: Settings,
    pool: asyncpg.Pool,
    redis: Redis,
    connect: Callable[[], Awaitable[asyncpg.Connection]],
    stop: asyncio.Event,
) -> None:
    """Publish until *stop* is set. Closes nothing that it was handed.

    Raises BadSetting, ServerUnfit, or whatever ends a worker.
    """
    member = _this_process(settings)
    metrics = Metrics(settings.stream_keys)
    observer = Observer(metrics)
    board, epochs, pacing, clock = Board(), Epochs(pool), Pacing(), ServerClock(pool)
    partitions = _partitions(settings, pool, redis, board, epochs, clock, pacing, observer)
    leading = Leading(pool, member, partitions, pacing, observer, metrics)
    ticks = Ticks(pool)

    async def settle() -> str:
        places = [partition.places for partition in partitions.values()]
        return await identity.settle(epochs, ticks, places, by=member.holder)

    ticker = Ticker(
        ticks,
        board,
        Bell(connect, enabled=settings.doorbell),
        pacing,
        pack_up_to=settings.limits.batch_size if settings.partitions == 1 else 0,
        settle=settle,
    )

    def ticked(report: PassReport) -> None:
        leading.ticks.observe(report)
        if report.moved:
            metrics.tick_made()

    housekeeping = Housekeeping(
        pool,
        redis,
        settings,
        leading,
        metrics,
        clock=clock,
        trimmers={key: Trimmer(redis, key, _keep(settings), clock=clock.now) for key in partitions},
        retention=Retention(pool, readers=settings.stream_keys),
        keep_s=settings.outbox_retention_days * _SECONDS_IN_A_DAY,
    )

    checked = asyncio.Event()

    def health() -> Health:
        known = _known(leading, housekeeping, checked=checked.is_set())
        return health_of(known, max_age_s=settings.ready_max_age_s)

    log.info("publisher.started", holder=member.holder, streams=settings.stream_keys)
    async with http.serving_probes(
        settings.http_address, health, metrics.rendered, variable="PUBLISHER_HTTP_ADDRESS"
    ):
        await until_fit(redis, settings.stream_keys, pacing, stop, dice=random.random)
        checked.set()
        # The ticker stops last, because workers wait for it.
        stop_the_rest = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ticker.run(stop_the_rest, observe=ticked, dice=random.random))
                tasks.create_task(housekeeping.run(stop_the_rest))
                try:
                    await leading.run(stop)
                finally:
                    stop_the_rest.set()
        except BaseExceptionGroup as group:
            raise _first_of(group) from group
    log.info("publisher.stopped", holder=member.holder)


def _first_of(group: BaseExceptionGroup) -> BaseException:
    """What was raised first, without the groups that tasks wrap it in."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


def _keep(settings: Settings) -> Limits:
    return Limits(
        retention_ms=settings.retention_hours * _SECONDS_IN_AN_HOUR * 1000,
        budget_bytes=settings.stream_max_memory_mb << 20,
    )


def _known(leading: Leading, housekeeping: Housekeeping, *, checked: bool) -> Known:
    seen = housekeeping.seen
    return Known(
        checked=checked,
        leads=tuple(leading.streams),
        stands_by=leading.stands_by,
        oldest_unpublished_s=seen.oldest_unpublished_s if seen else None,
        looked_s_ago=time.monotonic() - housekeeping.seen_at if seen else None,
        paused=leading.paused.reason if leading.paused else None,
        back_pressure=leading.reasons,
    )


def _this_process(settings: Settings) -> Member:
    host = socket.gethostname()
    return Member(
        # Those with other partitions share other leases.
        kind=f"publisher of {settings.stream_key}/{settings.partitions}",
        holder=f"{host}/{os.getpid()}/{secrets.token_hex(4)}",
        host=host,
        pid=os.getpid(),
    )


def _partitions(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
    settings: Settings,
    pool: asyncpg.Pool,
    redis: Redis,
    board: Board,
    epochs: Epochs,
    clock: ServerClock,
    pacing: Pacing,
    observer: Observer,
) -> dict[str, Partition]:
    partitions, pages = {}, Pages()
    for number, key in enumerate(settings.stream_keys):
        share = Share(number, settings.partitions)
        ticks, stream = Ticks(pool, share, pages), EventStream(redis, key)
        places = Places(
            pool,
            ticks,
            stream,
            epochs,
            clock,
            retention_s=settings.retention_hours * _SECONDS_IN_AN_HOUR,
            observe=observer.happened,
        )
        partitions[key] = Partition(
            pool,
            ticks,
            stream,
            places,
            DeadLetters(pool, key, share),
            board,
            settings.limits,
            pacing,
            observe=observer.happened,
        )
    return partitions

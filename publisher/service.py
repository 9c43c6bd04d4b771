"""The publisher as a process: who shares its work, what it looks at, and how it ends."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
from typing import TYPE_CHECKING

import structlog

from outbox.batch import Share
from outbox.dead_letters import DeadLetters
from outbox.epochs import Epochs
from outbox.leases import Member
from outbox.ticks import Ticks
from publisher import identity
from publisher.bell import Bell
from publisher.board import Board
from publisher.leading import Leading
from publisher.metrics import Metrics
from publisher.observing import Observer, StateLog
from publisher.pacing import Pacing
from publisher.partition import Partition
from publisher.place import Places
from publisher.stream import EventStream
from publisher.ticker import Ticker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg
    from redis.asyncio import Redis

    from publisher.settings import Settings
    from publisher.worker import PassReport

log = structlog.get_logger(__name__)

_SECONDS_IN_AN_HOUR = 3600


async def run(
    settings: Settings,
    pool: asyncpg.Pool,
    redis: Redis,
    connect: Callable[[], Awaitable[asyncpg.Connection]],
    stop: asyncio.Event,
) -> None:
    """Publish until *stop* is set. Closes nothing that it was handed."""
    member = _this_process(settings)
    metrics = Metrics(settings.stream_keys)
    observer = Observer(metrics)
    board, epochs, pacing = Board(), Epochs(pool), Pacing()
    partitions = _partitions(settings, pool, redis, board, epochs, pacing, observer)
    leading = Leading(pool, member, partitions, pacing, observer, metrics)
    ticks = Ticks(pool)

    async def settle() -> None:
        places = [partition.places for partition in partitions.values()]
        await identity.settle(epochs, ticks, places, by=member.holder)

    ticker = Ticker(
        ticks,
        board,
        Bell(connect, enabled=settings.doorbell),
        pacing,
        pack_up_to=settings.limits.batch_size if settings.partitions == 1 else 0,
        settle=settle,
    )
    state = StateLog("ticks")

    def ticked(report: PassReport) -> None:
        state.observe(report)
        if report.moved:
            metrics.tick_made()

    log.info("publisher.started", holder=member.holder, streams=settings.stream_keys)
    # The ticker stops last, because workers wait for it.
    stop_ticking = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ticker.run(stop_ticking, observe=ticked, dice=random.random))
        try:
            await leading.run(stop)
        finally:
            stop_ticking.set()
    log.info("publisher.stopped", holder=member.holder)


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
    pacing: Pacing,
    observer: Observer,
) -> dict[str, Partition]:
    partitions = {}
    for number, key in enumerate(settings.stream_keys):
        share = Share(number, settings.partitions)
        ticks, stream = Ticks(pool, share), EventStream(redis, key)
        places = Places(
            pool,
            ticks,
            stream,
            epochs,
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

"""A publisher as the service puts it together, in this process: with a pacing of the test's own."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
from publishing import KEY, outbox_pool
from redis.asyncio import Redis

from outbox.batch import Share
from outbox.clock import ServerClock
from outbox.dead_letters import DeadLetters
from outbox.epochs import Epochs
from outbox.leases import Member
from outbox.pages import Pages
from outbox.ticks import Ticks
from publisher import identity
from publisher.bell import Bell
from publisher.board import Board
from publisher.leading import Leading
from publisher.observing import Observer
from publisher.pacing import Pacing
from publisher.partition import Partition
from publisher.place import Places
from publisher.settings import Limits
from publisher.store.stream import EventStream
from publisher.ticker import Ticker
from publisher.web.metrics import Metrics

if TYPE_CHECKING:
    from publisher.worker import PassReport

QUICK = Pacing(
    busy_pause_s=0,
    backstop_s=60,
    quiet_check_s=60,
    lease_s=30,
    renew_s=0.1,
    stand_by_s=0.1,
    backoff_base_s=0.01,
    backoff_cap_s=0.2,
)
"""Whoever is free takes part at once; nobody looks by himself, and no lease expires."""
_A_DAY_S = 86_400.0


class InProcess:
    """Ticker, leases and workers of the streams *keys*, each of which is one partition."""

    def __init__(
        self, dsn: str, pool: asyncpg.Pool, redis: Redis, pacing: Pacing, keys: Sequence[str]
    ) -> None:
        self.reports: list[PassReport] = []
        """Of the ticker."""
        self.board = Board()
        self.bell = Bell(self._listen, enabled=True)
        self.member = Member("publisher", f"test/{secrets.token_hex(4)}", "test", os.getpid())
        self._dsn = dsn
        self._ticks, self._epochs = Ticks(pool), Epochs(pool)
        metrics, limits = Metrics(list(keys)), Limits()
        observer = Observer(metrics)
        self._partitions, pages = {}, Pages()
        for number, key in enumerate(keys):
            share = Share(number, len(keys))
            ticks, stream = Ticks(pool, share, pages), EventStream(redis, key)
            places = Places(
                *(pool, ticks, stream, self._epochs, ServerClock(pool)),
                retention_s=_A_DAY_S,
                observe=observer.happened,
            )
            self._partitions[key] = Partition(
                *(pool, ticks, stream, places, DeadLetters(pool, key, share)),
                *(self.board, limits, pacing),
                observe=observer.happened,
            )
        self.leading = Leading(pool, self.member, self._partitions, pacing, observer, metrics)
        self._ticker = Ticker(
            *(self._ticks, self.board, self.bell, pacing),
            pack_up_to=limits.batch_size if len(keys) == 1 else 0,
            settle=self._settle,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until *stop* is set."""
        stop_ticking = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self._ticker.run(stop_ticking, observe=self.reports.append, dice=lambda: 0.0)
            )
            try:
                await self.leading.run(stop)
            finally:
                stop_ticking.set()

    async def _settle(self) -> str:
        everywhere = [partition.places for partition in self._partitions.values()]
        return await identity.settle(self._epochs, self._ticks, everywhere, by=self.member.holder)

    async def _listen(self) -> asyncpg.Connection:
        return await asyncpg.connect(
            self._dsn, server_settings={"application_name": "catalog-publisher-bell"}
        )


@asynccontextmanager
async def running(
    dsn: str, redis: Redis, *, pacing: Pacing = QUICK, keys: Sequence[str] = (KEY,)
) -> AsyncIterator[InProcess]:
    """A publisher that runs until the end of the block."""
    async with outbox_pool(dsn) as pool:
        publisher, stop = InProcess(dsn, pool, redis, pacing, keys), asyncio.Event()
        task = asyncio.create_task(publisher.run(stop))
        try:
            yield publisher
        finally:
            stop.set()
            await task

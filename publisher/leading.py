"""Which streams this process publishes: it renews its leases, and starts and stops workers."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from outbox import control, leases
from outbox.errors import OutboxUnavailable
from publisher.errors import PartitionsChanged
from publisher.observing import StateLog
from publisher.worker import pause

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg

    from outbox.leases import Held, Lease, Member
    from publisher.observing import Observer
    from publisher.pacing import Pacing
    from publisher.partition import Partition
    from publisher.web.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Worker:
    lease: Lease
    state: StateLog
    task: asyncio.Task[None]
    stop: asyncio.Event = field(default_factory=asyncio.Event)


class Leading:
    """The streams whose leases this process holds, and a worker for each."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
        self,
        pool: asyncpg.Pool,
        member: Member,
        partitions: Mapping[str, Partition],
        pacing: Pacing,
        observer: Observer,
        metrics: Metrics,
    ) -> None:
        self._pool = pool
        self._member = member
        self._partitions = partitions
        self._pacing = pacing
        self._observer = observer
        self._metrics = metrics
        self._workers: dict[str, _Worker] = {}
        self._held: dict[str, Held] = {}
        self._renewed_at = -float("inf")
        self._is_away = False
        self._same_partitions = False
        self._left_to_others: dict[str, float] = {}
        """Streams that this process cannot reach, and when it would try again."""
        self.ticks = StateLog("ticks")
        """Whether ticks are made."""
        self.paused: control.Paused | None = None
        """Who paused publishing, and why."""

    @property
    def streams(self) -> list[str]:
        """Those whose lease this process holds."""
        return sorted(self._held)

    @property
    def stands_by(self) -> bool:
        """Whether it would take a lease that came free."""
        return time.monotonic() - self._renewed_at <= self._pacing.lease_s

    @property
    def reasons(self) -> dict[str, str]:
        """What keeps streams from getting on."""
        if self.paused:
            return dict.fromkeys(self._held, "paused")
        if self.ticks.reason:
            # Without ticks none of them gets on.
            return dict.fromkeys(self._held, self.ticks.reason)
        return {
            name: worker.state.reason
            for name, worker in self._workers.items()
            if worker.state.reason
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Take part until *stop* is set; then let go of everything in good order.

        Raises what ends a worker.
        """
        try:
            while not stop.is_set():
                await self._take_part()
                await self._wait(stop)
        finally:
            await self._leave()

    async def _take_part(self) -> None:
        try:
            await self._insist_on_the_same_partitions()
            await self._leave_unreachable_to_others()
            ttl = timedelta(seconds=self._pacing.lease_s)
            names = [name for name in self._partitions if name not in self._left_to_others]
            held = await leases.renew(self._pool, self._member, names, self.reasons, ttl=ttl)
            paused = await control.paused(self._pool)
        except OutboxUnavailable as exc:
            if not self._is_away:
                log.warning("lease.not_renewed", error=str(exc))
                self._is_away = True
            if time.monotonic() - self._renewed_at > self._pacing.lease_s:
                await self._hold({})
            return
        self._is_away = False
        self._renewed_at = time.monotonic()
        self._say_paused(paused)
        await self._hold({one.lease.name: one for one in held})

    async def _insist_on_the_same_partitions(self) -> None:
        """Raises PartitionsChanged: an entity would be in another stream than before."""
        if self._same_partitions or len(self._partitions) == 1:
            return
        names = list(self._partitions)
        key = names[0].removesuffix(":{0}")
        if others := await leases.of_other_partitions(self._pool, key, names):
            raise PartitionsChanged(len(others), len(names))
        self._same_partitions = True

    async def _leave_unreachable_to_others(self) -> None:
        """Redis may be away from here alone: let another process try, and stand by for a while."""
        now = time.monotonic()
        self._left_to_others = {
            name: until for name, until in self._left_to_others.items() if until > now
        }
        for name, worker in list(self._workers.items()):
            if worker.state.is_away_for_s > self._pacing.give_up_s:
                held = self._held.pop(name)
                await self._end(name)
                await leases.release(self._pool, held.lease)
                log.warning("lease.released", stream=name, because="Redis is away from here")
                self._metrics.lease_lost(name)
                self._left_to_others[name] = now + self._pacing.give_up_s

    async def _hold(self, held: dict[str, Held]) -> None:
        """Bring the workers in line with the leases that are *held*."""
        for name, worker in list(self._workers.items()):
            lease = held[name].lease if name in held else None
            # A worker may have raised its own epoch.
            is_same = lease is not None and lease.epoch >= worker.lease.epoch
            if not is_same or self.paused or held[name].surplus or worker.task.done():
                await self._end(name)
        for name in self._held.keys() - held.keys():
            log.info("lease.gone", stream=name)
            self._metrics.lease_lost(name)
        for name, one in held.items():
            if one.surplus:
                await self._release(one.lease)
                self._metrics.lease_lost(name)
                continue
            if name not in self._held:
                log.info(
                    "lease.taken", stream=name, epoch=one.lease.epoch, taken_from=one.taken_from
                )
            self._metrics.lease_taken(name, epoch=one.lease.epoch)
            if name not in self._workers and not self.paused:
                self._start(one)
        self._held = {name: one for name, one in held.items() if not one.surplus}

    def _start(self, held: Held) -> None:
        name = held.lease.name
        state, stop = StateLog(name), asyncio.Event()
        work = self._partitions[name].run(
            held.lease,
            stop,
            after_a_crash=held.taken_from is not None,
            observe=lambda report: self._observer.passed(state, name, report),
            dice=random.random,
        )
        task = asyncio.create_task(work, name=f"worker of {name}")
        self._workers[name] = _Worker(held.lease, state, task, stop)

    async def _release(self, lease: Lease) -> None:
        try:
            await leases.release(self._pool, lease)
        except OutboxUnavailable as exc:
            # It is surplus still when it is renewed next, or it expires.
            log.warning("lease.not_released", error=str(exc))
        else:
            log.info("lease.released", stream=lease.name, because="another member has too few")

    async def _end(self, name: str) -> None:
        """Let the worker finish its batch. Raises what ended it, if it ended by itself."""
        worker = self._workers.pop(name)
        worker.stop.set()
        try:
            await worker.task
        except Exception:
            # Not let go of in good order: whoever takes it over will look out for what it died of.
            self._held.pop(name, None)
            raise

    def _say_paused(self, paused: control.Paused | None) -> None:
        if (paused is None) != (self.paused is None):
            if paused:
                log.warning("publisher.paused", by=paused.by, reason=paused.reason)
            else:
                log.info("publisher.resumed")
        self.paused = paused
        for name in self._held if paused else ():
            self._metrics.held_up(name, "paused")

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until it is time to renew, or a worker has ended."""
        has_all = len(self._held) == len(self._partitions)
        # Who has not may find another one free at any moment.
        seconds = self._pacing.renew_s if has_all else self._pacing.stand_by_s
        waits = {asyncio.create_task(pause(stop, seconds))}
        # While PostgreSQL is away nothing can be done about a worker that has ended.
        workers = () if self._is_away else self._workers.values()
        try:
            await asyncio.wait(
                waits | {worker.task for worker in workers},
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for wait in waits:
                wait.cancel()

    async def _leave(self) -> None:
        names = list(self._workers)
        for name in names:
            self._workers[name].stop.set()
        try:
            for name in names:
                await self._end(name)
        finally:
            try:
                for one in self._held.values():
                    await leases.release(self._pool, one.lease)
                await leases.leave(self._pool, self._member)
            except OutboxUnavailable as exc:
                # They expire.
                log.warning("lease.not_released", error=str(exc))

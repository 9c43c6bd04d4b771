"""One stream, for as long as this process holds the lease on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from outbox import checkpoints, leases
from outbox.errors import LeaseLost, OutboxUnavailable
from publisher.board import Offer
from publisher.errors import IdentityChanged, StreamFenced
from publisher.relay import Relay
from publisher.worker import PassReport, pause, run_worker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    import asyncpg

    from outbox.checkpoints import Checkpoint
    from outbox.dead_letters import DeadLetters
    from outbox.leases import Lease
    from outbox.ticks import Ticks
    from publisher.board import Board
    from publisher.pacing import Pacing
    from publisher.place import Places
    from publisher.reports import Report
    from publisher.settings import Limits
    from publisher.store.stream import EventStream

log = structlog.get_logger(__name__)


class Partition:
    """What is needed to keep one stream level with the outbox."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
        self,
        pool: asyncpg.Pool,
        ticks: Ticks,
        stream: EventStream,
        places: Places,
        letters: DeadLetters,
        board: Board,
        limits: Limits,
        pacing: Pacing,
        *,
        observe: Callable[[Report], None],
    ) -> None:
        self.stream = stream
        self.places = places
        self._pool = pool
        self._ticks = ticks
        self._letters = letters
        self._board = board
        self._limits = limits
        self._pacing = pacing
        self._observe = observe

    async def run(
        self,
        lease: Lease,
        stop: asyncio.Event,
        *,
        after_a_crash: bool,
        observe: Callable[[PassReport], None],
        dice: Callable[[], float],
    ) -> None:
        """Publish under *lease* until *stop* is set, or until somebody else has the lease."""
        try:
            while not stop.is_set():
                try:
                    await self._run(lease, stop, after_a_crash, observe, dice)
                except StreamFenced as fenced:
                    # The stream knows a higher epoch than a database that lost its last commits.
                    lease = await self._raised(lease, fenced.epoch, stop)
        except LeaseLost:
            log.warning("lease.lost", stream=lease.name, epoch=lease.epoch)

    async def _raised(self, lease: Lease, above: int, stop: asyncio.Event) -> Lease:
        while not stop.is_set():
            try:
                lease = await leases.raise_epoch(self._pool, lease, above=above)
            except OutboxUnavailable:
                await pause(stop, self._pacing.stand_by_s)
            else:
                log.warning("lease.raised", stream=lease.name, epoch=lease.epoch)
                break
        return lease

    async def _run(
        self,
        lease: Lease,
        stop: asyncio.Event,
        after_a_crash: bool,  # noqa: FBT001
        observe: Callable[[PassReport], None],
        dice: Callable[[], float],
    ) -> None:
        async def save(checkpoint: Checkpoint) -> None:
            await checkpoints.save(self._pool, lease, checkpoint)

        relay = Relay(
            self._ticks,
            self.stream,
            self.places,
            self._letters,
            self._limits,
            epoch=lease.epoch,
            after_a_crash=after_a_crash,
            save=save,
            observe=self._observe,
        )

        offer, withdrawn = Offer(None), self._board.withdrawn

        async def ready() -> None:
            nonlocal offer, withdrawn
            offer = await self._board.next(
                relay.level_ms, stop, timeout_s=self._pacing.quiet_check_s
            )
            if withdrawn != self._board.withdrawn:
                # This may be another outbox by now.
                withdrawn = self._board.withdrawn
                relay.forget_place()

        async def one_pass() -> int:
            moved = await relay.follow(offer, stop)
            self._board.above_ms = max(self._board.above_ms, relay.above_ms)
            return moved

        async def seen(report: PassReport) -> None:
            if isinstance(report.error, OutboxUnavailable | IdentityChanged):
                # The ticker makes sure which database this is before anybody goes on.
                self._board.withdraw()
            observe(report)

        await run_worker(ready, one_pass, self._pacing, stop, observe=seen, dice=dice)
        try:
            await relay.save_place(at_once=True)
        except OutboxUnavailable as exc:
            # Nothing is lost: the stream itself says where to go on.
            log.warning("checkpoint.not_saved", stream=lease.name, error=str(exc))

"""Keeps the feed: whoever holds the lease follows the ticks, the others stand by."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import structlog

from outbox import leases
from outbox.epochs import Epochs
from outbox.errors import (
    LeaseLost,
    OutboxDamaged,
    OutboxMissing,
    OutboxReplaced,
    OutboxUnavailable,
)
from outbox.position import Position
from outbox.ticks import Ticks
from snapshot_server.errors import DatabaseChanged
from snapshot_server.feed.projection import Projected, Projection
from snapshot_server.feed.writer import load_state, purge

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import asyncpg

    from outbox.epochs import Epoch
    from outbox.errors import CatalogStreamError
    from outbox.leases import Lease, Member

log = structlog.get_logger(__name__)

LEASE = "projector"
"""Of the lease, and of the checkpoint that it is for."""
_UNKNOWN = -1
"""Instead of the newest tick that was projected."""
_TRANSIENT = (OutboxUnavailable, OutboxDamaged, OutboxReplaced, OutboxMissing, DatabaseChanged)


@dataclass(frozen=True, slots=True)
class Pace:
    """Pauses of the projector, in seconds."""

    look_s: float = 0.02
    """Between two looks for something new."""
    lease_s: float = 3.0
    """For how long a lease holds that is not renewed."""
    renew_s: float = 0.5
    """How often it is renewed, or asked for."""
    settle_s: float = 1.0
    """How long it is believed that this is still the same database."""
    failure_s: float = 1.0
    """After a failed pass."""
    end_s: float = 2.0
    """How long a pass may go on that is under way at the end; then it has done nothing."""
    purge_s: float = 60.0
    """Between two looks for removals that need not be kept any more."""


class Purged(NamedTuple):
    """Removals that are not kept any more."""

    removals: int


class Issue(NamedTuple):
    """An item was projected whose data breaks a contract."""

    name: str


class Held(NamedTuple):
    """Whether this process is the projector changed."""

    holds: bool


class Failed(NamedTuple):
    """A pass failed; the next one tries again."""

    error: CatalogStreamError


Report = Projected | Purged | Issue | Held | Failed


class Projector:
    """One of the processes that would keep the feed."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        member: Member,
        *,
        keep_removals_s: float,
        observe: Callable[[Report], None],
        pace: Pace = Pace(),
    ) -> None:
        self._pool = pool
        self._member = member
        self._keep_removals_s = keep_removals_s
        self._observe = observe
        self._pace = pace
        self._ticks = Ticks(pool)
        self._epochs = Epochs(pool)
        self._projection = Projection(
            pool, self._ticks, observe_issue=lambda name: observe(Issue(name))
        )
        self._lease: Lease | None = None
        self._lease_until = 0.0
        self._newest_ms: int | None = _UNKNOWN
        self._settled: tuple[Epoch, str] | None = None
        self._settled_at = 0.0
        self._purged_at = 0.0
        self._error: str | None = None

    @property
    def holds_lease(self) -> bool:
        """Whether this process is the one that projects."""
        return self._lease is not None

    async def run(self, stop: asyncio.Event) -> None:
        """Take part until *stop* is set. Raises what is no passing trouble."""
        leading = asyncio.create_task(self._lead(stop), name="projector's lease")
        try:
            while not stop.is_set():
                if self._lease is None:
                    await _pause(stop, self._pace.look_s)
                else:
                    await _until(stop, self._one_pass(self._lease, stop), self._pace.end_s)
                if leading.done():
                    break
        finally:
            stop.set()
            await leading

    async def _one_pass(self, lease: Lease, stop: asyncio.Event) -> None:
        try:
            moved = await self.follow(lease)
            await self._purge(lease)
        except LeaseLost:
            log.warning("projector.lease_lost", holder=lease.holder)
            self._let_go()
        except _TRANSIENT as exc:
            self._settled, self._newest_ms = None, _UNKNOWN
            if self._error != str(exc):
                self._error = str(exc)
                log.warning("projector.held_up", error=self._error)
            self._observe(Failed(exc))
            await _pause(stop, self._pace.failure_s)
        else:
            if self._error:
                self._error = None
                log.info("projector.recovered")
            if moved:
                self._say(moved)
            await _pause(stop, self._pace.look_s)

    async def follow(self, lease: Lease) -> Projected | None:
        """One pass: the feed is level with the tables then. None when it was before.

        Raises OutboxUnavailable, OutboxDamaged, OutboxReplaced, DatabaseChanged or LeaseLost.
        """
        epoch, incarnation = await self._settle()
        previous_ms, tick, _ = await self._ticks.make_and_read(size=0, settled_for=incarnation)
        newest_ms = tick.ms if tick else previous_ms
        if newest_ms == self._newest_ms:
            return None
        moved = await self._projection.follow(lease, epoch, settled_for=incarnation)
        self._newest_ms = newest_ms
        return moved

    async def _settle(self) -> tuple[Epoch, str]:
        """Make sure, now and then, that this is the database whose positions we know."""
        if self._settled is None or time.monotonic() - self._settled_at > self._pace.settle_s:
            epoch = await self._epochs.newest()
            identity, incarnation = await self._epochs.identity()
            if epoch.number and identity != epoch.identity:
                raise DatabaseChanged
            if self._settled != (epoch, incarnation):
                self._newest_ms = _UNKNOWN
            self._settled, self._settled_at = (epoch, incarnation), time.monotonic()
        return self._settled

    def _say(self, moved: Projected) -> None:
        say = log.info if moved.rebuilt else log.debug
        say(
            "feed.rebuilt" if moved.rebuilt else "feed.moved",
            position=str(moved.position),
            events=moved.events,
            items=moved.items,
            removed=moved.removed,
            took_ms=round(moved.took_s * 1000, 1),
        )
        self._observe(moved)

    async def _purge(self, lease: Lease) -> None:
        if time.monotonic() - self._purged_at < self._pace.purge_s:
            return
        self._purged_at = time.monotonic()
        if removals := await purge(self._pool, lease, keep_s=self._keep_removals_s):
            log.info("feed.purged", removals=removals)
            self._observe(Purged(removals))

    async def _lead(self, stop: asyncio.Event) -> None:
        """Renew the lease, or ask for it, until *stop* is set; then let go of it."""
        ttl = timedelta(seconds=self._pace.lease_s)
        try:
            while not stop.is_set():
                with suppress(OutboxUnavailable, OutboxMissing):
                    asked = time.monotonic()
                    held = await leases.renew(self._pool, self._member, [LEASE], {}, ttl=ttl)
                    self._take(held[0].lease if held else None, until=asked + self._pace.lease_s)
                if self._lease and time.monotonic() > self._lease_until:
                    self._let_go()
                await _pause(stop, self._pace.renew_s)
        finally:
            with suppress(OutboxUnavailable, OutboxMissing):
                if self._lease:
                    await leases.release(self._pool, self._lease)
                await leases.leave(self._pool, self._member)
            self._let_go()

    def _take(self, lease: Lease | None, *, until: float) -> None:
        if lease is None:
            self._let_go()
            return
        self._lease_until = until
        if lease != self._lease:
            self._newest_ms = _UNKNOWN
            self._lease = lease
            log.info("projector.lease_taken", holder=lease.holder, epoch=lease.epoch)
            self._observe(Held(holds=True))

    def _let_go(self) -> None:
        if self._lease:
            self._lease = None
            self._observe(Held(holds=False))


async def feed_position(pool: asyncpg.Pool) -> Position | None:
    """Where the feed is; None before it was built. Raises OutboxUnavailable."""
    state = await load_state(pool)
    return Position(state.version >> 20, state.version & ((1 << 20) - 1)) if state else None


async def _until(stop: asyncio.Event, work: Coroutine[None, None, None], grace_s: float) -> None:
    """Do *work*, and break it off where it is not done *grace_s* after *stop* was set."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await asyncio.wait({working}, timeout=grace_s)
    finally:
        stopping.cancel()
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)

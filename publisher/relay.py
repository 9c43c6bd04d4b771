"""One pass: what is new in the outbox goes to the end of the stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outbox.checkpoints import Checkpoint
from outbox.errors import CatalogStreamError, OutboxUnavailable, OutboxUnreadable
from outbox.position import ORIGIN, Position
from outbox.prefetch import read_ahead
from publisher.board import UNKNOWN
from publisher.errors import StreamBehind, StreamForeign
from publisher.place import Place
from publisher.reports import BatchAppended, ForeignFound, SetAside

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from outbox.batch import Batch
    from outbox.dead_letters import DeadLetters
    from outbox.tick import Tick
    from outbox.ticks import Ticks
    from publisher.board import Offer
    from publisher.place import Places
    from publisher.reports import Report
    from publisher.settings import Limits
    from publisher.store.stream import EventStream

_READ_AHEAD = 2
_SAVE_EVERY_S = 1.0
_STARTS_BEFORE_CARE = 2
_STUMBLES_BEFORE_CARE = 3


class _EventUnread(OutboxUnavailable):
    """PostgreSQL was lost while one event was read."""


class Relay:
    """Moves the events of one partition from *ticks* to *stream*, in order, under one lease.

    Its place is in memory; the stream itself, and the checkpoint that *save* moves, say where to
    go on. So a relay may be killed anywhere, and several may run at once.
    """

    def __init__(  # noqa: PLR0913 - each is one thing it is handed
        self,
        ticks: Ticks,
        stream: EventStream,
        places: Places,
        letters: DeadLetters,
        limits: Limits,
        *,
        epoch: int = 0,
        after_a_crash: bool = False,
        save: Callable[[Checkpoint], Awaitable[None]],
        observe: Callable[[Report], None],
    ) -> None:
        self._ticks = ticks
        self._stream = stream
        self._places = places
        self._letters = letters
        self._limits = limits
        # Of all partitions, so that what is left for this one is a batch.
        self._page_size = limits.batch_size * ticks.share.of
        self._epoch = epoch
        self._after_a_crash = after_a_crash
        self._save = save
        self._observe = observe
        self._known = Place(ORIGIN, ORIGIN)
        self._is_known = False
        self._unused: list[Position] = []
        """IDs of dead letters ahead."""
        self._stumbled_at: Position | None = None
        self._stumbles = 0
        self._saved: Place | None = None
        self._saved_at = 0.0
        self.level_ms: int | None = UNKNOWN
        """The tick that ends at the place, where that is known; None before the first tick."""

    @property
    def place(self) -> Position | None:
        """Up to where the stream is known to hold everything."""
        return self._known.position if self._is_known else None

    @property
    def above_ms(self) -> int:
        """New ticks must be above this, because somebody else has written to the stream."""
        return self._known.above_ms

    async def follow(self, offer: Offer, stop: asyncio.Event) -> int:
        """Append what lies between the stream's end and *offer*; how many events.

        Ends early, between two batches, when *stop* is set. Raises OutboxUnavailable,
        StreamUnavailable, StreamRefused, StreamFenced, IdentityChanged or LeaseLost; the next pass
        then finds its place again.
        """
        moved = 0
        try:
            while True:
                if not self._is_known:
                    await self._find_place()
                    moved += await self._careful_start(stop)
                try:
                    async for events in self._appending(offer, stop):
                        moved += events
                except (StreamBehind, StreamForeign):
                    # It lost entries, or another publisher is ahead, or somebody else wrote.
                    self.forget_place()
                except OutboxUnreadable:
                    moved += await self._one_by_one(stop, limit=self._limits.batch_size)
                except OutboxUnavailable:
                    if not self._has_stumbled():
                        raise
                    moved += await self._one_by_one(stop, limit=self._limits.batch_size)
                else:
                    await self.save_place(at_once=moved == 0)
                    return moved
        except BaseException:
            self.forget_place()
            raise

    async def save_place(self, *, at_once: bool) -> None:
        """Move the checkpoint, if it is time. Raises OutboxUnavailable or LeaseLost."""
        now = time.monotonic()
        due = at_once or now - self._saved_at >= _SAVE_EVERY_S
        if self._is_known and due and self._known != self._saved:
            await self._save(Checkpoint(self._known.position, self._known.end))
            self._saved, self._saved_at = self._known, now

    async def _appending(self, offer: Offer, stop: asyncio.Event) -> AsyncGenerator[int, None]:
        """Append batch after batch, moving the place along; yield how many events each had."""
        if offer.previous_ms == self.level_ms:
            if offer.tick is None:
                # While all is quiet no append would tell that the stream is not as it was.
                top = await self._stream.top()
                if top != self._known.end:
                    raise StreamForeign(top)
                return
            if offer.batch is not None and not self._unused:
                yield await self._take(offer.batch, stop)
                self.level_ms = offer.tick.ms
                return
        self.level_ms = UNKNOWN
        async for events in self._reading(stop):
            yield events
        if not stop.is_set():
            self.level_ms = offer.newest_ms

    async def _reading(self, stop: asyncio.Event) -> AsyncGenerator[int, None]:
        """Everything after the place, around the IDs that stay unused."""
        while True:
            until = self._unused[0] if self._unused else None
            source = self._ticks.batches_after(
                self._known.position, size=self._page_size, until=until
            )
            async with read_ahead(source, depth=_READ_AHEAD) as batches:
                async for batch in batches:
                    if stop.is_set():
                        return
                    yield await self._take(batch, stop)
            if until is None:
                return
            self._move(self._unused.pop(0))

    async def _take(self, batch: Batch, stop: asyncio.Event) -> int:
        limits = self._limits
        if batch.largest > limits.max_event_bytes or len(batch.body) > limits.max_batch_bytes:
            return await self._one_by_one(stop, until=batch.reached)
        if batch.events:
            await self._append(batch)
        else:
            self._move(batch.reached)
        await self.save_place(at_once=False)
        return batch.events

    async def _append(self, batch: Batch) -> None:
        started = time.monotonic()
        done = await self._stream.append(batch, after=self._known.end, epoch=self._epoch)
        now = time.monotonic()
        if done.found > self._known.end and done.events == batch.events:
            # Another publisher would have appended the same events.
            self._observe(ForeignFound(self._stream.key, done.found, self._known.end, 0))
        self._observe(
            BatchAppended(
                self._stream.key,
                batch.first,
                batch.events,
                already=batch.events - done.events,
                healed=min(done.events, batch.until(self._known.lost_until)),
                took_s=now - started,
                delay_s=max(time.time() - batch.oldest_at_ms / 1000, 0.0),
            )
        )
        self._move(batch.reached, max(batch.last, done.found))

    def _move(self, place: Position, end: Position | None = None) -> None:
        self._known = self._known._replace(
            position=max(place, self._known.position), end=end or self._known.end
        )

    async def _one_by_one(
        self, stop: asyncio.Event, *, until: Position | None = None, limit: int | None = None
    ) -> int:
        """Publish event after event, so that one that cannot be published stops no other.

        Each attempt is counted before it is made: the process may not outlive it.
        """
        self.level_ms = UNKNOWN
        moved = done = 0
        while not stop.is_set() and done != limit:
            tick, index = await self._ticks.next_after(self._known.position)
            if tick is None:
                break
            event = Position.in_tick(tick.ms, index)
            if until is not None and event > until:
                break
            attempts = await self._letters.count_attempt(event)
            try:
                moved += await self._try(tick, index, attempts)
            except OutboxUnreadable as exc:
                if attempts < self._limits.max_attempts:
                    continue
                await self._set_aside(tick, index, str(exc), attempts)
            except _EventUnread as exc:
                # PostgreSQL was there when the attempt was counted.
                if attempts < self._limits.max_attempts:
                    raise
                await self._set_aside(tick, index, str(exc), attempts)
            except CatalogStreamError:
                # It is the stream that is in the way, or another publisher: not the event's fault.
                await self._letters.forget_attempts()
                raise
            self._move(event)
            done += 1
            await self.save_place(at_once=False)
        return moved

    async def _try(self, tick: Tick, index: int, attempts: int) -> int:
        """Append one event, or set it aside; how many were appended."""
        if attempts > self._limits.max_attempts:
            reason = f"the publisher ended {attempts - 1} times while publishing it"
            await self._set_aside(tick, index, reason, attempts)
            return 0
        try:
            batch = await self._read_one(until=Position.in_tick(tick.ms, index + 1))
        except OutboxUnavailable as exc:
            if isinstance(exc.__cause__, TimeoutError):
                # A lock, or a slow server: the event can be read when that is over.
                raise
            raise _EventUnread(f"it could not be read: {exc}") from exc
        if batch.largest > self._limits.max_event_bytes:
            reason = (
                f"its payload has {batch.largest:,} bytes, {self._limits.max_event_bytes:,} may be"
            )
            await self._set_aside(tick, index, reason, attempts)
            return 0
        if batch.events:
            await self._append(batch)
        return batch.events

    async def _read_one(self, until: Position) -> Batch:
        source = self._ticks.batches_after(self._known.position, size=1, until=until)
        try:
            return await anext(source)
        finally:
            await source.aclose()

    async def _set_aside(self, tick: Tick, index: int, reason: str, attempts: int) -> None:
        event = Position.in_tick(tick.ms, index)
        if await self._letters.set_aside(tick, index, reason=reason, attempts=attempts):
            self._observe(SetAside(self._stream.key, event, reason))

    async def _find_place(self) -> None:
        self._known = await self._places.find(self._known)
        self._unused = await self._letters.after(self._known.position)
        self._is_known = True

    async def _careful_start(self, stop: asyncio.Event) -> int:
        """Where the holder before died at this very place, an event may have been the cause."""
        if not self._after_a_crash:
            return 0
        self._after_a_crash = False
        starts = await self._letters.count_start(self._known.position)
        if starts < _STARTS_BEFORE_CARE:
            return 0
        return await self._one_by_one(stop, limit=self._limits.batch_size)

    def _has_stumbled(self) -> bool:
        """Whether reading has failed at this place again and again: perhaps at one event."""
        again = self._stumbled_at == self._known.position
        self._stumbled_at = self._known.position
        self._stumbles = self._stumbles + 1 if again else 1
        return self._stumbles >= _STUMBLES_BEFORE_CARE

    def forget_place(self) -> None:
        """Find it again before anything is appended."""
        self._is_known = False
        self.level_ms = UNKNOWN

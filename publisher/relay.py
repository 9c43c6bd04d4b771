"""One pass: what is new in the outbox goes to the end of the stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from outbox.position import ORIGIN, Position
from publisher.errors import StreamBehind, StreamForeign
from publisher.prefetch import read_ahead

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from outbox.batch import Batch
    from outbox.tick import Tick
    from outbox.ticks import Ticks
    from publisher.stream import EventStream

log = structlog.get_logger(__name__)

_READ_AHEAD = 2
_ENTRIES_AT_ONCE = 100
_MAX = 2**64 - 1
_UNKNOWN = -1


class Relay:
    """Moves events from *ticks* to *stream*, in order, up to *batch_size* at once.

    It keeps its place in memory only. The stream itself says where to go on, so a relay may be
    killed anywhere, and several may run at once.
    """

    def __init__(self, ticks: Ticks, stream: EventStream, *, batch_size: int) -> None:
        self._ticks = ticks
        self._stream = stream
        self._batch_size = batch_size
        self._place: Position | None = None
        self._level_ms: int | None = _UNKNOWN
        """The tick that ends at the place, where that is known; None before the first tick."""
        self._above_ms = 0

    @property
    def place(self) -> Position | None:
        """Up to where the stream is known to hold everything."""
        return self._place

    async def publish(self, stop: asyncio.Event) -> int:
        """Make a tick, and append what lies between the stream's end and it; how many events.

        Ends early, between two batches, when *stop* is set. Raises OutboxUnavailable,
        StreamUnavailable or StreamRefused; the next pass then finds its place again.
        """
        moved = 0
        try:
            while True:
                if self._place is None:
                    self._place = await self._find_place()
                try:
                    async for events in self._appending(self._place, stop):
                        moved += events
                except StreamBehind as lost:
                    log.warning("stream.behind", stream=str(lost.top), publisher=str(self._place))
                    self._place = None
                except StreamForeign:
                    # Another publisher is far ahead, or somebody else wrote: the top tells which.
                    self._place = None
                else:
                    return moved
        except BaseException:
            self._place = None
            raise

    async def _appending(self, place: Position, stop: asyncio.Event) -> AsyncGenerator[int, None]:
        """Append batch after batch, moving the place along; yield how many events each had."""
        previous_ms, tick, batch = await self._ticks.make_and_read(
            size=self._batch_size, above_ms=self._above_ms
        )
        if previous_ms != self._level_ms:
            self._level_ms = _UNKNOWN
            source = self._ticks.batches_after(place, size=self._batch_size)
        elif tick is None:
            # While all is quiet no append would tell that the stream has lost its end.
            top = await self._stream.top()
            if top < place:
                raise StreamBehind(top)
            return
        elif batch is not None:
            events = await self._append(batch, place)
            self._place, self._level_ms = batch.last, tick.ms
            yield events
            return
        else:
            source = self._ticks.batches_of([tick], size=self._batch_size)
        async with read_ahead(source, depth=_READ_AHEAD) as batches:
            async for batch in batches:
                if stop.is_set():
                    return
                events = await self._append(batch, place)
                place = self._place = batch.last
                yield events
        self._level_ms = tick.ms if tick else previous_ms

    async def _append(self, batch: Batch, place: Position) -> int:
        started = time.monotonic()
        done = await self._stream.append(batch, after=place)
        if done.found > place and done.events == batch.events:
            log.error("stream.foreign", found=str(done.found), expected=str(place), renumbered=0)
        log.debug(
            "batch.appended",
            first=str(batch.first),
            events=done.events,
            already=batch.events - done.events,
            took_ms=round((time.monotonic() - started) * 1000, 2),
        )
        return batch.events

    async def _find_place(self) -> Position:
        """Where the stream ends, if that is an event of ours."""
        self._level_ms = _UNKNOWN
        top = await self._stream.top()
        if top == ORIGIN or await self._is_ours(top, await self._stream.fields_at(top)):
            log.info("place.found", stream=str(top))
            return top
        return await self._continue_above(top)

    async def _is_ours(self, position: Position, fields: dict[str, str] | None) -> bool:
        event = await self._ticks.event_at(position)
        # An entry that is gone was trimmed: its ID speaks for it.
        return event is not None and (fields is None or fields == event.fields())

    async def _continue_above(self, top: Position) -> Position:
        """Go on behind entries that somebody else wrote up to *top*; where ours end before them.

        Their IDs cannot be taken back, because consumers may have read past them. So events that
        have IDs at or below *top* and are not in the stream are given new ones above it.
        """
        self._level_ms = _UNKNOWN
        self._above_ms = max(self._above_ms, top.ms)
        place = await self._last_of_ours(top)
        tick, index = await self._next_after(place)
        moved = 0
        if tick and Position.in_tick(tick.ms, index) <= top:
            moved = await self._ticks.renumber(tick, index, above_ms=top.ms)
        log.error("stream.foreign", found=str(top), expected=str(place), renumbered=moved)
        return place

    async def _last_of_ours(self, top: Position) -> Position:
        position = top
        while entries := await self._stream.before(position, _ENTRIES_AT_ONCE):
            for found, fields in entries:
                if await self._is_ours(found, fields):
                    return found
            last = entries[-1][0]
            position = Position(last.ms, last.seq - 1) if last.seq else Position(last.ms - 1, _MAX)
        return ORIGIN

    async def _next_after(self, place: Position) -> tuple[Tick | None, int]:
        """The tick that holds the event after *place*, and that event's number in it."""
        tick = await self._ticks.around(place)
        if tick and place < tick.last:
            return tick, place.index_in(tick.ms) + 1
        following = await self._ticks.after(tick.ms if tick else place.ms, limit=1)
        return (following[0], 0) if following else (None, 0)

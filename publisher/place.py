"""Where to go on in a stream: what it holds, and what it should hold."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from outbox import checkpoints
from outbox.position import ORIGIN, Position
from publisher.errors import IdentityChanged
from publisher.reports import ForeignFound, PlaceFound, StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable

    import asyncpg

    from outbox.epochs import Epochs
    from outbox.ticks import Ticks
    from publisher.reports import Report
    from publisher.stream import EventStream

_ENTRIES_AT_ONCE = 200
_HEADROOM_MS = 1000
_MAX_SEQ = 2**64 - 1


class Place(NamedTuple):
    """Everything up to *position* is in the stream, or is not meant to be."""

    position: Position
    end: Position
    """The last ID that the stream has given."""
    lost_until: Position = ORIGIN
    """Up to here the stream has held what follows the position already."""
    above_ms: int = 0
    """New ticks must be above this."""


class Places:
    """Finds the place of one stream."""

    def __init__(  # noqa: PLR0913 - each is one thing it is handed
        self,
        pool: asyncpg.Pool,
        ticks: Ticks,
        stream: EventStream,
        epochs: Epochs,
        *,
        retention_s: float,
        observe: Callable[[Report], None],
    ) -> None:
        self._pool = pool
        self._ticks = ticks
        self._stream = stream
        self._epochs = epochs
        self._retention_s = retention_s
        self._observe = observe

    async def find(self, known: Place) -> Place:
        """Where to go on, for one who had come to *known*, as far as anybody remembers.

        Raises OutboxUnavailable, StreamUnavailable, StreamRefused or IdentityChanged.
        """
        epoch = await self._epochs.newest()
        identity = await self._epochs.identity()
        if identity != epoch.identity:
            raise IdentityChanged(epoch.identity, identity)
        saved = await checkpoints.load(self._pool, self._stream.key)
        reached = max(known.position, saved.position if saved else ORIGIN)
        end = max(known.end, saved.end if saved else ORIGIN)
        top = await self._stream.top()
        ours = top if epoch.abandoned(top) else await self._last_of_ours(top)
        above_ms = top.ms + _HEADROOM_MS if ours < top else 0
        lost = top < end or (ours < min(end, reached) and ours < top)
        place = self._after_a_loss(ours, reached) if lost else max(ours, reached)
        if above_ms:
            await self._make_room(place, top, above_ms, ours)
        if lost:
            await self._say_lost(top, place, reached)
        self._observe(PlaceFound(self._stream.key, place, top))
        return Place(place, top, reached if lost else ORIGIN, above_ms)

    async def ends(self) -> tuple[Position, Position]:
        """The stream's last ID, and the last event of ours that it holds.

        Raises OutboxUnavailable, StreamUnavailable or StreamRefused.
        """
        top = await self._stream.top()
        return top, await self._last_of_ours(top)

    def _after_a_loss(self, ours: Position, reached: Position) -> Position:
        """What was published longer ago than the stream is meant to reach back stays away."""
        horizon = Position(int((time.time() - self._retention_s) * 1000), 0)
        return max(ours, min(horizon, reached))

    async def _say_lost(self, top: Position, place: Position, reached: Position) -> None:
        at_place = await self._ticks.total_at(place)
        self._observe(
            StreamLost(
                self._stream.key,
                end=top,
                after=place,
                until=reached,
                events=await self._ticks.total_at(reached) - at_place,
                beyond_retention=at_place - await self._ticks.total_at(min(top, place)),
            )
        )

    async def _make_room(
        self, place: Position, top: Position, above_ms: int, ours: Position
    ) -> None:
        """Give new IDs, above what somebody else wrote up to *top*, to what has none it can keep.

        Theirs cannot be taken back, because consumers may have read past them.
        """
        tick, index = await self._ticks.next_after(place)
        moved = 0
        if tick and Position.in_tick(tick.ms, index) <= top:
            moved = await self._ticks.renumber(tick, index, above_ms=above_ms)
        self._observe(ForeignFound(self._stream.key, found=top, ours=ours, renumbered=moved))

    async def _is_ours(self, position: Position) -> bool:
        event = await self._ticks.event_at(position)
        if event is None:
            return False
        fields = await self._stream.fields_at(position)
        # An entry that is gone was trimmed: its ID speaks for it.
        return fields is None or fields == event.fields()

    async def _last_of_ours(self, top: Position) -> Position:
        if top == ORIGIN or await self._is_ours(top):
            return top
        position = top
        while entries := await self._stream.before(position, _ENTRIES_AT_ONCE):
            first, last = entries[-1][0], entries[0][0]
            ours: dict[str, dict[str, str]] = {}
            async for batch in self._ticks.batches_after(
                _before(first), size=_ENTRIES_AT_ONCE, until=last.next
            ):
                ours |= {event.id: event.fields() for event in batch}
            for found, fields in entries:
                if ours.get(str(found)) == fields:
                    return found
            position = _before(first)
        return ORIGIN


def _before(position: Position) -> Position:
    if position.seq:
        return Position(position.ms, position.seq - 1)
    return Position(position.ms - 1, _MAX_SEQ) if position.ms else ORIGIN

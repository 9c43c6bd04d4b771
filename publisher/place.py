"""Where to go on in a stream: what it holds, and what it should hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outbox import checkpoints
from outbox.batch import WHOLE
from outbox.errors import OutboxUnreadable, StreamRefused
from outbox.position import ORIGIN, Position
from publisher.errors import IdentityChanged
from publisher.reports import ForeignFound, PlaceFound, StreamLost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import asyncpg

    from outbox.clock import ServerClock
    from outbox.epochs import Epoch, Epochs
    from outbox.event import Event
    from outbox.ticks import Ticks
    from publisher.reports import Report
    from publisher.store.stream import EventStream

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


NOWHERE = Place(ORIGIN, ORIGIN)
"""Where one is who remembers nothing."""


@dataclass(frozen=True, slots=True)
class View:
    """One stream, beside what is remembered of it."""

    top: Position
    """The last ID that it has given."""
    mark: Position
    """How far our appends have ever come, as Redis remembers it."""
    is_ours: bool
    """Whether the database knows the mark. If not, it has lost its end, or is another one."""
    ours: Position
    """The last event of ours that it holds."""
    reached: Position
    """Up to where everything has been in it, as far as anybody remembers."""
    end: Position
    """Where it ended then."""

    @property
    def is_lost(self) -> bool:
        """Whether it has lost entries."""
        return self.top < self.end or self.ours < min(self.end, self.reached, self.top)

    def place(self, horizon: Position) -> Position:
        """Where to go on, if what was published up to *horizon* need not be put back."""
        if not self.is_lost:
            return max(self.ours, self.reached)
        return max(self.ours, min(horizon, self.reached))


class Places:
    """Finds the place of one stream."""

    def __init__(  # noqa: PLR0913 - each is one thing it is handed
        self,
        pool: asyncpg.Pool,
        ticks: Ticks,
        stream: EventStream,
        epochs: Epochs,
        clock: ServerClock,
        *,
        retention_s: float,
        observe: Callable[[Report], None],
    ) -> None:
        self._pool = pool
        self._ticks = ticks
        self._stream = stream
        self._epochs = epochs
        self._clock = clock
        self._retention_s = retention_s
        self._observe = observe

    @property
    def stream(self) -> EventStream:
        """The stream whose place this is."""
        return self._stream

    @property
    def horizon(self) -> Position:
        """What is up to here is older than the stream is meant to reach back."""
        return Position(max(int((self._clock.now() - self._retention_s) * 1000), 0), 0)

    async def find(self, known: Place) -> Place:
        """Where to go on, for one who had come to *known*, as far as anybody remembers.

        Raises OutboxUnavailable, StreamUnavailable, StreamRefused or IdentityChanged.
        """
        epoch = await self._epochs.newest()
        identity, _ = await self._epochs.identity()
        view = await self.look(known, epoch)
        await self._clock.ask()
        if identity != epoch.identity or not view.is_ours:
            raise IdentityChanged(epoch.identity, identity)
        place = view.place(self.horizon)
        above_ms = view.top.ms + _HEADROOM_MS if view.ours < view.top else 0
        if above_ms:
            await self._make_room(place, view, above_ms)
        if view.is_lost:
            await self._say_lost(view, place)
        self._observe(PlaceFound(self._stream.key, place, view.top))
        return Place(place, view.top, view.reached if view.is_lost else ORIGIN, above_ms)

    async def look(self, known: Place, epoch: Epoch) -> View:
        """Look at the stream, as one who had come to *known*.

        Raises OutboxUnavailable, StreamUnavailable or StreamRefused.
        """
        top, mark = await self._stream.top(), await self._stream.mark()
        saved = await checkpoints.load(self._pool, self._stream.key)
        reached = max(known.position, saved.position if saved else ORIGIN)
        end = max(known.end, saved.end if saved else ORIGIN)
        if mark > max(*(saved or [ORIGIN]), epoch.until):
            tick = await self._ticks.around(mark)
            if tick is None or mark > tick.last:
                # Whatever ticks there are come before it.
                newest = await self._ticks.newest()
                ours = min(top, max(newest.last if newest else ORIGIN, epoch.until))
                return View(top, mark, is_ours=False, ours=ours, reached=reached, end=end)
        ours = await self._last_of_ours(top, epoch.until)
        reached, end = max(reached, mark), max(end, mark)
        return View(top, mark, is_ours=True, ours=ours, reached=reached, end=end)

    async def _say_lost(self, view: View, place: Position) -> None:
        at_place = await self._ticks.total_at(place)
        events = await self._ticks.total_at(view.reached) - at_place
        beyond = at_place - await self._ticks.total_at(min(view.ours, place))
        if events or beyond:
            self._observe(
                StreamLost(
                    self._stream.key,
                    end=view.top,
                    after=place if beyond else view.ours,
                    until=view.reached,
                    events=events,
                    beyond_retention=beyond,
                )
            )

    async def _make_room(self, place: Position, view: View, above_ms: int) -> None:
        """Give new IDs, above what somebody else wrote, to what has none that it can keep.

        Theirs cannot be taken back, because consumers may have read past them.
        """
        tick, index = await self._ticks.next_after(place)
        moved = 0
        if tick and Position.in_tick(tick.ms, index) <= view.top:
            if self._ticks.share != WHOLE:
                # Other streams may hold the events of those ticks already, under the IDs they have.
                raise StreamRefused("FOREIGN", f"FOREIGN entries up to {view.top}; see the manual")
            if view.is_lost:
                # No tick will tell then that the mark is ours.
                await checkpoints.remember_end(self._pool, self._stream.key, view.end)
            moved = await self._ticks.renumber(tick, index, above_ms=above_ms)
        self._observe(
            ForeignFound(self._stream.key, found=view.top, ours=view.ours, renumbered=moved)
        )

    async def _is_ours(self, position: Position) -> bool:
        event = await self._event_at(position)
        if event is None:
            return False
        fields = await self._stream.fields_at(position)
        # An entry that is gone was trimmed: its ID speaks for it.
        return fields is None or fields == event.fields()

    async def _last_of_ours(self, top: Position, settled: Position) -> Position:
        """At or before *top*; what is at or before *settled* is what an earlier epoch left."""
        if top <= settled or await self._is_ours(top):
            return top
        newest = await self._ticks.newest()
        position = min(top, newest.last) if newest else ORIGIN
        while entries := await self._stream.before(position, _ENTRIES_AT_ONCE):
            ours = await self._events_at([found for found, _ in entries])
            for found, fields in entries:
                if found <= settled or ours.get(found) == fields:
                    return found
            position = _before(entries[-1][0])
        return ORIGIN

    async def _events_at(self, positions: Sequence[Position]) -> dict[Position, dict[str, str]]:
        """The fields of our events at *positions*, newest first, without what cannot be read."""
        first, last = positions[-1], positions[0]
        try:
            return {
                Position.parse(event.id): event.fields()
                async for batch in self._ticks.batches_after(
                    _before(first), size=_ENTRIES_AT_ONCE, until=last.next
                )
                for event in batch
            }
        except OutboxUnreadable:
            found = {position: await self._event_at(position) for position in positions}
            return {position: event.fields() for position, event in found.items() if event}

    async def _event_at(self, position: Position) -> Event | None:
        try:
            return await self._ticks.event_at(position)
        except OutboxUnreadable:
            return None


def _before(position: Position) -> Position:
    if position.seq:
        return Position(position.ms, position.seq - 1)
    return Position(position.ms - 1, _MAX_SEQ) if position.ms else ORIGIN

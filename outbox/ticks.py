"""Making ticks, and reading the events of those that are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox import sql
from outbox.batch import Batch, Run
from outbox.connection import translated
from outbox.errors import OutboxDamaged
from outbox.tick import Tick, grouped

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import asyncpg

    from outbox.event import Event
    from outbox.position import Position
    from outbox.tick import Snapshot

_SQL = sql.load("outbox")
_TICKS_AT_ONCE = 1000
# After a long outage a tick may have tens of millions of events to count.
_COUNTING_TIMEOUT_S = 3600.0
_NOTHING = (None, None, None, None)


class Ticks:
    """The ticks of one outbox. Owns no connection: each call borrows one from *pool*."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._seen: tuple[int | None, Snapshot | None, int | None, int | None] = _NOTHING

    async def make(self, *, above_ms: int = 0) -> tuple[int | None, Tick | None]:
        """Make a tick if anything is new: (the ms of the tick before, the tick or None).

        Raises OutboxUnavailable.
        """
        previous_ms, tick, _ = await self.make_and_read(size=0, above_ms=above_ms)
        return previous_ms, tick

    async def make_and_read(
        self, *, size: int, above_ms: int = 0
    ) -> tuple[int | None, Tick | None, Batch | None]:
        """The same, with its events in the same round trip if they are at most *size*."""
        with translated():
            [row] = await self._pool.fetch(
                _SQL["make_tick"], *self._seen, above_ms, size, timeout=_COUNTING_TIMEOUT_S
            )
        if row["ms"] is None:
            self._seen = (
                row["previous_ms"],
                row["snapshot"],
                row["next_xid"],
                row["id_floor"],
            )
            return row["previous_ms"], None, None
        self._seen = _NOTHING
        tick = Tick(*(row[column] for column in Tick._fields))
        body = row["body"]
        batch = Batch((Run(tick.ms, 0, tick.events),), body) if body is not None else None
        return row["previous_ms"], tick, batch

    async def after(self, ms: int, *, limit: int = _TICKS_AT_ONCE) -> list[Tick]:
        """The ticks that follow the one at *ms*, oldest first. Raises OutboxUnavailable."""
        with translated():
            return [Tick(*row) for row in await self._pool.fetch(_SQL["ticks_after"], ms, limit)]

    async def around(self, position: Position) -> Tick | None:
        """The newest tick that begins at or before *position*. Raises OutboxUnavailable."""
        with translated():
            row = await self._pool.fetchrow(_SQL["tick_at"], position.ms)
        return Tick(*row) if row else None

    async def batches_after(self, after: Position, *, size: int) -> AsyncGenerator[Batch, None]:
        """The events of all ticks made so far that come after *after*, in order.

        A batch holds at most *size* events, whatever the size of a tick. No connection is held
        between batches. Raises OutboxUnavailable.
        """
        ms = after.ms
        tick = await self.around(after)
        if tick:
            ms = tick.ms
            async for batch in self._pages(tick, after.index_in(tick.ms) + 1, size=size):
                yield batch
        while ticks := await self.after(ms):
            async for batch in self.batches_of(ticks, size=size):
                yield batch
            ms = ticks[-1].ms

    async def batches_of(self, ticks: Sequence[Tick], *, size: int) -> AsyncGenerator[Batch, None]:
        """The events of *ticks*, which follow each other, in order. Raises OutboxUnavailable."""
        for group in grouped(ticks, size):
            if group[0].events <= size and (batch := await self._whole(group)):
                yield batch
                continue
            for tick in group:
                async for batch in self._pages(tick, 0, size=size):
                    yield batch

    async def event_at(self, position: Position) -> Event | None:
        """The event that has *position* as its ID, or None. Raises OutboxUnavailable."""
        tick = await self.around(position)
        if tick is None or position > tick.last:
            return None
        async for batch in self._pages(tick, position.index_in(tick.ms), size=1):
            event = next(iter(batch))
            return event if event.id == str(position) else None
        return None

    async def renumber(self, tick: Tick, index: int, *, above_ms: int) -> int:
        """Give new IDs to the events from number *index* of *tick* on; how many there were."""
        with translated():
            moved: int = await self._pool.fetchval(_SQL["renumber"], tick.ms, index, above_ms)
        return moved

    async def _whole(self, group: Sequence[Tick]) -> Batch | None:
        """All events of a few small ticks; None if one of them was renumbered in its middle."""
        with translated():
            rows = await self._pool.fetch(_SQL["events_of_ticks"], group[0].ms, group[-1].ms)
        if [(tick.ms, tick.events) for tick in group] != [(ms, events) for ms, events, _ in rows]:
            return None
        return Batch(
            tuple(Run(ms, 0, events) for ms, events, _ in rows),
            b"".join(body for _, _, body in rows),
        )

    async def _pages(self, tick: Tick, index: int, *, size: int) -> AsyncGenerator[Batch, None]:
        """The events of one tick from number *index* on."""
        if index >= tick.events:
            return
        skip, late = tick.first + index, 0
        if tick.late:
            with translated():
                late = await self._pool.fetchval(
                    _SQL["count_late_events"], tick.late, tick.since_floor
                )
        if skip < late:
            after_id = await self._id_at("late_id_at", skip, tick.late, tick.since_floor)
            each = max(size // len(tick.late), 1)
            while index < tick.events:
                count, after_id, body = await self._page(
                    "late_events", tick.late, after_id, tick.since_floor, each, tick.events - index
                )
                if not count:
                    break
                yield Batch((Run(tick.ms, index, count),), body)
                index += count
        span = (tick.id_top, tick.snapshot, tick.since)
        after_id = tick.since_floor
        if skip > late:
            after_id = await self._id_at("new_id_at", skip - late, tick.since_floor, *span)
        while index < tick.events:
            count, after_id, body = await self._page(
                "new_events", after_id, *span, min(size, tick.events - index)
            )
            if not count:
                raise OutboxDamaged(
                    f"tick {tick.ms} has {tick.events} events, but {index} are left"
                )
            yield Batch((Run(tick.ms, index, count),), body)
            index += count

    async def _page(self, statement: str, *arguments: object) -> asyncpg.Record:
        with translated():
            [row] = await self._pool.fetch(_SQL[statement], *arguments)
        return row

    async def _id_at(self, statement: str, number: int, *arguments: object) -> int:
        """The id of the event before number *number* of its part; 0 before the first."""
        if number == 0:
            return 0
        with translated():
            found: int = await self._pool.fetchval(_SQL[statement], *arguments, number - 1)
        return found

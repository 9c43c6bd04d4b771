"""Making ticks, and reading the events of those that are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox import sql
from outbox.batch import WHOLE, Batch, Run
from outbox.connection import translated
from outbox.errors import OutboxDamaged, OutboxUnreadable
from outbox.pages import Page, SharedPage
from outbox.position import ORIGIN, Position
from outbox.tick import Tick, aligned, grouped, without_last_group

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Hashable, Sequence

    import asyncpg

    from outbox.batch import Share
    from outbox.event import Event
    from outbox.pages import Pages, Row
    from outbox.tick import Snapshot

_SQL = sql.load("outbox")
_TICKS_AT_ONCE = 1000
_MOST_TICKS_AT_ONCE = 10_000
# After a long outage a tick may have tens of millions of events to count.
_COUNTING_TIMEOUT_S = 3600.0
_END = Position(2**63 - 1, 0)
_NOTHING = (None, None, None, None)


class Ticks:
    """The ticks of one outbox, and of their events *share*.

    Owns no connection: each call borrows one from *pool*. With *pages* it reads together with
    those of other shares that were handed the same.
    """

    def __init__(
        self, pool: asyncpg.Pool, share: Share = WHOLE, pages: Pages | None = None
    ) -> None:
        self._pool = pool
        self._pages = pages
        self.share = share
        self._seen: tuple[int | None, Snapshot | None, int | None, int | None] = _NOTHING
        self._settled_for: str | None = None

    async def make(self, *, above_ms: int = 0) -> tuple[int | None, Tick | None]:
        """Make a tick if anything is new: (the ms of the tick before, the tick or None).

        Raises OutboxUnavailable.
        """
        previous_ms, tick, _ = await self.make_and_read(size=0, above_ms=above_ms)
        return previous_ms, tick

    async def make_and_read(
        self, *, size: int, above_ms: int = 0, settled_for: str | None = None
    ) -> tuple[int | None, Tick | None, Batch | None]:
        """The same, with its events in the same round trip if they are at most *size*.

        *settled_for*: the incarnation of the outbox that it must still be. Raises OutboxReplaced
        when it is not.
        """
        if settled_for != self._settled_for:
            # What was seen in another cluster means nothing in this one.
            self._settled_for, self._seen = settled_for, _NOTHING
        try:
            with translated():
                [row] = await self._pool.fetch(
                    _SQL["make_tick"],
                    *self._seen,
                    above_ms,
                    size,
                    settled_for,
                    timeout=_COUNTING_TIMEOUT_S,
                )
        except OutboxUnreadable:
            # One of its events cannot be packed. The tick is made all the same, to find which.
            if size == 0:
                raise
            return await self.make_and_read(size=0, above_ms=above_ms, settled_for=settled_for)
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
        if row["body"] is None:
            return row["previous_ms"], tick, None
        runs = (Run(tick.ms, 0, tick.events),)
        return row["previous_ms"], tick, Batch(runs, row["body"], tick.last, row["largest"])

    async def after(self, ms: int, *, limit: int = _TICKS_AT_ONCE) -> list[Tick]:
        """The ticks that follow the one at *ms*, oldest first. Raises OutboxUnavailable."""
        with translated():
            return [Tick(*row) for row in await self._pool.fetch(_SQL["ticks_after"], ms, limit)]

    async def oldest(self) -> Position:
        """The first place from which everything that follows can still be read.

        ORIGIN as long as nothing was dropped. Raises OutboxUnavailable.
        """
        with translated():
            row = await self._pool.fetchrow(_SQL["oldest_tick"])
        return Position(row["ms"], 0) if row and row["total_before"] else ORIGIN

    async def around(self, position: Position) -> Tick | None:
        """The newest tick that begins at or before *position*. Raises OutboxUnavailable."""
        with translated():
            row = await self._pool.fetchrow(_SQL["tick_at"], position.ms)
        return Tick(*row) if row else None

    async def batches_after(
        self, after: Position, *, size: int, until: Position | None = None
    ) -> AsyncGenerator[Batch, None]:
        """The events of all ticks made so far that come after *after*, and before *until*.

        In order; a batch holds at most *size* events, whatever the size of a tick. No connection
        is held between batches. Raises OutboxUnavailable or OutboxDamaged.
        """
        ms = after.ms
        tick = await self.around(after)
        if tick:
            ms = tick.ms
            index = after.index_in(tick.ms) + 1
            async for batch in self._parts(tick, index, _stop(tick, until), size=size):
                yield batch
        while ticks := await self._following(ms, size):
            whole = [tick for tick in ticks if _stop(tick, until) == tick.events]
            async for batch in self.batches_of(whole, size=size):
                yield batch
            if len(whole) < len(ticks):
                cut = ticks[len(whole)]
                async for batch in self._parts(cut, 0, _stop(cut, until), size=size):
                    yield batch
                return
            ms = ticks[-1].ms

    async def batches_of(self, ticks: Sequence[Tick], *, size: int) -> AsyncGenerator[Batch, None]:
        """The events of *ticks*, which follow each other, in order. Raises OutboxUnavailable."""
        groups = grouped if self.share == WHOLE else aligned
        for group in groups(ticks, size):
            if group[0].events <= size and (batch := await self._whole(group, size)):
                yield batch
                continue
            for tick in group:
                async for batch in self._parts(tick, 0, tick.events, size=size):
                    yield batch

    async def event_at(self, position: Position) -> Event | None:
        """The event that has *position* as its ID, or None. Raises OutboxUnavailable."""
        tick = await self.around(position)
        if tick is None or position > tick.last:
            return None
        index = position.index_in(tick.ms)
        async for batch in self._parts(tick, index, index + 1, size=1):
            for event in batch:
                return event if event.id == str(position) else None
        return None

    async def newest(self) -> Tick | None:
        """The last tick that was made. Raises OutboxUnavailable."""
        return await self.around(_END)

    async def next_after(self, place: Position) -> tuple[Tick | None, int]:
        """The tick that holds the event after *place*, and that event's number in it.

        Raises OutboxUnavailable.
        """
        tick = await self.around(place)
        if tick and place < tick.last:
            return tick, place.index_in(tick.ms) + 1
        following = await self.after(tick.ms if tick else place.ms, limit=1)
        return (following[0], 0) if following else (None, 0)

    async def total_at(self, position: Position) -> int:
        """How many events there are up to *position*, since the outbox began.

        Up to the oldest tick that is kept, when *position* is before that. Raises
        OutboxUnavailable.
        """
        tick = await self.around(position)
        if tick is None:
            with translated():
                before: int = await self._pool.fetchval(_SQL["total_before_the_first"])
            return before
        return tick.total_before + min(tick.events, position.index_in(tick.ms) + 1)

    async def renumber(self, tick: Tick, index: int, *, above_ms: int) -> int:
        """Give new IDs to the events from number *index* of *tick* on; how many there were."""
        with translated():
            moved: int = await self._pool.fetchval(_SQL["renumber"], tick.ms, index, above_ms)
        return moved

    async def _following(self, ms: int, size: int) -> list[Tick]:
        """Some of the ticks that follow the one at *ms*; whole groups, where they are aligned."""
        if self.share == WHOLE:
            return await self.after(ms)
        limit = min(max(size, _TICKS_AT_ONCE), _MOST_TICKS_AT_ONCE)
        ticks = await self.after(ms, limit=limit)
        return without_last_group(ticks, size) if len(ticks) == limit else ticks

    async def _whole(self, group: Sequence[Tick], size: int) -> Batch | None:
        """All events of a few small ticks; None if one of them was renumbered in its middle."""
        page = await self._page("events_of_ticks", group[0].ms, group[-1].ms, size=size, of=group)
        if [(tick.ms, tick.events) for tick in group] != [
            (row["ms"], row["events"]) for row in page.rows
        ]:
            return None
        return self._batch(page, [(row["ms"], 0, row) for row in page.rows], group[-1].last)

    async def _parts(
        self, tick: Tick, index: int, stop: int, *, size: int
    ) -> AsyncGenerator[Batch, None]:
        """The events of one tick from number *index* up to and without number *stop*.

        Cut at the multiples of *size*, wherever they begin.
        """
        if index >= stop:
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
            late_xids = tuple(tick.late)
            while index < stop:
                limit = min(size - index % size, stop - index)
                page = await self._page(
                    "late_events", late_xids, after_id, tick.since_floor, each, limit, size=size
                )
                [row] = page.rows
                if not row["events"]:
                    break
                after_id = row["last_id"]
                yield self._batch_in(tick, index, page)
                index += row["events"]
        span = (tick.id_top, tick.snapshot, tick.since)
        after_id = tick.since_floor
        if skip > late:
            after_id = await self._id_at("new_id_at", skip - late, tick.since_floor, *span)
        while index < stop:
            limit = min(size - index % size, stop - index)
            page = await self._page("new_events", after_id, *span, limit, size=size)
            [row] = page.rows
            if not row["events"]:
                raise OutboxDamaged(
                    f"tick {tick.ms} has {tick.events} events, but {index} are left"
                )
            after_id = row["last_id"]
            yield self._batch_in(tick, index, page)
            index += row["events"]

    async def _page(
        self, statement: str, *arguments: Hashable, size: int, of: Sequence[Tick] = ()
    ) -> Page:
        """What *statement* finds; *of* the ticks that it looks up itself."""
        if self.share == WHOLE:
            with translated():
                rows = await self._pool.fetch(_SQL[statement], *arguments)
            body = b"".join(row["body"] or b"" for row in rows)
            return Page(rows, body, max((row["largest"] or 0 for row in rows), default=0))

        async def read(numbers: Collection[int]) -> SharedPage:
            with translated():
                rows = await self._pool.fetch(
                    _SQL[f"shared_{statement}"], *arguments, numbers, self.share.of
                )
            return SharedPage(rows)

        number = self.share.number
        if self._pages is None or size < self.share.of:
            # Too small to be of use to all: event by event, for example, to find the one at fault.
            return (await read([number])).of(number)
        # What a tick holds may change: it is renumbered, or lost in a failover and made again.
        content = tuple((tick.ms, tick.first, tick.events, tick.snapshot) for tick in of)
        return await self._pages.take(number, (statement, arguments, content), read)

    def _batch_in(self, tick: Tick, index: int, page: Page) -> Batch:
        """The one batch of a *page* that begins with event *index* of *tick*."""
        [row] = page.rows
        reached = Position.in_tick(tick.ms, index + row["events"] - 1)
        return self._batch(page, [(tick.ms, index, row)], reached)

    def _batch(self, page: Page, rows: Sequence[tuple[int, int, Row]], reached: Position) -> Batch:
        """All of *page*; of each of its *rows* the ms of its tick and its first number."""
        mark = self.share.number
        if self.share == WHOLE:
            runs = [Run(ms, index, row["events"]) for ms, index, row in rows]
        else:
            runs = [
                Run(ms, index, row["events"], row["marked"], mark)
                for ms, index, row in rows
                if mark in row["marked"]
            ]
        return Batch(tuple(runs), page.body, reached, page.largest)

    async def _id_at(self, statement: str, number: int, *arguments: object) -> int:
        """The id of the event before number *number* of its part; 0 before the first."""
        if number == 0:
            return 0
        with translated():
            found: int = await self._pool.fetchval(_SQL[statement], *arguments, number - 1)
        return found


def _stop(tick: Tick, until: Position | None) -> int:
    """How many of the events of *tick* come before *until*."""
    if until is None:
        return tick.events
    return min(tick.events, max(until.index_in(tick.ms), 0))

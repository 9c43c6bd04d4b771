"""How many committed events lie between two positions, by the totals that ticks keep."""

from __future__ import annotations

from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.batch import Share
from outbox.connection import translated
from outbox.errors import OutboxDamaged, OutboxUnreadable
from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Iterable

    import asyncpg

_SQL = sql.load("publisher")
_MAX_SEQ = 2**64 - 1
_MAX_MS = 2**63 - 1
_COUNT_AT_MOST = 200
_LOOK_AT_ONCE = 200
_LOOKS = 5

END = Position(_MAX_MS, 0)
"""After every event."""


class Count(NamedTuple):
    """How many events."""

    events: int = 0
    exact: bool = True
    """Otherwise an estimate: the partition's even share of all events."""


class Distances:
    """Counts the events of each of *partitions* streams.

    Ticks count the events of all partitions together. What one of several partitions has of them
    is counted by reading them where they are few, and estimated where they are many.
    """

    def __init__(self, pool: asyncpg.Pool, partitions: int) -> None:
        self._pool = pool
        self._partitions = partitions
        self._totals: dict[Position, int] = {}

    async def learn(self, positions: Iterable[Position]) -> None:
        """Ask for the totals at *positions*, all at once. Raises OutboxUnavailable."""
        asked: dict[int, list[Position]] = {}
        for position in set(positions) - self._totals.keys():
            asked.setdefault(min(position.ms, _MAX_MS), []).append(position)
        with translated():
            rows = await self._pool.fetch(_SQL["ticks_at"], list(asked))
        for row in rows:
            for position in asked[row["asked_ms"]]:
                within = 0
                if row["ms"] is not None:
                    within = min(row["events"], position.index_in(row["ms"]) + 1)
                self._totals[position] = row["total_before"] + within

    def total(self, position: Position) -> int:
        """How many events of all partitions there are up to *position*, which was learnt."""
        return self._totals[position]

    async def between(self, number: int, after: Position, until: Position) -> Count:
        """Events of stream *number* after *after* and up to *until*, both learnt.

        Raises OutboxUnavailable.
        """
        of_all = max(self.total(until) - self.total(after), 0)
        if of_all == 0 or self._partitions == 1:
            return Count(of_all)
        if of_all <= _COUNT_AT_MOST:
            with suppress(OutboxDamaged, OutboxUnreadable):
                batches = self._ticks(number).batches_after(
                    after, size=_COUNT_AT_MOST, until=until.next
                )
                return Count(sum([batch.events async for batch in batches]))
        if await self.first_written_ms(number, after, until=until.next) is None:
            # As far as can be seen, all of them are in other partitions.
            return Count(0, exact=False)
        return Count(of_all // self._partitions, exact=False)

    async def missed(self, number: int, key: str, after: Position, first: Position) -> Count:
        """Events of stream *number* after *after* that are gone: *first* is what it holds first.

        *after* and what is before *first* were learnt. Raises OutboxUnavailable.
        """
        count = await self.between(number, after, before(first))
        if count.events == 0:
            return count
        with translated():
            never_there = await self._pool.fetchval(
                _SQL["count_dead_letters_between"],
                *(key, after.ms, after.seq, first.ms, first.seq),
            )
        return Count(max(count.events - never_there, 0), count.exact)

    async def first_written_ms(
        self, number: int, after: Position, until: Position | None = None
    ) -> int | None:
        """When the first event of stream *number* after *after*, before *until*, was written.

        None if there is none among the next thousand. Raises OutboxUnavailable.
        """
        ticks, looks = self._ticks(number), _LOOKS
        size = _LOOK_AT_ONCE if self._partitions > 1 else 1
        try:
            async with aclosing(ticks.batches_after(after, size=size, until=until)) as batches:
                async for batch in batches:
                    looks -= 1
                    if batch.events:
                        return batch.oldest_at_ms
                    if not looks:
                        break
        except (OutboxDamaged, OutboxUnreadable):
            tick, _ = await ticks.next_after(after)
            return tick.ms if tick else None
        return None

    def _ticks(self, number: int) -> Ticks:
        return Ticks(self._pool, Share(number, self._partitions))


def before(position: Position) -> Position:
    """The highest position below *position*."""
    if position.seq:
        return Position(position.ms, position.seq - 1)
    return Position(position.ms - 1, _MAX_SEQ) if position.ms else ORIGIN

"""Walking along the outbox and its streams together, noting what differs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from outbox import sql
from outbox.connection import translated
from outbox.position import ORIGIN, Position
from publisher.audit import comparison
from publisher.audit.comparison import Absence, Findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from outbox.event import Event
    from publisher.audit.comparison import Stretch
    from publisher.audit.pages import Ends, Entry, Pages

_SQL = sql.load("publisher")
_KEPT = 100
_SPARE = 100  # entries more than expected that a page has room for


@dataclass(slots=True)
class Side:
    """One stream, and how far it has been compared."""

    pages: Pages
    done: Position
    """Up to where it had everything once, as was noted before its end was looked at."""
    ends: Ends
    """As they were at the start; nothing beyond is looked at."""
    cursor: Position = ORIGIN


@dataclass(slots=True)
class Audit:
    """What was found so far. Holds one batch of events and one page of entries at a time."""

    pool: asyncpg.Pool
    sides: Sequence[Side]
    """In the order of their partitions."""
    stretches: Sequence[Stretch]
    dead: frozenset[Position]
    """Set aside: not among the events."""
    findings: Findings = field(default_factory=lambda: Findings(_KEPT))
    absent: Counter[Absence] = field(default_factory=Counter)
    events: int = 0
    equal: int = 0

    async def compare(self, events: Sequence[Event]) -> None:
        """Compare *events*, which follow those before, with the same stretch of each stream.

        Raises OutboxUnavailable, StreamUnavailable or StreamRefused.
        """
        self.events += len(events)
        until = Position.parse(events[-1].id)
        for side, share in zip(self.sides, await self._shares(events), strict=True):
            await self._compare(side, share, until, elsewhere=events)

    async def finish(self) -> None:
        """See what the streams hold after the last event."""
        for side in self.sides:
            await self._compare(side, [], side.ends.last, elsewhere=[])

    async def _shares(self, events: Sequence[Event]) -> list[Sequence[Event]]:
        if len(self.sides) == 1:
            return [events]
        with translated():
            numbers = await self.pool.fetch(
                _SQL["partitions_of"], [event.entity_id for event in events], len(self.sides)
            )
        shares: list[list[Event]] = [[] for _ in self.sides]
        for event, (number,) in zip(events, numbers, strict=True):
            shares[number].append(event)
        return [*shares]

    async def _compare(
        self, side: Side, events: Sequence[Event], until: Position, *, elsewhere: Sequence[Event]
    ) -> None:
        """*events* are all that this stream should hold after its cursor and up to *until*."""
        until = min(until, side.ends.last)
        due = comparison.up_to(events, until)
        beyond = events[due:]
        events = events[:due]
        while side.cursor < until:
            size = len(events) + _SPARE
            entries = await side.pages.read(side.cursor, until, size)
            full = len(entries) == size
            side.cursor = Position.parse(entries[-1].id) if full else until
            here = comparison.up_to(events, side.cursor)
            await self._match(side, events[:here], entries, elsewhere)
            events = events[here:]
        self._absent(side, beyond, side.ends, [])

    async def _match(
        self,
        side: Side,
        events: Sequence[Event],
        entries: Sequence[Entry],
        elsewhere: Sequence[Event],
    ) -> None:
        match = comparison.match(events, entries)
        self.equal += match.equal
        if match.absent:
            self._absent(side, match.absent, await side.pages.ends(), entries)
        key = side.pages.key
        others = {event.id: event for event in elsewhere} if match.extra else {}
        self.findings.add(comparison.other_content(*pair, key) for pair in match.differing)
        self.findings.add(comparison.out_of_order(entry, key) for entry in match.unordered)
        self.findings.add(
            comparison.surplus(
                entry,
                key,
                stretches=self.stretches,
                dead=self.dead,
                elsewhere=others.get(entry.id),
            )
            for entry in match.extra
        )

    def _absent(
        self, side: Side, events: Sequence[Event], now: Ends, entries: Sequence[Entry]
    ) -> None:
        for event in events:
            position = Position.parse(event.id)
            why = comparison.absence(position, side.ends, side.done, now, entries)
            if isinstance(why, Absence):
                self.absent[why] += 1
            else:
                self.findings.add([comparison.missing(event, side.pages.key, side.ends, side.done)])

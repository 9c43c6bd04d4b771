"""A tick: a stored snapshot, and which events are its own."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Snapshot: TypeAlias = tuple[int, int, tuple[int, ...]]
"""(xmin, xmax, transactions in progress), as asyncpg reads and writes a pg_snapshot."""


class Tick(NamedTuple):
    """One row of outbox.tick: its events are those visible in *snapshot* and not in *since*."""

    ms: int
    since: Snapshot
    since_floor: int
    late: list[int]
    snapshot: Snapshot
    id_top: int
    first: int
    events: int
    total_before: int

    @property
    def last(self) -> Position:
        """Where its last event stands."""
        return Position.in_tick(self.ms, self.events - 1)


def grouped(ticks: Iterable[Tick], size: int) -> Iterator[list[Tick]]:
    """Consecutive ticks of together at most *size* events; a larger one comes alone."""
    group: list[Tick] = []
    events = 0
    for tick in ticks:
        if group and events + tick.events > size:
            yield group
            group, events = [], 0
        group.append(tick)
        events += tick.events
    if group:
        yield group


def aligned(ticks: Iterable[Tick], size: int) -> Iterator[list[Tick]]:
    """The same, cut where the running total passes a multiple of *size*.

    So it does not matter with which tick they begin; one that lies across comes alone.
    """

    def stretch(tick: Tick) -> tuple[int, int]:
        return tick.total_before // size, (tick.total_before + tick.events - 1) // size

    for _, group in groupby(ticks, stretch):
        yield list(group)


def without_last_group(ticks: Sequence[Tick], size: int) -> list[Tick]:
    """*ticks* up to where the last of their aligned groups begins, unless it is the only one."""
    *groups, last = aligned(ticks, size)
    return [tick for group in groups for tick in group] or last

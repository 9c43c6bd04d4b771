"""What is committed and not in the streams yet: how much, and for how long."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from outbox import checkpoints, sql
from outbox.connection import translated
from outbox.errors import StreamRefused, StreamUnavailable
from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from outbox.ticks import Ticks
    from publisher.stream import EventStream

_SQL = sql.load("publisher")


class Backlog(NamedTuple):
    """What waits. With several partitions an upper bound: counted from the one that is last."""

    events: int
    oldest_s: float | None
    """None when nothing waits."""
    dead_letters: int


async def look(pool: asyncpg.Pool, ticks: Ticks, streams: Sequence[EventStream]) -> Backlog:
    """Count what waits. While Redis is away, from the checkpoints. Raises OutboxUnavailable."""
    place = min([await _place(pool, stream) for stream in streams])
    with translated():
        newest = await pool.fetchrow(_SQL["newest_tick"])
        [waiting] = await pool.fetch(_SQL["not_in_a_tick"])
        letters = await pool.fetchval(_SQL["count_dead_letters"])
    ticked = newest["total"] - await ticks.total_at(place) if newest else 0
    return Backlog(
        events=max(ticked, 0) + waiting["events"],
        oldest_s=await _oldest_s(ticks, place, waiting["oldest_age_s"]),
        dead_letters=letters,
    )


async def _place(pool: asyncpg.Pool, stream: EventStream) -> Position:
    saved = await checkpoints.load(pool, stream.key)
    place = saved.position if saved else ORIGIN
    with suppress(StreamUnavailable, StreamRefused):
        top = await stream.top()
        # A stream that ends before its checkpoint has lost entries: those wait again.
        place = top if saved and top < saved.end else max(place, top)
    return place


async def _oldest_s(ticks: Ticks, place: Position, unticked_s: float | None) -> float | None:
    source = ticks.batches_after(place, size=1)
    try:
        async for batch in source:
            return max(time.time() - batch.oldest_at_ms / 1000, 0.0)
    finally:
        await source.aclose()
    return unticked_s

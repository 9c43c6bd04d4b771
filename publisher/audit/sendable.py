"""What of the outbox is meant to be in a stream: everything but dead letters."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from outbox import sql
from outbox.connection import translated
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    import asyncpg

    from outbox.batch import Batch
    from outbox.ticks import Ticks

_SQL = sql.load("publisher")


async def dead_between(pool: asyncpg.Pool, after: Position, until: Position) -> list[Position]:
    """What was set aside of the events after *after*, *until* included, in order.

    Raises OutboxUnavailable.
    """
    with translated():
        rows = await pool.fetch(
            _SQL["dead_letters_between"], after.ms, after.seq, until.ms, until.seq
        )
    return [Position(row["ms"], row["seq"]) for row in rows]


async def batches(
    ticks: Ticks, after: Position, until: Position, dead: Sequence[Position], *, size: int
) -> AsyncGenerator[Batch, None]:
    """The events after *after*, *until* included, without those at *dead*, in order.

    Dead letters are read around: one may be such that PostgreSQL cannot hand it over. Raises
    OutboxUnavailable, OutboxDamaged or OutboxUnreadable.
    """
    for stop in [*dead, until.next]:
        async with aclosing(ticks.batches_after(after, size=size, until=stop)) as source:
            async for batch in source:
                yield batch
        after = stop

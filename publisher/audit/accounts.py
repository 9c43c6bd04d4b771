"""Whether the ticks account for every row of the outbox, once and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox import sql
from outbox.connection import translated
from outbox.tick import grouped
from publisher.audit.comparison import Difference, Kind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import asyncpg

    from outbox.tick import Tick
    from outbox.ticks import Ticks

_SQL = sql.load("publisher")
_EVENTS_AT_ONCE = 100_000
_TIMEOUT_S = 3600.0
_NAMED = "rows of outbox.event"


async def unaccounted(pool: asyncpg.Pool, first: Tick, last: Tick) -> tuple[Difference, int] | None:
    """How many rows, committed between two ticks, are in none of them; None when they add up.

    Each tick, when it is read, has as many events as it says; so a row in two ticks would show
    here as well. Raises OutboxUnavailable.
    """
    # Where a tick was renumbered in its middle, *first* may be its second part.
    counted = last.total_before + last.events - (first.total_before - first.first)
    with translated():
        rows = await pool.fetchval(
            _SQL["rows_between_snapshots"],
            *(first.since, first.since_floor, last.snapshot),
            timeout=_TIMEOUT_S,
        )
    if rows == counted:
        return None
    detail = f"{rows:,} rows, but the ticks {first.ms} to {last.ms} have {counted:,} events"
    return Difference(Kind.NO_TICK, "", _NAMED, detail), abs(rows - counted)


async def disorders(
    pool: asyncpg.Pool, ticks: Ticks, first: Tick, last: Tick
) -> AsyncGenerator[tuple[int, list[Difference]], None]:
    """Changes that stand after a later one of the same entity.

    A stretch of ticks at a time, with how many events it has. Raises OutboxUnavailable.
    """
    ms = first.ms - 1
    while some := [tick for tick in await ticks.after(ms) if tick.ms <= last.ms]:
        for group in grouped(some, _EVENTS_AT_ONCE):
            with translated():
                rows = await pool.fetch(
                    _SQL["disorder_in_ticks"], group[0].ms, group[-1].ms, timeout=_TIMEOUT_S
                )
            yield sum(tick.events for tick in group), [_disorder(row) for row in rows]
        ms = some[-1].ms


def _disorder(row: asyncpg.Record) -> Difference:
    detail = (
        f"{row['entity']} {row['entity_id']}: row {row['id']}, in tick {row['ms']}, stands after"
        f" row {row['later_id']}, which was written later"
    )
    return Difference(Kind.ENTITY_ORDER, str(row["ms"]), "", detail)

"""Rows of the outbox, as they were written, and where in the ticks they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.connection import translated
from outbox.event import Event, timestamp
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import asyncpg

    from outbox.tick import Tick
    from outbox.ticks import Ticks

_SQL = sql.load("publisher")
_ROWS_AT_ONCE = 50_000
_SPLITS_AT_ONCE = 20


class Row(NamedTuple):
    """One row of outbox.event, without its payload."""

    id: int
    xid: int
    """The transaction that wrote it."""
    at: datetime
    entity: str
    entity_id: str
    operation: str
    traceparent: str | None
    payload_bytes: int


class Place(NamedTuple):
    """Where a row is in the ticks."""

    tick: Tick
    number: int
    """Of the event in the tick, from 0."""

    @property
    def position(self) -> Position:
        """Its ID."""
        return Position.in_tick(self.tick.ms, self.number)


class Search(NamedTuple):
    """The newest rows of an entity, and how far was looked for them."""

    rows: list[Row]
    """The newest first."""
    back_to: datetime | None
    """Rows written before that were not looked at; None when all were."""


async def row_at(pool: asyncpg.Pool, place: Place) -> Row | None:
    """The row at *place*; None when it is kept no longer. Raises OutboxUnavailable."""
    with translated():
        row = await pool.fetchrow(_SQL["row_of_tick"], place.tick.ms, place.number)
    return Row(*row) if row else None


async def event_of(pool: asyncpg.Pool, row: Row, position: Position) -> Event | None:
    """*row*, which has *position* as its ID, as the stream should hold it; None when it is gone.

    Raises OutboxUnavailable.
    """
    with translated():
        rest = await pool.fetchrow(_SQL["rest_of_row"], row.id)
    if rest is None:
        return None
    return Event(
        str(position),
        *(row.entity, row.entity_id, row.operation),
        timestamp(rest["at_ms"]),
        *(rest["payload"], row.traceparent or ""),
    )


async def newest_of(  # noqa: PLR0913 - what, how many, how long
    pool: asyncpg.Pool,
    entity_id: str,
    entity: str | None,
    *,
    count: int,
    within_s: float,
    watch: Callable[[int, int], None],
) -> Search:
    """The newest *count* rows of an entity, as far back as can be looked *within_s*.

    *watch* is told how many of how many rows were looked at. Raises OutboxUnavailable.
    """
    started = time.monotonic()
    with translated():
        [(oldest, newest)] = await pool.fetch(_SQL["ids_of_rows"])
    rows: list[Row] = []
    top = newest
    while top >= oldest and len(rows) < count:
        below = top - _ROWS_AT_ONCE
        with translated():
            found = await pool.fetch(
                _SQL["rows_of_entity"], entity_id, entity, below, top, count - len(rows)
            )
        rows += [Row(*row) for row in found]
        top = below
        watch(newest - max(top, oldest), newest - oldest)
        if time.monotonic() - started > within_s and len(rows) < count and top >= oldest:
            with translated():
                return Search(rows, await pool.fetchval(_SQL["time_of_row"], top + 1))
    return Search(rows, None)


class Unplaced(NamedTuple):
    """A row is in no tick that there is."""

    is_past: bool
    """Its tick is kept no longer; otherwise no tick sees it yet."""


async def places_of(
    pool: asyncpg.Pool, ticks: Ticks, rows: Sequence[Row]
) -> list[Place | Unplaced]:
    """Where each of *rows* is. Raises OutboxUnavailable."""
    with translated():
        found = await pool.fetch(_SQL["tick_of_transactions"], [row.xid for row in rows])
    ms_of = {record["xid"]: record["ms"] for record in found}
    return [await _place_of(pool, ticks, row, ms_of.get(row.xid)) for row in rows]


async def _place_of(pool: asyncpg.Pool, ticks: Ticks, row: Row, ms: int | None) -> Place | Unplaced:
    if not ms:
        return Unplaced(is_past=ms == 0)
    with translated():
        number: int = await pool.fetchval(_SQL["number_in_tick"], ms, row.id)
    first = await ticks.around(Position(ms, 0))
    parts = [first] if first else []
    # A tick that was renumbered in its middle goes on in the ones behind it.
    parts += await ticks.after(ms, limit=_SPLITS_AT_ONCE)
    for tick in parts:
        if tick.first <= number < tick.first + tick.events and tick.snapshot == parts[0].snapshot:
            return Place(tick, number - tick.first)
    return Unplaced(is_past=False)

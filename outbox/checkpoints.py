"""How far each reader of the ticks has come, kept in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox import sql
from outbox.connection import translated
from outbox.position import Position

if TYPE_CHECKING:
    import asyncpg

_SQL = sql.load("outbox")


async def save(pool: asyncpg.Pool, name: str, position: Position) -> None:
    """Note that *name* has done everything up to *position*; it never moves back.

    Raises OutboxUnavailable.
    """
    with translated():
        await pool.execute(_SQL["save_checkpoint"], name, position.ms, position.seq)


async def load(pool: asyncpg.Pool, name: str) -> Position | None:
    """How far *name* has come, or None. Raises OutboxUnavailable."""
    with translated():
        row = await pool.fetchrow(_SQL["load_checkpoint"], name)
    return Position(row["ms"], row["seq"]) if row else None

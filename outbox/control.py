"""Whether publishing is paused, by whom, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.connection import translated

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

_SQL = sql.load("outbox")
_TIMEOUT_S = 2.0


class Paused(NamedTuple):
    """Publishing is paused."""

    at: datetime
    by: str
    reason: str


async def paused(pool: asyncpg.Pool) -> Paused | None:
    """The pause that is on, or None. Raises OutboxUnavailable."""
    with translated():
        row = await pool.fetchrow(_SQL["paused"], timeout=_TIMEOUT_S)
    return Paused(*row) if row else None


async def pause(pool: asyncpg.Pool, *, by: str, reason: str) -> None:
    """Stop publishing, in every process, until it is resumed. Raises OutboxUnavailable."""
    with translated():
        await pool.execute(_SQL["pause"], by, reason)


async def resume(pool: asyncpg.Pool) -> Paused | None:
    """Publish again; the pause that was on, or None. Raises OutboxUnavailable."""
    with translated():
        row = await pool.fetchrow(_SQL["resume"])
    return Paused(*row) if row else None

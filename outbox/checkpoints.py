"""How far each reader of the ticks has come, kept in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.connection import translated
from outbox.errors import LeaseLost
from outbox.position import Position

if TYPE_CHECKING:
    import asyncpg

    from outbox.leases import Lease

_SQL = sql.load("outbox")


class Checkpoint(NamedTuple):
    """Everything up to *position* is done."""

    position: Position
    end: Position
    """Where the reader's stream ended then; ORIGIN for a reader that has none."""


async def save(pool: asyncpg.Pool, lease: Lease, checkpoint: Checkpoint) -> None:
    """Note how far the holder of *lease* has come.

    Raises OutboxUnavailable; LeaseLost when somebody else holds the lease by now.
    """
    position, end = checkpoint
    with translated():
        moved = await pool.fetchval(
            _SQL["move_checkpoint"],
            *(lease.name, lease.holder, lease.epoch),
            *(position.ms, position.seq, end.ms, end.seq),
        )
    if not moved:
        raise LeaseLost(f"the lease on {lease.name} is somebody else's by now")


async def remember_end(pool: asyncpg.Pool, name: str, end: Position) -> None:
    """Note that the stream *name* has come to *end*. Raises OutboxUnavailable."""
    with translated():
        await pool.execute(_SQL["remember_end"], name, end.ms, end.seq)


async def load(pool: asyncpg.Pool, name: str) -> Checkpoint | None:
    """How far *name* has come, or None. Raises OutboxUnavailable."""
    with translated():
        row = await pool.fetchrow(_SQL["load_checkpoint"], name)
    if row is None:
        return None
    return Checkpoint(Position(row["ms"], row["seq"]), Position(row["end_ms"], row["end_seq"]))

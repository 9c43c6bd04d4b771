"""What may be in an event's way, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox import control, sql
from outbox.connection import translated

if TYPE_CHECKING:
    import asyncpg

    from outbox.position import Position

_SQL = sql.load("publisher")


async def dead_letter(pool: asyncpg.Pool, position: Position) -> str | None:
    """Why the event at *position* was set aside, if it was. Raises OutboxUnavailable."""
    with translated():
        row = await pool.fetchrow(_SQL["dead_letter_at"], position.ms, position.seq)
    if row is None:
        return None
    settled = f"; {row['settled_by']} {row['settled_at']:%F %T %Z}" if row["settled_at"] else ""
    times = f"after {row['attempts']} attempts" if row["attempts"] > 1 else "at once"
    return f"set aside {row['set_aside_at']:%F %T %Z} {times}: {row['reason']}{settled}"


async def of_publisher(pool: asyncpg.Pool, stream: str, event: Position | None) -> list[str]:
    """What keeps the publisher of *stream*, and with it *event*, from getting on.

    Raises OutboxUnavailable.
    """
    with translated():
        lease = await pool.fetchrow(_SQL["lease_on"], stream)
        attempts = await pool.fetchval(_SQL["attempts_at"], stream, str(event))
    found = []
    if paused := await control.paused(pool):
        at = f"{paused.at:%F %T %Z}"
        found.append(f"publishing was paused {at} by {paused.by}: {paused.reason} (make resume)")
    if lease is None or not lease["held"]:
        found.append(f"no publisher holds the lease on {stream}: is one running?")
    else:
        found.append(f"published by process {lease['pid']} on {lease['host']}")
        if lease["reason"]:
            found.append(f"held up since {lease['since']:%F %T %Z}: {lease['reason']}")
    if attempts:
        found.append(f"it was tried alone {attempts} times")
    return found

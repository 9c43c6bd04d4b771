"""Events that could not be published, and the attempts that were made."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.batch import WHOLE
from outbox.connection import translated
from outbox.position import Position

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

    from outbox.batch import Share
    from outbox.tick import Tick

_SQL = sql.load("outbox")


class DeadLetter(NamedTuple):
    """An event that was set aside, without its payload."""

    ms: int
    seq: int
    stream: str
    at: datetime
    entity: str
    entity_id: str
    operation: str
    bytes: int
    """Of the payload."""
    reason: str
    attempts: int
    set_aside_at: datetime

    @property
    def position(self) -> Position:
        """The ID that it had, which stays unused."""
        return Position(self.ms, self.seq)


class DeadLetters:
    """What one stream's events were set aside for."""

    def __init__(self, pool: asyncpg.Pool, stream: str, share: Share = WHOLE) -> None:
        self._pool = pool
        self._stream = stream
        self._share = share

    async def after(self, position: Position) -> list[Position]:
        """The IDs after *position* that stay unused, ascending. Raises OutboxUnavailable."""
        with translated():
            rows = await self._pool.fetch(
                _SQL["dead_letters_after"], self._stream, position.ms, position.seq
            )
        return [Position(row["ms"], row["seq"]) for row in rows]

    async def count_start(self, place: Position) -> int:
        """Count that publishing begins at *place* after a holder that did not let go.

        How many times in a row it did. Raises OutboxUnavailable.
        """
        with translated():
            starts: int = await self._pool.fetchval(_SQL["count_start"], self._stream, str(place))
        return starts

    async def count_attempt(self, event: Position) -> int:
        """Count, before it is made, an attempt at *event* alone; how many that makes."""
        with translated():
            attempts: int = await self._pool.fetchval(
                _SQL["count_attempt"], self._stream, str(event)
            )
        return attempts

    async def forget_attempts(self) -> None:
        """The last one failed for another reason than the event. Raises OutboxUnavailable."""
        with translated():
            await self._pool.execute(_SQL["forget_attempts"], self._stream)

    async def set_aside(self, tick: Tick, index: int, *, reason: str, attempts: int) -> bool:
        """Keep event number *index* of *tick* as a dead letter, if it is one of the stream's.

        Whether it was, and was none before. Raises OutboxUnavailable.
        """
        position = Position.in_tick(tick.ms, index)
        with translated():
            kept = await self._pool.fetchval(
                _SQL["set_aside"],
                *(self._stream, reason, tick.ms, index, position.ms, position.seq, attempts),
                *(self._share.number, self._share.of),
            )
        return kept is not None


async def waiting(pool: asyncpg.Pool) -> list[DeadLetter]:
    """All that are neither requeued nor discarded, oldest first. Raises OutboxUnavailable."""
    with translated():
        return [DeadLetter(*row) for row in await pool.fetch(_SQL["dead_letters"])]


async def requeue(pool: asyncpg.Pool, position: Position, *, by: str) -> bool:
    """Write the event once more, to get a new ID; whether it was waiting."""
    with translated():
        done: bool = await pool.fetchval(_SQL["requeue"], position.ms, position.seq, by)
    return done


async def discard(pool: asyncpg.Pool, position: Position, *, by: str) -> bool:
    """Give the event up; whether it was waiting."""
    with translated():
        done = await pool.fetchval(_SQL["discard"], position.ms, position.seq, by)
    return done is not None

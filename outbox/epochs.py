"""Epochs: which history of which cluster the positions belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.connection import translated
from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    import asyncpg

_SQL = sql.load("outbox")


class Identity(NamedTuple):
    """Which cluster, and on which timeline of its write-ahead log."""

    system_identifier: int
    timeline: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """A history: positions in (*after*, *until*] belong to the one before it, and are abandoned."""

    number: int
    identity: Identity
    after: Position
    until: Position

    def abandoned(self, position: Position) -> bool:
        """Whether *position* stands in the stretch that was abandoned when this epoch began."""
        return self.after < position <= self.until


BEFORE_THE_FIRST = Epoch(0, Identity(0, 0), ORIGIN, ORIGIN)


class Epochs:
    """The epochs of one outbox."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def identity(self) -> Identity:
        """Of the cluster that answers now. Raises OutboxUnavailable."""
        with translated():
            [row] = await self._pool.fetch(_SQL["identity"])
        return Identity(row["system_identifier"], row["timeline"])

    async def newest(self) -> Epoch:
        """The epoch that we are in; number 0 before the first. Raises OutboxUnavailable."""
        with translated():
            row = await self._pool.fetchrow(_SQL["newest_epoch"])
        if row is None:
            return BEFORE_THE_FIRST
        number, system_identifier, timeline, after_ms, after_seq, until_ms, until_seq = row
        return Epoch(
            number,
            Identity(system_identifier, timeline),
            Position(after_ms, after_seq),
            Position(until_ms, until_seq),
        )

    async def open(
        self, known: Epoch, *, by: str, after: Position, until: Position, rehome: bool = False
    ) -> bool:
        """Begin the epoch that follows *known*; False when somebody else has begun one meanwhile.

        *after*: the last event of ours that a stream holds; *until*: where the streams end.
        *rehome*: another cluster, whose transaction numbers are not those of the events. What was
        not published is written anew, the rest is dropped. Raises OutboxUnavailable.
        """
        with translated():
            opened: bool = await self._pool.fetchval(
                _SQL["open_epoch"],
                *(known.number, by, after.ms, after.seq, until.ms, until.seq, rehome),
            )
        return opened

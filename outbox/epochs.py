"""Epochs: which history of which cluster the positions belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.connection import translated
from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    from collections.abc import Mapping

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


BEFORE_THE_FIRST = Epoch(0, Identity(0, 0), ORIGIN, ORIGIN)


class Epochs:
    """The epochs of one outbox."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def identity(self) -> tuple[Identity, str]:
        """Of the cluster that answers now, and its incarnation, see `Ticks.make`.

        Raises OutboxUnavailable, also for a standby.
        """
        with translated():
            [row] = await self._pool.fetch(_SQL["identity"])
        return Identity(row["system_identifier"], row["timeline"]), row["incarnation"]

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

    async def open(self, known: Epoch, *, by: str, after: Position, until: Position) -> bool:
        """Begin the epoch that follows *known*; False when somebody else has begun one meanwhile.

        *after*: the last event that this database and the streams have in common; *until*: how far
        the streams have come, as far as they know. Raises OutboxUnavailable.
        """
        with translated():
            moved = await self._pool.fetchval(
                _SQL["open_epoch"], *(known.number, by, after.ms, after.seq, until.ms, until.seq)
            )
        return moved is not None

    async def rehome(
        self,
        known: Epoch,
        *,
        by: str,
        after: Position,
        until: Position,
        places: Mapping[str, Position],
    ) -> int | None:
        """The same in another cluster, whose transaction numbers are not those of the events.

        Events behind their stream's place are written anew, to get new IDs; the others are
        dropped, and so are all ticks. *places* are those of all streams, in the order of the
        partitions. How many events were written anew; None when somebody else has begun an epoch
        meanwhile. Raises OutboxUnavailable.
        """
        with translated():
            moved: int | None = await self._pool.fetchval(
                _SQL["rehome"],
                *(known.number, by, after.ms, after.seq, until.ms, until.seq),
                list(places),
                [place.ms for place in places.values()],
                [place.seq for place in places.values()],
            )
        return moved

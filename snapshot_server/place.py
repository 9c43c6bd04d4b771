"""Where the feed stands, and how far that is behind the newest tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.connection import translated
from outbox.errors import OutboxUnavailable
from outbox.position import Position

if TYPE_CHECKING:
    import asyncpg

_SQL = sql.load("snapshot_server")
_SEQ_BITS = 20
# Probes wait for it.
_TIMEOUT_S = 3.0


class FeedPlace(NamedTuple):
    """What one look finds."""

    version: int | None
    """None: the feed is not built yet."""
    newest: int | None
    """The version of the newest tick's last event; None if there was no tick yet."""
    lag_events: int
    lag_s: float
    """Age of the oldest tick that the feed has not reached; 0 if it has reached all."""
    series: int
    episodes: int

    @property
    def is_built(self) -> bool:
        """There is something to serve."""
        return self.version is not None

    @property
    def position(self) -> Position | None:
        """The feed's version, as clients see it."""
        return None if self.version is None else position_of(self.version)


def position_of(version: int) -> Position:
    """The position that *version* is the number of."""
    return Position(version >> _SEQ_BITS, version & ((1 << _SEQ_BITS) - 1))


async def find(pool: asyncpg.Pool) -> FeedPlace:
    """Look now. Raises OutboxUnavailable, or OutboxMissing."""
    with translated():
        row = await pool.fetchrow(_SQL["feed_place"], timeout=_TIMEOUT_S)
    if row is None:
        raise OutboxUnavailable("PostgreSQL had no answer to a question that always has one")
    return FeedPlace(**row)

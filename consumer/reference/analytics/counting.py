"""Counts per entity, operation and minute; each event once, whatever happens in between."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from consumer.keeping import database
from consumer.keeping.inbox import Inbox
from outbox import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from consumer.event import Event

GROUP = "analytics"
_SQL = sql.load("consumer.reference.analytics")


class Counting:
    """Counts events in the database of *pool*. Raises DatabaseUnavailable."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._inbox = Inbox(pool, GROUP)

    async def prepare(self) -> None:
        """Make the tables unless they are there."""
        await self._inbox.prepare()
        await database.prepare(self._pool, "consumer.reference.analytics", "analytics.event_count")

    async def count(self, events: Sequence[Event]) -> None:
        """Count those of *events* that are not counted yet: the counts and that, or neither."""
        async with self._inbox.applying_all(events) as (connection, left):
            if left:
                await connection.execute(
                    _SQL["add"],
                    [_written_at(event) for event in left],
                    [event.entity for event in left],
                    [event.operation for event in left],
                )


def _written_at(event: Event) -> datetime:
    try:
        return datetime.fromisoformat(event.timestamp)
    except ValueError:
        # Somebody else's entry: a batch that fails of it would fail for ever.
        return datetime.fromtimestamp(event.position.ms / 1000, UTC)

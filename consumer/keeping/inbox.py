"""The inbox: an event's effect in the consumer's own PostgreSQL, exactly once.

    async with inbox.applying(event) as connection:
        if connection is not None:
            await connection.execute("UPDATE …")

The handler's writes and the mark that the event was applied are one transaction.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from consumer.keeping import database
from consumer.keeping.applied import still_to_apply
from consumer.keeping.database import STATEMENTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from consumer.event import Event


class Applying(NamedTuple):
    """A transaction, and what is to be done in it."""

    connection: PoolConnectionProxy
    events: list[Event]
    """In order, without those that were applied before."""


class Inbox:
    """What *group* has applied in the database of *pool*, which stays the caller's.

    An event is applied no more when it, or a newer one of the same entity, was applied before.
    """

    def __init__(self, pool: asyncpg.Pool, group: str) -> None:
        self._pool = pool
        self._group = group

    async def prepare(self) -> None:
        """Make the tables unless they are there. Raises DatabaseUnavailable."""
        await database.prepare(self._pool)

    @asynccontextmanager
    async def applying(self, event: Event) -> AsyncIterator[PoolConnectionProxy | None]:
        """A connection in a transaction, for the effect of *event*; None if there is none left.

        It commits at the end of the block, and an exception leaves neither effect nor mark. Raises
        DatabaseUnavailable, also where the connection is lost inside of the block.
        """
        async with database.transaction(self._pool) as connection:
            marked = await connection.fetchval(
                STATEMENTS["mark"], self._group, event.entity, event.entity_id, event.version
            )
            yield None if marked is None else connection

    @asynccontextmanager
    async def applying_all(self, events: Sequence[Event]) -> AsyncIterator[Applying]:
        """The same for several events at once, in one transaction."""
        async with database.transaction(self._pool) as connection:
            rows = await connection.fetch(
                STATEMENTS["mark_all"],
                self._group,
                [event.entity for event in events],
                [event.entity_id for event in events],
                [event.version for event in events],
            )
            before = {(row["entity"], row["entity_id"]): row["before"] for row in rows}
            yield Applying(connection, still_to_apply(events, before))

"""The tables as of a tick: a transaction that sees what the snapshot of a tick sees."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

from outbox import sql
from outbox.connection import translated
from outbox.errors import OutboxUnavailable
from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

_SQL = sql.load("outbox")
_MAKING_TIMEOUT_S = 3600.0


class AsOf(NamedTuple):
    """A connection in a transaction that sees the tables as they are at *position*."""

    position: Position
    """The last event of the newest tick; ORIGIN where none was ever made."""
    connection: asyncpg.Connection | PoolConnectionProxy


@asynccontextmanager
async def at_newest_tick(
    pool: asyncpg.Pool, *, settled_for: str | None = None
) -> AsyncIterator[AsOf]:
    """See the tables at the newest tick; one is made if anything was committed since the last.

    What the block does is REPEATABLE READ, and ends with it. Raises OutboxUnavailable, and
    OutboxReplaced where this is not the incarnation that was *settled_for*.
    """
    async with _borrowed(pool) as reader:
        async with _borrowed(pool) as maker:
            with translated():
                making = maker.transaction()
                await making.start()
                try:
                    position, exported = await _newest(maker, settled_for)
                    # Imported while the tick's transaction is open: a snapshot ends with the one
                    # that exported it. The tick is durable before anybody sees its position.
                    seeing = reader.transaction(isolation="repeatable_read")
                    await seeing.start()
                    await reader.execute(_SQL["see"].format(snapshot=exported))
                except BaseException:
                    await making.rollback()
                    raise
                await making.commit()
        try:
            yield AsOf(position, reader)
        except BaseException:
            with translated():
                await seeing.rollback()
            raise
        with translated():
            await seeing.commit()


async def _newest(
    maker: asyncpg.Connection | PoolConnectionProxy, settled_for: str | None
) -> tuple[Position, str]:
    row = await maker.fetchrow(_SQL["make_tick_to_see"], settled_for, timeout=_MAKING_TIMEOUT_S)
    if row is None:
        raise OutboxUnavailable("make_tick() answered nothing")
    if row["ms"] is not None:
        return Position.in_tick(row["ms"], row["events"] - 1), row["exported"]
    if row["previous_ms"] is None:
        return ORIGIN, row["exported"]
    # Nothing was committed since: at that tick the tables were as they are now.
    events = await maker.fetchval(_SQL["events_in_tick"], row["previous_ms"])
    return Position.in_tick(row["previous_ms"], events - 1), row["exported"]


@asynccontextmanager
async def _borrowed(pool: asyncpg.Pool) -> AsyncIterator[PoolConnectionProxy]:
    with translated():
        connection = await pool.acquire()
    try:
        yield connection
    finally:
        with translated():
            await pool.release(connection)

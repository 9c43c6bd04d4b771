"""The consumer's own PostgreSQL: its tables, and what its errors mean."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from typing import TYPE_CHECKING

import asyncpg

from consumer.errors import DatabaseUnavailable
from outbox import sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from asyncpg.pool import PoolConnectionProxy

STATEMENTS = sql.load("consumer.keeping")

_CONNECT_TIMEOUT_S = 5.0
_COMMAND_TIMEOUT_S = 60.0


def pool(url: str, *, most: int) -> asyncpg.Pool:
    """A pool that connects when it is first used, so that a server may still be away."""
    return asyncpg.create_pool(
        url,
        min_size=0,
        max_size=most,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_COMMAND_TIMEOUT_S,
        server_settings={"application_name": "catalog-consumer"},
    )


async def prepare(
    pool: asyncpg.Pool,
    package: str = "consumer.keeping",
    table: str = "catalog_consumer.checkpoint",
) -> None:
    """Make the tables of *package* unless the last of them, *table*, is there.

    If it is, no right to make one is needed. Raises DatabaseUnavailable.
    """
    with translated():
        if await pool.fetchval(STATEMENTS["is_there"], table):
            return
        text = resources.files(package).joinpath("tables.sql").read_text("utf-8")
        async with pool.acquire() as connection:
            await connection.execute(STATEMENTS["begin_to_prepare"])
            try:
                await connection.execute(text)
            finally:
                await connection.execute(STATEMENTS["end_to_prepare"])


_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
)
_AWAY_OR_WRONG = (
    asyncpg.InterfaceError,
    # While a lost connection goes back to the pool, asyncpg trips over its own state.
    asyncpg.InternalClientError,
    OSError,
)
"""From a connection that is gone; or from a handler that gives a value which does not fit."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise DatabaseUnavailable for what may pass."""
    try:
        yield
    except (*_AWAY, *_AWAY_OR_WRONG) as exc:
        raise DatabaseUnavailable(f"PostgreSQL is away: {exc or type(exc).__name__}") from exc


class _OfTheBlock(Exception):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


@asynccontextmanager
async def transaction(pool: asyncpg.Pool) -> AsyncIterator[PoolConnectionProxy]:
    """A transaction that commits at the end of the block. Raises DatabaseUnavailable.

    What a block raises stays what it is, unless the connection is gone.
    """
    error: Exception | None = None
    try:
        with translated():
            # Whatever the default is: in stricter ones, to have waited for a row is an error.
            async with (
                pool.acquire() as connection,
                connection.transaction(isolation="read_committed"),
            ):
                try:
                    yield connection
                except _AWAY_OR_WRONG as exc:
                    if connection.is_closed():
                        raise
                    raise _OfTheBlock(exc) from None
    except _OfTheBlock as wrapped:
        error = wrapped.error
    if error is not None:
        raise error

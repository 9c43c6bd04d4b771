"""The consumer's own PostgreSQL: its tables, and what its errors mean."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING

import asyncpg

from consumer.errors import DatabaseUnavailable
from outbox import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

STATEMENTS = sql.load("consumer")

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
    pool: asyncpg.Pool, package: str = "consumer", table: str = "catalog_consumer.checkpoint"
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


@contextmanager
def translated() -> Iterator[None]:
    """Raise DatabaseUnavailable for what may pass."""
    try:
        yield
    except (
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.TransactionRollbackError,
        asyncpg.LockNotAvailableError,
        asyncpg.InterfaceError,
        # While a lost connection goes back to the pool, asyncpg trips over its own state.
        asyncpg.InternalClientError,
        OSError,
    ) as exc:
        raise DatabaseUnavailable(f"PostgreSQL is away: {exc or type(exc).__name__}") from exc

"""The server's connections to PostgreSQL: bulk reads have a pool of their own."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

from outbox import connection
from snapshot_server.connections import leave_as_it_is

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CONNECT_TIMEOUT_S = 5.0
_BULK_TIMEOUT_S = 60.0
_UNARY_TIMEOUT_S = 10.0
_BULK = max(1, (os.cpu_count() or 1) // 2)
"""More pages at once are no faster, and leave no processor to single items."""
_UNARY = 4
_CLOSE_TIMEOUT_S = 1.0


@asynccontextmanager
async def closing(pool: asyncpg.Pool) -> AsyncIterator[asyncpg.Pool]:
    """Close *pool* at the end, and wait for PostgreSQL no longer than a process can that ends."""
    await pool
    try:
        yield pool
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(pool.close(), _CLOSE_TIMEOUT_S)


def bulk(database_url: str) -> asyncpg.Pool:
    """For pages of syncs. Each is read in one go, in milliseconds, so a few serve many clients."""
    return _pool(database_url, _BULK, _BULK_TIMEOUT_S, "catalog-snapshot-bulk")


def unary(database_url: str) -> asyncpg.Pool:
    """For what must not wait behind syncs: single items, and health."""
    return _pool(database_url, _UNARY, _UNARY_TIMEOUT_S, "catalog-snapshot")


def _pool(database_url: str, size: int, timeout_s: float, name: str) -> asyncpg.Pool:
    """A pool that connects when it is first used, so that PostgreSQL may still be away."""
    return asyncpg.create_pool(
        database_url,
        min_size=0,
        max_size=size,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=timeout_s,
        reset=leave_as_it_is,
        server_settings=connection.SETTINGS | {"application_name": name},
    )

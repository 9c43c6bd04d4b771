"""How the connections to PostgreSQL are opened."""

from __future__ import annotations

import asyncpg

from outbox import connection

_CONNECT_TIMEOUT_S = 5.0
_COMMAND_TIMEOUT_S = 60.0
# A process that is frozen in the middle of a pass would keep its row locks from the next one.
_FROZEN_MS = "15000"


def projector_pool(database_url: str) -> asyncpg.Pool:
    """For a projector; it connects when it is first used."""
    return asyncpg.create_pool(
        database_url,
        min_size=0,
        # One makes a tick, one sees the tables at it, one writes, one reads ahead; the lease.
        max_size=6,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_COMMAND_TIMEOUT_S,
        reset=leave_as_it_is,
        server_settings=connection.SETTINGS
        | {
            "application_name": "catalog-projector",
            "idle_in_transaction_session_timeout": _FROZEN_MS,
        },
    )


def bulk_pool(database_url: str) -> asyncpg.Pool:
    """For the pages of syncs. Few do: a connection is held while a page is read, and not sent."""
    return _reading_pool(database_url, "catalog-snapshot-bulk", max_size=4)


def unary_pool(database_url: str) -> asyncpg.Pool:
    """For all that is small and must not wait for a page."""
    return _reading_pool(database_url, "catalog-snapshot", max_size=8)


def _reading_pool(database_url: str, name: str, *, max_size: int) -> asyncpg.Pool:
    return asyncpg.create_pool(
        database_url,
        min_size=0,
        max_size=max_size,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_COMMAND_TIMEOUT_S,
        reset=leave_as_it_is,
        server_settings=connection.SETTINGS | {"application_name": name},
    )


def audit_pool(database_url: str) -> asyncpg.Pool:
    """For a comparison of the feed with the tables; it connects when it is first used."""
    return asyncpg.create_pool(
        database_url,
        min_size=0,
        # One makes a tick, one sees the tables at it, one sees the feed.
        max_size=3,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_COMMAND_TIMEOUT_S,
        server_settings=connection.SETTINGS | {"application_name": "catalog-snapshot-diff"},
    )


async def leave_as_it_is(_: asyncpg.Connection) -> None:
    """Nothing to reset: we leave no state behind, and a reset is a round trip for each call."""

"""How the publisher's connections to PostgreSQL are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg

from outbox import connection

if TYPE_CHECKING:
    from publisher.settings import Settings

_CONNECT_TIMEOUT_S = 5.0
_COMMAND_TIMEOUT_S = 60.0


def postgres_pool(settings: Settings) -> asyncpg.Pool:
    """A pool that connects when it is first used, so that a server may still be away."""
    return asyncpg.create_pool(
        settings.database_url,
        min_size=0,
        # A worker for each partition, what they read ahead, and the rest.
        max_size=settings.partitions + 5,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_COMMAND_TIMEOUT_S,
        reset=_leave_as_it_is,
        server_settings=connection.SETTINGS | {"application_name": "catalog-publisher"},
    )


async def _leave_as_it_is(_: asyncpg.Connection) -> None:
    """Nothing to reset: we leave no state behind, and a reset is a round trip for each call."""


async def postgres_listener(settings: Settings) -> asyncpg.Connection:
    """One connection outside the pool, to listen on. Raises asyncpg's errors."""
    return await asyncpg.connect(
        settings.database_url,
        timeout=_CONNECT_TIMEOUT_S,
        command_timeout=_CONNECT_TIMEOUT_S,
        server_settings={"application_name": "catalog-publisher-bell"},
    )

"""How the publisher's connections are opened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from outbox import connection

if TYPE_CHECKING:
    from publisher.settings import Settings

_CONNECT_TIMEOUT_S = 5.0
_COMMAND_TIMEOUT_S = 60.0
_APPEND_TIMEOUT_S = 15.0


def postgres_pool(settings: Settings) -> asyncpg.Pool:
    """A pool that connects when it is first used, so that a server may still be away."""
    return asyncpg.create_pool(
        settings.database_url,
        min_size=0,
        max_size=4,
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


def redis_client(settings: Settings) -> Redis:
    """A client that never sends a command twice: whether an append was applied is for us to ask."""
    return Redis.from_url(
        settings.redis_url,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=_CONNECT_TIMEOUT_S,
        socket_timeout=_APPEND_TIMEOUT_S,
        decode_responses=True,
        # An entry of somebody else's may hold any bytes.
        encoding_errors="backslashreplace",
    )

"""The servers that a command works on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outbox.ticks import Ticks
from process.redis import connection as redis_connection
from publisher.store import connections
from publisher.store.stream import EventStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg
    from redis.asyncio import Redis

    from publisher.settings import Settings


@dataclass(frozen=True, slots=True)
class Servers:
    """Both servers, for the length of one command."""

    pool: asyncpg.Pool
    redis: Redis
    ticks: Ticks
    streams: list[EventStream]
    """One for each partition."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Servers]:
    """Connections that open when they are first used."""
    async with (
        connections.postgres_pool(settings) as pool,
        redis_connection.client(settings.redis_url) as redis,
    ):
        streams = [EventStream(redis, key) for key in settings.stream_keys]
        yield Servers(pool, redis, Ticks(pool), streams)

"""Attempts are counted for the event that is to blame, and for no other."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest
from publishing import KEY, LIMITS, OnePass, entries, outbox_pool, write
from redis.asyncio import Redis

from outbox.errors import StreamRefused
from process.redis import connection as redis_connection

GO_ON = asyncio.Event()
"""Never set."""


@pytest.fixture
async def pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    async with outbox_pool(database) as pool:
        yield pool


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    settings = {"DATABASE_URL": "postgresql://", "REDIS_URL": redis_url}
    async with redis_connection.client(settings["REDIS_URL"]) as client:
        yield client


async def test_an_event_is_never_given_up_because_the_stream_refuses(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, redis: Redis
) -> None:
    # All of it is larger than a batch may be, so each event is tried alone.
    relay = OnePass(pool, client, limits=replace(LIMITS, max_batch_bytes=1))
    await write(connection, "a", 3)
    await redis.config_set("maxmemory", "1")
    try:
        for _ in range(LIMITS.max_attempts + 2):
            with pytest.raises(StreamRefused, match="OOM"):
                await relay.publish(GO_ON)
    finally:
        await redis.config_set("maxmemory", "0")
    assert await relay.publish(GO_ON) == 3
    assert len(await entries(redis, KEY)) == 3
    assert await connection.fetchval("SELECT count(*) FROM outbox.dead_letter") == 0


async def test_an_event_on_which_the_process_dies_is_given_up_after_its_attempts(
    connection: asyncpg.Connection, pool: asyncpg.Pool, client: Redis, redis: Redis
) -> None:
    await write(connection, "before")
    await OnePass(pool, client).publish(GO_ON)
    await write(connection, "poison")
    await write(connection, "after")
    starts = 0
    while len(await entries(redis)) < 2:
        starts += 1
        assert starts < 3 * LIMITS.max_attempts
        dying = Dying(pool, client, after_a_crash=starts > 1)
        if await dying.publish_until_it_dies():
            break
    assert [fields["entityId"] for _, fields in await entries(redis)] == ["before", "after"]
    [letter] = await connection.fetch("SELECT entity_id, reason FROM outbox.dead_letter")
    assert letter["entity_id"] == "poison"
    assert (
        letter["reason"] == f"the publisher ended {LIMITS.max_attempts} times while publishing it"
    )


class Died(BaseException):
    """As a process dies: nothing after it is run."""


class Dying(OnePass):
    """A process that does not outlive appending the poison."""

    def __init__(self, pool: asyncpg.Pool, client: Redis, *, after_a_crash: bool) -> None:
        super().__init__(pool, DyingClient(client), after_a_crash=after_a_crash)  # type: ignore[arg-type]

    async def publish_until_it_dies(self) -> bool:
        """Whether it lived."""
        try:
            await self.publish(GO_ON)
        except Died:
            return False
        return True


class DyingClient:
    """The client of such a process."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def __getattr__(self, name: str) -> object:
        """Everything else is as it was."""
        return getattr(self._client, name)

    async def evalsha(self, *arguments: object) -> object:
        if any(isinstance(one, bytes) and b"poison" in one for one in arguments):
            raise Died
        return await self._client.evalsha(*arguments)  # type: ignore[arg-type]

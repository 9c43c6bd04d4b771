"""What a server refuses to append is nowhere, and is appended when it is willing again."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from appending import batch, client_of
from publishing import KEY
from redis.asyncio import Redis

from embedded.valkey import Valkey
from outbox.errors import StreamRefused, StreamUnavailable
from outbox.position import ORIGIN, Position
from publisher.errors import StreamBehind
from publisher.store.stream import EventStream

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def server(each_redis_server: Valkey) -> Valkey:
    return each_redis_server


@pytest.fixture
async def redis(each_redis_url: str) -> AsyncIterator[Redis]:
    """A client as the publisher's is, on a server without a key or a script."""
    async with client_of(each_redis_url) as client:
        yield client


@pytest.fixture
def stream(redis: Redis) -> EventStream:
    return EventStream(redis, KEY)


async def command(client: Any, *words: object, **options: bool) -> Any:  # noqa: ANN401
    """Commands that redis-py has no types for."""
    return await client.execute_command(*words, **options)


async def refused(stream: EventStream, *, after: Position) -> str:
    """The reason that the server gives for not appending one more event."""
    with pytest.raises(StreamRefused) as found:
        await stream.append(batch((after.ms, after.seq + 1, 3)), after=after)
    return found.value.reason


async def test_a_key_of_another_type_is_refused(stream: EventStream, redis: Redis) -> None:
    await redis.set(KEY, "mine")
    assert await refused(stream, after=ORIGIN) == "WRONGTYPE"
    with pytest.raises(StreamRefused) as top:
        await stream.top()
    assert top.value.reason == "WRONGTYPE"
    assert await redis.get(KEY) in ("mine", b"mine")


async def test_a_full_server_refuses_and_takes_it_up_again(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN)
    await redis.config_set("maxmemory", "1")
    try:
        assert await refused(stream, after=Position(5, 2)) == "OOM"
    finally:
        await redis.config_set("maxmemory", "0")
    assert await redis.xlen(KEY) == 3
    assert (await stream.append(batch((5, 3, 3)), after=Position(5, 2))).events == 3


async def test_a_replica_refuses_and_takes_it_up_when_it_is_promoted(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 3)), after=ORIGIN)
    await command(redis, "REPLICAOF", "127.0.0.1", "1")
    try:
        assert await refused(stream, after=Position(5, 2)) == "READONLY"
    finally:
        await command(redis, "REPLICAOF", "NO", "ONE")
    assert await redis.xlen(KEY) == 3
    assert (await stream.append(batch((5, 3, 3)), after=Position(5, 2))).events == 3


@pytest.mark.parametrize(
    "rights", ["~other +@all", "~* +@all -evalsha", "~* -@all +ping", "~* +@all -xadd"]
)
async def test_a_user_without_the_right_is_refused(
    server: Valkey, redis: Redis, rights: str
) -> None:
    await EventStream(redis, KEY).append(batch((5, 0, 3)), after=ORIGIN)
    name = f"publisher-{secrets.token_hex(4)}"
    await command(redis, "ACL", "SETUSER", name, "on", ">secret", *rights.split())
    async with client_of(f"{server.url}?username={name}&password=secret") as limited:
        assert await refused(EventStream(limited, KEY), after=Position(5, 2)) == "NOPERM"
    assert await redis.xlen(KEY) == 3


async def test_a_wrong_password_is_refused(server: Valkey, redis: Redis) -> None:
    assert await redis.ping()
    async with client_of(f"{server.url}?username=nobody&password=wrong") as stranger:
        assert await refused(EventStream(stranger, KEY), after=ORIGIN) == "WRONGPASS"


async def test_scripts_that_were_flushed_are_loaded_again(
    stream: EventStream, redis: Redis
) -> None:
    await stream.append(batch((5, 0, 1)), after=ORIGIN)
    await redis.script_flush()
    assert (await stream.append(batch((5, 1, 1)), after=Position(5, 0))).events == 1


async def test_a_killed_server_is_away_and_works_again_when_it_is_back(
    server: Valkey, redis: Redis
) -> None:
    stream = EventStream(redis, KEY)
    await stream.append(batch((5, 0, 1)), after=ORIGIN)
    await asyncio.to_thread(server.kill)
    for _ in range(2):
        with pytest.raises(StreamUnavailable):
            await stream.append(batch((5, 1, 1)), after=Position(5, 0))
        with pytest.raises(StreamUnavailable):
            await stream.top()
    await asyncio.to_thread(server.start)
    # It kept nothing, as a cache does not: neither the stream nor the script.
    with pytest.raises(StreamBehind) as behind:
        await stream.append(batch((5, 1, 1)), after=Position(5, 0))
    assert behind.value.top == ORIGIN
    assert (await stream.append(batch((5, 0, 2)), after=ORIGIN)).events == 2


async def test_an_append_whose_answer_is_lost_is_not_sent_again(
    server: Valkey, redis: Redis
) -> None:
    stream = EventStream(redis, KEY)
    await stream.append(batch((5, 0, 1)), after=ORIGIN)
    async with Redis.from_url(server.url) as other:
        await command(other, "CLIENT", "PAUSE", 60_000, "WRITE")
        try:
            appending = asyncio.create_task(stream.append(batch((5, 1, 1)), after=Position(5, 0)))
            async with asyncio.timeout(10):
                while b"cmd=evalsha" not in await command(other, "CLIENT", "LIST"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await command(other, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            with pytest.raises(StreamUnavailable):
                await appending
        finally:
            await command(other, "CLIENT", "UNPAUSE")
    assert await redis.xlen(KEY) == 1
    assert (await stream.append(batch((5, 1, 1)), after=Position(5, 0))).events == 1

"""The proxy itself: it knows the messages of both servers, and breaks where it is told to."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from faulty_proxy import Address, Cut, FaultyProxy, Message
from redis.asyncio import Redis
from redis.exceptions import RedisError
from wire import PostgresTalk, RedisTalk, Side

from embedded.postgres import Postgres
from embedded.valkey import Valkey

MANY = b"x" * 300_000


async def connected(database: str, at: Address) -> asyncpg.Connection:
    """A connection to *database* through a proxy *at* this folder, or host and port."""
    host, port = (str(at), 5432) if isinstance(at, Path) else at
    return await asyncpg.connect(database, host=host, port=port)


async def test_redis_is_spoken_to_as_if_there_were_no_proxy(
    valkey_server: Valkey, redis_url: str, tmp_path: Path
) -> None:
    assert redis_url == valkey_server.url
    proxy = FaultyProxy(RedisTalk, valkey_server.socket_path)
    async with proxy.listening(tmp_path / "s"), Redis.from_url(f"unix://{tmp_path}/s") as redis:
        await redis.set("k", MANY)
        assert await redis.get("k") == MANY
        raw: Any = redis
        assert b"XINFO" in (await raw.execute_command("XINFO HELP"))[0]
        async with raw.pipeline() as several:
            several.get("k").get("absent").hset("h", mapping={"a": "b"}).hgetall("h")
            assert await several.execute() == [MANY, None, 1, {b"a": b"b"}]


@pytest.mark.parametrize("over", ["tcp", "unix"])
async def test_messages_have_names_and_a_side(
    valkey_server: Valkey, tmp_path: Path, over: str
) -> None:
    seen = list[tuple[Side, str]]()

    async def note(message: Message) -> None:
        seen.append((message.side, message.name))
        await message.pass_on()

    proxy = FaultyProxy(RedisTalk, valkey_server.socket_path, note)
    at = tmp_path / "s" if over == "unix" else ("127.0.0.1", 0)
    async with proxy.listening(at) as where:
        url = f"unix://{where}" if isinstance(where, Path) else "redis://{}:{}".format(*where)
        async with Redis.from_url(url) as redis:
            await redis.ping()
            seen.clear()
            await redis.get("k")
    assert seen == [(Side.CLIENT, "GET"), (Side.SERVER, "GET")]


async def test_postgres_is_spoken_to_as_if_there_were_no_proxy(
    postgres_server: Postgres, database: str, tmp_path: Path
) -> None:
    proxy = FaultyProxy(PostgresTalk, postgres_server.socket_path)
    async with proxy.listening(tmp_path / ".s.PGSQL.5432"):
        connection = await connected(database, tmp_path)
        try:
            assert await connection.fetchval("SELECT $1::bytea", MANY) == MANY
            assert await connection.fetchval("SELECT count(*) FROM outbox.event") == 0
        finally:
            await connection.close()


async def test_a_question_for_tls_is_a_message_too(
    postgres_server: Postgres, database: str
) -> None:
    seen = list[str]()

    async def note(message: Message) -> None:
        seen.append(message.name)
        await message.pass_on()

    proxy = FaultyProxy(PostgresTalk, postgres_server.socket_path, note)
    async with proxy.listening() as at:
        connection = await connected(database, at)
        await connection.close()
    assert seen[:4] == ["tls", "tls", "startup", "R"]


@pytest.mark.parametrize(("side", "kept"), [(Side.CLIENT, 0), (Side.SERVER, 1)])
async def test_a_commit_is_cut_before_or_after_it_is_made(
    postgres_server: Postgres, database: str, tmp_path: Path, side: Side, kept: int
) -> None:
    async def cut(message: Message) -> None:
        if message.side is side and b"COMMIT" in message.data:
            raise Cut
        await message.pass_on()

    proxy = FaultyProxy(PostgresTalk, postgres_server.socket_path, cut)
    async with proxy.listening(tmp_path / ".s.PGSQL.5432"):
        connection = await connected(database, tmp_path)
        await connection.execute("BEGIN")
        await connection.execute("CREATE TABLE made (n int)")
        with pytest.raises(asyncpg.PostgresConnectionError):
            await connection.execute("COMMIT")
    plain = await asyncpg.connect(database)
    try:
        assert await plain.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'made'") == kept
    finally:
        await plain.close()


async def test_what_a_hook_raises_is_not_lost(valkey_server: Valkey, tmp_path: Path) -> None:
    async def broken(_: Message) -> None:
        raise LookupError

    proxy = FaultyProxy(RedisTalk, valkey_server.socket_path, broken)
    url = f"unix://{tmp_path}/s"
    with pytest.raises(ExceptionGroup, match="a hook failed"):  # noqa: PT012 - raised at its end
        async with proxy.listening(tmp_path / "s"), Redis.from_url(url) as redis:
            with suppress(RedisError):
                await redis.ping()

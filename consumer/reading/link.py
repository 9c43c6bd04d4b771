"""A connection of one's own to where a stream is; answers as they come, in bytes.

A read that waits for entries would hold up everybody else on a shared connection, and what redis-py
makes of an answer costs more than reading it.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError, RedisClusterException, RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from consumer.errors import GroupMissing, RedisRefused
from outbox.errors import StreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis.asyncio import Redis

Argument = bytes | str | int

_ANSWER_S = 5.0
"""For an answer that should come at once."""
_OWN: dict[str, Any] = {
    # All answers are read as bytes, whatever the client that it is taken from does with its own.
    "decode_responses": False,
    # A command is sent once; who sent it knows what it means to send it again.
    "retry": Retry(NoBackoff(), 0),
    # A time for each call, not for each packet.
    "socket_timeout": None,
    "health_check_interval": 0,
    "maint_notifications_config": MaintNotificationsConfig(enabled=False),
}


class Link:
    """To the server that has *key*, as *redis* would reach it; opened when it is first used."""

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis: Any = redis
        """A cluster's client is no Redis to redis-py's types."""
        self._key = key
        self._connection: Any = None
        self._moved = False
        self._one_at_a_time = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the next command goes where the last one went."""
        return self._connection is not None

    async def call(self, *command: Argument, within_s: float = _ANSWER_S) -> Any:  # noqa: ANN401
        """The answer to one command. Raises StreamUnavailable, GroupMissing or RedisRefused."""
        [answer] = await self.calls(command, within_s=within_s)
        return answer

    async def calls(
        self, *commands: tuple[Argument, ...], within_s: float = _ANSWER_S
    ) -> list[Any]:
        """The answers to commands that are sent together; raises for the first that was refused."""
        async with self._one_at_a_time:
            whole = False
            try:
                with _translated():
                    async with asyncio.timeout(within_s):
                        answers = await self._exchange(commands)
                    whole = True
            finally:
                if not whole:
                    # An answer may still be on its way, and be taken for the next one's.
                    await self._drop()
        for answer in answers:
            # What went wrong in a transaction stands in its answer.
            for one in answer if isinstance(answer, list) else (answer,):
                if isinstance(one, Exception):
                    await self._refused(one)
        return answers

    async def close(self) -> None:
        """Nothing is under way."""
        await self._drop()

    async def _exchange(self, commands: tuple[tuple[Argument, ...], ...]) -> list[Any]:
        if self._connection is None:
            self._connection = await self._opened()
        connection = self._connection
        await connection.send_packed_command(b"".join(map(_packed, commands)), check_health=False)
        answers = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except ResponseError as exc:
                answers.append(exc)
        return answers

    async def _opened(self) -> Any:  # noqa: ANN401
        if isinstance(self._redis, RedisCluster):
            await self._redis.initialize()
            if self._moved:
                await self._redis.nodes_manager.initialize()
            source: Any = self._redis.get_node_from_key(self._key)
        else:
            source = self._redis.connection_pool
        connection = source.connection_class(**source.connection_kwargs | _OWN)
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._moved = False
        return connection

    async def _refused(self, answer: Exception) -> None:
        word, _, rest = str(answer).partition(" ")
        word = getattr(answer, "status_code", None) or word
        if word == "NOGROUP":
            raise GroupMissing(rest or str(answer)) from answer
        if word not in _HARMLESS:
            # The name may lead to another server by now: a new connection asks for it again.
            await self._drop()
        if isinstance(answer, MovedError):
            raise StreamUnavailable("the stream is on another node of the cluster now") from answer
        raise RedisRefused(word, str(answer)) from answer

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._moved = True
        if connection is not None:
            await connection.disconnect(nowait=True)


_HARMLESS = ("BUSYGROUP", "NOPERM")


def _packed(command: tuple[Argument, ...]) -> bytes:
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        raw = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (RedisError, RedisClusterException, OSError, TimeoutError) as exc:
        raise StreamUnavailable(f"Redis is away: {exc or type(exc).__name__}") from exc

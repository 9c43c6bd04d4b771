"""What on-call wants done with dead letters; the member that reads does it.

One member handles a stream's events, so it alone can run an event again in the entity's order.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from consumer.keys import reader_key, requests_key
from consumer.letters.dead_letters import text
from consumer.letters.redis_errors import translated

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis.asyncio import Redis


class Wish(StrEnum):
    """What is to become of a dead letter."""

    REQUEUE = "requeue"
    """Handle it once more, and what its entity has waiting behind it."""
    DISCARD = "discard"
    """Give it up."""


class Requests:
    """What is wanted of the dead letters of *group* in *stream*, by the event's ID.

    Raises StreamUnavailable or RedisRefused.
    """

    def __init__(self, redis: Redis, stream: str, group: str) -> None:
        self._redis: Any = redis
        self._key = requests_key(stream, group)
        self._failed = f"{self._key}:failed"
        self._reader = reader_key(stream, group)

    async def ask(self, wish: Wish, event_ids: Iterable[str]) -> None:
        """To be done within a second or two, or when somebody reads."""
        if mapping := dict.fromkeys(event_ids, wish.value):
            with translated():
                await self._redis.hdel(self._failed, *mapping)
                await self._redis.hset(self._key, mapping=mapping)

    async def open(self) -> dict[str, Wish]:
        """What is still to be done."""
        return {event_id: Wish(said) for event_id, said in (await self._all(self._key)).items()}

    async def failures(self) -> dict[str, str]:
        """What was requeued and failed again, with the error."""
        return await self._all(self._failed)

    async def failed(self, event_id: str, error: str) -> None:
        """It was tried once more and is still a dead letter."""
        with translated():
            await self._redis.hset(self._failed, event_id, error)
            await self._redis.hdel(self._key, event_id)

    async def settled(self, event_ids: Iterable[str]) -> None:
        """They are done."""
        if ids := list(event_ids):
            with translated():
                await self._redis.hdel(self._failed, *ids)
                await self._redis.hdel(self._key, *ids)

    async def reader(self) -> str | None:
        """The member that reads the stream, if there is one."""
        with translated():
            name = await self._redis.get(self._reader)
        return None if name is None else text(name)

    async def _all(self, key: str) -> dict[str, str]:
        with translated():
            found = await self._redis.hgetall(key)
        return {text(event_id): text(said) for event_id, said in found.items()}

"""The streams of `make run`: what arrives in them is shown."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Self, cast

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from embedded.errors import AddressRefused, NotAnAddress
from embedded.events import Readable, read_events
from embedded.folder import REDIS_URL
from embedded.screen import Screen

_MOST_PARTITIONS = 64
_READ_COUNT = 1000
_READ_BLOCK_S = 5.0
_RECONNECT_PAUSE_S = 1.0

_Positions = dict[Any, Any]  # by stream, the last ID that was shown; redis-py's types are wider
_Replies = list[tuple[str, list[tuple[str, dict[str, str]]]]]  # with decode_responses, protocol 2


class ShownStreams:
    """From now on, every event that arrives."""

    def __init__(self, redis: Redis, positions: _Positions, screen: Screen) -> None:
        self._redis, self._positions, self._screen = redis, positions, screen
        self._readable = Readable()

    @classmethod
    @asynccontextmanager
    async def opened(cls, address: str, screen: Screen) -> AsyncIterator[Self]:
        """Raises AddressRefused, NotAnAddress."""
        positions: _Positions = {}
        try:
            # No time limit on replies: the read below waits for them.
            redis = Redis.from_url(address, decode_responses=True, socket_timeout=None, protocol=2)
            for key in stream_keys():
                newest = await redis.xrevrange(key, count=1)
                positions[key] = str(newest[0][0]) if newest else "0-0"
        except RedisError as error:
            raise AddressRefused(f"REDIS_URL: {error}") from None
        except ValueError:
            # Its own words may quote the password.
            raise NotAnAddress(REDIS_URL) from None
        async with redis:
            yield cls(redis, positions, screen)

    @property
    def keys(self) -> Sequence[str]:
        """The names of the streams."""
        return list(self._positions)

    def expect_flood(self) -> None:
        """Count from the next event on."""
        self._readable.expect_flood(time.monotonic())

    async def show(self) -> None:
        """Until it is cancelled."""
        while True:
            due_in_s = self._readable.due_in_s(time.monotonic())
            block_s = _READ_BLOCK_S if due_in_s is None else due_in_s
            try:
                # BLOCK 0 would mean for ever.
                block_ms = max(1, round(block_s * 1000))
                replies = await self._redis.xread(
                    self._positions, count=_READ_COUNT, block=block_ms
                )
            except RedisConnectionError as error:
                self._screen.note(f"The stream cannot be read, trying again: {error}")
                await asyncio.sleep(_RECONNECT_PAUSE_S)
                continue
            for key, entries in cast("_Replies", replies):
                self._positions[key] = entries[-1][0]
                events = read_events((entry for _, entry in entries), datetime.now(UTC))
                for event in self._readable.take(events, time.monotonic()):
                    self._screen.event(event)
            if (summary := self._readable.summary(time.monotonic())) is not None:
                self._screen.summary(summary)


def stream_keys() -> list[str]:
    """The streams as the publisher names them; it says what is wrong with a number."""
    key = os.environ.get("CATALOG_EVENT_STREAM_KEY") or "catalog:events"
    text = os.environ.get("CATALOG_EVENT_STREAM_PARTITIONS", "")
    partitions = int(text) if text.isdecimal() else 1
    if not 1 < partitions <= _MOST_PARTITIONS:
        return [key]
    return [f"{key}:{{{number}}}" for number in range(partitions)]

"""The stream as it is read to be compared: page by page, fields as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from outbox.position import ORIGIN, Position
from publisher.store.stream import EventStream, translated

if TYPE_CHECKING:
    from redis.asyncio import Redis


class Entry(NamedTuple):
    """One entry: its ID, and its fields and values in turn."""

    id: str
    fields: list[str]


class Ends(NamedTuple):
    """Where a stream begins and ends."""

    oldest: Position | None
    """The oldest entry; None in an empty stream."""
    last: Position
    """The last ID that it has given; ORIGIN when there is no stream."""
    deleted: Position
    """The highest ID taken out with XDEL, which trimming does not touch; ORIGIN for none."""


class Pages:
    """The Redis Stream at *key*, read only.

    *redis* is for pages alone: from now on it hands fields over as they stand, in their order and
    however often, where redis-py would make a dictionary of them.
    """

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis: Any = redis
        self._redis.set_response_callback("XRANGE", _as_it_stands)
        self.key = key

    async def ends(self) -> Ends:
        """Raises StreamUnavailable or StreamRefused."""
        return await ends(self._redis, self.key)

    async def mark(self) -> Position:
        """The highest ID that was ever appended, also if the stream was deleted since."""
        return await EventStream(self._redis, self.key).mark()

    async def read(self, after: Position, until: Position, count: int) -> list[Entry]:
        """Up to *count* entries after *after*, *until* included.

        Raises StreamUnavailable or StreamRefused.
        """
        with translated():
            entries = await self._redis.xrange(self.key, f"({after}", str(until), count)
        return [Entry(id_, fields) for id_, fields in entries]


async def ends(redis: Redis, key: str) -> Ends:
    """Where the stream at *key* begins and ends. Raises StreamUnavailable or StreamRefused."""
    commands: Any = redis
    with translated():
        if not await commands.exists(key):
            return Ends(None, ORIGIN, ORIGIN)
        info = await commands.xinfo_stream(key)
    oldest = info["first-entry"]
    return Ends(
        Position.parse(oldest[0]) if oldest else None,
        Position.parse(info["last-generated-id"]),
        # Redis knows it since version 7.
        Position.parse(info.get("max-deleted-entry-id", "0-0")),
    )


def _as_it_stands(response: Any, **_: Any) -> Any:  # noqa: ANN401 - as redis-py calls it
    return response

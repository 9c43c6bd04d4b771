"""The stream's end: the only place that writes to it."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    NoScriptError,
    RedisError,
    TimeoutError as RedisTimeoutError,
)

from outbox.codec import pack
from outbox.errors import StreamRefused, StreamUnavailable
from outbox.position import ORIGIN, Position
from publisher.errors import StreamBehind, StreamForeign

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis.asyncio import Redis

    from outbox.event import Event

_SCRIPT = resources.files("publisher").joinpath("append.lua").read_text("utf-8")


class Appended(NamedTuple):
    """What one append did."""

    events: int
    """How many of the batch were new to the stream."""
    found: Position
    """Where the stream ended before."""


class EventStream:
    """The Redis Stream at *key*.

    *redis* must not resend commands by itself: a resent append would be answered as if another
    publisher had made the first.
    """

    def __init__(self, redis: Redis, key: str) -> None:
        self._redis = redis
        self._key = key
        self._sha = ""

    async def append(self, events: Sequence[Event], *, after: Position) -> Appended:
        """Append *events*, all or none, to a stream that has reached *after*.

        Raises StreamBehind, StreamForeign, StreamRefused or StreamUnavailable; in each case
        nothing may be taken as appended.
        """
        batch = pack(events)
        with _translated():
            try:
                answer = await self._evaluate(str(after), batch)
            except NoScriptError:
                # Redis was restarted, or its scripts were flushed.
                self._sha = ""
                answer = await self._evaluate(str(after), batch)
        return Appended(int(answer[0]), Position.parse(_text(answer[1])))

    async def top(self) -> Position:
        """The last ID that the stream has given; ORIGIN when there is no stream."""
        with _translated():
            if not await self._redis.exists(self._key):
                return ORIGIN
            info = await self._redis.xinfo_stream(self._key)
        return Position.parse(_text(info["last-generated-id"]))

    async def fields_at(self, position: Position) -> dict[str, str] | None:
        """The fields of the entry at *position*, or None."""
        with _translated():
            found = await self._redis.xrange(self._key, str(position), str(position))
        return _fields(found[0][1]) if found else None

    async def before(self, position: Position, count: int) -> list[tuple[Position, dict[str, str]]]:
        """Up to *count* entries at or before *position*, newest first."""
        with _translated():
            found = await self._redis.xrevrange(self._key, str(position), "-", count)
        return [(Position.parse(_text(id_)), _fields(fields)) for id_, fields in found]

    async def _evaluate(self, after: str, batch: bytes) -> list[Any]:
        if not self._sha:
            self._sha = cast("str", await self._redis.script_load(_SCRIPT))
        # redis-py's types say str where bytes are as good.
        answer = await self._redis.evalsha(self._sha, 1, self._key, after, cast("str", batch))
        return cast("list[Any]", answer)


def _fields(raw: dict[Any, Any]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in raw.items()}


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (AuthenticationError, AuthorizationError, BusyLoadingError) as exc:
        raise StreamRefused(getattr(exc, "status_code", None) or "NOAUTH", str(exc)) from exc
    except (RedisConnectionError, RedisTimeoutError, OSError) as exc:
        raise StreamUnavailable(f"Redis is away: {exc or type(exc).__name__}") from exc
    except RedisError as exc:
        answer = str(exc)
        word, _, rest = answer.partition(" ")
        if word == "BEHIND":
            raise StreamBehind(Position.parse(rest.split()[0])) from exc
        if word == "FOREIGN":
            raise StreamForeign(Position.parse(rest.split()[0])) from exc
        # redis-py takes the first word off some answers and keeps it beside the message.
        raise StreamRefused(getattr(exc, "status_code", None) or word, answer) from exc

"""The stream's end: the only place that writes to it."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoScriptError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from outbox.errors import StreamRefused, StreamUnavailable
from outbox.position import ORIGIN, Position
from process.redis.answers import answer_of, reason_of
from publisher.errors import StreamBehind, StreamFenced, StreamForeign
from publisher.store.keys import epoch_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis.asyncio import Redis

    from outbox.batch import Batch

_COUNTED_AT_ONCE = 1000
_NO_STREAM = "no such key"
_SCRIPT = resources.files("publisher.store").joinpath("append.lua").read_text("utf-8")


class Appended(NamedTuple):
    """What one append did."""

    events: int
    """How many of the batch were new to the stream."""
    found: Position
    """Where the stream ended before."""


class Group(NamedTuple):
    """A consumer group, as Redis keeps it."""

    name: str
    last_delivered: Position
    pending: int


class Overview(NamedTuple):
    """The stream as a whole."""

    length: int
    first: Position | None
    """The oldest entry; None in an empty stream."""
    last: Position
    groups: list[Group]


class EventStream:
    """The Redis Stream at *key*.

    *redis* must not resend commands by itself: a resent append would be answered as if another
    publisher had made the first.
    """

    def __init__(self, redis: Redis, key: str) -> None:
        # redis-py types every answer as all that any of its settings could make of it.
        self._redis: Any = redis
        self._key = key
        self._epoch_key = epoch_key(key)
        self._sha = ""

    @property
    def key(self) -> str:
        """Its name in Redis."""
        return self._key

    async def append(self, batch: Batch, *, after: Position, epoch: int = 0) -> Appended:
        """Append *batch*, all or none, to a stream that has reached *after*.

        *epoch* is that of the lease under which this is done. Raises StreamBehind, StreamForeign,
        StreamFenced, StreamRefused or StreamUnavailable; in each case nothing may be taken as
        appended.
        """
        runs = [
            one
            for run in batch.runs
            for one in (run.ms, run.index, run.count, run.marked, run.mark)
        ]
        with translated():
            try:
                answer = await self._evaluate(epoch, str(after), batch.packed, *runs)
            except NoScriptError:
                # Redis was restarted, or its scripts were flushed.
                self._sha = ""
                answer = await self._evaluate(epoch, str(after), batch.packed, *runs)
        return Appended(int(answer[0]), Position.parse(answer[1]))

    async def top(self) -> Position:
        """The last ID that the stream has given; ORIGIN when there is no stream."""
        info = await self._info()
        return Position.parse(info["last-generated-id"]) if info else ORIGIN

    async def mark(self) -> Position:
        """The highest ID that was ever appended, also if the stream was deleted since.

        ORIGIN where that is not known.
        """
        with translated():
            mark = await self._redis.get(self._epoch_key)
        _, _, reached = (mark or "").partition(" ")
        return Position.parse(reached) if reached else ORIGIN

    async def overview(self) -> Overview:
        """Length, ends and consumer groups."""
        info = await self._info()
        if not info:
            return Overview(0, None, ORIGIN, [])
        with translated():
            first = await self._redis.xrange(self._key, count=1)
            groups = await self._redis.xinfo_groups(self._key)
        return Overview(
            length=info["length"],
            first=_entry(first[0])[0] if first else None,
            last=Position.parse(info["last-generated-id"]),
            groups=[
                Group(
                    group["name"], Position.parse(group["last-delivered-id"]), int(group["pending"])
                )
                for group in groups
            ],
        )

    async def fields_at(self, position: Position) -> dict[str, str] | None:
        """The fields of the entry at *position*, or None."""
        with translated():
            found = await self._redis.xrange(self._key, str(position), str(position))
        return _entry(found[0])[1] if found else None

    async def first_after(self, position: Position) -> Position | None:
        """The first entry after *position*, or None."""
        with translated():
            found = await self._redis.xrange(
                self._key, f"{position.ms}-{position.seq + 1}", count=1
            )
        return _entry(found[0])[0] if found else None

    async def count(self, after: Position, until: Position) -> int:
        """How many entries it holds after *after*, *until* included."""
        counted = 0
        with translated():
            while True:
                page = await self._redis.xrange(
                    self._key, f"{after.ms}-{after.seq + 1}", str(until), _COUNTED_AT_ONCE
                )
                counted += len(page)
                if len(page) < _COUNTED_AT_ONCE:
                    return counted
                after = Position.parse(page[-1][0])

    async def before(self, position: Position, count: int) -> list[tuple[Position, dict[str, str]]]:
        """Up to *count* entries at or before *position*, newest first."""
        with translated():
            found = await self._redis.xrevrange(self._key, str(position), "-", count)
        return [_entry(entry) for entry in found]

    async def _info(self) -> dict[str, Any] | None:
        with translated():
            try:
                info: dict[str, Any] = await self._redis.xinfo_stream(self._key)
            except ResponseError as exc:
                if _NO_STREAM in str(exc):
                    return None
                raise
        return info

    async def _evaluate(self, *arguments: str | bytes | int) -> list[Any]:
        if not self._sha:
            self._sha = await self._redis.script_load(_SCRIPT)
        answer: list[Any] = await self._redis.evalsha(
            self._sha, 2, self._key, self._epoch_key, *arguments
        )
        return answer


def _entry(raw: Any) -> tuple[Position, dict[str, str]]:  # noqa: ANN401 - as redis-py gives it
    id_, fields = raw
    return Position.parse(id_), fields


@contextmanager
def translated() -> Iterator[None]:
    """Raise what Redis answers as errors of ours."""
    try:
        yield
    except (AuthenticationError, AuthorizationError, BusyLoadingError) as exc:
        raise StreamRefused(reason_of(exc), answer_of(exc)) from exc
    except (RedisConnectionError, RedisTimeoutError, OSError) as exc:
        said = exc.__cause__ or exc.__context__
        if isinstance(said, AuthenticationError):
            # The first command of a new connection: redis-py wraps what the server said.
            raise StreamRefused(reason_of(said), answer_of(said)) from exc
        raise StreamUnavailable(f"Redis is away: {exc or type(exc).__name__}") from exc
    except RedisError as exc:
        answer = str(exc)
        word, _, rest = answer.partition(" ")
        if word == "BEHIND":
            raise StreamBehind(Position.parse(rest.split()[0])) from exc
        if word == "FENCED":
            raise StreamFenced(int(rest)) from exc
        if word == "FOREIGN":
            raise StreamForeign(Position.parse(rest.split()[0])) from exc
        raise StreamRefused(reason_of(exc), answer_of(exc)) from exc

"""A publisher that does what a test tells it, and can put back what it has written."""

from __future__ import annotations

import random
import time
import uuid
from typing import TYPE_CHECKING, Any, Self

from redis import Redis
from redis.exceptions import ResponseError

from consumer.testing.script import Script
from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    from types import TracebackType

    from outbox.event import Event

HOUR_MS = 3_600_000


class ScriptedPublisher:
    """Writes entries of the stream contract to *stream*; nobody else may.

    It blocks, so that tests with and without an event loop can use it. The same *seed* and
    *start_ms* write the same.
    """

    def __init__(
        self,
        redis_url: str,
        stream: str = "catalog:events",
        *,
        seed: int = 1,
        entities: int = 8,
        start_ms: int | None = None,
    ) -> None:
        self.stream = stream
        self.events: list[Event] = []
        """All that it has ever written, in order."""
        self._redis: Any = Redis.from_url(redis_url, decode_responses=True)
        dice = random.Random(seed)  # noqa: S311 - to fall the same again
        self._script = Script(
            dice.random,
            lambda: str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            entities=entities,
            start_ms=int(time.time() * 1000) if start_ms is None else start_ms,
        )

    def __enter__(self) -> Self:
        """Connect later, at the first entry."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Close the connection; the stream stays."""
        self._redis.close()

    def publish(self, count: int = 1) -> list[Event]:
        """Append the next *count* events, of entities that take turns at random."""
        events = self.write(count)
        self._append(events)
        return events

    def write(self, count: int = 1) -> list[Event]:
        """The next *count* events, which come with the next `restore` only."""
        events = [self._script.next() for _ in range(count)]
        self.events += events
        return events

    def jump_ahead(self, ms: int = HOUR_MS) -> None:
        """IDs and timestamps go on so much later."""
        self._script.jump(ms)

    def set_clock_back(self, ms: int = 2 * HOUR_MS) -> None:
        """Timestamps go back by so much, and IDs go on."""
        self._script.set_clock_back(ms)

    def trim(self, *, keep: int) -> list[str]:
        """Leave the newest *keep* entries; the IDs of those that went."""
        before = {id_ for id_, _ in self._redis.xrange(self.stream)}
        self._redis.xtrim(self.stream, maxlen=keep, approximate=False)
        went = before - {id_ for id_, _ in self._redis.xrange(self.stream)}
        return sorted(went, key=Position.parse)

    def forget(self) -> None:
        """FLUSHALL: streams, groups and all are gone."""
        self._redis.flushall()

    def restore(self, count: int | None = None) -> list[Event]:
        """Put back what the stream has lost at its end, with the same IDs: *count* or all."""
        try:
            top = Position.parse(self._redis.xinfo_stream(self.stream)["last-generated-id"])
        except ResponseError:  # there is no stream
            top = ORIGIN
        missing = [event for event in self.events if Position.parse(event.id) > top]
        self._append(missing[:count])
        return missing[:count]

    def _append(self, events: list[Event]) -> None:
        with self._redis.pipeline(transaction=False) as pipeline:
            for event in events:
                pipeline.xadd(self.stream, event.fields(), id=event.id)
            pipeline.execute()

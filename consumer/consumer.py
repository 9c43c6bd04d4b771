"""A consumer: one member of a group, which reads its share of the streams."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Self

from consumer.errors import RedisRefused
from consumer.event import Group
from consumer.keys import stream_keys
from consumer.reading.footing import Beginning
from consumer.reading.lease import Member
from consumer.reading.link import Link
from consumer.reading.sharing import Sharing
from consumer.reading.standing import Standing
from consumer.reading.tasks import ended, first_error
from consumer.settings import Options
from consumer.watching.tracing import traced, traced_batch
from outbox.errors import StreamUnavailable
from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from redis.asyncio import Redis

    from consumer.event import Gap
    from consumer.handling.work import BatchHandler, Handler
    from consumer.keeping.checkpoint import Checkpoint
    from consumer.reports import Observe

EARLIEST = ORIGIN
"""Begin with the oldest entry that the stream holds."""

_LOOK_EVERY_S = 0.5
_GOOD_BYE_S = 1.0


class Consumer:
    """Reads *stream*, or its partitions, as a member of *group*; *redis* stays the caller's.

    ``async with Consumer(redis, group="search", handler=index_event) as consumer:
        await consumer.run(stop)``
    """

    def __init__(  # noqa: PLR0913 - each is one thing that a consumer may be told
        self,
        redis: Redis,
        *,
        group: str,
        handler: Handler | None = None,
        batch_handler: BatchHandler | None = None,
        stream: str = "catalog:events",
        partitions: int = 1,
        lanes: int = 8,
        name: str | None = None,
        start: Position | Callable[[Group], Awaitable[Position]] = EARLIEST,
        checkpoint: Checkpoint | None = None,
        on_gap: Callable[[Gap], Awaitable[Position | None]] | None = None,
        effects_in_redis: bool = False,
        options: Options | None = None,
        observe: Observe | None = None,
    ) -> None:
        if (handler is None) == (batch_handler is None):
            raise TypeError("a consumer has either a handler or a batch_handler")
        self._options = options or Options()
        self._member = Member(name or _some_name(), secrets.token_hex(4))
        self._redis = redis
        streams = stream_keys(stream, partitions)
        self._link = Link(redis, streams[0])
        self._leave = {one: asyncio.Event() for one in streams}
        self._sharing = Sharing(
            self._link,
            Group(streams[0], group),
            self._member,
            streams,
            every_s=min(self._options.lease_s / 3, _LOOK_EVERY_S),
            lease_s=self._options.lease_s,
            leave=lambda one: self._leave[one].set(),
        )
        beginning = Beginning(
            start, None if effects_in_redis else checkpoint, on_gap, effects_in_redis
        )
        self._standings = [
            Standing(
                redis,
                Group(one, group),
                self._member,
                handler=handler and traced(handler, group),
                batch_handler=batch_handler and traced_batch(batch_handler, group),
                lanes=lanes,
                beginning=beginning,
                options=self._options,
                observe=observe or _log_lines(group),
            )
            for one in streams
        ]

    @property
    def name(self) -> str:
        """Of this member in its group."""
        return self._member.name

    async def __aenter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of what is held, and close what was opened."""
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._link.close)
            for standing in self._standings:
                closing.push_async_callback(standing.close)
            with suppress(StreamUnavailable, RedisRefused, TimeoutError):
                async with asyncio.timeout(_GOOD_BYE_S):
                    await self._sharing.go()

    async def run(self, stop: asyncio.Event) -> None:
        """Until *stop* is set; then drain: read no more, finish, acknowledge, let go.

        Waits out a Redis that is away for ever. Raises FellOff, NameTaken, and what *start*
        and *on_gap* raise.
        """
        reading = [
            asyncio.create_task(standing.run(stop, self._leave[standing.stream], self._sharing))
            for standing in self._standings
        ]
        beside = [
            asyncio.create_task(self._sharing.watch()),
            asyncio.create_task(self._pass_on(stop)),
        ]
        try:
            await asyncio.wait(reading, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            await ended([*reading, *beside])
        if error := first_error([*reading, *beside]):
            raise error

    async def _pass_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        for leave in self._leave.values():
            leave.set()


def _some_name() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(2)}"


def _log_lines(group: str) -> Observe:
    # Who observes for himself needs no structlog.
    from consumer.watching.observing import log_lines  # noqa: PLC0415

    return log_lines(group)

"""The consumers that are measured: ``python -m benchmarks.consumers ours|faststream|bare EVENTS``.

Each handles so many events with a handler that does nothing, acknowledges them, says how fast, and
ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis

from benchmarks.consumer import GROUP
from benchmarks.servers import STREAM_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from consumer import Event
    from consumer.reports import Report

_BATCH = 500
"""Entries in one read: what ours takes by itself."""


async def ours(url: str, events: int) -> None:
    """The library, as it is by default."""
    from consumer import Consumer  # noqa: PLC0415 - each program imports what it needs
    from consumer.reports import Handled  # noqa: PLC0415

    stop, left = asyncio.Event(), events

    async def handler(_: Event) -> None:
        pass

    def observe(report: Report) -> None:
        nonlocal left
        if isinstance(report, Handled):
            left -= report.events
            if not left:
                stop.set()

    async with (
        Redis.from_url(url) as redis,
        Consumer(redis, group=GROUP, handler=handler, observe=observe) as consumer,
    ):
        await consumer.run(stop)


async def faststream(url: str, events: int) -> None:
    """FastStream's subscriber to a Redis stream."""
    from faststream.redis import RedisBroker, StreamSub  # noqa: PLC0415

    done, left = asyncio.Event(), events
    # Its own way to say: no log lines.
    broker = RedisBroker(url, logger=None)  # type: ignore[arg-type]
    stream = StreamSub(STREAM_KEY, group=GROUP, consumer="one", max_records=_BATCH)

    @broker.subscriber(stream=stream)
    async def handler(_: object) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    async with broker:
        await broker.start()
        await done.wait()


async def bare(url: str, events: int) -> None:
    """A loop by hand: no lanes, no retries, no claims, nothing that survives an error."""

    async def handler(_: dict[str, str]) -> None:
        pass

    async with Redis.from_url(url, decode_responses=True) as client:
        redis: Any = client
        left = events
        while left:
            streams = {STREAM_KEY: ">"}
            answer = await redis.xreadgroup(GROUP, "one", streams, count=_BATCH, block=1000)
            [(_, entries)] = answer
            for _, fields in entries:
                await handler(fields)
            await redis.xack(STREAM_KEY, GROUP, *(event_id for event_id, _ in entries))
            left -= len(entries)


_CONSUMERS: dict[str, Callable[[str, int], Awaitable[None]]] = {
    "ours": ours,
    "faststream": faststream,
    "bare": bare,
}


_NEEDS = {"ours": "consumer.consumer", "faststream": "faststream.redis"}


async def _measured(name: str, events: int) -> dict[str, float]:
    # Importing is not what is measured.
    if name in _NEEDS:
        import_module(_NEEDS[name])
    began, cpu = time.perf_counter(), time.process_time()
    await _CONSUMERS[name](os.environ["REDIS_URL"], events)
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return {"events_per_s": events / took_s, "cpu_us": cpu_s / events * 1e6}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_measured(sys.argv[1], int(sys.argv[2])))))  # noqa: T201

"""Batches made by hand, a publisher reduced to its appends, and a client to make them with."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence

import msgpack
from redis.asyncio import Redis

from outbox.batch import Batch, Run
from outbox.errors import CatalogStreamError, StreamRefused, StreamUnavailable
from outbox.event import Event
from outbox.position import Position
from process.redis import connection as redis_connection
from publisher.errors import StreamBehind
from publisher.store.stream import EventStream

AT_MS = 1795347471008


def client_of(url: str) -> Redis:
    """A client as the publisher's is."""
    return redis_connection.client(url)


def batch(*runs: tuple[int, int, int], content: str = "", traceparent: str = "") -> Batch:
    """Events of the *runs* (ms of the tick, number of the first, how many), told apart by name."""
    values = [
        (
            *("series", f"{ms}/{number}{content}", "update", AT_MS),
            *(traceparent, f'{{"n":{number}}}'),
        )
        for ms, first, count in runs
        for number in range(first, first + count)
    ]
    return batch_of(*runs, values=values)


def batch_of(*runs: tuple[int, int, int], values: Sequence[Sequence[object]]) -> Batch:
    """Events with these six *values* each."""
    body = b"".join(msgpack.packb(value) for event in values for value in event)
    places = tuple(Run(*run) for run in runs)
    ms, index, count = runs[-1]
    return Batch(
        places,
        body,
        reached=Position.in_tick(ms, index + count - 1),
        largest=max(len(str(event[-1]).encode()) for event in values),
    )


def as_entries(events: Iterable[Event]) -> list[tuple[str, dict[str, str]]]:
    """How the stream holds *events*."""
    return [(event.id, event.fields()) for event in events]


async def deliver(
    stream: EventStream, batches: Sequence[Batch], *, pause_s: float = 0.01
) -> list[CatalogStreamError]:
    """Append *batches*, which follow each other, as a publisher does; what held it up.

    It moves by answers alone: after a failure it asks the stream where to go on.
    """
    failures: list[CatalogStreamError] = []
    while True:
        try:
            place = await stream.top()
            for following in batches:
                if following.last > place:
                    await stream.append(following, after=place)
                    place = following.last
        except (StreamUnavailable, StreamRefused, StreamBehind) as exc:
            failures.append(exc)
            await asyncio.sleep(pause_s)
        else:
            return failures


async def failure_of(appending: Awaitable[object]) -> str:
    """The name of what came of *appending*: the reason of a refusal, or "away"."""
    try:
        await appending
    except StreamRefused as exc:
        return exc.reason
    except StreamUnavailable:
        return "away"
    return "nothing"

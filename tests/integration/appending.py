"""Batches made by hand, a publisher reduced to its appends, and a client to make them with."""

from collections.abc import Iterable

import msgpack
from redis.asyncio import Redis

from outbox.batch import Batch, Run
from outbox.event import Event
from publisher import connections
from publisher.settings import Settings

AT_MS = 1795347471008


def client_of(url: str) -> Redis:
    """A client as the publisher's is."""
    return connections.redis_client(
        Settings.from_environment({"DATABASE_URL": "postgresql://", "REDIS_URL": url})
    )


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
    body = b"".join(msgpack.packb(value) for event in values for value in event)
    return Batch(tuple(Run(*run) for run in runs), body)


def as_entries(events: Iterable[Event]) -> list[tuple[str, dict[str, str]]]:
    """How the stream holds *events*."""
    return [(event.id, event.fields()) for event in events]

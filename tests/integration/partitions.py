"""All partitions of a publisher, without their loops, and what their streams should hold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import asyncpg
from appending import as_entries, client_of
from publishing import GO_ON, KEY, OnePass, by_definition, entries, write
from redis.asyncio import Redis

from outbox import checkpoints, leases
from outbox.batch import Share
from outbox.errors import StreamRefused, StreamUnavailable
from outbox.leases import Lease, Member

MEMBER = Member("a test", "this process", "here", 1)
_ENTITIES = [f"entity {n}" for n in range(30)]


class Publishers:
    """One for each partition, under a lease."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        client: Redis,
        held: list[Lease],
        **options: Any,  # noqa: ANN401 - those of OnePass
    ) -> None:
        self.pool, self.client = pool, client
        self.keys = [lease.name for lease in held]
        self.all: list[OnePass] = []
        self._held, self._options = held, options
        self.restart()

    def restart(self) -> None:
        """As other processes would: all that they know is in the two servers."""
        self.all = [
            OnePass(
                self.pool,
                self.client,
                key=lease.name,
                share=Share(number, len(self._held)),
                epoch=lease.epoch,
                save=partial(checkpoints.save, self.pool, lease),
                **self._options,
            )
            for number, lease in enumerate(self._held)
        ]

    async def publish(self, *numbers: int) -> int:
        """Until nothing is left to do, in these partitions or in all; how many events moved."""
        chosen = [self.all[number] for number in numbers] if numbers else self.all
        moved = 0
        while some := sum([await one.publish(GO_ON, self.all) for one in chosen]):
            moved += some
        return moved

    async def keep_publishing(self, enough: asyncio.Event) -> None:
        """Whatever happens to Redis meanwhile."""
        while not enough.is_set():
            for one in self.all:
                with suppress(StreamUnavailable, StreamRefused):
                    await one.publish(GO_ON, self.all)
            await asyncio.sleep(0)

    async def streams(self, url: str | None = None) -> list[list[tuple[str, dict[str, str]]]]:
        """What each stream holds; *url*: of the server, where a proxy stands before it."""
        if url is None:
            return [await entries(self.client, key) for key in self.keys]
        async with Redis.from_url(url) as redis:
            return [await entries(redis, key) for key in self.keys]


@asynccontextmanager
async def publishers(
    pool: asyncpg.Pool,
    url: str,
    partitions: int = 1,
    **options: Any,  # noqa: ANN401 - those of OnePass
) -> AsyncIterator[Publishers]:
    keys = [KEY] if partitions == 1 else [f"{KEY}:{{{number}}}" for number in range(partitions)]
    held = await leases.renew(pool, MEMBER, keys, {}, ttl=timedelta(hours=1))
    in_order = sorted((one.lease for one in held), key=lambda lease: lease.name)
    async with client_of(url) as client:
        yield Publishers(pool, client, in_order, **options)


async def divided(
    connection: asyncpg.Connection, events: list[tuple[str, dict[str, str]]], partitions: int
) -> list[list[tuple[str, dict[str, str]]]]:
    """Which partition each of *events* is in."""
    numbers = await connection.fetch(
        "SELECT outbox.partition_of(id, $2) AS number FROM unnest($1::text[]) AS id",
        [fields["entityId"] for _, fields in events],
        partitions,
    )
    of = [row["number"] for row in numbers]
    return [
        [event for event, number in zip(events, of, strict=True) if number == wanted]
        for wanted in range(partitions)
    ]


async def expected(
    connection: asyncpg.Connection, partitions: int
) -> list[list[tuple[str, dict[str, str]]]]:
    """What each stream should hold."""
    return await divided(connection, as_entries(await by_definition(connection)), partitions)


async def write_some(connection: asyncpg.Connection, count: int) -> None:
    """Twice as many events as *count*, more or less, of a few entities."""
    for n in range(count):
        await write(connection, _ENTITIES[n % len(_ENTITIES)], 1 + n % 3)


async def keep_writing(connection: asyncpg.Connection, enough: asyncio.Event) -> None:
    while not enough.is_set():
        await write_some(connection, 3)
        await asyncio.sleep(0.005)

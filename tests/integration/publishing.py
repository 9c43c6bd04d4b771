"""Events written straight into the outbox, and what its readers make of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

import asyncpg
from redis.asyncio import Redis

from outbox import connection as outbox_connection
from outbox.batch import WHOLE, Share
from outbox.checkpoints import Checkpoint
from outbox.clock import ServerClock
from outbox.dead_letters import DeadLetters
from outbox.epochs import Epochs
from outbox.event import Event, timestamp
from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks
from publisher import identity
from publisher.board import Offer
from publisher.observing import Observer
from publisher.place import Places
from publisher.relay import Relay
from publisher.settings import Limits
from publisher.store.stream import EventStream
from publisher.web.metrics import Metrics

KEY = "catalog:events"
LIMITS = Limits()

_WRITE = """
INSERT INTO outbox.event_1 (entity, entity_id, operation, payload)
SELECT 'series', $1, 'update', format('{"n":%s}', n) FROM generate_series(1, $2::int) AS n
"""
# What a tick is, said without an index, a floor or a page.
_BY_DEFINITION = """
SELECT t.ms, e.entity, e.entity_id, e.operation,
       (date_part('epoch', e.at) * 1000)::bigint AS at_ms, e.payload, e.traceparent
  FROM outbox.tick AS t
  JOIN outbox.event AS e
    ON pg_visible_in_snapshot(e.xid, t.snapshot) AND NOT pg_visible_in_snapshot(e.xid, t.since)
 ORDER BY t.ms, e.id
"""


FOREIGN = {"from": "somebody else"}
"""An entry that is not ours."""
GO_ON = asyncio.Event()
"""Never set."""


@asynccontextmanager
async def outbox_pool(database: str) -> AsyncIterator[asyncpg.Pool]:
    """A pool as the publisher's is."""
    async with asyncpg.create_pool(
        database, min_size=0, max_size=8, server_settings=outbox_connection.SETTINGS
    ) as pool:
        yield pool


class OnePass:
    """Ticker and worker in one, as another process would have them, without their loops."""

    def __init__(  # noqa: PLR0913 - what a process has
        self,
        pool: asyncpg.Pool,
        client: Redis,
        *,
        key: str = KEY,
        share: Share = WHOLE,
        limits: Limits = LIMITS,
        epoch: int = 0,
        after_a_crash: bool = False,
        retention_s: float = 86_400.0,
        save: Callable[[Checkpoint], Awaitable[None]] | None = None,
    ) -> None:
        self._whole, self._ticks = Ticks(pool), Ticks(pool, share)
        self._epochs, self._limits, self._share = Epochs(pool), limits, share
        stream, observe = EventStream(client, key), Observer(Metrics([key])).happened
        self.places = Places(
            pool,
            self._ticks,
            stream,
            self._epochs,
            ServerClock(pool),
            retention_s=retention_s,
            observe=observe,
        )
        self._relay = Relay(
            self._ticks,
            stream,
            self.places,
            DeadLetters(pool, key, share),
            limits,
            epoch=epoch,
            after_a_crash=after_a_crash,
            save=save or _nowhere,
            observe=observe,
        )

    @property
    def place(self) -> Position | None:
        return self._relay.place

    async def publish(
        self, stop: asyncio.Event, everywhere: Sequence["OnePass"] | None = None
    ) -> int:
        """One pass; how many events it moved. *everywhere*: the partitions, if there are more."""
        places = [one.places for one in everywhere or [self]]
        settled_for = await identity.settle(self._epochs, self._whole, places, by="a test")
        offer = Offer(
            *await self._whole.make_and_read(
                size=self._limits.batch_size if self._share == WHOLE else 0,
                above_ms=self._relay.above_ms,
                settled_for=settled_for,
            )
        )
        return await self._relay.follow(offer, stop)


class MakeRelay(Protocol):
    """A relay of its own, as another process would have."""

    def __call__(self, *, batch_size: int = 1000) -> OnePass: ...


def relays(pool: asyncpg.Pool, client: Redis) -> MakeRelay:
    """Any number of relays to the same stream."""

    def make_relay(*, batch_size: int = 1000) -> OnePass:
        return OnePass(pool, client, limits=Limits(batch_size=batch_size))

    return make_relay


async def _nowhere(_: Checkpoint) -> None:
    """Without a lease there is no checkpoint: the stream alone says where to go on."""


async def write(connection: asyncpg.Connection, entity_id: str, count: int = 1) -> None:
    """Write *count* events of one entity in one statement."""
    await connection.execute(_WRITE, entity_id, count)


async def read(ticks: Ticks, after: Position = ORIGIN, *, size: int = 1000) -> list[Event]:
    """The events of all ticks made so far that come after *after*."""
    events: list[Event] = []
    async for batch in ticks.batches_after(after, size=size):
        assert 0 < batch.events <= size
        events += batch
    return events


async def entity_ids(ticks: Ticks, after: Position = ORIGIN) -> list[str]:
    return [event.entity_id for event in await read(ticks, after)]


async def by_definition(connection: asyncpg.Connection) -> list[Event]:
    """The events of all ticks that were never renumbered, in order, with their IDs."""
    events: list[Event] = []
    ms, index = 0, 0
    for row in await connection.fetch(_BY_DEFINITION):
        index = index + 1 if row["ms"] == ms else 0
        ms = row["ms"]
        events.append(
            Event(
                str(Position.in_tick(ms, index)),
                row["entity"],
                row["entity_id"],
                row["operation"],
                timestamp(row["at_ms"]),
                row["payload"],
                row["traceparent"] or "",
            )
        )
    return events


async def entries(redis: Redis, key: str = KEY) -> list[tuple[str, dict[str, str]]]:
    """All of the stream, with text for bytes."""
    raw: Any = await redis.xrange(key)
    return [
        (_text(id_), {_text(name): _text(value) for name, value in fields.items()})
        for id_, fields in raw
    ]


async def ours(redis: Redis) -> list[tuple[str, dict[str, str]]]:
    return [(id_, fields) for id_, fields in await entries(redis) if fields != FOREIGN]


async def names(redis: Redis) -> list[str]:
    """The entity ids in the stream, and * for an entry of somebody else."""
    return [fields.get("entityId", "*") for _, fields in await entries(redis)]


async def holds_more_than(redis: Redis, count: int) -> bool:
    return bool(await redis.xlen(KEY) > count)


async def eventually(condition: Callable[[], Awaitable[bool]], *, within_s: float = 10) -> None:
    """Return once *condition* holds. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not await condition():  # noqa: ASYNC110 - it is another process that we wait for
            await asyncio.sleep(0.01)


def said(lines: Iterable[Any], event: str) -> list[dict[str, Any]]:
    """Those of the log *lines* that are about *event*."""
    return [line for line in lines if line["event"] == event]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value

"""Writers that never rest, what arrives in the streams meanwhile, and what must be in them then."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
from processes import Publisher, eventually
from redis.asyncio import Redis

from outbox.position import Position

_ENTITIES = 60
_WRITE = (
    "INSERT INTO catalog.category (slug, name, display_order) VALUES ($1, 'Name', $2)"
    " ON CONFLICT (slug) DO UPDATE SET display_order = excluded.display_order"
)
# What a tick is, said without an index, a floor or a page.
_BY_DEFINITION = """
SELECT t.ms, row_number() OVER (PARTITION BY t.ms ORDER BY e.id) - 1 AS index,
       outbox.partition_of(e.entity_id, $1) AS partition, e.entity_id, e.operation, e.payload
  FROM outbox.tick AS t
  JOIN outbox.event AS e
    ON pg_visible_in_snapshot(e.xid, t.snapshot) AND NOT pg_visible_in_snapshot(e.xid, t.since)
 ORDER BY t.ms, e.id
"""


class Arrival(NamedTuple):
    """An event, as a reader of the stream got it."""

    at: float
    """As time.monotonic() tells it."""
    number: int
    """Of the write that it tells of."""


class Traffic:
    """One event after the other, and when each of them arrives, by stream."""

    def __init__(self, dsn: str, redis: Redis, keys: Sequence[str]) -> None:
        self.is_over = asyncio.Event()
        self.written = 0
        self.arrivals: dict[str, list[Arrival]] = {key: [] for key in keys}
        self._dsn = dsn
        self._redis = redis

    async def write(self, *, writers: int, pause_s: float) -> None:
        """Write until it is over."""
        connections = [await asyncpg.connect(self._dsn) for _ in range(writers)]
        try:
            await asyncio.gather(*(self._keep_writing(c, pause_s) for c in connections))
        finally:
            for connection in connections:
                await connection.close()

    async def read(self) -> None:
        """Take down what arrives until it is over."""
        at: dict[Any, Any] = dict.fromkeys(self.arrivals, "0-0")
        # Not cancelled: redis-py may go on with the next command then.
        while not self.is_over.is_set():
            found: Any = await self._redis.xread(at, count=1000, block=100)
            now = time.monotonic()
            for key, entries in found or ():
                at[key] = entries[-1][0]
                self.arrivals[key] += [Arrival(now, _number(fields)) for _, fields in entries]

    async def arrived(self, key: str, *, after: int, within_s: float = 30) -> Arrival:
        """The first arrival in *key* of anything that was written after number *after*."""

        def first() -> Arrival | None:
            return next((one for one in self.arrivals[key] if one.number > after), None)

        async def there() -> bool:
            return first() is not None

        await eventually(there, within_s=within_s)
        found = first()
        assert found is not None
        return found

    async def _keep_writing(self, connection: asyncpg.Connection, pause_s: float) -> None:
        while not self.is_over.is_set():
            self.written += 1
            number = self.written
            await connection.execute(_WRITE, f"c-{number % _ENTITIES}", number)
            await asyncio.sleep(pause_s)


def _number(fields: dict[str, str]) -> int:
    number: int = json.loads(fields["payload"])["displayOrder"]
    return number


@asynccontextmanager
async def flowing(
    dsn: str, redis: Redis, keys: Sequence[str], *, writers: int = 1, pause_s: float = 0.003
) -> AsyncIterator[Traffic]:
    """Writers and a reader until the end of the block."""
    traffic = Traffic(dsn, redis, keys)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(traffic.write(writers=writers, pause_s=pause_s))
        tasks.create_task(traffic.read())
        try:
            yield traffic
        finally:
            traffic.is_over.set()


async def shared_as(connection: asyncpg.Connection, shares: dict[Publisher, int]) -> None:
    """Return when each publisher holds as many leases as *shares* say."""

    async def so() -> bool:
        if not all(publisher.lines("publisher.started") for publisher in shares):
            return False
        rows = await connection.fetch(
            "SELECT holder, (SELECT count(*) FROM outbox.lease AS l WHERE l.holder = m.holder) AS n"
            " FROM outbox.member AS m"
        )
        held = {row["holder"]: row["n"] for row in rows}
        return held == {one.holder: share for one, share in shares.items()}

    await eventually(so)


async def led_by(connection: asyncpg.Connection, publisher: Publisher) -> list[str]:
    """The streams whose leases *publisher* holds."""
    rows = await connection.fetch(
        "SELECT name FROM outbox.lease WHERE holder = $1 ORDER BY name", publisher.holder
    )
    return [row["name"] for row in rows]


async def level(connection: asyncpg.Connection, redis: Redis, keys: Sequence[str]) -> None:
    """Return when the streams hold as many entries as there are events, once writers rest."""
    count = await connection.fetchval("SELECT count(*) FROM outbox.event")

    async def so() -> bool:
        return bool(sum([await redis.xlen(key) for key in keys]) >= count)

    await eventually(so)


async def check_exact(connection: asyncpg.Connection, redis: Redis, keys: Sequence[str]) -> int:
    """Each stream holds the events of its partition, each once, under its own ID, in order.

    How many that are.
    """
    rows = await connection.fetch(_BY_DEFINITION, len(keys))
    for number, key in enumerate(keys):
        expected = [
            (
                str(Position.in_tick(row["ms"], row["index"])),
                *(row["entity_id"], row["operation"], row["payload"]),
            )
            for row in rows
            if row["partition"] == number
        ]
        entries: Any = await redis.xrange(key)
        found = [
            (id_, fields["entityId"], fields["operation"], fields["payload"])
            for id_, fields in entries
        ]
        assert found == expected, key
    committed: int = await connection.fetchval("SELECT count(*) FROM outbox.event")
    assert len(rows) == committed
    return committed

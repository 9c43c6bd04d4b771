"""The relay that most teams write first, and write well: rows marked as sent, in batches of 1,000.

A peer to be measured, started as ``python -m benchmarks.textbook``. One XADD for each row, in one
pipeline, then one UPDATE, then the commit. Several of them could run at once, and would then
reorder the events of one entity; what commits late goes out late.
"""

from __future__ import annotations

import asyncio
import os
from datetime import UTC

import asyncpg
from redis.asyncio import Redis

from benchmarks.servers import SQL, STREAM_KEY
from outbox.event import TYPE

_BATCH = 1000
_PAUSE_S = 0.1


async def send_unsent(connection: asyncpg.Connection, redis: Redis) -> int:
    """Send one batch and mark it as sent; how many."""
    async with connection.transaction():
        rows = await connection.fetch(SQL["unsent"])
        if not rows:
            return 0
        pipeline = redis.pipeline(transaction=False)
        for row in rows:
            at = row["created_at"].astimezone(UTC).isoformat(timespec="milliseconds")
            pipeline.xadd(
                STREAM_KEY,
                {
                    "type": TYPE,
                    "entity": row["aggregate"],
                    "entityId": str(row["aggregate_id"]),
                    "operation": row["type"],
                    "timestamp": at.replace("+00:00", "Z"),
                    "payload": row["payload"],
                },
            )
        await pipeline.execute()
        await connection.execute(SQL["mark_sent"], [row["id"] for row in rows])
    return len(rows)


async def relay() -> None:
    """Send, and look again after a pause when there was less than a batch."""
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    async with Redis.from_url(os.environ["REDIS_URL"]) as redis:
        while True:
            if await send_unsent(connection, redis) < _BATCH:
                await asyncio.sleep(_PAUSE_S)


if __name__ == "__main__":
    asyncio.run(relay())

"""``python -m consumer analytics``: reads whole batches, and counts each in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.consumer import Consumer
from consumer.keeping import database
from consumer.keeping.checkpoint import PostgresCheckpoint
from consumer.reference.analytics.counting import GROUP, Counting
from consumer.reference.process import started

if TYPE_CHECKING:
    from consumer.event import Gap
    from consumer.reference.environment import Settings


async def run(settings: Settings) -> None:
    """Until the process is asked to end."""
    pool = database.pool(settings.database_url, most=settings.streams.partitions + 1)
    async with started(settings, GROUP) as process, pool:
        counting = Counting(pool)
        await process.prepare(counting.prepare)
        consumer = Consumer(
            process.redis,
            group=GROUP,
            batch_handler=counting.count,
            checkpoint=PostgresCheckpoint(pool),
            on_gap=go_on,
            **process.options,
        )
        await process.run(consumer)


async def go_on(_: Gap) -> None:
    """What was trimmed is not counted; `consumer_gaps_total` says that it was."""

"""``python -m consumer engagement``: events of an entity in order, entities side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.consumer import Consumer
from consumer.reference.engagement.popularity import GROUP, Popularity
from consumer.reference.process import started

if TYPE_CHECKING:
    from consumer.event import Gap
    from consumer.reference.environment import Settings


async def run(settings: Settings) -> None:
    """Until the process is asked to end."""
    async with started(settings, GROUP) as process:
        consumer = Consumer(
            process.redis,
            group=GROUP,
            handler=Popularity(process.redis).score,
            effects_in_redis=True,
            on_gap=go_on,
            **process.options,
        )
        await process.run(consumer)


async def go_on(_: Gap) -> None:
    """A score is not owed what was trimmed; `consumer_gaps_total` counts that it was."""

"""SearchService, for reference: events ring, and the index fetches what they touched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from consumer.consumer import Consumer
from consumer.reference.process import started
from consumer.reference.search.index import SearchIndex
from consumer.syncing.doorbell import Doorbell
from outbox.errors import CatalogStreamError
from snapshot_server.client.client import SnapshotClient
from snapshot_server.client.patience import Patience

if TYPE_CHECKING:
    from consumer.reference.environment import Settings
    from consumer.reference.search.settings import SearchSettings

log = structlog.get_logger(__name__)

GROUP = "search"
# A server that is away holds it up, and does not end it.
_PATIENCE = Patience(attempts=1_000_000)


async def run(settings: Settings, own: SearchSettings) -> None:
    """Keep the index level with the catalog, until the process is asked to end."""
    access = own.access
    async with (
        started(settings, GROUP) as process,
        SearchIndex.opened(own.index) as index,
        SnapshotClient(access.address, access.token, tls=access.tls, patience=_PATIENCE) as client,
    ):
        doorbell = Doorbell(client, index)
        consumer = Consumer(
            process.redis,
            group=GROUP,
            batch_handler=doorbell.ring,
            start=doorbell.start,
            on_gap=doorbell.heal,
            **process.options,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                levelling = tasks.create_task(_level(doorbell))
                await process.run(consumer)
                levelling.cancel()
        except* CatalogStreamError as group:
            raise group.exceptions[0] from None


async def _level(doorbell: Doorbell) -> None:
    """An index that was lost is filled although the group is there, and nothing may ring."""
    position = await doorbell.level()
    log.info("index.level", position=str(position))

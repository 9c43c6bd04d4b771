"""Something to be done in an entity's lane, between its events."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Errand:
    """Waits in the lane like an event; nothing else of the entity goes on while it is run."""

    __slots__ = ("_job", "done", "raw_entity_id")

    def __init__(self, raw_entity_id: bytes, job: Callable[[], Awaitable[None]]) -> None:
        self.raw_entity_id = raw_entity_id
        self._job = job
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """What came of it, for whoever sent it."""

    async def run(self) -> None:
        """Whatever it raises is its sender's."""
        try:
            await self._job()
        except Exception as exc:  # noqa: BLE001 - as above
            if not self.done.done():
                self.done.set_exception(exc)
        else:
            if not self.done.done():
                self.done.set_result(None)

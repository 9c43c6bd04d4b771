"""A worker that takes whole batches."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from consumer.errors import LeaseLost
from consumer.handling.work import failure_of
from consumer.reading.tasks import pause
from consumer.reports import BatchRetried

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.event import Event
    from consumer.handling.work import BatchHandler
    from consumer.reading.hand import Hand
    from consumer.reading.lease import Lease
    from consumer.reports import Observe


class BatchWork:
    """One batch at a time, as it was read, until the handler has taken it."""

    def __init__(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
        self,
        handler: BatchHandler,
        hand: Hand,
        lease: Lease,
        observe: Observe,
        pause_s: Callable[[int], float],
        stream: str,
    ) -> None:
        self._handler = handler
        self._hand = hand
        self._lease = lease
        self._observe = observe
        self._pause_s = pause_s
        self._stream = stream
        self._batches: deque[Sequence[Event]] = deque()
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._busy_s = 0.0

    def give(self, events: Sequence[Event]) -> None:
        """As of Work."""
        self._batches.append(events)
        self._wake.set()

    async def run(self) -> None:
        """As of Work."""
        while not self._stopping.is_set():
            if self._batches:
                await self._handle(self._batches.popleft())
            else:
                self._wake.clear()
                await self._wake.wait()

    def stop(self) -> None:
        """As of Work."""
        self._stopping.set()
        self._wake.set()

    def take_busy_s(self) -> Sequence[float]:
        """As of Work."""
        busy_s, self._busy_s = self._busy_s, 0.0
        return [busy_s]

    async def _handle(self, events: Sequence[Event]) -> None:
        attempt = 0
        while not self._stopping.is_set():
            if not self._lease.held:
                raise LeaseLost
            began = time.monotonic()
            attempt += 1
            try:
                await self._handler(events)
            except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - see failure_of
                error, pause_s = failure_of(exc), self._pause_s(attempt)
                self._observe(BatchRetried(self._stream, len(events), attempt, pause_s, error))
                await pause(self._stopping, pause_s)
            else:
                for event in events:
                    self._hand.finish(event.raw_id)
                return
            finally:
                self._busy_s += time.monotonic() - began

"""Where the ticker posts ticks, and where the workers of the partitions wait for them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from outbox.batch import Batch
    from outbox.tick import Tick

UNKNOWN = -1
"""The level of a worker that does not know which tick it has finished."""


class Offer(NamedTuple):
    """What the last look at the outbox came to."""

    previous_ms: int | None
    """The newest tick before that look; None before the first."""
    tick: Tick | None = None
    """The tick that it made, if anything was new."""
    batch: Batch | None = None
    """All events of that tick, where they were few and are in one partition."""

    @property
    def newest_ms(self) -> int | None:
        """The newest tick that there is."""
        return self.tick.ms if self.tick else self.previous_ms


class Board:
    """One offer at a time, seen by every worker of this process."""

    def __init__(self) -> None:
        self.above_ms = 0
        """Ticks are to be made above this: somebody else has written to a stream."""
        self.withdrawn = 0
        """How many times it was not certain any more which outbox this is."""
        self._offer: Offer | None = None
        self._posted = asyncio.Event()
        self._idle = 0
        self._wanted = asyncio.Event()

    def post(self, offer: Offer) -> None:
        """Offer what was found; nothing happens when it is nothing new."""
        if self._offer is None or offer.newest_ms != self._offer.newest_ms:
            self._offer = offer
            self._posted.set()
            self._posted = asyncio.Event()

    def withdraw(self) -> None:
        """Workers are to wait: it is not certain any more which outbox this is."""
        self._offer = None
        self.withdrawn += 1

    @property
    def is_open(self) -> bool:
        """Whether there is an offer to go by."""
        return self._offer is not None

    @property
    def is_wanted(self) -> bool:
        """Whether a worker has nothing left to do."""
        return self._wanted.is_set()

    async def wanted(self, stop: asyncio.Event) -> None:
        """Return when a worker has nothing left to do, or when *stop* is set."""
        await _either(self._wanted, stop)

    async def next(self, level_ms: int | None, stop: asyncio.Event, *, timeout_s: float) -> Offer:
        """The newest offer, once there is one that goes beyond *level_ms*.

        When there is none after *timeout_s*: that there is nothing beyond it. While there is no
        offer at all nothing is known, and this waits until there is, or *stop* is set.
        """
        waited = False
        while not stop.is_set():
            offer = self._offer
            if offer is not None and offer.newest_ms != level_ms:
                return offer
            if offer is not None and waited:
                break
            self._idle += 1
            self._wanted.set()
            try:
                await _either(self._posted, stop, timeout_s=timeout_s)
            finally:
                self._idle -= 1
                if not self._idle:
                    self._wanted.clear()
            waited = True
        return Offer(level_ms)


async def _either(
    event: asyncio.Event, stop: asyncio.Event, *, timeout_s: float | None = None
) -> None:
    if event.is_set() or stop.is_set():
        return
    waits = [asyncio.create_task(one.wait()) for one in (event, stop)]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()

"""Lanes: events of one entity one after another, of different entities side by side."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    from consumer.event import Event
    from consumer.handling.errand import Errand


class Lane:
    """The queue of one worker.

    An entity may be *held*: its events wait beside the lane, those of others flow. When it is
    released they come back in order, and in front.
    """

    def __init__(self) -> None:
        self._ready: deque[Event | Errand] = deque()
        self._held: dict[bytes, deque[Event | Errand]] = {}

    def add(self, event: Event | Errand) -> None:
        """It comes after all that was added before."""
        self._ready.append(event)

    def next(self) -> Event | Errand | None:
        """The next event of an entity that is not held; None if there is none."""
        while self._ready:
            event = self._ready.popleft()
            if not self._held:
                return event
            waiting = self._held.get(event.raw_entity_id)
            if waiting is None:
                return event
            waiting.append(event)
        return None

    def hold(self, entity: bytes, *events: Event | Errand) -> None:
        """From now on the events of *entity* wait, *events* in front of them."""
        self._held.setdefault(entity, deque()).extendleft(reversed(events))

    def release(self, entity: bytes) -> None:
        """Its events flow again."""
        self._ready.extendleft(reversed(self._held.pop(entity, ())))


class Lanes:
    """Several, each entity always in the same one."""

    def __init__(self, count: int) -> None:
        self.all = [Lane() for _ in range(count)]

    def number_of(self, entity: bytes) -> int:
        """Of the lane of *entity*."""
        return crc32(entity) % len(self.all)

"""Pages that several partitions of one process need, read once for all of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from outbox.errors import OutboxUnreadable

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Collection,
        Hashable,
        Iterable,
        Mapping,
        Sequence,
    )

    import asyncpg

Row: TypeAlias = "Mapping[str, Any] | asyncpg.Record"
"""Of one tick: how many events were read of it, which of them are whose, the last id."""

_KEPT_BYTES = 32 << 20
_KEPT_PAGES = 256
_RECENT_S = 10.0
_OTHER_COLUMNS = ("ms", "events", "last_id", "marked")


class Page(NamedTuple):
    """What a partition has of a page."""

    rows: Sequence[Row]
    body: bytes
    largest: int
    """Bytes of its largest payload, or a few more: never fewer."""


class SharedPage:
    """A page whose events are marked with their partitions, and packed one by one."""

    def __init__(self, rows: Iterable[asyncpg.Record]) -> None:
        packed: dict[int, list[bytes]] = {}
        marks: list[dict[str, Any]] = []
        self._largest = 0
        for row in rows:
            marks.append({name: row.get(name) for name in _OTHER_COLUMNS})
            self._largest = max(self._largest, row["largest"] or 0)
            for number, event in zip(row["marked"] or b"", row["packed"] or (), strict=True):
                packed.setdefault(number, []).append(event)
        self._rows: Sequence[Row] = marks
        self._longest = {n: max(map(len, events)) for n, events in packed.items() if events[0]}
        self._bodies = {number: b"".join(packed[number]) for number in self._longest}
        self.size_bytes = sum(map(len, self._bodies.values()))

    def of(self, number: int) -> Page:
        """What partition *number* has of it."""
        largest = min(self._largest, self._longest.get(number, 0))
        return Page(self._rows, self._bodies.get(number, b""), largest)


@dataclass(slots=True)
class _Reading:
    task: asyncio.Task[SharedPage]
    awaited: set[int] = field(default_factory=set)
    """The partitions that have not asked for it yet."""
    size_bytes: int = 0


class Pages:
    """Hands each page to every partition of this process that is under way, and reads it once.

    To each only once: who asks again, because something went wrong, has it read anew. A partition
    that is too far behind the others reads its pages itself; so nobody waits for anybody.
    """

    def __init__(self) -> None:
        self._readings: dict[Hashable, _Reading] = {}
        self._asked_at: dict[int, float] = {}

    async def take(
        self,
        number: int,
        key: Hashable,
        read: Callable[[Collection[int]], Awaitable[SharedPage]],
    ) -> Page:
        """What partition *number* has of the page that *key* stands for.

        *key* must tell all that the content depends on; *read* is told for which partitions it
        reads. Raises what *read* raises.
        """
        self._asked_at[number] = asyncio.get_running_loop().time()
        reading = self._readings.get(key)
        if reading is None or number not in reading.awaited:
            reading = self._begun(key, read)
        reading.awaited.discard(number)
        if not reading.awaited:
            self._forget(key, reading)
        try:
            # Others wait for it too, when whoever asked first has been stopped.
            return (await asyncio.shield(reading.task)).of(number)
        except OutboxUnreadable:
            # The event that cannot be packed may be another partition's.
            return (await read([number])).of(number)

    def _begun(
        self, key: Hashable, read: Callable[[Collection[int]], Awaitable[SharedPage]]
    ) -> _Reading:
        since = asyncio.get_running_loop().time() - _RECENT_S
        numbers = {number for number, at in self._asked_at.items() if at > since}

        async def reading_it() -> SharedPage:
            return await read(sorted(numbers))

        reading = _Reading(asyncio.create_task(reading_it()), set(numbers))
        self._readings.pop(key, None)
        self._readings[key] = reading

        def done(task: asyncio.Task[SharedPage]) -> None:
            if task.cancelled() or task.exception():
                self._forget(key, reading)
            else:
                reading.size_bytes = task.result().size_bytes
                self._drop_oldest()

        reading.task.add_done_callback(done)
        return reading

    def _forget(self, key: Hashable, reading: _Reading) -> None:
        if self._readings.get(key) is reading:
            del self._readings[key]

    def _drop_oldest(self) -> None:
        kept = sum(reading.size_bytes for reading in self._readings.values())
        while kept > _KEPT_BYTES or len(self._readings) > _KEPT_PAGES:
            oldest = next(iter(self._readings))
            kept -= self._readings.pop(oldest).size_bytes

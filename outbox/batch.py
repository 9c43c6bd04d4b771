"""Events on their way: packed by PostgreSQL, unpacked by the stream."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

from outbox.event import Event, timestamp
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_VALUES = 6  # of an event, see outbox.packed in schema.sql
_BEFORE_THE_TIME = 3  # values: texts with two bytes of length
_HEAD_16 = 3  # bytes: kind and length
_UINT_64 = 8  # bytes
_ARRAY_32 = 0xDD


@dataclass(frozen=True, slots=True)
class Share:
    """Which events are read: those of partition *number*, of so many."""

    number: int = 0
    of: int = 1


WHOLE = Share()
"""All of them."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive events of one tick: *count* of them, from number *index* of the tick at *ms*."""

    ms: int
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are moved together: *runs* say which they are, *body* what is in them.

    There may be none: all that was read belongs to other partitions.
    """

    runs: tuple[Run, ...]
    body: bytes
    reached: Position
    """Up to where the outbox was read for it."""
    largest: int
    """Bytes of the largest payload among them."""

    @property
    def events(self) -> int:
        """How many there are."""
        return sum(run.count for run in self.runs)

    @property
    def first(self) -> Position:
        """Where the first of them stands."""
        return Position.in_tick(self.runs[0].ms, self.runs[0].index)

    @property
    def last(self) -> Position:
        """Where the last of them stands."""
        run = self.runs[-1]
        return Position.in_tick(run.ms, run.index + run.count - 1)

    @property
    def oldest_at_ms(self) -> int:
        """When the first of them was written, in milliseconds since 1970."""
        at = 0
        for _ in range(_BEFORE_THE_TIME):
            at += _HEAD_16 + int.from_bytes(self.body[at + 1 : at + _HEAD_16])
        return int.from_bytes(self.body[at + 1 : at + 1 + _UINT_64])

    @property
    def packed(self) -> bytes:
        """All of them as one flat MessagePack array, six values an event."""
        return struct.pack(">BI", _ARRAY_32, self.events * _VALUES) + self.body

    def __iter__(self) -> Iterator[Event]:
        """Each of them as the stream will hold it."""
        values = iter(msgpack.unpackb(self.packed))
        rows = zip(*[values] * _VALUES, strict=True)
        for run in self.runs:
            for index in range(run.index, run.index + run.count):
                entity, entity_id, operation, at_ms, traceparent, payload = next(rows)
                yield Event(
                    str(Position.in_tick(run.ms, index)),
                    *(entity, entity_id, operation),
                    timestamp(at_ms),
                    *(payload, traceparent),
                )

    def only(self, wanted: Callable[[Event], bool]) -> Batch:
        """Those of them that are *wanted*; there may be none."""
        unpacker = msgpack.Unpacker(max_buffer_size=len(self.body))
        unpacker.feed(self.body)
        events = iter(self)
        runs: list[Run] = []
        pieces: list[bytes] = []
        start = largest = 0
        for run in self.runs:
            numbers = []
            for number in range(run.index, run.index + run.count):
                for _ in range(_VALUES):
                    unpacker.skip()
                stop = unpacker.tell()
                event = next(events)
                if wanted(event):
                    numbers.append(number)
                    pieces.append(self.body[start:stop])
                    largest = max(largest, len(event.payload.encode()))
                start = stop
            runs += runs_of(run.ms, numbers)
        return Batch(tuple(runs), b"".join(pieces), self.reached, largest)


def runs_of(ms: int, numbers: Iterable[int]) -> tuple[Run, ...]:
    """The events with these ascending *numbers* of the tick at *ms*, as runs."""
    runs: list[Run] = []
    start = count = 0
    for number in numbers:
        if count and number == start + count:
            count += 1
            continue
        if count:
            runs.append(Run(ms, start, count))
        start, count = number, 1
    if count:
        runs.append(Run(ms, start, count))
    return tuple(runs)

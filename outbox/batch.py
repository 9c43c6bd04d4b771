"""Events on their way: packed by PostgreSQL, unpacked by the stream."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

from outbox.event import Event, timestamp
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    """Events of one tick: of *count* consecutive ones, from number *index* on, those *marked*."""

    ms: int
    index: int
    count: int
    marked: bytes = b""
    """A byte for each; empty when all are meant."""
    mark: int = 1
    """The byte that those have which are meant."""

    @property
    def events(self) -> int:
        """How many are meant."""
        return self.marked.count(self.mark) if self.marked else self.count

    @property
    def numbers(self) -> Sequence[int]:
        """Their numbers in the tick."""
        if not self.marked:
            return range(self.index, self.index + self.count)
        return [self.index + n for n, mark in enumerate(self.marked) if mark == self.mark]

    @property
    def first(self) -> Position:
        """Where the first that is meant stands."""
        return Position.in_tick(self.ms, self.index + max(self.marked.find(self.mark), 0))

    @property
    def last(self) -> Position:
        """Where the last that is meant stands."""
        at = self.marked.rfind(self.mark) if self.marked else self.count - 1
        return Position.in_tick(self.ms, self.index + at)


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
    """Bytes of the largest payload among them; of several partitions' page perhaps a few more."""

    @property
    def events(self) -> int:
        """How many there are."""
        return sum(run.events for run in self.runs)

    @property
    def first(self) -> Position:
        """Where the first of them stands."""
        return self.runs[0].first

    @property
    def last(self) -> Position:
        """Where the last of them stands."""
        return self.runs[-1].last

    def until(self, position: Position) -> int:
        """How many of them stand at or before *position*."""
        return sum(
            min(run.count, max(position.index_in(run.ms) - run.index + 1, 0)) for run in self.runs
        )

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
            for index in run.numbers:
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
            marked = bytearray(run.count)
            for number in run.numbers:
                for _ in range(_VALUES):
                    unpacker.skip()
                stop = unpacker.tell()
                event = next(events)
                if wanted(event):
                    marked[number - run.index] = 1
                    pieces.append(self.body[start:stop])
                    largest = max(largest, len(event.payload.encode()))
                start = stop
            if any(marked):
                runs.append(Run(run.ms, run.index, run.count, bytes(marked)))
        return Batch(tuple(runs), b"".join(pieces), self.reached, largest)

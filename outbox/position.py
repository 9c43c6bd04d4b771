"""A position: the ID of an event, as a place in the outbox, the stream and the feed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from outbox.errors import BadPosition

_SEQ_BITS = 20
_LAST_SEQ = (1 << _SEQ_BITS) - 1
_FORM = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_MAX_U64 = 2**64 - 1


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Event *seq* of millisecond *ms*, and everything before it; a legal Redis stream ID."""

    ms: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``<ms>-<seq>``. Raises BadPosition for anything else."""
        found = _FORM.fullmatch(text)
        if not found or max(int(found[1]), int(found[2])) > _MAX_U64:
            raise BadPosition(f"{text!r} is not a position such as 1795347471648-0")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def in_tick(cls, ms: int, index: int) -> Self:
        """Where event number *index*, from 0, of the tick at *ms* stands."""
        return cls(ms + (index >> _SEQ_BITS), index & _LAST_SEQ)

    def index_in(self, ms: int) -> int:
        """The number, in the tick at *ms*, of the last event that stands here or before."""
        return (self.ms - ms << _SEQ_BITS) + min(self.seq, _LAST_SEQ)

    @property
    def next(self) -> Position:
        """The position of the event after this one, if it is in the same tick."""
        if self.seq < _LAST_SEQ:
            return Position(self.ms, self.seq + 1)
        return Position(self.ms + 1, 0)

    @property
    def version(self) -> int:
        """The position as one 63-bit number that orders the same way."""
        return self.ms << _SEQ_BITS | self.seq

    def __str__(self) -> str:
        """As Redis writes it."""
        return f"{self.ms}-{self.seq}"


ORIGIN = Position(0, 0)
"""Before every event; where an absent or empty stream stands."""

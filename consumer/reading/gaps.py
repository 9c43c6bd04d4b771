"""Whether entries are missing between what a group was given and what the stream still holds."""

from __future__ import annotations

from typing import NamedTuple

from consumer.event import Gap
from outbox.position import ORIGIN, Position

_LAST_SEQ = (1 << 20) - 1


class View(NamedTuple):
    """A stream and one of its groups, at one moment."""

    stream: str
    delivered: Position
    """The last entry that the group was given."""
    first: Position | None
    last: Position
    """The last ID that the stream has given."""
    pending_from: Position | None
    """The lowest ID that the group was given and has not acknowledged."""
    pending: int = 0
    """Entries that were handed out and not acknowledged."""
    missed: int | None = None
    """Entries after *delivered* that were trimmed, as Redis counts; None if it does not know."""
    noted: str = ""
    """What the group and the stream were like when a read found something missing."""

    @property
    def level(self) -> bool:
        """Whether the group was given all that there is."""
        return self.last <= self.delivered


def gap_in(view: View) -> Gap | None:
    """What *view* shows to be missing, or may: an entry that is gone leaves no trace."""
    if view.noted and (gap := _undelivered(_as_noted(view.stream, view.noted))):
        return gap
    begins = view.first or view.last.next
    if view.pending_from and view.pending_from < begins:
        return Gap(view.stream, before(view.pending_from), view.first)
    return _undelivered(view)


def after_gap(view: View, healed: Position | None) -> Position:
    """Where to go on: after what was *healed*, or with whatever the stream still holds."""
    return max(healed or before_first(view), view.delivered)


def before_first(view: View) -> Position:
    """Up to where the stream holds nothing any more."""
    return before(view.first) if view.first else view.last


def _undelivered(view: View) -> Gap | None:
    begins = view.first or view.last.next
    if view.level or view.delivered == ORIGIN or begins <= view.delivered.next:
        return None
    # Redis 7 and later count: what was trimmed may all have been given to the group before.
    return None if view.missed == 0 else Gap(view.stream, view.delivered, view.first)


def _as_noted(stream: str, noted: str) -> View:
    delivered, first, last, missed = noted.split(" ")
    return View(
        stream,
        delivered=Position.parse(delivered),
        first=Position.parse(first) if first else None,
        last=Position.parse(last),
        pending_from=None,
        missed=int(missed) if missed else None,
    )


def before(position: Position) -> Position:
    """The highest position below *position* that an event may have."""
    if position.seq:
        return Position(position.ms, position.seq - 1)
    return Position(position.ms - 1, _LAST_SEQ) if position.ms else ORIGIN

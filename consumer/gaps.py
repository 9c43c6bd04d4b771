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
    unread: int | None = None
    """Entries after *delivered*, as Redis counts them; None if it does not know."""
    missed: int | None = None
    """Entries after *delivered* that were trimmed, as Redis counts them; None the same."""

    @property
    def level(self) -> bool:
        """Whether the group was given all that there is."""
        return self.last <= self.delivered


def gap_in(view: View) -> Gap | None:
    """What *view* shows to be missing, or may: an entry that is gone leaves no trace."""
    begins = view.first or _following(view.last)
    if view.pending_from and view.pending_from < begins:
        return Gap(view.stream, _before(view.pending_from), view.first)
    if view.level or view.delivered == ORIGIN or begins <= view.delivered:
        return None
    # Redis 7 and later count: what was trimmed may all have been given to the group before.
    return None if view.missed == 0 else Gap(view.stream, view.delivered, view.first)


def _following(position: Position) -> Position:
    return Position(position.ms, position.seq + 1)


def _before(position: Position) -> Position:
    """The highest position below *position* that an event may have."""
    if position.seq:
        return Position(position.ms, position.seq - 1)
    return Position(max(position.ms - 1, 0), _LAST_SEQ if position.ms else 0)

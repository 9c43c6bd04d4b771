"""Whether the feed can serve a cursor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from snapshot_server.content.cursor import position_of

if TYPE_CHECKING:
    from snapshot_server.content.cursor import Cursor


class Standing(StrEnum):
    """How a cursor stands to the feed."""

    FINE = "fine"
    EXPIRED = "expired"
    """A removal that it needs is not kept any more."""
    ABANDONED = "abandoned"
    """What its client has read was of a history that is not ours any more."""
    AHEAD = "ahead"
    """The feed has not come that far, or it is of the future."""
    ABSENT = "absent"
    """There is no feed yet, or none of our history."""


@dataclass(frozen=True, slots=True)
class FeedState:
    """The feed as one statement found it, beside a cursor."""

    version: int
    purged: int
    is_stale: bool
    """It was not taken over yet from a history that was abandoned."""
    is_abandoned: bool
    """The cursor is of such a history."""
    series: int
    episodes: int
    digest: int
    """Unsigned."""


def standing(cursor: Cursor, state: FeedState | None) -> Standing:
    """Whether *state* can serve *cursor*."""
    if state is None or state.is_stale:
        return Standing.ABSENT
    if state.is_abandoned:
        return Standing.ABANDONED
    if cursor.start is not None and state.purged > cursor.removals_after:
        return Standing.EXPIRED
    return Standing.AHEAD if cursor.seen > state.version else Standing.FINE


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between which positions a cursor can be used, both included; and how one stands to them."""

    purged: int
    newest: int
    is_abandoned: bool

    @property
    def oldest_text(self) -> str:
        """As an event ID."""
        return str(position_of(self.purged))

    @property
    def newest_text(self) -> str:
        """As an event ID."""
        return str(position_of(self.newest))

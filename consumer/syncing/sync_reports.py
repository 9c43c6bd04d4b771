"""What happens in a sync: for the log, the metrics and the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from outbox.position import Position


class Synced(NamedTuple):
    """The copy is level with the catalog."""

    position: Position
    items: int
    removed: int
    took_s: float


class Interrupted(NamedTuple):
    """A call broke off; the next one goes on where it was."""

    error: Exception
    pause_s: float


class BeganAnew(NamedTuple):
    """The copy cannot be brought up to date, or is not what it must be: all of it comes again."""

    error: Exception


class EventUnknown(NamedTuple):
    """The service does not know the event that was to be included: what it has was taken."""

    event_id: str
    error: Exception


Report: TypeAlias = Synced | Interrupted | BeganAnew | EventUnknown

Observe: TypeAlias = "Callable[[Report], None]"

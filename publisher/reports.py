"""What happens on the way from the outbox to a stream: for the log, the metrics and the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from outbox.position import Position


@dataclass(frozen=True, slots=True)
class BatchAppended:
    """A batch is in the stream."""

    stream: str
    first: Position
    events: int
    already: int
    """How many of them were there before."""
    healed: int
    """How many of them put back what the stream had lost."""
    took_s: float
    delay_s: float
    """Since the first of them was written."""


@dataclass(frozen=True, slots=True)
class PlaceFound:
    """It is known where to go on."""

    stream: str
    place: Position
    end: Position


@dataclass(frozen=True, slots=True)
class StreamLost:
    """The stream has lost entries; they are being put back."""

    stream: str
    end: Position
    """Where the stream ends now."""
    after: Position
    """From where entries are put back."""
    until: Position
    """Up to where the stream had come."""
    events: int
    """Of the whole outbox in that range; exact where there is one partition."""
    beyond_retention: int
    """Lost events that are older than the stream is meant to reach back."""


@dataclass(frozen=True, slots=True)
class ForeignFound:
    """Somebody else has written to the stream."""

    stream: str
    found: Position
    ours: Position
    """The last event of ours that the stream holds."""
    renumbered: int
    """Events that have new IDs, because they could not be appended with the ones they had."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """An event is a dead letter now."""

    stream: str
    event: Position
    reason: str


Report: TypeAlias = BatchAppended | PlaceFound | StreamLost | ForeignFound | SetAside

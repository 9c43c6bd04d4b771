"""What happened: for the log, the metrics and the tests."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class SyncKind(StrEnum):
    """How much a client asked for."""

    FULL = "full"
    """What was there when it began with nothing, as far as it has not got it yet."""
    INCREMENTAL = "incremental"


class SyncOutcome(StrEnum):
    """How a call of CatalogSnapshot ended."""

    FINISHED = "finished"
    REFUSED = "refused"
    """Its cursor, or its at_least, is malformed, expired, of the future or abandoned."""
    BUSY = "busy"
    """Too many full syncs were under way."""
    DRAINED = "drained"
    STALLED = "stalled"
    """The client did not read."""
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    """The client has gone, or the server was closed."""
    UNAVAILABLE = "unavailable"
    """PostgreSQL was away, or the feed behind for too long."""
    FAILED = "failed"
    """By an item that is too large, or by something unexpected."""


class SyncEnded(NamedTuple):
    """A call of CatalogSnapshot has ended."""

    kind: SyncKind
    outcome: SyncOutcome
    items: int
    removed: int
    chunks: int
    bytes: int
    """Of the chunks."""
    took_s: float


class VideoRead(NamedTuple):
    """A call of GetVideoMetadata was answered."""

    found: bool
    took_s: float


class CursorRefused(NamedTuple):
    """A cursor, or an at_least, cannot be used."""

    reason: str
    """As in the ErrorInfo that the client got."""


Report = SyncEnded | VideoRead | CursorRefused

"""How much one call may take."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT_ITEMS = 100
MOST_ITEMS = 1000
_LARGEST_MESSAGE = 4 << 20
_HEADROOM = 64 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the calls of one server process."""

    max_full_syncs: int = 16
    """Under way at once."""
    max_chunk_bytes: int = 1 << 20
    """Of a chunk's items; a larger item travels alone."""
    max_message_bytes: int = _LARGEST_MESSAGE - _HEADROOM
    """Of an item that travels alone; clients refuse messages of more than 4 MiB."""
    max_request_bytes: int = 64 << 10
    stalled_reader_s: float = 60.0
    """What sending one chunk may take."""
    feed_wait_s: float = 30.0
    """How long a call without a deadline waits for the feed, and for its own request."""


def items_of(limit: int) -> int:
    """The items in a chunk, for a request's *limit*."""
    return min(limit or DEFAULT_ITEMS, MOST_ITEMS)

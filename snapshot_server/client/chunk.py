"""One message of a snapshot, as a client sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from content_proto.content_pb2 import (
        CatalogFeedItem,
        CatalogSnapshotChunk,
        CatalogSummary,
        RemovedItem,
    )


class Chunk(NamedTuple):
    """Items and removals; either a cursor, or a position, which only the last chunk has."""

    items: Sequence[CatalogFeedItem]
    removed: Sequence[RemovedItem]
    next_cursor: str | None
    """From where a later sync goes on."""
    position: str | None
    """The client holds the catalog as of this event."""
    summary: CatalogSummary | None

    @classmethod
    def of(cls, message: CatalogSnapshotChunk) -> Self | None:
        """None for a message with neither cursor nor position: nobody could go on from there."""
        position = message.position if message.HasField("position") else None
        next_cursor = message.next_cursor if message.HasField("next_cursor") else None
        if not (position or next_cursor):
            return None
        summary = message.summary if message.HasField("summary") else None
        return cls(message.items, message.removed, next_cursor, position, summary)

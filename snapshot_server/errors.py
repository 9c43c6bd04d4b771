"""What goes wrong with snapshots; the docstring is the message, as in outbox/errors.py."""

from __future__ import annotations

from outbox.errors import CatalogStreamError


class SnapshotError(CatalogStreamError):
    """A snapshot could not be served, or the feed not be kept."""


class CursorRefused(SnapshotError):
    """A cursor cannot be used."""

    def __init__(
        self, *sentence: str, oldest: str | None = None, newest: str | None = None
    ) -> None:
        super().__init__(*sentence)
        self.oldest = oldest
        """The oldest position that can be used as a cursor, where it is known."""
        self.newest = newest


class CursorMalformed(CursorRefused):
    """A cursor is neither the ID of an event nor one that this service gave out."""


class CursorExpired(CursorRefused):
    """Removals after this cursor are not kept any more: begin anew without a cursor."""


class CursorFuture(CursorRefused):
    """The cursor lies beyond the newest event: begin anew without a cursor."""


class CursorAbandoned(CursorRefused):
    """The cursor is of a history that was abandoned: begin anew without a cursor."""


class DatabaseChanged(SnapshotError):
    """The database is not the one that published before: make reanchor, or connect to that one."""


class AtLeastMalformed(CursorRefused):
    """at_least is not the ID of an event."""


class AtLeastFuture(CursorRefused):
    """at_least lies beyond the newest event."""


class AtLeastAbandoned(CursorRefused):
    """at_least is of a history that was abandoned."""


class RequestMalformed(SnapshotError):
    """The request cannot be read."""


class RequestTooLarge(SnapshotError):
    """The request is larger than any that makes sense."""


class RequestCompressed(SnapshotError):
    """The request is compressed, which this server does not understand."""


class RequestLate(SnapshotError):
    """The call was opened, and no request came."""


class FeedAbsent(SnapshotError):
    """The catalog is being prepared; the same call may succeed later."""


class FeedBehind(SnapshotError):
    """The feed did not come that far in time; the same call may succeed later."""


class FullSyncsExhausted(SnapshotError):
    """As many full syncs as this server allows are under way; try again later."""


class ItemTooLarge(SnapshotError):
    """An item is larger than a message may be."""


class ReaderStalled(SnapshotError):
    """The client did not take a chunk in time; go on from the last next_cursor."""


class Draining(SnapshotError):
    """The server is stopping; go on with another one from the last next_cursor."""


class VideoMissing(SnapshotError):
    """There is no such video."""


class VideoIdMalformed(SnapshotError):
    """video_id is not a UUID."""

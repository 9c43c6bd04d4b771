"""What goes wrong with snapshots; the docstring is the message, as in outbox/errors.py."""

from __future__ import annotations

from outbox.errors import CatalogStreamError


class SnapshotError(CatalogStreamError):
    """A snapshot could not be served, or the feed not be kept."""


class CursorMalformed(SnapshotError):
    """A cursor is neither the ID of an event nor one that this service gave out."""


class CursorExpired(SnapshotError):
    """Removals after this cursor are not kept any more: begin anew without a cursor."""


class CursorFuture(SnapshotError):
    """The cursor lies beyond the newest event: begin anew without a cursor."""


class CursorAbandoned(SnapshotError):
    """The cursor is of a history that was abandoned: begin anew without a cursor."""

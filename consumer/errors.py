"""What ends a consumer, and what a handler may say instead of returning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outbox.errors import CatalogStreamError

if TYPE_CHECKING:
    from consumer.event import Gap


class Retry(CatalogStreamError):
    """Raised by a handler: the event should come again later."""

    def __init__(self, *, after: float | None = None) -> None:
        """*after*: in seconds; None is as after any failure. It counts as an attempt."""
        super().__init__("the handler asked for the event to come again")
        self.after = after


class Reject(CatalogStreamError):
    """Raised by a handler: no attempt at this event can succeed; it is set aside at once."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class EventUnreadable(CatalogStreamError):
    """The payload of the entry is not a JSON object."""


class FellOff(CatalogStreamError):
    """The stream no longer holds events that the group was not given."""

    def __init__(self, group: str, gap: Gap) -> None:
        super().__init__(
            f"group {group} has missed events of {gap.stream} after {gap.after}: the stream"
            f" {f'begins at {gap.first}' if gap.first else 'is empty'}."
            " It needs a snapshot, or on_gap to take one"
        )
        self.gap = gap


class GroupMissing(CatalogStreamError):
    """Redis has no such consumer group: it lost data, or somebody removed it."""


class LeaseLost(CatalogStreamError):
    """Somebody else reads the stream by now, or may do so."""


class NameTaken(CatalogStreamError):
    """Another process reads under the same name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"another process reads as {name}: give each member a name of its own, or none"
        )


class CheckpointUnreadable(CatalogStreamError):
    """A checkpoint holds something that is no position."""


class DatabaseUnavailable(CatalogStreamError):
    """The consumer's own PostgreSQL could not be reached; the same call may succeed later."""


class RedisRefused(CatalogStreamError):
    """Redis does not do as it is asked, for now."""

    def __init__(self, reason: str, answer: str) -> None:
        super().__init__(f"Redis refused: {answer}")
        self.reason = reason
        """The first word of the answer: OOM, READONLY, LOADING, NOPERM, ..."""

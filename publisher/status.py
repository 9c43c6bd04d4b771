"""The way from commit to consumer, as numbers, and what is wrong with it.

What only PostgreSQL or only Redis knows is None while that server is away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOO_OLD_S = 30.0
_BUDGET_TOO_SHORT_H = 2.0


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A consumer group of one stream."""

    name: str
    last_delivered: str
    unread_s: float | None
    """The age of the oldest entry that it has not been given."""
    pending: int
    """Given to it and not acknowledged."""
    unacknowledged_s: float | None
    """The age of the oldest of them that the stream still holds."""
    gone: int
    """Of the pending ones, those that the stream no longer holds; counted to 10,000."""
    consumers: int
    last_seen_s: float | None
    """How long ago one of its consumers asked for anything."""
    behind: int | None = None
    """Events that it has not been given yet; of several partitions, those in ticks."""
    behind_exact: bool = False
    """Otherwise an estimate, as with every such pair: see Distances."""
    fell_off: int | None = None
    """Events that it was never given and that the stream no longer holds."""
    fell_off_exact: bool = False
    budget_left_h: float | None = None
    """When it will lose entries, if it stays where it is; None while it keeps up."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream; there is one for each partition."""

    key: str
    checkpoint: str | None = None
    backlog: int | None = None
    """Events in ticks that it does not hold yet."""
    backlog_exact: bool = False
    length: int | None = None
    first: str | None = None
    first_s: float | None = None
    """The age of the first entry."""
    last: str | None = None
    memory_bytes: int | None = None
    """As Redis estimates it, with what its groups have pending."""
    entries_bytes: int | None = None
    budget_bytes: int = 0
    entries_per_s: float | None = None
    """Added over the last ten minutes."""
    groups: list[GroupStatus] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that holds xmin back."""

    kind: str
    name: str
    detail: str
    age_s: float | None


@dataclass(frozen=True, slots=True)
class LeaseStatus:
    """Who publishes a stream, and whether it gets on."""

    stream: str
    holder: str | None
    """Host, process and a random part; None when nobody holds it."""
    epoch: int
    """How often it was taken; 0 before the first time."""
    expires_in_s: float | None
    """Negative when it has run out; None when nobody holds it."""
    reason: str | None
    """What keeps the holder from getting on."""
    for_s: float | None
    """How long that has been so."""


@dataclass(frozen=True, slots=True)
class PublishersStatus:
    """The processes that publish, and what was decided about them."""

    members: int
    """Processes that share the leases, standing by included."""
    leases: list[LeaseStatus]
    paused_by: str | None
    paused_reason: str | None
    dead_letters: int
    """Those that nobody has requeued or discarded."""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything between a commit and its consumers."""

    away: dict[str, str]
    """What each server that cannot be asked said, or how it failed."""
    backlog: int | None
    """Committed events that the streams do not hold yet."""
    backlog_exact: bool
    oldest_unpublished_s: float | None
    last_tick: str | None
    committed_total: int | None
    """Since the outbox began."""
    streams: list[StreamStatus]
    xmin_held_by: list[Holder] = field(default_factory=list)
    publishers: PublishersStatus | None = None
    """None while PostgreSQL is away."""

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, a sentence each."""
        return [
            *(_stuck(self.publishers) if self.publishers else ()),
            *self._old_backlog(),
            *(one for stream in self.streams for one in _slow(stream)),
        ]

    def _old_backlog(self) -> Iterator[str]:
        if self.oldest_unpublished_s is not None and self.oldest_unpublished_s > _TOO_OLD_S:
            yield (
                f"the oldest unpublished event has waited {self.oldest_unpublished_s:.0f} s:"
                " is the publisher running? its log says what holds it up"
            )


def _stuck(publishers: PublishersStatus) -> Iterator[str]:
    if publishers.paused_by is not None:
        yield f"paused by {publishers.paused_by}: {publishers.paused_reason}; make resume goes on"
    for lease in publishers.leases:
        if lease.epoch and (lease.expires_in_s is None or lease.expires_in_s < 0):
            yield f"nobody publishes {lease.stream}: start a publisher"
        elif lease.reason and publishers.paused_by is None:
            yield f"{lease.stream} is held up: {lease.reason}, for {lease.for_s or 0:.0f} s"
    if publishers.dead_letters:
        yield f"dead letters wait: {publishers.dead_letters}; see make dead-letters"


def _slow(stream: StreamStatus) -> Iterator[str]:
    for group in stream.groups:
        who = f"group {group.name} of {stream.key}"
        if group.fell_off:
            about = "" if group.fell_off_exact else "about "
            yield (
                f"{who} has missed {about}{group.fell_off:,} events that the stream no longer"
                " holds: it needs a snapshot"
            )
        if group.gone:
            yield (
                f"{who} has not acknowledged {group.gone:,} entries that the stream no longer"
                " holds: if their consumer is gone, it needs a snapshot"
            )
        if group.budget_left_h is not None and group.budget_left_h <= _BUDGET_TOO_SHORT_H:
            yield (
                f"{who} will lose entries in {group.budget_left_h:.1f} h, when the stream's"
                " memory budget is spent: bring its consumers back, or make group-drop"
            )

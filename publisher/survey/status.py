"""The way from commit to consumer, as numbers, and what is wrong with it.

What only PostgreSQL or only Redis knows is None while that server is away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from publisher.survey.group_status import merged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from publisher.survey.group_status import GroupStatus

_TOO_OLD_S = 30.0


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
    def groups(self) -> list[GroupStatus]:
        """Each group once, over all streams that have it."""
        parts: dict[str, list[GroupStatus]] = {}
        for stream in self.streams:
            for group in stream.groups:
                parts.setdefault(group.name, []).append(group)
        return [merged(parts[name]) for name in sorted(parts)]

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, a sentence each."""
        return [
            *(_stuck(self.publishers) if self.publishers else ()),
            *self._old_backlog(),
            *(problem for group in self.groups for problem in group.problems),
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

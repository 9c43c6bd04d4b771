"""The way from commit to consumer, as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from outbox import checkpoints, sql
from outbox.connection import translated
from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    import asyncpg

    from outbox.ticks import Ticks
    from publisher.stream import EventStream

_SQL = sql.load("publisher")
_TOO_OLD_S = 30.0


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A consumer group, with its distances counted in events."""

    name: str
    last_delivered: str
    behind: int
    """Committed events that it has not been given yet."""
    pending: int
    """Given to it and not acknowledged."""
    fell_off: int
    """Events that it was never given and that the stream no longer holds."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Something that holds xmin back."""

    kind: str
    name: str
    detail: str
    age_s: float | None


@dataclass(frozen=True, slots=True)
class Status:
    """Everything between a commit and its consumers."""

    backlog: int
    """Committed events that the stream does not hold yet."""
    oldest_unpublished_s: float | None
    last_tick: str | None
    published_total: int
    checkpoint: str | None
    stream_length: int
    stream_first: str | None
    stream_last: str | None
    groups: list[GroupStatus]
    xmin_held_by: list[Holder]

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, a sentence each."""
        found = []
        if self.oldest_unpublished_s is not None and self.oldest_unpublished_s > _TOO_OLD_S:
            found.append(
                f"the oldest unpublished event has waited {self.oldest_unpublished_s:.0f} s:"
                " is the publisher running? its log says what holds it up"
            )
        found += [
            f"group {group.name} has missed {group.fell_off} events that the stream no longer"
            " holds: it needs a snapshot"
            for group in self.groups
            if group.fell_off
        ]
        return found


async def gather(pool: asyncpg.Pool, ticks: Ticks, stream: EventStream) -> Status:
    """Ask both servers. Raises OutboxUnavailable, StreamUnavailable or StreamRefused."""
    with translated():
        newest = await pool.fetchrow(_SQL["newest_tick"])
        [waiting] = await pool.fetch(_SQL["not_in_a_tick"])
        holders = await pool.fetch(_SQL["xmin_holders"])
    checkpoint = await checkpoints.load(pool, stream.key)
    overview = await stream.overview()
    committed = (newest["total"] if newest else 0) + waiting["events"]
    published = await total_at(ticks, overview.last)
    # Counted from the front, so that a group at the very end of a trimmed stream is not "behind".
    lost_before = await total_at(ticks, overview.first) - 1 if overview.first else published
    groups = []
    for group in overview.groups:
        delivered = await total_at(ticks, group.last_delivered)
        groups.append(
            GroupStatus(
                name=group.name,
                last_delivered=str(group.last_delivered),
                behind=committed - delivered,
                pending=group.pending,
                fell_off=max(lost_before - delivered, 0),
            )
        )
    return Status(
        backlog=committed - published,
        oldest_unpublished_s=await _oldest_age_s(ticks, overview.last, waiting["oldest_age_s"]),
        last_tick=str(newest["ms"]) if newest else None,
        published_total=published,
        checkpoint=str(checkpoint.position) if checkpoint else None,
        stream_length=overview.length,
        stream_first=str(overview.first) if overview.first else None,
        stream_last=str(overview.last) if overview.last != ORIGIN else None,
        groups=groups,
        xmin_held_by=[Holder(**dict(row)) for row in holders],
    )


async def total_at(ticks: Ticks, position: Position) -> int:
    """How many events there are up to *position*, since the outbox began."""
    tick = await ticks.around(position)
    if tick is None:
        return 0
    return tick.total_before + min(tick.events, position.index_in(tick.ms) + 1)


async def _oldest_age_s(ticks: Ticks, last: Position, unticked_s: float | None) -> float | None:
    async for batch in ticks.batches_after(last, size=1):
        written = datetime.fromisoformat(next(iter(batch)).timestamp)
        return max((datetime.now(UTC) - written).total_seconds(), 0.0)
    return unticked_s

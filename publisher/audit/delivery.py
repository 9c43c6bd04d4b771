"""What became of one entry of a stream: which groups were given it, and what they made of it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from publisher.store.stream import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

    from outbox.position import Position
    from publisher.store.stream import Group


class Reading(StrEnum):
    """How far a group is with an entry."""

    NOT_READ = "not_read"
    PENDING = "pending"
    """Given to a consumer, and not acknowledged."""
    ACKNOWLEDGED = "acknowledged"
    """Passed, and not pending: acknowledged, unless the group was made to begin after it."""
    MISSED = "missed"
    """Trimmed before the group was given it."""


class Delivery(NamedTuple):
    """How far one group is with it."""

    group: str
    reading: Reading
    consumer: str | None = None
    idle_s: float | None = None
    """Since it was given to the consumer."""
    deliveries: int | None = None


async def deliveries(
    redis: Redis, key: str, groups: Sequence[Group], position: Position, *, held: bool
) -> list[Delivery]:
    """How far each of *groups* is with *position*; *held*: whether the stream still has it.

    Raises StreamUnavailable or StreamRefused.
    """
    return [await _delivery(redis, key, group, position, held=held) for group in groups]


async def _delivery(
    redis: Redis, key: str, group: Group, position: Position, *, held: bool
) -> Delivery:
    if group.last_delivered < position:
        return Delivery(group.name, Reading.NOT_READ if held else Reading.MISSED)
    commands: Any = redis
    with translated():
        pending = await commands.xpending_range(key, group.name, str(position), str(position), 1)
    if not pending:
        return Delivery(group.name, Reading.ACKNOWLEDGED)
    [entry] = pending
    return Delivery(
        group.name,
        Reading.PENDING,
        entry["consumer"],
        entry["time_since_delivered"] / 1000,
        entry["times_delivered"],
    )

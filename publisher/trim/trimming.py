"""How much of a stream may go, decided from what is known of it and of its groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

_LAST_SEQ = 2**64 - 1


class Because(StrEnum):
    """Why entries are trimmed; what the metric calls it, too."""

    NOTHING = "nothing"
    """None are: they are young enough, or still needed, and there is room."""
    AGE = "age"
    MEMORY = "memory"
    """The budget is spent."""
    OVER_BUDGET = "over_budget"
    """The same, and a group still needed some of those that went."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one stream may keep."""

    retention_ms: int
    budget_bytes: int
    """Of its entries; what groups have not acknowledged is kept beside them."""


@dataclass(frozen=True, slots=True)
class GroupNeeds:
    """What one consumer group still needs of a stream."""

    name: str
    delivered: Position
    """Up to here it was given everything."""
    oldest: Position | None
    """The oldest entry that it was not given or has not acknowledged; None when it needs none."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Entries before *until* may go; each of them is one that the *losing* groups never got."""

    until: Position
    losing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrimPlan:
    """Stage after stage, *at_most* so many entries in all."""

    because: Because
    stages: tuple[Stage, ...] = ()
    at_most: int | None = None
    held_by: tuple[str, ...] = ()
    """Groups that need entries older than the retention, so that these stay."""


def plan_trim(  # noqa: PLR0913 - plain values, by name
    limits: Limits,
    groups: Sequence[GroupNeeds],
    *,
    now_ms: int,
    first: Position | None,
    last: Position,
    length: int,
    entries_bytes: int,
) -> TrimPlan:
    """Spend no more than the budget; within it, keep what is young or needed.

    *first* is the oldest entry, *last* the stream's last ID.
    """
    if first is None:
        return TrimPlan(Because.NOTHING)
    expired = Position(max(now_ms - limits.retention_ms, 0), 0)
    held_by = tuple(group.name for group in groups if group.oldest and group.oldest < expired)
    if entries_bytes > limits.budget_bytes:
        # Only as many as must go: the budget may be spent by what a group has yet to read.
        excess = math.ceil(length * (1 - limits.budget_bytes / entries_bytes))
        stages = tuple(_stages(groups, first, following(last)))
        return TrimPlan(Because.MEMORY, stages, excess, held_by)
    needed = [group.oldest for group in groups if group.oldest]
    until = min([expired, *needed])
    if until <= first:
        return TrimPlan(Because.NOTHING, held_by=held_by)
    return TrimPlan(Because.AGE, (Stage(until),), held_by=held_by)


def following(position: Position) -> Position:
    """The lowest position above *position*."""
    if position.seq >= _LAST_SEQ:
        return Position(position.ms + 1, 0)
    return Position(position.ms, position.seq + 1)


def _stages(groups: Sequence[GroupNeeds], first: Position, end: Position) -> list[Stage]:
    """From *first* to *end*, a stage for each group whose undelivered entries begin on the way.

    So the number of entries that a stage removed is what each of its losing groups lost.
    """
    unread_from = {group.name: following(group.delivered) for group in groups}
    stages, start = [], first
    for until in sorted({min(unread, end) for unread in unread_from.values()} | {end}):
        if until > start:
            losing = tuple(name for name, unread in unread_from.items() if unread <= start)
            stages.append(Stage(until, losing))
            start = until
    return stages

"""How a consumer group is doing, in one stream or in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BUDGET_TOO_SHORT_H = 2.0


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """A consumer group. What only PostgreSQL knows is None while it is away."""

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

    @property
    def problems(self) -> Iterator[str]:
        """What is not as it should be, a sentence each."""
        if self.fell_off:
            about = "" if self.fell_off_exact else "about "
            yield (
                f"group {self.name} has missed {about}{self.fell_off:,} events that the stream no"
                " longer holds: it needs a snapshot"
            )
        if self.gone:
            yield (
                f"group {self.name} has not acknowledged {self.gone:,} entries that the stream no"
                " longer holds: if their consumer is gone, it needs a snapshot"
            )
        if self.budget_left_h is not None and self.budget_left_h <= _BUDGET_TOO_SHORT_H:
            yield (
                f"group {self.name} will lose entries in {self.budget_left_h:.1f} h, when the"
                " memory budget is spent: bring its consumers back, or make group-drop"
            )


def merged(parts: list[GroupStatus]) -> GroupStatus:
    """The group as a whole: sums over its streams, and the worst of each time."""
    return GroupStatus(
        name=parts[0].name,
        last_delivered=min((part.last_delivered for part in parts), key=_by_number),
        unread_s=_most(part.unread_s for part in parts),
        pending=sum(part.pending for part in parts),
        unacknowledged_s=_most(part.unacknowledged_s for part in parts),
        gone=sum(part.gone for part in parts),
        consumers=max(part.consumers for part in parts),
        last_seen_s=min(_known(part.last_seen_s for part in parts), default=None),
        behind=_sum(part.behind for part in parts),
        behind_exact=all(part.behind_exact for part in parts),
        fell_off=_sum(part.fell_off for part in parts),
        fell_off_exact=all(part.fell_off_exact for part in parts),
        budget_left_h=min(_known(part.budget_left_h for part in parts), default=None),
    )


def _by_number(position: str) -> tuple[int, ...]:
    return tuple(int(part) for part in position.split("-"))


def _known(figures: Iterable[float | None]) -> list[float]:
    return [figure for figure in figures if figure is not None]


def _most(figures: Iterable[float | None]) -> float | None:
    return max(_known(figures), default=None)


def _sum(figures: Iterable[int | None]) -> int | None:
    """None as soon as one is not known."""
    total = 0
    for figure in figures:
        if figure is None:
            return None
        total += figure
    return total

"""How long a slow group's budget will last."""

from __future__ import annotations

from dataclasses import dataclass

# A group that is nearer than this keeps up, and its distance says nothing of what is to come.
_KEEPS_UP_S = 60.0
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Growth:
    """How a stream grows at present."""

    entries_per_s: float
    entry_bytes: float


def budget_left_h(
    growth: Growth, *, budget_bytes: int, needed_entries: float, waited_s: float | None
) -> float | None:
    """Hours until a group loses entries, if it stays where it is and the stream grows as now.

    *needed_entries* is how many there are from the oldest that it needs, which has *waited_s*
    (None if it needs none). None while the group keeps up or nothing is added.
    """
    bytes_per_s = growth.entries_per_s * growth.entry_bytes
    if waited_s is None or waited_s < _KEEPS_UP_S or bytes_per_s <= 0:
        return None
    left_bytes = budget_bytes - needed_entries * growth.entry_bytes
    return max(left_bytes, 0.0) / bytes_per_s / _HOUR_S

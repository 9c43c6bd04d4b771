"""The feed's status: what is wrong with it, and how it looks on a screen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_BEHIND_S = 60.0
_TENTHS_BELOW_S, _MINUTE_S, _HOUR_S, _DAY_S = 10, 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class FeedStatus:
    """What `status` finds. Times are seconds; positions as clients see them."""

    position: str | None
    """None: the feed is not built yet."""
    newest_tick: str | None
    lag_events: int
    lag_s: float
    series: int
    episodes: int
    removals: int
    """Kept for clients that come back."""
    oldest_cursor: str | None
    """The newest removal that is not kept any more: older cursors are expired."""
    encoding: int | None
    """The encoder's version that made the items, or makes them now."""
    moved_s: float | None
    """Since the feed last moved."""
    projector: str | None
    """Who keeps it; None: nobody."""
    candidates: int | None
    """Processes that would; None: the role may not ask."""

    @property
    def problems(self) -> list[str]:
        """What is wrong, a sentence each."""
        found = []
        if self.position is None:
            found.append("the feed is not built yet: nothing can be served")
        if self.candidates is not None and self.projector is None:
            found.append("nobody keeps the feed: start a snapshot server, or a projector")
        if self.lag_s > _BEHIND_S:
            found.append(f"the feed is {duration(self.lag_s)} behind")
        return found

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self) | {"problems": self.problems}


def overview(now: FeedStatus) -> RenderableType:
    """All of *now*."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    for name, value in _rows(now):
        table.add_row(name, Text(value))
    return Group(table, *(Text(f"degraded: {said}", style="red") for said in now.problems))


def _rows(now: FeedStatus) -> list[tuple[str, str]]:
    behind = f"{now.lag_events:,} events"
    if now.lag_s:
        behind += f", for {duration(now.lag_s)}"
    moved = "" if now.moved_s is None else f", moved {duration(now.moved_s)} ago"
    if now.candidates is None:
        projector = "unknown: this role may not read outbox.lease"
    else:
        waiting = max(now.candidates - 1, 0)
        projector = (now.projector or "nobody") + (f"; {waiting} standing by" if waiting else "")
    expired = f"; cursors before {now.oldest_cursor} are expired" if now.oldest_cursor else ""
    return [
        ("feed at", (now.position or "not built yet") + moved),
        ("newest tick", now.newest_tick or "none yet"),
        ("behind", behind),
        ("items", f"{now.series:,} series, {now.episodes:,} episodes"),
        ("removals", f"{now.removals:,} kept{expired}"),
        ("encoding", "none" if now.encoding is None else str(now.encoding)),
        ("projector", projector),
    ]


def duration(seconds: float) -> str:
    """In the unit that says most with two or three figures."""
    if seconds < _TENTHS_BELOW_S:
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _DAY_S:.1f} d"

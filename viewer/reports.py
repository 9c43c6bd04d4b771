"""What happened in the viewer and the invalidator: for the log, the metrics and the tests."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.documents import Broken
    from viewer.purging.outcome import Outcome


class CacheEvent(StrEnum):
    """What became of a page in the cache."""

    SET = "set"
    HIT = "hit"
    MISS = "miss"
    INVALIDATE = "invalidate"


class Cached(NamedTuple):
    """One page, of this kind."""

    event: CacheEvent
    label: str
    """`catalog:episode` or `catalog:series`."""


class FillRefused(NamedTuple):
    """A page was not cached: what it was made from was purged while it was made."""

    label: str


class FillFailed(NamedTuple):
    """A page could not be cached; it was served all the same."""

    error: str


class CacheAway(NamedTuple):
    """The cache does not answer, and is left alone for a while."""

    error: str


class CacheBack(NamedTuple):
    """It answers again."""

    away_s: float


class CacheEmptied(NamedTuple):
    """All pages were purged, and the cache begins anew."""

    pages: int
    reason: str


class DataIssue(NamedTuple):
    """A page was asked for that cannot be played."""

    key: str
    broken: Broken


class Purged(NamedTuple):
    """What events touched was purged."""

    events: int
    tags: int
    labels: Sequence[str]
    """One for each page that went: of its kind."""
    delays_s: Sequence[float]
    """Of each event, since it was written."""
    took_s: float


class HookEnded(NamedTuple):
    """A message to the webhook is done with."""

    outcome: Outcome
    error: str = ""


ViewerReport: TypeAlias = (
    Cached | FillRefused | FillFailed | CacheAway | CacheBack | CacheEmptied | DataIssue
)
InvalidatorReport: TypeAlias = Purged | CacheEmptied | HookEnded
Observe: TypeAlias = Callable[[ViewerReport], None]
ObservePurges: TypeAlias = Callable[[InvalidatorReport], None]

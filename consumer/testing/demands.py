"""What is asked of a consumer, and how much of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Demands:
    """The same for all scenarios of a run."""

    events: int = 100
    """About so many in each scenario."""
    within_s: float = 20.0
    """A consumer that has not come nearer to the end for so many seconds has failed: more than its
    idle limit and the time that it takes to start."""
    slow_s: float = 1.0
    """How long the slow handler takes: longer than the consumer's idle limit."""
    restarts: int = 3
    """How often a member may end by itself in a scenario; it is started again."""
    seed: int = 1
    at_once: int = 1
    """How many scenarios are played at the same time; each has a Redis of its own."""
    redis_server: Path | None = None
    """The server program; by itself Valkey out of its wheel."""
    stream: str = "catalog:events"

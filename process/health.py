"""What probes are told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold, and what is the case."""

    name: str
    holds: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a process lives and is of use."""

    live: tuple[Condition, ...]
    ready: tuple[Condition, ...]
    also: Mapping[str, Any] = field(default_factory=dict)
    """What else whoever asks for readiness is told."""

    @property
    def is_live(self) -> bool:
        """A process that is not should be started anew."""
        return all(condition.holds for condition in self.live)

    @property
    def is_ready(self) -> bool:
        """It does what it is for: connections alone deliver nothing."""
        return all(condition.holds for condition in self.ready)

    @property
    def reason(self) -> str:
        """Why it is not ready; empty if it is."""
        return "; ".join(found.reason for found in self.ready if not found.holds)

"""How a consumer reads, retries and ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AfterDeadLetter(StrEnum):
    """What becomes of the later events of an entity that has a dead letter."""

    SKIP = "skip"
    """They are handled."""
    PARK = "park"
    """They are set aside too, in order, until the entity is requeued or discarded."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a consumer can be told beside what it reads."""

    batch: int = 500
    """Entries in one read."""
    in_hand: int = 2000
    """Entries that are read and not acknowledged, of one stream."""
    lease_s: float = 5.0
    """For how long a member that says nothing keeps the others waiting."""
    attempts: int = 5
    """At one event, before it is set aside."""
    backoff_base_s: float = 0.1
    backoff_cap_s: float = 30.0
    after_dead_letter: AfterDeadLetter = AfterDeadLetter.SKIP
    drain_s: float = 10.0
    """For what is being handled when the consumer is asked to end."""
    block_s: float = 1.0
    """How long Redis holds back the answer to a read that finds nothing."""

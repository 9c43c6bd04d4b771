"""What is told of one event."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from publisher.audit.delivery import Delivery


class State(StrEnum):
    """Where it is."""

    NOT_IN_A_TICK = "not_in_a_tick_yet"
    """Committed after the newest tick."""
    WAITING = "waiting"
    """It has its ID, and is not published yet."""
    IN_THE_STREAM = "in_the_stream"
    OTHER_CONTENT = "other_content"
    """The stream holds something else under its ID."""
    TRIMMED = "trimmed"
    """It was published, and is older than what the stream still holds."""
    DEAD_LETTER = "dead_letter"
    """It could not be published, and was set aside."""
    MISSING = "missing"
    """It was published, or others were in its place, and the stream does not hold it."""
    FOREIGN = "foreign"
    """Somebody else wrote it into the stream."""
    ABANDONED = "abandoned"
    """Of a history that was abandoned when the database was restored."""
    NOT_KEPT = "not_kept"
    """Older than what the outbox still holds."""
    NOT_YET = "not_yet"
    """No tick has come so far."""
    UNUSED = "unused"
    """No event has this ID."""


@dataclass(frozen=True, slots=True)
class Written:
    """What its writer left."""

    entity: str
    entity_id: str
    operation: str
    at: str
    transaction: int
    row: int
    payload_bytes: int
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Numbered:
    """Where it is in the ticks."""

    tick: int
    """Its ms."""
    made_at: str
    number: int
    """From 0, of so many events."""
    events: int


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known."""

    state: State
    id: str | None
    """None before it is in a tick."""
    stream: str | None = None
    written: Written | None = None
    numbered: Numbered | None = None
    deliveries: list[Delivery] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    """Sentences: what is in its way, or what became of it."""

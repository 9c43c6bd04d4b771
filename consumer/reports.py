"""What happens in a consumer: for the log, the metrics and the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.event import Event, Gap
    from outbox.position import Position


class Took(NamedTuple):
    """The stream is read by this member now."""

    stream: str
    member: str
    pending: int
    """Entries that were handed out before and not acknowledged, by whomever."""


class LostLease(NamedTuple):
    """It does not any more, without having let go."""

    stream: str
    member: str


class Released(NamedTuple):
    """It has let go of the stream."""

    stream: str
    member: str
    pending: int
    """Entries in hand that were not handled; who reads next gets them."""


class Handled(NamedTuple):
    """Events are handled and acknowledged."""

    stream: str
    events: int
    took_s: float
    """Since the one before, or since there was something to do."""
    busy_s: Sequence[float]
    """Of each lane, in the handler, since the one before."""


class Retried(NamedTuple):
    """The handler failed; the event's entity waits, others flow."""

    event: Event
    attempt: int
    """The first one is 1."""
    pause_s: float
    error: BaseException


class BatchRetried(NamedTuple):
    """The batch handler failed; the whole batch waits."""

    stream: str
    events: int
    attempt: int
    pause_s: float
    error: BaseException


class DeadLetter(NamedTuple):
    """An event was set aside."""

    event: Event
    reason: str


class Requeued(NamedTuple):
    """A dead letter was handed to the handler once more."""

    event: Event
    error: BaseException | None
    """What it failed of; None: it is handled."""


class Waiting(NamedTuple):
    """How many dead letters there are; each second."""

    stream: str
    letters: int


class Duplicates(NamedTuple):
    """Entries came again that this consumer had handled; they were acknowledged."""

    stream: str
    events: int


class Lost(NamedTuple):
    """Entries were trimmed between being handed out and being handled; they were acknowledged."""

    stream: str
    events: int


class GapFound(NamedTuple):
    """The stream no longer holds what comes next."""

    gap: Gap


class GapHealed(NamedTuple):
    """It was made up for in another way."""

    gap: Gap
    position: Position
    """From where the group goes on."""


class GroupMade(NamedTuple):
    """The group was not there."""

    stream: str
    position: Position


class Claimed(NamedTuple):
    """What other members had left."""

    stream: str
    events: int


class MembersRemoved(NamedTuple):
    """Members that are gone, and had nothing pending."""

    stream: str
    members: Sequence[str]


class Lag(NamedTuple):
    """How far behind the group is in one stream; each second."""

    stream: str
    entries: int | None
    """That are not handled; None if Redis does not know."""
    seconds: float
    """Since the oldest of them was written."""


class Away(NamedTuple):
    """Redis, or the store of the checkpoint, did not do as it was asked."""

    stream: str
    doing: str
    failures: int
    """In a row."""
    pause_s: float
    error: BaseException


Report: TypeAlias = (
    Took
    | LostLease
    | Released
    | Handled
    | Retried
    | BatchRetried
    | DeadLetter
    | Requeued
    | Waiting
    | Duplicates
    | Lost
    | GapFound
    | GapHealed
    | GroupMade
    | Claimed
    | MembersRemoved
    | Lag
    | Away
)

Observe: TypeAlias = "Callable[[Report], None]"

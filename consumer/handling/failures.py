"""What follows when a handler has failed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from tenacity import RetryCallState, Retrying, wait_random_exponential

from consumer.errors import DatabaseUnavailable, RedisRefused, Reject, Retry
from consumer.letters.dead_letters import Reason
from outbox.errors import OutboxUnavailable, StreamUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable


_NOT_THE_EVENTS = (DatabaseUnavailable, OutboxUnavailable, RedisRefused, StreamUnavailable)
"""A server is away or refuses: any other event would fail, too, and this one is tried for ever."""


class Again(NamedTuple):
    """It is tried again."""

    pause_s: float


class SetAside(NamedTuple):
    """It becomes a dead letter."""

    reason: Reason


Verdict: TypeAlias = Again | SetAside


def backoff(base_s: float, cap_s: float) -> Callable[[int], float]:
    """Exponential with full jitter: seconds, by the number of failures in a row."""
    wait = wait_random_exponential(multiplier=base_s, max=cap_s)
    retrying = Retrying()

    def pause_s(failures: int) -> float:
        state = RetryCallState(retrying, None, (), {})
        state.attempt_number = failures
        return wait(state)

    return pause_s


def verdict(
    error: BaseException, attempt: int, attempts: int, pause_s: Callable[[int], float]
) -> Verdict:
    """After *attempt*, the first of which is 1, has ended in *error*."""
    if isinstance(error, Reject):
        return SetAside(Reason.REJECTED)
    if attempt >= attempts and not isinstance(error, _NOT_THE_EVENTS):
        return SetAside(Reason.ATTEMPTS)
    if isinstance(error, Retry) and error.after is not None:
        return Again(error.after)
    return Again(pause_s(attempt))

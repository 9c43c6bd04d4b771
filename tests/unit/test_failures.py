"""What follows when a handler has failed."""

import pytest

from consumer.dead_letters import Reason
from consumer.errors import DatabaseUnavailable, RedisRefused, Reject, Retry
from consumer.failures import Again, SetAside, Verdict, verdict
from outbox.errors import StreamUnavailable

LAST = 5


def pause_s(failures: int) -> float:
    return failures / 10


@pytest.mark.parametrize(
    ("error", "attempt", "follows"),
    [
        (ValueError(), 1, Again(0.1)),
        (ValueError(), 4, Again(0.4)),
        (ValueError(), LAST, SetAside(Reason.ATTEMPTS)),
        (Retry(), 1, Again(0.1)),
        (Retry(after=7.5), 1, Again(7.5)),
        (Retry(after=7.5), LAST, SetAside(Reason.ATTEMPTS)),
        (Reject("no"), 1, SetAside(Reason.REJECTED)),
    ],
)
def test_a_handler_fails_a_few_times_and_no_more(
    error: Exception, attempt: int, follows: Verdict
) -> None:
    assert verdict(error, attempt, LAST, pause_s) == follows


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable(), StreamUnavailable(), RedisRefused("OOM", "OOM no memory")]
)
def test_no_event_is_set_aside_because_a_server_is_away(error: Exception) -> None:
    assert verdict(error, 100, LAST, pause_s) == Again(10.0)

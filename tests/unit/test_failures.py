"""What follows when a handler has failed and it was no fault of the event."""

import pytest

from consumer.errors import DatabaseUnavailable, RedisRefused
from consumer.handling.failures import Again, verdict
from outbox.errors import StreamUnavailable

LAST = 5


def pause_s(failures: int) -> float:
    return failures / 10


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable(), StreamUnavailable(), RedisRefused("OOM", "OOM no memory")]
)
def test_no_event_is_set_aside_because_a_server_is_away(error: Exception) -> None:
    assert verdict(error, 100, LAST, pause_s) == Again(10.0)

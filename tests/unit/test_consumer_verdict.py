import pytest

from consumer.errors import Reject, Retry
from consumer.handling.failures import Again, SetAside, backoff, verdict
from consumer.letters.dead_letters import Reason
from consumer.reading.sharing import share_of

BOOM = RuntimeError("boom")


@pytest.mark.parametrize(
    ("error", "attempt", "decided"),
    [
        (BOOM, 1, Again(1.0)),
        (BOOM, 4, Again(4.0)),
        (BOOM, 5, SetAside(Reason.ATTEMPTS)),
        (Reject("no"), 1, SetAside(Reason.REJECTED)),
        (Retry(after=60), 1, Again(60)),
        (Retry(after=0), 1, Again(0)),
        (Retry(), 2, Again(2.0)),
        (Retry(after=60), 5, SetAside(Reason.ATTEMPTS)),
    ],
)
def test_a_failure_is_tried_again_or_set_aside(
    error: Exception, attempt: int, decided: Again | SetAside
) -> None:
    assert verdict(error, attempt, 5, float) == decided


def test_the_pause_grows_up_to_its_cap_and_is_spread_over_all_of_it() -> None:
    pause_s = backoff(0.1, 1.0)
    for failures, ceiling in ((1, 0.1), (3, 0.4), (4, 0.8), (5, 1.0), (5000, 1.0)):
        pauses = [pause_s(failures) for _ in range(200)]
        assert 0 <= min(pauses) < ceiling / 4
        assert ceiling * 3 / 4 < max(pauses) <= ceiling


@pytest.mark.parametrize(
    ("streams", "members", "most"), [(1, 2, 1), (4, 2, 2), (3, 2, 2), (4, 1, 4), (4, 0, 4)]
)
def test_no_stream_is_left_over_when_each_member_takes_its_share(
    streams: int, members: int, most: int
) -> None:
    assert share_of(streams, members) == most

"""How long the publisher waits after a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publisher.pacing import Pacing, pause_after_failure

PACING = Pacing(backoff_base_s=0.1, backoff_cap_s=10.0)


@pytest.mark.parametrize(
    ("failures", "dice", "pause_s"),
    [
        (1, 0.0, 0.0),
        (1, 0.5, 0.05),
        (2, 0.5, 0.1),
        (4, 0.5, 0.4),
        (7, 0.5, 3.2),
        (8, 0.5, 5.0),
        (10**9, 0.5, 5.0),
    ],
)
def test_the_pause_doubles_with_each_failure_up_to_the_cap(
    failures: int, dice: float, pause_s: float
) -> None:
    assert pause_after_failure(failures, PACING, dice=dice) == pytest.approx(pause_s)


@given(st.integers(1, 10**12), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_never_negative_and_never_above_the_cap(failures: int, dice: float) -> None:
    assert 0 <= pause_after_failure(failures, PACING, dice=dice) <= PACING.backoff_cap_s


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_more_failures_never_mean_a_shorter_pause(failures: int, dice: float) -> None:
    shorter = pause_after_failure(failures, PACING, dice=dice)
    assert shorter <= pause_after_failure(failures + 1, PACING, dice=dice)

"""Pauses of the client before it tries again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshot_server.client.patience import Patience, pause_before_retry

PATIENCE = Patience(backoff_base_s=1, backoff_cap_s=5, crowded_base_s=10, crowded_cap_s=30)


@pytest.mark.parametrize(
    ("failures", "crowded", "asked_s", "pause_s"),
    [
        (1, False, 0, 0.5),
        (2, False, 0, 1.0),
        (3, False, 0, 2.0),
        (4, False, 0, 2.5),
        (1_000_000, False, 0, 2.5),
        (1, True, 0, 5.0),
        (9, True, 0, 15.0),
        (1, False, 7, 7.5),
    ],
)
def test_pauses_double_up_to_their_cap_and_never_fall_below_what_was_asked(
    failures: int, *, crowded: bool, asked_s: float, pause_s: float
) -> None:
    found = pause_before_retry(failures, PATIENCE, crowded=crowded, asked_s=asked_s, dice=0.5)
    assert found == pause_s


@given(failures=st.integers(1, 100), dice=st.floats(0, 1, exclude_max=True), crowded=st.booleans())
def test_clients_spread_over_the_whole_pause(failures: int, dice: float, *, crowded: bool) -> None:
    pause_s = pause_before_retry(failures, PATIENCE, crowded=crowded, dice=dice)
    longest_s = pause_before_retry(failures, PATIENCE, crowded=crowded, dice=1.0)
    assert pause_s == pytest.approx(longest_s * dice)

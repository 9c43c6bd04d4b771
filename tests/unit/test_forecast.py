"""When a slow group's budget will be spent."""

from __future__ import annotations

import pytest

from publisher.survey.forecast import Growth, budget_left_h


@pytest.mark.parametrize(
    ("entries_per_s", "needed_entries", "waited_s", "expected"),
    [
        pytest.param(10, 1000, 3600.0, 2.5, id="9,000 s at 10 a second fill what is left"),
        pytest.param(10, 100_000, 3600.0, 0.0, id="spent already"),
        pytest.param(10, 1000, 5.0, None, id="keeps up"),
        pytest.param(10, 0, None, None, id="needs nothing"),
        pytest.param(0, 1000, 3600.0, None, id="nothing is added"),
    ],
)
def test_the_budget_lasts_while_the_stream_grows_as_now(
    entries_per_s: float, needed_entries: float, waited_s: float | None, expected: float | None
) -> None:
    left_h = budget_left_h(
        Growth(entries_per_s, entry_bytes=100),
        budget_bytes=9_100_000,
        needed_entries=needed_entries,
        waited_s=waited_s,
    )
    assert left_h == (pytest.approx(expected) if expected is not None else None)

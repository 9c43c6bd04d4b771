"""Where a tick ends, and which ticks are read together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.position import Position
from outbox.tick import Tick, grouped


def tick(ms: int, events: int) -> Tick:
    return Tick(ms, (1, 1, ()), 0, [], (1, 1, ()), 0, 0, events, 0)


@pytest.mark.parametrize(
    ("events", "last"),
    [(1, "5-0"), (3, "5-2"), (2**20, "5-1048575"), (2**20 + 1, "6-0")],
)
def test_a_ticks_last_event_is_counted_from_its_first(events: int, last: str) -> None:
    assert tick(5, events).last == Position.parse(last)


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([], []),
        ([10], [[10]]),
        ([11], [[11]]),
        ([4, 6], [[4, 6]]),
        ([4, 7], [[4], [7]]),
        ([1, 50, 1, 1], [[1], [50], [1, 1]]),
        ([50, 50], [[50], [50]]),
    ],
)
def test_ticks_are_grouped_up_to_a_size_and_a_larger_one_comes_alone(
    sizes: list[int], groups: list[list[int]]
) -> None:
    ticks = [tick(ms, events) for ms, events in enumerate(sizes)]
    found = [[t.events for t in group] for group in grouped(ticks, 10)]
    assert found == groups


@given(st.lists(st.integers(1, 30)), st.integers(1, 40))
def test_grouping_keeps_every_tick_in_order_and_no_group_is_too_large(
    sizes: list[int], limit: int
) -> None:
    ticks = [tick(ms, events) for ms, events in enumerate(sizes)]
    groups = list(grouped(ticks, limit))
    assert [t for group in groups for t in group] == ticks
    assert all(len(group) == 1 or sum(t.events for t in group) <= limit for group in groups)

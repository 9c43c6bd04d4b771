"""Where a tick ends, and which ticks are read together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.position import Position
from outbox.tick import Tick, aligned, grouped, without_last_group


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


def following(sizes: list[int], total: int = 0) -> list[Tick]:
    """Ticks of these sizes, the first of which comes after *total* events."""
    ticks = []
    for ms, events in enumerate(sizes):
        ticks.append(tick(ms, events)._replace(total_before=total))
        total += events
    return ticks


@given(st.lists(st.integers(1, 30), min_size=1), st.integers(1, 40), st.data())
def test_aligned_groups_end_at_the_same_ticks_wherever_one_begins(
    sizes: list[int], limit: int, data: st.DataObject
) -> None:
    ticks = following(sizes, total=data.draw(st.integers(0, 100)))
    groups = list(aligned(ticks, limit))
    assert [t for group in groups for t in group] == ticks
    assert all(len(group) == 1 or sum(t.events for t in group) <= limit for group in groups)
    later = data.draw(st.integers(0, len(ticks) - 1))
    ends = {group[-1].ms for group in groups}
    assert {group[-1].ms for group in aligned(ticks[later:], limit)} == {
        ms for ms in ends if ms >= later
    }


def test_the_last_group_is_left_for_later_unless_it_is_the_only_one() -> None:
    ticks = following([4, 4, 4, 8])
    assert without_last_group(ticks, 10) == ticks[:3]
    assert without_last_group(ticks[:2], 10) == ticks[:2]

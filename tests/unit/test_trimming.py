"""What may be trimmed: not what a group needs, until the budget is spent; then what must go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.position import Position
from publisher.trim.trimming import (
    Because,
    GroupNeeds,
    Limits,
    Stage,
    TrimPlan,
    following,
    plan_trim,
)

LIMITS = Limits(retention_ms=1000, budget_bytes=10_000)
NOW_MS = 5000
EXPIRED = Position(4000, 0)


def group(name: str, delivered: int, oldest: int | None) -> GroupNeeds:
    return GroupNeeds(name, Position(delivered, 0), Position(oldest, 0) if oldest else None)


def plan(
    *groups: GroupNeeds,
    first: int | None = 1000,
    last: int = 5000,
    length: int = 100,
    entries_bytes: int = 0,
) -> TrimPlan:
    return plan_trim(
        LIMITS,
        groups,
        now_ms=NOW_MS,
        first=Position(first, 0) if first else None,
        last=Position(last, 0),
        length=length,
        entries_bytes=entries_bytes,
    )


def test_without_a_group_everything_older_than_the_retention_goes() -> None:
    assert plan() == TrimPlan(Because.AGE, (Stage(EXPIRED),))


def test_what_is_young_stays() -> None:
    assert plan(first=4000) == TrimPlan(Because.NOTHING)


def test_an_empty_stream_is_left_alone() -> None:
    assert plan(first=None, entries_bytes=99_999) == TrimPlan(Because.NOTHING)


@pytest.mark.parametrize(
    ("groups", "until", "held_by"),
    [
        pytest.param([group("level", 5000, None)], EXPIRED, (), id="needs nothing"),
        pytest.param([group("near", 4200, 4300)], EXPIRED, (), id="needs only what is young"),
        pytest.param([group("a", 2000, 2100)], Position(2100, 0), ("a",), id="has not read it"),
        pytest.param([group("a", 5000, 3000)], Position(3000, 0), ("a",), id="not acknowledged"),
        pytest.param(
            [group("a", 3000, 3100), group("b", 2000, 2100), group("c", 5000, None)],
            Position(2100, 0),
            ("a", "b"),
            id="the slowest counts",
        ),
    ],
)
def test_by_age_nothing_goes_that_a_group_needs(
    groups: list[GroupNeeds], until: Position, held_by: tuple[str, ...]
) -> None:
    assert plan(*groups) == TrimPlan(Because.AGE, (Stage(until),), held_by=held_by)


def test_a_group_that_needs_the_oldest_entry_holds_all() -> None:
    assert plan(group("a", 0, 1000)) == TrimPlan(Because.NOTHING, held_by=("a",))


def test_the_budget_itself_is_not_too_much() -> None:
    assert plan(first=4500, entries_bytes=10_000).because is Because.NOTHING


def test_over_the_budget_only_the_share_that_is_too_much_goes() -> None:
    end = following(Position(5000, 0))
    assert plan(first=4500, entries_bytes=12_500) == TrimPlan(Because.MEMORY, (Stage(end),), 20)


def test_over_the_budget_each_stage_says_who_loses_its_entries() -> None:
    found = plan(
        group("slow", 2000, 2001),
        group("fell off", 10, 1000),
        group("level", 5000, None),
        group("quick", 4000, 4001),
        entries_bytes=20_000,
    )
    assert found.at_most == 50
    assert found.stages == (
        Stage(Position(2000, 1), ("fell off",)),
        Stage(Position(4000, 1), ("slow", "fell off")),
        Stage(Position(5000, 1), ("slow", "fell off", "quick")),
    )


def test_the_position_after_the_highest_number_is_in_the_next_millisecond() -> None:
    assert following(Position(7, 2**64 - 1)) == Position(8, 0)


positions = st.integers(1, 6000)
needs = st.builds(
    lambda name, delivered, pending: GroupNeeds(
        name,
        Position(delivered, 0),
        min(
            (Position(at, 0) for at in (pending, delivered + 1) if at and at <= 6000), default=None
        ),
    ),
    name=st.text("abc", min_size=1, max_size=3),
    delivered=positions,
    pending=st.none() | positions,
)


@given(groups=st.lists(needs, max_size=5, unique_by=lambda one: one.name), first=positions)
def test_within_the_budget_no_group_loses_anything(groups: list[GroupNeeds], first: int) -> None:
    found = plan(*groups, first=first, last=6000)
    for stage in found.stages:
        assert stage.losing == ()
        assert stage.until <= EXPIRED
        assert all(one.oldest is None or stage.until <= one.oldest for one in groups)


@given(groups=st.lists(needs, max_size=5, unique_by=lambda one: one.name), first=positions)
def test_over_the_budget_the_stages_follow_each_other_to_the_end(
    groups: list[GroupNeeds], first: int
) -> None:
    found = plan(*groups, first=first, last=6000, entries_bytes=99_999)
    start = Position(first, 0)
    for stage in found.stages:
        assert stage.until > start
        assert set(stage.losing) == {one.name for one in groups if one.delivered < start}
        # None stops reading on the way, so the stage has all of a group's losses or none.
        ends = [following(one.delivered) for one in groups]
        assert not [end for end in ends if start < end < stage.until]
        start = stage.until
    assert start == Position(6000, 1)

"""A position orders like the events it stands for, and is the same as text, pair and number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.errors import BadPosition
from outbox.position import ORIGIN, Position

LARGEST = 2**64 - 1
MILLISECONDS = st.integers(1, 2**43 - 2**12)
INDEXES = st.integers(0, 2**31)
TICK_POSITIONS = st.builds(Position.in_tick, MILLISECONDS, INDEXES)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("0-0", ORIGIN),
        ("1795347471648-7", Position(1795347471648, 7)),
        (f"{LARGEST}-{LARGEST}", Position(LARGEST, LARGEST)),
    ],
)
def test_a_position_is_read_from_its_text_and_written_the_same(
    text: str, position: Position
) -> None:
    assert Position.parse(text) == position
    assert str(position) == text


@pytest.mark.parametrize(
    "text",
    [
        *["", "1", "-", "1-", "-1", "1-2-3", "a-b", "$", "0-*", "1--1", "+1-0", "1.0-0", "0x1-0"],
        *[" 1-0", "1-0 ", "1-0\n", "1 - 0", "1_0-0", "\u0661-\u0660"],
        *[f"{LARGEST + 1}-0", f"0-{LARGEST + 1}", "1" * 5000 + "-0"],
    ],
)
def test_anything_else_is_refused_and_shown(text: str) -> None:
    with pytest.raises(BadPosition) as refused:
        Position.parse(text)
    assert repr(text) in str(refused.value)


@given(st.integers(0, LARGEST), st.integers(0, LARGEST))
def test_every_id_that_redis_can_give_survives_the_way_through_text(ms: int, seq: int) -> None:
    assert Position.parse(f"{ms}-{seq}") == Position(ms, seq)


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("0-0", "0-1"), ("1-9", "1-10"), ("9-5", "10-0"), ("1-1048575", "2-0"), ("99-1", "100-0")],
)
def test_positions_are_ordered_by_number_not_by_text(smaller: str, larger: str) -> None:
    assert Position.parse(smaller) < Position.parse(larger)


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (0, "1000-0"),
        (2**20 - 1, "1000-1048575"),
        (2**20, "1001-0"),
        (2**20 + 1, "1001-1"),
        (3 * 2**20 - 1, "1002-1048575"),
    ],
)
def test_a_tick_of_more_than_2_to_the_20_events_goes_on_in_the_next_millisecond(
    index: int, text: str
) -> None:
    assert str(Position.in_tick(1000, index)) == text
    assert Position.parse(text).index_in(1000) == index


@given(MILLISECONDS, INDEXES)
def test_an_event_is_found_again_by_where_it_stands(ms: int, index: int) -> None:
    assert Position.in_tick(ms, index).index_in(ms) == index


@given(MILLISECONDS, INDEXES, INDEXES)
def test_within_a_tick_positions_are_ordered_as_the_events_are(
    ms: int, one: int, other: int
) -> None:
    assert (Position.in_tick(ms, one) < Position.in_tick(ms, other)) == (one < other)


@given(MILLISECONDS, INDEXES)
def test_a_version_counts_events_from_the_start_of_the_tick(ms: int, index: int) -> None:
    assert Position.in_tick(ms, index).version == (ms << 20) + index


@given(TICK_POSITIONS, TICK_POSITIONS)
def test_a_version_is_a_63_bit_number_that_orders_as_the_position_does(
    one: Position, other: Position
) -> None:
    assert (one.version < other.version) == (one < other)
    assert 0 <= one.version < 2**63

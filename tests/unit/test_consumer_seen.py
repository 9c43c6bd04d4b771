from hypothesis import given
from hypothesis import strategies as st

from consumer.reading.seen import Seen
from outbox.position import Position


def raw(number: int) -> bytes:
    return f"{number}-1".encode()


@given(st.permutations(range(1, 9)), st.integers(0, 8))
def test_the_mark_never_passes_what_is_not_handled(order: list[int], count: int) -> None:
    seen, handled = Seen(), order[:count]
    seen.began(raw(number) for number in range(1, 9))
    for number in handled:
        seen.handled([raw(number)])
    reached = next((number for number in range(1, 9) if number not in handled), 9) - 1
    assert seen.mark == (Position(reached, 1) if reached else None)
    assert seen.open() == {raw(number) for number in range(1, 9) if number not in handled}
    for number in range(1, 9):
        assert seen.knows(raw(number)) == (number in handled)


def test_what_was_handled_before_another_term_is_still_known() -> None:
    seen = Seen()
    seen.began(map(raw, (1, 2, 3)))
    seen.handled([raw(1), raw(3)])
    seen.begin_anew()
    assert seen.open() == set()
    assert [seen.knows(raw(number)) for number in (1, 2, 3)] == [True, False, True]
    seen.began([raw(2)])
    seen.handled([raw(2)])
    assert seen.mark == Position(2, 1)
    assert seen.knows(raw(3))


def test_where_others_have_come_to_is_handled_and_never_goes_back() -> None:
    seen = Seen()
    seen.reached(Position(5, 1))
    seen.reached(Position(3, 1))
    assert seen.mark == Position(5, 1)
    assert seen.knows(raw(4))
    assert not seen.knows(raw(6))


def test_effects_that_are_gone_are_known_no_more() -> None:
    seen = Seen()
    seen.began([raw(1)])
    seen.handled([raw(1)])
    seen.forget()
    assert seen.mark is None
    assert not seen.knows(raw(1))

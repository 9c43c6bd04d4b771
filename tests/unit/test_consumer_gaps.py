from typing import Any

import pytest

from consumer.event import Gap
from consumer.reading.gaps import View, after_gap, gap_in
from outbox.position import ORIGIN, Position


def at(number: int) -> Position:
    return Position(number, 1)


def view(delivered: Position, first: int | None, last: int, **more: Any) -> View:  # noqa: ANN401
    return View(
        "stream",
        delivered=delivered,
        first=None if first is None else at(first),
        last=at(last),
        pending_from=more.pop("pending_from", None),
        **more,
    )


@pytest.mark.parametrize(
    ("seen", "gap"),
    [
        (view(at(5), 3, 9), None),
        (view(at(5), 5, 9), None),
        (view(at(5), 6, 9), Gap("stream", at(5), at(6))),
        (view(at(5), 6, 9, missed=0), None),
        (view(at(5), 6, 9, missed=2), Gap("stream", at(5), at(6))),
        # Nothing is left of what came after.
        (view(at(5), None, 9), Gap("stream", at(5), None)),
        (view(at(9), None, 9), None),
        # The stream was lost, and has not yet come to where the group was.
        (view(at(9), 3, 4), None),
        # Who begins at the beginning takes what there is.
        (view(ORIGIN, 6, 9), None),
        # Handed out, and trimmed before it was handled.
        (view(at(9), 6, 9, pending_from=at(4)), Gap("stream", Position(4, 0), at(6))),
        (view(at(9), 6, 9, pending_from=at(6)), None),
        # A read went past it meanwhile.
        (view(at(8), 6, 9, noted="2-1 6-1 9-1 "), Gap("stream", at(2), at(6))),
        (view(at(8), 6, 9, noted="2-1 6-1 9-1 0"), None),
        (view(at(8), None, 9, noted="2-1  9-1 3"), Gap("stream", at(2), None)),
    ],
)
def test_a_gap_is_found_where_entries_may_be_missing(seen: View, gap: Gap | None) -> None:
    assert gap_in(seen) == gap


@pytest.mark.parametrize(
    ("seen", "healed", "position"),
    [
        (view(at(2), 6, 9), at(7), at(7)),
        (view(at(2), 6, 9), None, Position(6, 0)),
        (view(at(2), None, 9), None, at(9)),
        (view(at(8), 6, 9), at(7), at(8)),
    ],
)
def test_after_a_gap_the_group_goes_on_without_finding_it_again(
    seen: View, healed: Position | None, position: Position
) -> None:
    assert after_gap(seen, healed) == position
    assert gap_in(seen._replace(delivered=position)) is None

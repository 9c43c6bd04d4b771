"""Batches: which events they hold, and parts of them."""

from __future__ import annotations

import msgpack
import pytest

from outbox.batch import Batch, Run
from outbox.position import Position

PAYLOADS = ['{"n":0}', '{"title":"ä long one"}', "{}", '{"n":3}', '{"n":4}']


def batch(*runs: Run) -> Batch:
    rows = [("series", f"id {n}", "update", n, "", payload) for n, payload in enumerate(PAYLOADS)]
    body = b"".join(msgpack.packb(value) for row in rows for value in row)
    return Batch(runs, body, Position(9, 0), 24)


TWO_TICKS = (Run(5, 7, 3), Run(6, 0, 2))


def test_each_event_has_the_id_of_its_run() -> None:
    ids = [event.id for event in batch(*TWO_TICKS)]
    assert ids == ["5-7", "5-8", "5-9", "6-0", "6-1"]


@pytest.mark.parametrize("wanted", [{0, 1, 2, 3, 4}, {1}, {0, 2, 3}, {4}, set[int]()])
def test_a_part_holds_the_same_events_under_the_same_ids(wanted: set[int]) -> None:
    whole = batch(*TWO_TICKS)
    part = whole.only(lambda event: int(event.entity_id.split()[1]) in wanted)
    assert list(part) == [event for n, event in enumerate(whole) if n in wanted]
    assert part.events == len(wanted)
    if wanted:
        ids = [event.id for event in part]
        assert (str(part.first), str(part.last)) == (ids[0], ids[-1])
    assert part.reached == whole.reached
    assert part.largest == max((len(PAYLOADS[n].encode()) for n in wanted), default=0)


@pytest.mark.parametrize(
    ("position", "count"),
    [
        *((Position(4, 99), 0), (Position(5, 6), 0), (Position(5, 7), 1), (Position(5, 9), 3)),
        *((Position(5, 99), 3), (Position(6, 0), 4), (Position(6, 1), 5), (Position(9, 0), 5)),
    ],
)
def test_how_many_stand_before_a_position(position: Position, count: int) -> None:
    assert batch(*TWO_TICKS).until(position) == count

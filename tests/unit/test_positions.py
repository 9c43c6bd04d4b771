"""Whether the feed can serve a cursor."""

import pytest

from outbox.position import Position
from snapshot_server.content.cursor import BEGINNING, Cursor
from snapshot_server.content.positions import Bounds, FeedState, Standing, standing


def state(*, stale: bool = False, abandoned: bool = False) -> FeedState:
    return FeedState(100, 50, stale, abandoned, series=0, episodes=0, digest=0)


def event(version: int) -> Cursor:
    return Cursor.after(Position(0, version))


@pytest.mark.parametrize(
    ("cursor", "found", "how"),
    [
        (BEGINNING, None, Standing.ABSENT),
        (BEGINNING, state(), Standing.FINE),
        (BEGINNING, state(stale=True), Standing.ABSENT),
        (event(50), state(), Standing.FINE),
        (event(49), state(), Standing.EXPIRED),
        (event(100), state(), Standing.FINE),
        (event(101), state(), Standing.AHEAD),
        (event(49), state(abandoned=True), Standing.ABANDONED),
        (event(101), state(abandoned=True), Standing.ABANDONED),
        (event(101), state(stale=True, abandoned=True), Standing.ABSENT),
        # A full sync that began at 60, and one that has read on from 40 beyond what was purged.
        (Cursor(60, 90, 3, 0), state(), Standing.FINE),
        (Cursor(40, 90, 3, 0), state(), Standing.EXPIRED),
        (Cursor(40, 90, 51, 0), state(), Standing.FINE),
        (Cursor(40, 90, 50, 0), state(), Standing.EXPIRED),
        (Cursor(60, 101, 70, 0), state(), Standing.AHEAD),
    ],
)
def test_a_cursor_stands_to_the_feed_in_one_way(
    cursor: Cursor, found: FeedState | None, how: Standing
) -> None:
    assert standing(cursor, found) is how


def test_bounds_are_event_ids() -> None:
    bounds = Bounds(Position(7, 2).version, Position(9, 0).version, is_abandoned=False)
    assert (bounds.oldest_text, bounds.newest_text) == ("7-2", "9-0")

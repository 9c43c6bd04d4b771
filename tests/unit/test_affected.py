"""Which items an event touches."""

import json
from typing import Any
from uuid import UUID

import pytest

from outbox.event import Event
from snapshot_server.feed.affected import Scope, Touch, touched_by, touched_by_all

ONE, OTHER, THIRD = (UUID(int=n) for n in (1, 2, 3))


def event(
    entity: str, entity_id: UUID = ONE, *, id_: str = "1-0", payload: dict[str, Any] | None = None
) -> Event:
    return Event(
        id_, entity, str(entity_id), "update", "2026-11-22T00:00:00.000Z", json.dumps(payload), ""
    )


@pytest.mark.parametrize(
    ("entity", "scope"),
    [
        ("series", Scope.SERIES),
        ("episode", Scope.EPISODE),
        ("season", Scope.SEASON),
        ("category", Scope.CATEGORY),
    ],
)
def test_an_entity_touches_what_is_below_it(entity: str, scope: Scope) -> None:
    assert list(touched_by(event(entity))) == [Touch(scope, ONE)]


def test_a_media_asset_touches_its_episode() -> None:
    touches = touched_by(event("mediaAsset", payload={"episodeId": str(OTHER)}))

    assert list(touches) == [Touch(Scope.EPISODE, OTHER)]


def test_a_media_asset_that_moved_touches_both_episodes() -> None:
    payload = {"episodeId": str(OTHER), "$previous": {"episodeId": str(THIRD)}}

    assert {touch.id for touch in touched_by(event("mediaAsset", payload=payload))} == {
        OTHER,
        THIRD,
    }


def test_an_entity_that_is_in_no_item_touches_nothing() -> None:
    assert not list(touched_by(event("playlist")))


def test_what_several_events_touch_stands_at_the_last_of_them() -> None:
    events = [event("series", id_="5-0"), event("episode", id_="5-1"), event("series", id_="6-3")]

    assert touched_by_all(events) == {
        Touch(Scope.SERIES, ONE): 6 << 20 | 3,
        Touch(Scope.EPISODE, ONE): 5 << 20 | 1,
    }

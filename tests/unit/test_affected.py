"""Which items an event touches."""

import json
from typing import Any
from uuid import UUID

import pytest

from outbox.event import Event
from snapshot_server.feed.affected import (
    Mark,
    Scope,
    Touch,
    may_have_shown,
    touched_by,
    touched_by_all,
)

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
        Touch(Scope.SERIES, ONE): Mark(6 << 20 | 3, was_shown=False),
        Touch(Scope.EPISODE, ONE): Mark(5 << 20 | 1, was_shown=False),
    }


@pytest.mark.parametrize(
    ("operation", "payload", "may_have"),
    [
        ("delete", {"slug": "a"}, True),
        ("create", {"status": "PUBLISHED", "visibility": "PUBLIC"}, True),
        ("create", {"status": "DRAFT", "visibility": "PRIVATE"}, False),
        ("update", {"title": "new"}, False),
        ("update", {"status": "PUBLISHED"}, True),
        ("update", {"visibility": "PUBLIC"}, True),
        ("update", {"status": "REVIEW"}, False),
        ("update", {"seriesId": "b", "$previous": {"seriesId": "a"}}, True),
    ],
)
def test_what_publishes_moves_or_deletes_may_have_shown_an_item(
    operation: str, payload: dict[str, str], *, may_have: bool
) -> None:
    assert (
        may_have_shown(event("episode", payload=payload)._replace(operation=operation)) is may_have
    )


def test_what_was_shown_once_stays_so_whatever_follows() -> None:
    shown = event("episode", id_="5-0", payload={"status": "PUBLISHED"})
    hidden = event("episode", id_="5-1", payload={"status": "DRAFT"})

    marks = touched_by_all([shown, hidden])
    assert marks == {Touch(Scope.EPISODE, ONE): Mark(5 << 20 | 1, was_shown=True)}

"""What a page is called, and which events touch it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from consumer.event import Event
from viewer import keys
from viewer.keys import Kind, PageName, tags_of

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


def event(entity: str, **payload: Any) -> Event:  # noqa: ANN401
    fields = {
        "type": "catalog.updated",
        "entity": entity,
        "entityId": ID,
        "operation": "update",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "payload": json.dumps(payload),
    }
    return Event.of("catalog:events", "1-0", fields)


@pytest.mark.parametrize("text", [ID, "frogs", "frogs-s1e1", "0", "a" * 200])
def test_an_id_or_a_slug_has_a_key(text: str) -> None:
    name = PageName.parse(Kind.EPISODE, text)
    assert name
    assert name.key == f"catalog:episode:{text}"
    assert keys.is_page(name.key)
    assert keys.label_of(name.key) == name.label == "catalog:episode"


def test_an_id_is_the_same_page_in_capitals() -> None:
    assert PageName.parse(Kind.SERIES, ID.upper()) == PageName.parse(Kind.SERIES, ID)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "Frogs", "frogs ", "frogs\n", "frogs\r\nDEL x", "-frogs", "frogs-", "a--b"),
        *("a" * 201, "a:b", "*", "catalog:cache:state", "../frogs", "frog\x00s", "frösche", "٣"),
        *("{frogs}", "frogs%20", "frogs'--", ID.replace("-", "") + "-", "\ud800"),
    ],
)
def test_what_can_be_no_identifier_has_no_key(text: str) -> None:
    assert PageName.parse(Kind.EPISODE, text) is None


def test_no_page_is_called_as_what_is_kept_beside_the_pages() -> None:
    beside = (keys.STATE, keys.PURGED, keys.TAG, keys.LOCK)
    assert not any(keys.is_page(key) for key in (*beside, "catalog:events"))


@pytest.mark.parametrize(
    ("happened", "tags"),
    [
        (event("category", slug="a"), {f"category:{ID}"}),
        (event("series", slug="a", categoryId="c"), {f"series:{ID}"}),
        (event("season", seriesId="s"), {f"season:{ID}", "members:s"}),
        (
            event("season", seriesId="s", **{"$previous": {"seriesId": "t"}}),
            {f"season:{ID}", "members:s", "members:t"},
        ),
        (
            event("episode", slug="a", seriesId="s", **{"$previous": {"seriesId": "t"}}),
            {f"episode:{ID}", "members:s", "members:t"},
        ),
        (event("episode", **{"$previous": None}), {f"episode:{ID}"}),
        (
            event("mediaAsset", episodeId="e", **{"$previous": {"episodeId": "f"}}),
            {"episode:e", "episode:f"},
        ),
        (event("item", seriesId="s"), set()),
    ],
)
def test_an_event_touches_what_it_is_about_and_where_that_is_listed(
    happened: Event, tags: set[str]
) -> None:
    assert set(tags_of(happened)) == tags

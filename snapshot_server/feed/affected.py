"""Which items an event touches, as far as the event alone can tell."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from outbox.event import Event


class Scope(IntEnum):
    """Whose items are touched. The numbers are those that the statement `touch` knows."""

    SERIES = 1
    """Its own and those of its episodes."""
    EPISODE = 2
    """Its own."""
    SEASON = 3
    """Those of its episodes."""
    CATEGORY = 4
    """Those of its series and of their episodes."""


class Touch(NamedTuple):
    """Something of the catalog whose items are to be made anew."""

    scope: Scope
    id: UUID


_SCOPES = {
    "series": Scope.SERIES,
    "episode": Scope.EPISODE,
    "season": Scope.SEASON,
    "category": Scope.CATEGORY,
}


_SHOWING = ('"PUBLISHED"', '"PUBLIC"', '"$previous"')
"""In the payload of an event that publishes an item, or moves it to another parent."""


def touched_by(event: Event) -> Iterator[Touch]:
    """What *event* touches; nothing for an entity that is in no item.

    Whatever moves from one parent to another has an event of its own. So the tables as they are
    now say which episodes belong to a series, a season or a category.
    """
    if event.entity in _SCOPES:
        yield Touch(_SCOPES[event.entity], UUID(event.entity_id))
    elif event.entity == "mediaAsset":
        payload = json.loads(event.payload)
        for context in (payload, payload.get("$previous", {})):
            if episode_id := context.get("episodeId"):
                yield Touch(Scope.EPISODE, UUID(episode_id))


class Mark(NamedTuple):
    """What is known of something that was touched."""

    version: int
    """Of the last event that touched it."""
    was_shown: bool
    """Viewers may have seen it for a while, whatever the tables say now."""


def may_have_shown(event: Event) -> bool:
    """Whether viewers may have seen an item because of *event*, or until then.

    Rather once too often: a word in a title will do.
    """
    return event.operation == "delete" or any(word in event.payload for word in _SHOWING)


def touched_by_all(events: Iterable[Event]) -> dict[Touch, Mark]:
    """What *events*, in their order, touch."""
    marks: dict[Touch, Mark] = {}
    for event in events:
        shown = may_have_shown(event)
        for touch in touched_by(event):
            before = marks.get(touch)
            was_shown = shown or (before is not None and before.was_shown)
            marks[touch] = Mark(Position.parse(event.id).version, was_shown)
    return marks

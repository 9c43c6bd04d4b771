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


def touched_by_all(events: Iterable[Event]) -> dict[Touch, int]:
    """What *events*, in their order, touch; with the version of the last one that does."""
    return {
        touch: Position.parse(event.id).version for event in events for touch in touched_by(event)
    }

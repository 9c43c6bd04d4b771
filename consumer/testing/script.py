"""What a scripted publisher writes: lives of entities, and IDs of its own choosing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outbox.event import Event, timestamp
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS = ("series", "episode", "category", "season", "mediaAsset")
_DELETED = 0.1
_SAME_MS = 0.7
_LONGEST_PAUSE_MS = 40


@dataclass
class Entity:
    """One row of the catalog, as far as events tell of it."""

    kind: str
    id: str
    number: int
    changes: int = 0
    lives: bool = False


class Script:
    """The events of *entities* entities, one after another; *dice* gives numbers in [0, 1)."""

    def __init__(
        self, dice: Callable[[], float], new_id: Callable[[], str], *, entities: int, start_ms: int
    ) -> None:
        self._dice = dice
        self._last = Position(start_ms, 0)
        self._clock_ms = 0
        self._entities = [
            Entity(_KINDS[number % len(_KINDS)], new_id(), number) for number in range(entities)
        ]

    def jump(self, ms: int) -> None:
        """IDs and timestamps go on *ms* milliseconds later."""
        self._last = Position(self._last.ms + ms, 0)

    def set_clock_back(self, ms: int) -> None:
        """Timestamps say *ms* milliseconds less from now on; IDs only ever ascend."""
        self._clock_ms -= ms

    def next(self) -> Event:
        """The next event: a create, an update or a delete of some entity."""
        entity = self._entities[int(self._dice() * len(self._entities))]
        if not entity.lives:
            operation = "create"
        else:
            operation = "delete" if self._dice() < _DELETED else "update"
        entity.lives = operation != "delete"
        entity.changes += 1
        return Event(
            id=str(self._next_position()),
            entity=entity.kind,
            entity_id=entity.id,
            operation=operation,
            timestamp=timestamp(self._last.ms + self._clock_ms),
            payload=json.dumps(self._payload(entity, operation), separators=(",", ":")),
            traceparent="",
        )

    def _next_position(self) -> Position:
        last = self._last
        if self._dice() < _SAME_MS:
            self._last = last.next
        else:
            self._last = Position(last.ms + 1 + int(self._dice() * _LONGEST_PAUSE_MS), 0)
        return self._last

    def _payload(self, entity: Entity, operation: str) -> dict[str, object]:
        title = {} if operation == "delete" else {"title": f"Title {entity.changes}"}
        match entity.kind:
            case "season":
                context: dict[str, object] = {"seriesId": self._entities[0].id}
            case "mediaAsset":
                context = {"episodeId": self._entities[min(1, len(self._entities) - 1)].id}
                title = {}
            case "category":
                context = {"slug": f"category-{entity.number}"}
                title = {"name": title["title"]} if title else {}
            case kind:
                context = {"slug": f"{kind}-{entity.number}"}
        return title | context

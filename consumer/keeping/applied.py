"""Which events were applied before, by the version that a store remembers of each entity."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consumer.event import Event


def applied_before(event: Event, stored_version: int | None) -> bool:
    """Whether a store whose entity is at *stored_version* has this event, or a newer one, already.

    For stores other than the inbox: read the version, compare, and write effect and version in one
    transaction or script, so that nobody comes in between. None: it knows nothing of the entity.
    """
    return stored_version is not None and stored_version >= event.version


def still_to_apply(events: Iterable[Event], before: Mapping[tuple[str, str], int]) -> list[Event]:
    """Those of *events*, in order, that are newer than what was *before*, each once.

    *before* has the version of each entity, by its kind and its id.
    """
    versions = dict(before)
    left: list[Event] = []
    for event in events:
        key = (event.entity, event.entity_id)
        if not applied_before(event, versions.get(key)):
            versions[key] = event.version
            left.append(event)
    return left

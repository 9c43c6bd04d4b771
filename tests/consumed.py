"""Events as consumers see them, made without a publisher."""

import json
from typing import Any

from redis.asyncio import Redis

from consumer.event import Event
from outbox.event import TYPE, timestamp
from outbox.position import Position

STREAM = "catalog:events"
_START_MS = 1_795_347_471_000


def fields_of(number: int, entity_id: str, **other: str) -> dict[str, str]:
    """The fields of event *number*, about a series unless *other* says otherwise."""
    fields = {
        "type": TYPE,
        "entity": "series",
        "entityId": entity_id,
        "operation": "update",
        "timestamp": timestamp(_START_MS + number),
        "payload": json.dumps({"slug": entity_id, "number": number}),
    }
    return fields | other


def id_of(number: int) -> str:
    """The ID of event *number*."""
    return str(Position(_START_MS + number, 0))


def event(number: int, entity_id: str = "a", *, stream: str = STREAM, **other: str) -> Event:
    """Event *number*, about *entity_id*."""
    return Event.of(stream, id_of(number), fields_of(number, entity_id, **other))


async def publish(redis: Redis, *entity_ids: str, first: int = 1, **other: str) -> list[str]:
    """An event about each of *entity_ids*, numbered from *first*; their IDs."""
    pipeline: Any = redis.pipeline(transaction=False)
    ids = [id_of(first + index) for index in range(len(entity_ids))]
    for index, entity_id in enumerate(entity_ids):
        pipeline.xadd(STREAM, fields_of(first + index, entity_id, **other), id=ids[index])
    await pipeline.execute()
    return ids

"""One change, as the stream holds it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

TYPE = "catalog.updated"


class Event(NamedTuple):
    """An entry of the stream: its ID and its fields, all text, in the order they travel.

    A named tuple because millions of them pass through one process.
    """

    id: str
    entity: str
    entity_id: str
    operation: str
    timestamp: str
    """ISO 8601, UTC, milliseconds."""
    payload: str
    """A JSON object."""
    traceparent: str
    """Empty when the writer set none."""

    def fields(self) -> dict[str, str]:
        """The entry's fields as a reader of the stream sees them."""
        fields = {
            "type": TYPE,
            "entity": self.entity,
            "entityId": self.entity_id,
            "operation": self.operation,
            "timestamp": self.timestamp,
            "payload": self.payload,
        }
        return fields | ({"traceparent": self.traceparent} if self.traceparent else {})


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


@lru_cache(maxsize=1024)
def timestamp(ms: int) -> str:
    """Milliseconds since 1970 as the contract writes a time.

    >>> timestamp(1795347471008)
    '2026-11-22T11:37:51.008Z'
    """
    return f"{_second(ms // 1000)}{ms % 1000:03d}Z"

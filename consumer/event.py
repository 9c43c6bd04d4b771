"""One entry of a stream, as a handler sees it; a group, and a gap in what it was given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from consumer.errors import EventUnreadable
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Where the contract puts them: name, value, name, value, …
_PLACES = {
    b"entity": 2,
    b"entityId": 4,
    b"operation": 6,
    b"timestamp": 8,
    b"payload": 10,
    b"traceparent": 12,
}


class Group(NamedTuple):
    """A consumer group of one stream."""

    stream: str
    name: str


class Gap(NamedTuple):
    """Events of *stream* after *after* may have been trimmed before the group handled them."""

    stream: str
    after: Position
    """Everything up to here was handled."""
    first: Position | None
    """The first entry that the stream still holds; None if it holds nothing."""


class Event:
    """Made for every entry and read by few handlers whole: so it is parsed when it is asked."""

    __slots__ = ("_fields", "_payload", "deliveries", "raw_id", "stream")

    def __init__(
        self, stream: str, raw_id: bytes, fields: Sequence[bytes], deliveries: int = 1
    ) -> None:
        self.stream = stream
        """The key that it was read from."""
        self.raw_id = raw_id
        self.deliveries = deliveries
        """How often Redis has handed it out; 1 is the first time."""
        self._fields = fields
        self._payload: dict[str, Any] | None = None

    @classmethod
    def of(cls, stream: str, event_id: str, fields: Mapping[str, str], deliveries: int = 1) -> Self:
        """From text, as tests and dead letters have it."""
        raw = [text.encode() for pair in fields.items() for text in pair]
        return cls(stream, event_id.encode(), raw, deliveries)

    @property
    def id(self) -> str:
        """``<ms>-<seq>``, as Redis writes it."""
        return self.raw_id.decode()

    @property
    def position(self) -> Position:
        """Its ID as a place."""
        return Position.parse(self.id)

    @property
    def version(self) -> int:
        """Its ID as a number that only grows: what a search engine takes as external version."""
        return self.position.version

    @property
    def entity(self) -> str:
        """category, series, season, episode or mediaAsset."""
        return self._text(b"entity")

    @property
    def entity_id(self) -> str:
        """Of the row that changed."""
        return self._text(b"entityId")

    @property
    def operation(self) -> str:
        """create, update or delete."""
        return self._text(b"operation")

    @property
    def timestamp(self) -> str:
        """When the change was written: ISO 8601, UTC, milliseconds."""
        return self._text(b"timestamp")

    @property
    def traceparent(self) -> str:
        """The writer's trace; empty if it set none."""
        return self._text(b"traceparent")

    @property
    def payload(self) -> dict[str, Any]:
        """What changed, and its context; one dict for all who ask. Raises EventUnreadable."""
        if self._payload is None:
            try:
                payload = json.loads(self._raw(b"payload") or b"{}")
            except ValueError as exc:
                raise EventUnreadable from exc
            if not isinstance(payload, dict):
                raise EventUnreadable
            self._payload = payload
        return self._payload

    @property
    def previous(self) -> dict[str, Any]:
        """The old values of context fields that changed."""
        previous: dict[str, Any] = self.payload.get("$previous", {})
        return previous

    @property
    def omitted(self) -> Sequence[str]:
        """The names of changed fields whose values are too long to travel."""
        omitted: Sequence[str] = self.payload.get("$omitted", ())
        return omitted

    @property
    def raw_entity_id(self) -> bytes:
        """What decides on its lane."""
        fields = self._fields
        # The common case, without a call.
        if len(fields) > 5 and fields[4] == b"entityId":  # noqa: PLR2004
            return fields[5]
        return self._raw(b"entityId")

    def fields(self) -> Sequence[bytes]:
        """The entry's own fields: name, value, name, value."""
        return self._fields

    def __repr__(self) -> str:
        """Which one, without what it says."""
        return f"Event({self.stream} {self.id} {self.operation} {self.entity} {self.entity_id})"

    def _text(self, name: bytes) -> str:
        return self._raw(name).decode("utf-8", "backslashreplace")

    def _raw(self, name: bytes) -> bytes:
        fields, place = self._fields, _PLACES[name]
        if len(fields) > place + 1 and fields[place] == name:
            return fields[place + 1]
        for place in range(0, len(fields) - 1, 2):
            if fields[place] == name:
                return fields[place + 1]
        return b""

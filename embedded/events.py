"""What `make run` shows of the stream: each event, or counts when they come too fast to read."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_WINDOW_S = 1.0


@dataclass(frozen=True)
class Event:
    """One stream entry, as far as it could be read."""

    operation: str
    entity: str
    entity_id: str
    payload: Mapping[str, Any]
    delay_ms: float | None

    @property
    def name(self) -> str:
        """The slug where it has one."""
        return str(self.payload.get("slug") or self.entity_id)

    @property
    def changes(self) -> Mapping[str, Any]:
        """The watched fields that changed; context only if it did, too."""
        changed_context = self.payload.get("$previous", {})
        omitted = dict.fromkeys(self.payload.get("$omitted", ()), ...)
        return {
            name: value
            for name, value in {**self.payload, **omitted}.items()
            if name in changed_context or not _is_context(name)
        }


@dataclass(frozen=True)
class Summary:
    """What passed while single lines would have been too many."""

    counts: Mapping[tuple[str, str], int]  # by entity and operation
    delays_ms: tuple[float, float] | None  # least and most


@dataclass
class Readable:
    """Lets single events pass up to a rate; counts the others into one summary a second."""

    most_per_s: int = 50
    _began_s: float = 0.0
    _passed: int = 0
    _held: Counter[tuple[str, str]] = field(default_factory=Counter)
    _delays_ms: tuple[float, float] | None = None

    def expect_flood(self, now_s: float) -> None:
        """Count from the next event on, without waiting for too many of them."""
        self._began_s, self._passed = now_s, self.most_per_s

    def take(self, events: Sequence[Event], now_s: float) -> Sequence[Event]:
        """The events to show one by one: all, or none and they are counted."""
        if not self._held and now_s - self._began_s >= _WINDOW_S:
            self._began_s, self._passed = now_s, 0
        if not self._held and self._passed + len(events) <= self.most_per_s:
            self._passed += len(events)
            return events
        self._held.update((event.entity, event.operation) for event in events)
        delays = [event.delay_ms for event in events if event.delay_ms is not None]
        if delays:
            bounds = [*delays, *(self._delays_ms or ())]
            self._delays_ms = min(bounds), max(bounds)
        return ()

    def due_in_s(self, now_s: float) -> float | None:
        """How long until a summary is due; None if nothing was held back."""
        return max(0.0, self._began_s + _WINDOW_S - now_s) if self._held else None

    def summary(self, now_s: float) -> Summary | None:
        """What was held back, once it is due."""
        if self.due_in_s(now_s) != 0.0:
            return None
        summary = Summary(dict(self._held.most_common()), self._delays_ms)
        # A lasting flood stays one line a second.
        self.expect_flood(now_s)
        self._held, self._delays_ms = Counter(), None
        return summary


def read_events(entries: Iterable[Mapping[str, str]], now: datetime) -> list[Event]:
    """The *entries* as events; what a foreign entry lacks is shown as a question mark."""
    return [
        Event(
            operation=entry.get("operation", "?"),
            entity=entry.get("entity", "?"),
            entity_id=entry.get("entityId", "?"),
            payload=_json_object(entry.get("payload", "")),
            delay_ms=_delay_ms(entry.get("timestamp", ""), now),
        )
        for entry in entries
    ]


def _is_context(name: str) -> bool:
    return name == "slug" or name.endswith("Id") or name.startswith("$")


def _json_object(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _delay_ms(timestamp: str, now: datetime) -> float | None:
    try:
        return (now - datetime.fromisoformat(timestamp)).total_seconds() * 1000
    except (ValueError, TypeError):
        return None

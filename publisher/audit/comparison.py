"""How events of the outbox and entries of a stream differ."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from outbox.event import TYPE
from outbox.position import ORIGIN, Position

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from outbox.event import Event
    from publisher.audit.pages import Ends, Entry

_SHOWN = 100  # characters of a value


class Kind(StrEnum):
    """What is wrong."""

    MISSING = "missing"
    """Committed and published, but no longer, or not, in the stream."""
    CONTENT = "content"
    """In both, with other fields."""
    FOREIGN = "foreign"
    """In the stream, not in the outbox."""
    ABANDONED = "abandoned"
    """The same, but of a history that was abandoned: the database was restored since."""
    DEAD_LETTER = "dead_letter"
    """In the stream, although it was set aside."""
    PARTITION = "partition"
    """In the stream of another partition than its entity's."""
    ORDER = "order"
    """IDs do not grow from entry to entry."""
    ENTITY_ORDER = "entity_order"
    """A later change of an entity stands before an earlier one."""
    NO_TICK = "no_tick"
    """Committed before the newest tick, but in none."""


class Absence(StrEnum):
    """Why an event may rightly not be in the stream."""

    WAITING = "waiting"
    """Newer than the stream's end: not published yet."""
    TRIMMED = "trimmed"
    """Older than what the stream still holds."""


class Difference(NamedTuple):
    """One thing that is wrong."""

    kind: Kind
    id: str
    stream: str
    detail: str


class Match(NamedTuple):
    """What became of some events and the entries in their place."""

    equal: int
    differing: list[tuple[Event, Entry]]
    absent: list[Event]
    extra: list[Entry]
    unordered: list[Entry]
    """Not above the entry before them."""


class Stretch(NamedTuple):
    """Positions that were abandoned: after *after*, up to *until*."""

    after: Position
    until: Position

    def holds(self, position: Position) -> bool:
        """Whether *position* was abandoned."""
        return self.after < position <= self.until


@dataclass(slots=True)
class Findings:
    """What has been found so far: all of it counted, the first of it kept."""

    kept: int
    counts: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    first: list[Difference] = field(default_factory=list)

    def add(self, differences: Iterable[Difference]) -> None:
        """Count *differences*, and keep them while there is room."""
        for difference in differences:
            self.counts[difference.kind] += 1
            if len(self.first) < self.kept:
                self.first.append(difference)

    def add_uncounted(self, difference: Difference, count: int) -> None:
        """Count *count* of a kind of which *difference* tells all that is known."""
        self.counts[difference.kind] += count
        self.first.insert(0, difference)


def flat(event: Event) -> list[str]:
    """The fields of *event* and their values in turn, in the order of the contract."""
    fields = [
        *("type", TYPE, "entity", event.entity, "entityId", event.entity_id),
        *("operation", event.operation, "timestamp", event.timestamp, "payload", event.payload),
    ]
    return [*fields, "traceparent", event.traceparent] if event.traceparent else fields


def match(events: Sequence[Event], entries: Sequence[Entry]) -> Match:
    """Compare what the outbox and one stream hold of one stretch."""
    if [event.id for event in events] == [entry.id for entry in entries]:
        pairs = list(zip(events, entries, strict=True))
        differing = [(event, entry) for event, entry in pairs if flat(event) != entry.fields]
        return Match(len(pairs) - len(differing), differing, [], [], [])
    found = {entry.id: entry for entry in entries}
    equal, differing, absent = 0, [], []
    for event in events:
        entry = found.pop(event.id, None)
        if entry is None:
            absent.append(event)
        elif flat(event) != entry.fields:
            differing.append((event, entry))
        else:
            equal += 1
    return Match(equal, differing, absent, list(found.values()), unordered(entries))


def unordered(entries: Sequence[Entry]) -> list[Entry]:
    """Those that are not above the one before them."""
    positions = [Position.parse(entry.id) for entry in entries]
    return [
        entry
        for entry, before, here in zip(entries[1:], positions, positions[1:], strict=False)
        if here <= before
    ]


def up_to(events: Sequence[Event], until: Position) -> int:
    """How many of *events*, which are in order, stand at or before *until*."""
    return bisect_right(events, until, key=lambda event: Position.parse(event.id))


def absence(
    position: Position, then: Ends, done: Position, now: Ends, entries: Sequence[Entry]
) -> Absence | Kind:
    """Why the event at *position* is not in its stream.

    *then* is how the stream was at the start, *done* up to where it had had everything before that;
    *now* is how it was after *entries* were read, around the event.
    """
    if position > then.last:
        return Kind.MISSING if position <= done else Absence.WAITING
    # Trimming takes from the front, so where something older was left, this is something else.
    older_was_left = bool(entries) and Position.parse(entries[0].id) < position
    trimmed = now.last != ORIGIN and (now.oldest is None or position < now.oldest)
    if trimmed and not older_was_left and position != now.deleted:
        return Absence.TRIMMED
    return Kind.MISSING


def missing(event: Event, stream: str, then: Ends, done: Position) -> Difference:
    """*event* is not where it should be."""
    position = Position.parse(event.id)
    if position == then.deleted:
        why = "taken out with XDEL"
    elif position > then.last:
        end = f"ended at {then.last}" if then.last != ORIGIN else "was not there"
        why = f"the stream {end}, but had had everything up to {done}"
    else:
        why = "the stream goes on without it"
    return Difference(Kind.MISSING, event.id, stream, f"{_of(event)}: {why}")


def other_content(event: Event, entry: Entry, stream: str) -> Difference:
    """*entry* has the ID of *event*, and says something else."""
    ours = flat(event)
    if sorted(ours) == sorted(entry.fields):
        detail = "the fields are in another order"
    else:
        expected = dict(zip(ours[::2], ours[1::2], strict=True))
        found = dict(zip(entry.fields[::2], entry.fields[1::2], strict=True))
        detail = "; ".join(
            f"{name} is {_short(found.get(name))}, not {_short(expected.get(name))}"
            for name in {**expected, **found}
            if expected.get(name) != found.get(name)
        )
    return Difference(Kind.CONTENT, event.id, stream, detail or "a field is there twice")


def surplus(
    entry: Entry,
    stream: str,
    *,
    stretches: Sequence[Stretch],
    dead: Collection[Position],
    elsewhere: Event | None,
) -> Difference:
    """*entry* should not be there; *elsewhere* is the event that has its ID in another stream."""
    if elsewhere and flat(elsewhere) == entry.fields:
        detail = f"{_of(elsewhere)}: belongs to another partition"
        return Difference(Kind.PARTITION, entry.id, stream, detail)
    position = Position.parse(entry.id)
    kind = Kind.FOREIGN
    if position in dead:
        kind = Kind.DEAD_LETTER
    elif any(stretch.holds(position) for stretch in stretches):
        kind = Kind.ABANDONED
    return Difference(kind, entry.id, stream, _short(" ".join(entry.fields)))


def out_of_order(entry: Entry, stream: str) -> Difference:
    """*entry* is not above the one before it."""
    return Difference(Kind.ORDER, entry.id, stream, "its ID is not above the one before it")


def _of(event: Event) -> str:
    return f"{event.operation} of {event.entity} {event.entity_id}"


def _short(value: str | None) -> str:
    if value is None:
        return "absent"
    return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…")

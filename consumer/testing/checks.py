"""What must be true of a consumer's effects; each violation says what was expected."""

from __future__ import annotations

from collections import Counter, defaultdict
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from consumer.testing.effects import Effect
    from outbox.event import Event

_SHOWN = 5


class Kind(StrEnum):
    """What can be wrong."""

    LOST = "lost"
    OUT_OF_ORDER = "out of order"
    ACKNOWLEDGED_WITHOUT_EFFECT = "acknowledged without effect"
    TOO_OFTEN = "too often"
    UNKNOWN = "never published"
    LEFT_PENDING = "left pending"
    ENDED = "ended by itself"
    STATE = "wrong state"
    STUCK = "stuck"


class Violation(NamedTuple):
    """One promise that was broken."""

    kind: Kind
    text: str
    events: tuple[str, ...] = ()

    def __str__(self) -> str:
        """For people."""
        return f"{self.kind}: {self.text}"


class Account(NamedTuple):
    """What was published and what came of it."""

    published: Sequence[Event]
    effects: Sequence[Effect]
    excused: Collection[str]
    """IDs of events that were gone from the stream before they could be read."""
    allowed: Mapping[str, int]
    """How many more times than once an event may have had its effect."""


def lost(account: Account) -> list[Violation]:
    """At least once: every event has had its effect."""
    done = {effect.event_id for effect in account.effects}
    missing = [
        event
        for event in account.published
        if event.id not in done and event.id not in account.excused
    ]
    everybody = Counter(event.entity_id for event in account.published)
    return [
        Violation(
            Kind.LOST,
            f"{name} has {everybody[name.partition(' ')[2]]} events,"
            f" and {_number(ids)} of them had no effect: {_listed(ids)}",
            tuple(ids),
        )
        for name, ids in _by_entity(missing).items()
    ]


def out_of_order(account: Account) -> list[Violation]:
    """The first effect of each event comes after those of its entity's events before it."""
    first: dict[str, int] = {}
    for number, effect in enumerate(account.effects):
        first.setdefault(effect.event_id, number)
    found = []
    for name, ids in _by_entity(account.published).items():
        done = [id_ for id_ in ids if id_ in first]
        wrong = [
            (later, earlier) for earlier, later in pairwise(done) if first[later] < first[earlier]
        ]
        if wrong:
            later, earlier = wrong[0]
            as_done = sorted(done, key=first.__getitem__)
            between = as_done[as_done.index(later) : as_done.index(earlier) + 1]
            found.append(
                Violation(
                    Kind.OUT_OF_ORDER,
                    f"{name}: {later} had its effect before {earlier}, which is older;"
                    f" expected {_listed(sorted(between, key=ids.index))},"
                    f" came {_listed(between)}; so it is {len(wrong)} times",
                    tuple(id_ for pair in wrong for id_ in pair),
                )
            )
    return found


def repeated(account: Account) -> list[Violation]:
    """Duplicates are bounded: an event takes effect again only where it was delivered again."""
    entity_of = {event.id: f"{event.entity} {event.entity_id}" for event in account.published}
    times = Counter(effect.event_id for effect in account.effects)
    found = [
        Violation(
            Kind.UNKNOWN,
            f"there is an effect of {id_}, and no such event was published",
            (id_,),
        )
        for id_ in times
        if id_ not in entity_of
    ]
    over: dict[str, list[str]] = defaultdict(list)
    for id_, count in times.items():
        if id_ in entity_of and count > 1 + account.allowed.get(id_, 0):
            over[entity_of[id_]].append(id_)
    for name, ids in over.items():
        worst = max(ids, key=times.__getitem__)
        found.append(
            Violation(
                Kind.TOO_OFTEN,
                f"{name}: {worst} had its effect {times[worst]} times, and there was reason"
                f" for {1 + account.allowed.get(worst, 0)}{_and_more(len(ids) - 1)}",
                tuple(ids),
            )
        )
    return found


def duplicates(effects: Iterable[Effect]) -> int:
    """How many effects were not the first of their event."""
    return sum(count - 1 for count in Counter(effect.event_id for effect in effects).values())


def acknowledged_without_effect(
    ids: Iterable[str], account: Account, *, how: str
) -> list[Violation]:
    """The events of *ids*, which are acknowledged: their effects must be there by now."""
    done = {effect.event_id for effect in account.effects}
    early = set(ids) - done - set(account.excused)
    return [
        Violation(
            Kind.ACKNOWLEDGED_WITHOUT_EFFECT,
            f"{name}: {_listed(found)} {how}, and no effect of it was persisted;"
            " killed at this moment, the consumer would have lost it",
            tuple(found),
        )
        for name, found in _by_entity(e for e in account.published if e.id in early).items()
    ]


def left_pending(ids: Collection[str], group: str) -> list[Violation]:
    """In the end everything is acknowledged."""
    if not ids:
        return []
    return [
        Violation(
            Kind.LEFT_PENDING,
            f"{_number(ids)} entries are still pending in the group {group}: {_listed(ids)}",
            tuple(ids),
        )
    ]


def _by_entity(events: Iterable[Event]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for event in events:
        found[f"{event.entity} {event.entity_id}"].append(event.id)
    return found


def _number(ids: Collection[str]) -> str:
    return f"{len(ids):,}"


def _listed(ids: Iterable[str]) -> str:
    every = list(ids)
    return ", ".join(every[:_SHOWN]) + _and_more(len(every) - _SHOWN)


def _and_more(count: int) -> str:
    return f" (and {count:,} more)" if count > 0 else ""

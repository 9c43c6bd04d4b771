"""What is missing, what was trimmed, what is somebody else's."""

from __future__ import annotations

import pytest

from outbox.event import Event
from outbox.position import ORIGIN, Position
from publisher.audit.comparison import Absence, Difference, Findings, Kind, absence, flat, match
from publisher.audit.pages import Ends, Entry


def event(id_: str, payload: str = "{}") -> Event:
    return Event(id_, "series", "a", "update", "2026-11-22T11:37:51.008Z", payload, "")


def entry(id_: str, payload: str = "{}") -> Entry:
    return Entry(id_, flat(event(id_, payload)))


def ends(oldest: int | None, last: int, deleted: int = 0) -> Ends:
    first = None if oldest is None else Position(oldest, 0)
    return Ends(first, Position(last, 0), Position(deleted, 0))


def test_events_and_entries_of_the_same_ids_are_compared_field_by_field() -> None:
    found = match([event("1-0"), event("2-0")], [entry("1-0"), entry("2-0", "x")])
    assert (found.equal, found.absent, found.extra, found.unordered) == (1, [], [], [])
    assert found.differing == [(event("2-0"), entry("2-0", "x"))]


def test_so_they_are_where_ids_differ() -> None:
    events = [event("1-0"), event("2-0"), event("3-0")]
    found = match(events, [entry("2-0", "x"), entry("2-5"), entry("3-0")])
    assert (found.equal, found.absent, found.extra) == (1, [event("1-0")], [entry("2-5")])
    assert found.differing == [(event("2-0"), entry("2-0", "x"))]


def test_entries_out_of_order_are_named_and_still_compared() -> None:
    events = [event("2-0"), event("10-0"), event("11-0")]
    found = match(events, [entry("10-0"), entry("2-0"), entry("11-0")])
    assert (found.equal, found.unordered) == (3, [entry("2-0")])


@pytest.mark.parametrize(
    ("at", "then", "done", "now", "entries", "why"),
    [
        # Above the end: waits, unless it was there once.
        (7, ends(1, 6), 0, ends(1, 6), [], Absence.WAITING),
        (7, ends(1, 6), 6, ends(1, 9), [], Absence.WAITING),
        (7, ends(1, 6), 7, ends(1, 6), [], Kind.MISSING),
        (7, ends(None, 0), 9, ends(None, 0), [], Kind.MISSING),
        # Before the oldest: trimmed, also if that was only now, or all of it.
        (3, ends(4, 6), 6, ends(4, 6), [], Absence.TRIMMED),
        (3, ends(1, 6), 6, ends(4, 9), [], Absence.TRIMMED),
        (3, ends(1, 6), 6, ends(None, 9), [], Absence.TRIMMED),
        # Not if something older was left when it was looked for; nor if it was taken out.
        (3, ends(1, 6), 6, ends(4, 9), [entry("2-0")], Kind.MISSING),
        (3, ends(1, 6), 6, ends(4, 9), [entry("4-0")], Absence.TRIMMED),
        (3, ends(4, 6, 3), 6, ends(4, 6, 3), [], Kind.MISSING),
        (3, ends(4, 6, 5), 6, ends(4, 6, 5), [], Absence.TRIMMED),
        # Between two others, or in a stream that was deleted meanwhile.
        (3, ends(1, 6), 6, ends(1, 6), [], Kind.MISSING),
        (3, ends(1, 6), 6, ends(None, 0), [], Kind.MISSING),
    ],
)
def test_what_is_absent_waits_was_trimmed_or_is_missing(  # noqa: PLR0913, PLR0917 - a table
    at: int, then: Ends, done: int, now: Ends, entries: list[Entry], why: Absence | Kind
) -> None:
    assert absence(Position(at, 0), then, Position(done, 0), now, entries) is why


def test_all_findings_are_counted_and_the_first_are_kept() -> None:
    findings = Findings(kept=2)
    findings.add(Difference(Kind.FOREIGN, str(Position(n, 0)), "s", "") for n in range(5))
    findings.add_uncounted(Difference(Kind.NO_TICK, "", "", "three of them"), 3)
    assert (findings.counts[Kind.FOREIGN], findings.counts[Kind.NO_TICK]) == (5, 3)
    assert [one.id for one in findings.first] == ["", str(ORIGIN), "1-0"]

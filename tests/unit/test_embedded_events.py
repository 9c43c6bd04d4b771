"""What `make run` shows of the stream, without a stream."""

from datetime import UTC, datetime

import pytest

from embedded.events import Event, Readable, read_events

NOW = datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)
EVENT = Event("update", "series", "id", {}, 5.0)


def test_an_event_shows_what_changed_and_not_its_context() -> None:
    [event] = read_events(
        [
            {
                "operation": "update",
                "entity": "episode",
                "entityId": "e1",
                "timestamp": "2026-01-01T00:00:00.750Z",
                "payload": '{"slug": "new", "title": "T", "seriesId": "s1", '
                '"$previous": {"slug": "old"}, "$omitted": ["synopsis"]}',
            }
        ],
        NOW,
    )
    assert event.name == "new"
    assert event.changes == {"slug": "new", "title": "T", "synopsis": ...}
    assert event.delay_ms == pytest.approx(250)


@pytest.mark.parametrize("payload", ["", "not json", "[1]"])
def test_a_foreign_entry_is_shown_as_far_as_it_can_be_read(payload: str) -> None:
    [event] = read_events([{"payload": payload, "timestamp": "yesterday"}], NOW)
    assert (event.entity, event.name, event.changes, event.delay_ms) == ("?", "?", {}, None)


def test_a_few_events_are_shown_one_by_one() -> None:
    readable = Readable(most_per_s=50)
    assert list(readable.take([EVENT] * 50, now_s=10.0)) == [EVENT] * 50
    assert list(readable.take([EVENT] * 50, now_s=11.0)) == [EVENT] * 50
    assert readable.due_in_s(11.0) is None


def test_a_flood_becomes_one_line_a_second_and_then_single_events_again() -> None:
    readable = Readable(most_per_s=50)
    readable.take([EVENT] * 50, now_s=10.0)
    assert not readable.take([EVENT], now_s=10.2)
    assert not readable.take([EVENT] * 1000, now_s=10.5)
    assert readable.due_in_s(10.5) == pytest.approx(0.5)
    assert readable.summary(10.9) is None
    summary = readable.summary(11.0)
    assert summary is not None
    assert summary.counts == {("series", "update"): 1001}
    assert summary.delays_ms == (5.0, 5.0)
    assert not readable.take([EVENT], now_s=11.5)
    assert readable.summary(12.0) is not None
    assert list(readable.take([EVENT], now_s=13.0)) == [EVENT]

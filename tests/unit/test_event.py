"""An event as the stream holds it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbox.event import Event, timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1000, "1970-01-01T00:00:01.000Z"),
        (1795347471008, "2026-11-22T11:37:51.008Z"),
        (1709251199999, "2024-02-29T23:59:59.999Z"),
    ],
)
def test_a_time_is_iso_8601_in_utc_with_milliseconds(ms: int, text: str) -> None:
    assert timestamp(ms) == text


@given(st.integers(0, 2**42))
def test_a_time_keeps_every_millisecond(ms: int) -> None:
    assert datetime.fromisoformat(timestamp(ms)) == EPOCH + timedelta(milliseconds=ms)


def test_an_entry_has_the_fields_of_the_contract_in_their_order() -> None:
    event = Event("1-0", "mediaAsset", "m1", "update", timestamp(0), '{"status":"READY"}', "")
    assert list(event.fields().items()) == [
        ("type", "catalog.updated"),
        ("entity", "mediaAsset"),
        ("entityId", "m1"),
        ("operation", "update"),
        ("timestamp", "1970-01-01T00:00:00.000Z"),
        ("payload", '{"status":"READY"}'),
    ]


def test_a_traceparent_follows_only_when_the_writer_set_one() -> None:
    event = Event("1-0", "series", "s1", "delete", timestamp(0), "{}", TRACEPARENT)
    assert list(event.fields().items())[-1] == ("traceparent", TRACEPARENT)

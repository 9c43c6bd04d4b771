import pytest

from consumer import Event
from consumer.errors import EventUnreadable
from outbox.event import Event as Published
from outbox.position import Position

PUBLISHED = Published(
    id="1795347471648-3",
    entity="series",
    entity_id="5b7c",
    operation="update",
    timestamp="2026-11-22T11:37:51.648Z",
    payload='{"slug":"new","$previous":{"slug":"old"},"synopsis":null,"$omitted":["synopsis"]}',
    traceparent="00-ab-cd-01",
)


def test_an_event_says_what_the_publisher_wrote() -> None:
    event = Event.of("catalog:events", PUBLISHED.id, PUBLISHED.fields())
    for name in ("id", "entity", "entity_id", "operation", "timestamp", "traceparent"):
        assert getattr(event, name) == getattr(PUBLISHED, name)
    assert event.position == Position.parse(PUBLISHED.id)
    assert event.version == Position.parse(PUBLISHED.id).version
    assert event.payload["slug"] == "new"
    assert event.previous == {"slug": "old"}
    assert event.omitted == ["synopsis"]
    assert event.deliveries == 1
    assert "new" not in repr(event)


def test_fields_are_found_wherever_they_stand() -> None:
    reversed_ = dict(reversed(PUBLISHED.fields().items()))
    event = Event.of("catalog:events", PUBLISHED.id, {"new": "field", **reversed_})
    assert event.entity_id == PUBLISHED.entity_id
    assert event.raw_entity_id == PUBLISHED.entity_id.encode()
    assert event.traceparent == PUBLISHED.traceparent


def test_an_entry_of_somebody_else_is_no_obstacle() -> None:
    event = Event("catalog:events", b"1-1", [b"from", b"\xff"])
    assert (event.entity, event.entity_id, event.payload) == ("", "", {})


@pytest.mark.parametrize("payload", ["[1]", "{", "nothing"])
def test_a_payload_that_is_no_object_is_a_failure_of_that_event(payload: str) -> None:
    event = Event.of("catalog:events", "1-1", {"payload": payload})
    with pytest.raises(EventUnreadable):
        _ = event.payload

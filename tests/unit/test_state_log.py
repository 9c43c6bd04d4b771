"""What the log says of a stream that is held up: once when it begins, once when it is over."""

import pytest
from structlog.testing import capture_logs

from outbox.epochs import Identity
from outbox.errors import CatalogStreamError, OutboxUnavailable, StreamRefused, StreamUnavailable
from publisher.errors import IdentityChanged
from publisher.observing import StateLog, reason_of
from publisher.worker import PassReport

FULL = StreamRefused("OOM", "OOM no room")


def said(*errors: CatalogStreamError | None) -> list[tuple[str, str, str | None]]:
    """(level, event, reason) of each line, when passes end with *errors*."""
    state = StateLog("stream")
    with capture_logs() as lines:
        for failures, error in enumerate(errors, 1):
            state.observe(PassReport(0, failures if error else 0, error))
    return [(line["log_level"], line["event"], line.get("reason")) for line in lines]


def test_a_stream_that_gets_on_says_nothing() -> None:
    assert said(None, None, None) == []


def test_trouble_is_one_line_however_long_it_lasts_and_its_end_another() -> None:
    assert said(None, *[OutboxUnavailable()] * 50, None, None) == [
        ("warning", "publisher.held_up", "postgres_away"),
        ("info", "publisher.recovered", None),
    ]


def test_other_trouble_is_another_line() -> None:
    assert said(OutboxUnavailable(), StreamUnavailable(), StreamUnavailable(), FULL, None) == [
        ("warning", "publisher.held_up", "postgres_away"),
        ("warning", "publisher.held_up", "redis_away"),
        ("warning", "publisher.held_up", "oom"),
        ("info", "publisher.recovered", None),
    ]


def test_one_refusal_after_another_is_told() -> None:
    readonly = StreamRefused("READONLY", "READONLY it is a replica")
    assert [reason for _, _, reason in said(FULL, readonly, FULL)] == ["oom", "readonly", "oom"]


def test_trouble_that_comes_back_is_told_again() -> None:
    assert [
        event for _, event, _ in said(OutboxUnavailable(), None, OutboxUnavailable(), None)
    ] == [
        "publisher.held_up",
        "publisher.recovered",
    ] * 2


def test_the_line_names_the_stream_and_holds_what_the_server_answered() -> None:
    with capture_logs() as lines:
        StateLog("catalog:events:{2}").observe(PassReport(0, 1, FULL))
    assert lines[0]["stream"] == "catalog:events:{2}"
    assert "OOM no room" in lines[0]["error"]


def test_what_holds_it_up_can_be_asked_for() -> None:
    state = StateLog("stream")
    assert state.reason is None
    state.observe(PassReport(0, 1, FULL))
    assert state.reason == "oom"
    state.observe(PassReport(1, 0))
    assert state.reason is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OutboxUnavailable(), "postgres_away"),
        (StreamUnavailable(), "redis_away"),
        (FULL, "oom"),
        (IdentityChanged(Identity(1, 1), Identity(2, 1)), "identity"),
        (CatalogStreamError(), "other"),
    ],
)
def test_each_trouble_has_a_word(error: CatalogStreamError, reason: str) -> None:
    assert reason_of(error) == reason

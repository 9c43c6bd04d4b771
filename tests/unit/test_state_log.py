"""What the log says of a publisher that is held up: once when it begins, once when it is over."""

from structlog.testing import capture_logs

from outbox.errors import CatalogStreamError, OutboxUnavailable, StreamRefused, StreamUnavailable
from publisher.service import StateLog
from publisher.worker import PassReport


def said(*errors: CatalogStreamError | None) -> list[tuple[str, str, str | None]]:
    """(level, event, reason) of each line, when passes end with *errors*."""
    state = StateLog()
    with capture_logs() as lines:
        for failures, error in enumerate(errors, 1):
            state.observe(PassReport(0, failures if error else 0, error))
    return [(line["log_level"], line["event"], line.get("reason")) for line in lines]


def test_a_publisher_that_works_says_nothing() -> None:
    assert said(None, None, None) == []


def test_trouble_is_one_line_however_long_it_lasts_and_its_end_another() -> None:
    assert said(None, *[OutboxUnavailable()] * 50, None, None) == [
        ("warning", "publisher.held_up", "OutboxUnavailable"),
        ("info", "publisher.recovered", None),
    ]


def test_other_trouble_is_another_line() -> None:
    full = StreamRefused("OOM", "OOM no room")
    assert said(OutboxUnavailable(), StreamUnavailable(), StreamUnavailable(), full, None) == [
        ("warning", "publisher.held_up", "OutboxUnavailable"),
        ("warning", "publisher.held_up", "StreamUnavailable"),
        ("warning", "publisher.held_up", "StreamRefused"),
        ("info", "publisher.recovered", None),
    ]


def test_trouble_that_comes_back_is_told_again() -> None:
    assert [
        event for _, event, _ in said(OutboxUnavailable(), None, OutboxUnavailable(), None)
    ] == [
        "publisher.held_up",
        "publisher.recovered",
    ] * 2


def test_the_line_holds_what_the_server_answered() -> None:
    with capture_logs() as lines:
        StateLog().observe(PassReport(0, 1, StreamRefused("OOM", "OOM no room")))
    assert "OOM no room" in lines[0]["error"]

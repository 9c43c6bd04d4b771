"""What a consumer's reports become: log lines, and an answer to who asks whether it gets on."""

from typing import get_args

import pytest
from consumed import STREAM, event
from structlog.testing import capture_logs

from consumer import reports
from consumer.event import Gap
from consumer.watching.observing import LINES, log_lines
from consumer.watching.readiness import Readiness
from outbox.position import Position

ERROR = ValueError("first line\nwith a payload")
AWAY = reports.Away(STREAM, "read", 1, 2.0, ERROR)


def said(report: reports.Report) -> dict[str, object]:
    with capture_logs() as lines:
        log_lines("g")(report)
    [line] = lines
    return dict(line)


def test_every_report_has_its_line() -> None:
    assert set(LINES) == set(get_args(reports.Report))


def test_a_batch_is_one_line() -> None:
    assert said(reports.Handled(STREAM, 500, 0.01234, [0.10001, 0.2])) == {
        "event": "events.handled",
        "log_level": "debug",
        "group": "g",
        "stream": STREAM,
        "events": 500,
        "took_s": 0.012,
        "busy_s": [0.1, 0.2],
    }


def test_a_line_about_an_event_says_which_one_and_not_what_is_in_it() -> None:
    line = said(reports.Retried(event(1), 2, 0.5, ERROR))
    assert line == {
        "event": "event.retried",
        "log_level": "warning",
        "group": "g",
        "stream": STREAM,
        "id": event(1).id,
        "attempt": 2,
        "pause_s": 0.5,
        "error": "ValueError: first line",
    }


@pytest.mark.parametrize(("first", "shown"), [(Position(9, 1), "9-1"), (None, None)])
def test_a_gap_says_where_it_is(first: Position | None, shown: str | None) -> None:
    line = said(reports.GapFound(Gap(STREAM, Position(5, 0), first)))
    assert (line["stream"], line["after"], line["first"]) == (STREAM, "5-0", shown)


def test_a_redis_that_stays_away_is_said_once() -> None:
    assert said(AWAY)["log_level"] == "warning"
    assert said(AWAY._replace(failures=2))["log_level"] == "debug"


class Clock:
    """Stands still unless it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_consumer_that_does_not_run_should_be_started_anew() -> None:
    readiness = Readiness()
    assert not readiness.health().is_live
    readiness.running = True
    assert readiness.health().is_live
    assert readiness.health().is_ready


@pytest.mark.parametrize("good", [reports.Lag(STREAM, 0, 0.0), reports.Took(STREAM, "m", 0)])
def test_it_is_ready_again_when_redis_does_as_it_is_asked(good: reports.Report) -> None:
    readiness = Readiness()
    readiness.running = True
    readiness.observe(AWAY)
    assert readiness.health().reason == f"cannot read {STREAM}"
    assert readiness.health().is_live
    readiness.observe(good)
    assert readiness.health().is_ready


def test_who_stands_by_is_ready_when_redis_was_not_missed_for_a_while() -> None:
    clock = Clock()
    readiness = Readiness(clock=clock)
    readiness.running = True
    readiness.observe(AWAY)
    clock.now += 16
    assert not readiness.health().is_ready
    clock.now += 2
    assert readiness.health().is_ready


def test_it_says_what_it_reads() -> None:
    readiness = Readiness()
    readiness.running = True

    def role() -> str:
        [condition] = [one for one in readiness.health().ready if one.name == "redis"]
        return condition.reason

    assert role() == "stands by"
    readiness.observe(reports.Took(STREAM, "m", 0))
    assert role() == f"reads {STREAM}"
    readiness.observe(reports.LostLease(STREAM, "m"))
    assert role() == "stands by"

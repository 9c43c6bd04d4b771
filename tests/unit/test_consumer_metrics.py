"""What a consumer reports is counted, for each group and stream."""

import math

import pytest
from consumed import STREAM, event
from prometheus_client import generate_latest

from consumer import reports
from consumer.event import Gap
from consumer.letters.dead_letters import Reason
from consumer.watching.metrics import Metrics
from outbox.position import ORIGIN, Position

ERROR = ValueError("no")
GAP = Gap(STREAM, Position(1, 0), Position(5, 0))


class Clock:
    """Stands still unless it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"group": "g", "stream": STREAM} | labels)


@pytest.mark.parametrize(
    ("report", "name", "expected"),
    [
        (reports.Handled(STREAM, 7, 0.5, [0.25, 0.5]), "consumer_handled_events_total", 7),
        (reports.Retried(event(1), 1, 0.1, ERROR), "consumer_retries_total", 1),
        (reports.BatchRetried(STREAM, 9, 1, 0.1, ERROR), "consumer_retries_total", 1),
        (reports.Duplicates(STREAM, 3), "consumer_duplicate_events_total", 3),
        (reports.Lost(STREAM, 4), "consumer_lost_entries_total", 4),
        (reports.Claimed(STREAM, 5), "consumer_claimed_entries_total", 5),
        (reports.GapFound(GAP), "consumer_gaps_total", 1),
        (reports.GroupMade(STREAM, ORIGIN), "consumer_groups_made_total", 1),
        (reports.LostLease(STREAM, "m"), "consumer_leases_lost_total", 1),
        (reports.Away(STREAM, "read", 2, 0.1, ERROR), "consumer_held_up_total", 1),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, tuple) else "",
)
def test_each_report_is_counted(report: reports.Report, name: str, expected: float) -> None:
    metrics = Metrics()
    observe = metrics.of("g", [STREAM])
    assert value(metrics, name) == 0
    observe(report)
    assert value(metrics, name) == expected


def test_lanes_say_how_long_each_was_busy() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.of("g")(reports.Handled(STREAM, 7, 0.5, [0.25, 0.5]))
    name = "consumer_lane_busy_seconds_total"
    assert [value(metrics, name, lane=lane) for lane in ("0", "1")] == [0.5, 1.0]


def test_dead_letters_are_counted_by_reason() -> None:
    metrics = Metrics()
    metrics.of("g", [STREAM])(reports.DeadLetter(event(1), Reason.PARKED))
    counted = {
        reason: value(metrics, "consumer_dead_letters_total", reason=reason) for reason in Reason
    }
    assert counted == dict.fromkeys(Reason, 0) | {Reason.PARKED: 1}


def test_only_who_reads_says_how_far_behind_the_group_is() -> None:
    metrics = Metrics()
    observe = metrics.of("g", [STREAM])

    def seen() -> list[float | None]:
        names = ("consumer_reads", "consumer_lag_entries", "consumer_lag_seconds")
        return [value(metrics, name) for name in names]

    assert seen() == pytest.approx([0, math.nan, math.nan], nan_ok=True)
    observe(reports.Took(STREAM, "m", 0))
    observe(reports.Lag(STREAM, 12, 3.5))
    assert seen() == [1, 12, 3.5]
    observe(reports.Lag(STREAM, None, 3.5))
    assert seen() == pytest.approx([1, math.nan, 3.5], nan_ok=True)
    observe(reports.Released(STREAM, "m", 0))
    assert seen() == pytest.approx([0, math.nan, math.nan], nan_ok=True)


def test_the_lag_in_seconds_grows_while_nobody_can_measure_it() -> None:
    clock = Clock()
    metrics = Metrics(clock=clock)
    metrics.of("g")(reports.Lag(STREAM, 12, 3.5))
    clock.now += 10
    metrics.rendered()
    assert value(metrics, "consumer_lag_seconds") == 13.5
    metrics.of("g")(reports.Lag(STREAM, 0, 0.0))
    clock.now += 10
    metrics.rendered()
    assert value(metrics, "consumer_lag_seconds") == 0


def test_no_label_says_what_an_event_is_about() -> None:
    metrics = Metrics()
    observe = metrics.of("g")
    secret = event(1, "entity-4711", entity="kind-4711")
    observe(reports.Retried(secret, 1, 0.1, ValueError("said-4711")))
    observe(reports.DeadLetter(secret, Reason.ATTEMPTS))
    assert b"4711" not in generate_latest(metrics.registry)

"""What is counted, and what a scrape then shows."""

import math
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from publisher.web.labels import Log, Outcome, Reason, Trim
from publisher.web.metrics import GroupSeen, Metrics

KEY = "catalog:events"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Scraped:
    """Metrics, and what a scrape of them shows."""

    def __init__(self, *stream_keys: str) -> None:
        self.clock = Clock()
        self.metrics = Metrics(
            stream_keys or (KEY,), clock=self.clock, wall_clock=lambda: 1_790_000_000.0
        )

    def series(self, name: str) -> dict[tuple[str, ...], float]:
        """The values of *name* by the values of its labels."""
        body, _ = self.metrics.rendered()
        return {
            tuple(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
            if sample.name == name
        }

    def value(self, name: str, *labels: str) -> float:
        return self.series(name)[labels]


@pytest.fixture
def scraped() -> Scraped:
    return Scraped()


def test_a_batch_counts_as_new_and_as_held_already(scraped: Scraped) -> None:
    scraped.metrics.appended(KEY, events=7, skipped=3, delay_s=0.004)
    scraped.metrics.appended(KEY, events=5)
    assert scraped.value("catalog_publisher_batches_total", KEY) == 2
    assert scraped.value("catalog_publisher_appended_events_total", KEY) == 12
    assert scraped.value("catalog_publisher_skipped_events_total", KEY) == 3


def test_the_delay_is_counted_from_a_millisecond_to_a_minute(scraped: Scraped) -> None:
    # The last but one: a writer whose clock is ahead of ours.
    for delay_s in (0.0005, 0.004, 59.0, 61.0, -0.2, None):
        scraped.metrics.appended(KEY, events=1, delay_s=delay_s)
    buckets = scraped.series("catalog_publisher_delay_seconds_bucket")
    assert min(float(bound) for (bound,) in buckets) == 0.001
    assert (buckets["0.001",], buckets["0.005",]) == (2, 3)
    assert (buckets["60.0",], buckets["+Inf",]) == (4, 5)
    assert scraped.value("catalog_publisher_delay_seconds_sum") == pytest.approx(120.0045)


def test_what_is_lost_counts_as_put_back_or_as_beyond_retention(scraped: Scraped) -> None:
    scraped.metrics.lost(KEY, beyond_retention=20)
    scraped.metrics.appended(KEY, events=1000, healed=1000)
    scraped.metrics.lost(KEY)
    scraped.metrics.appended(KEY, events=9, healed=5)
    assert scraped.value("catalog_publisher_heals_total", KEY) == 2
    assert scraped.value("catalog_publisher_healed_events_total", KEY) == 1005
    assert scraped.value("catalog_publisher_unhealed_events_total", KEY) == 20


def test_back_pressure_is_timed_by_reason_while_it_lasts(scraped: Scraped) -> None:
    metrics, clock = scraped.metrics, scraped.clock
    metrics.held_up(KEY, "OOM")
    clock.now += 3
    assert scraped.value("catalog_publisher_back_pressure_streams", "oom") == 1
    assert scraped.value("catalog_publisher_back_pressure_seconds_total", "oom") == 3
    clock.now += 2
    metrics.held_up(KEY, "OOM")
    clock.now += 1
    metrics.held_up(KEY, Reason.REDIS_AWAY)
    clock.now += 10
    metrics.freed(KEY)
    clock.now += 100
    metrics.freed(KEY)
    seconds = scraped.series("catalog_publisher_back_pressure_seconds_total")
    assert {reason: s for (reason,), s in seconds.items() if s} == {"oom": 6, "redis_away": 10}
    assert not any(scraped.series("catalog_publisher_back_pressure_streams").values())


def test_each_stream_under_back_pressure_counts() -> None:
    scraped = Scraped("a", "b", "c")
    for stream in ("a", "b", "c"):
        scraped.metrics.held_up(stream, Reason.READONLY)
    scraped.metrics.held_up("b", Reason.MISCONF)
    scraped.metrics.freed("c")
    streams = scraped.series("catalog_publisher_back_pressure_streams")
    assert {reason: count for (reason,), count in streams.items() if count} == {
        "readonly": 1,
        "misconf": 1,
    }


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        *[(reason.value, reason) for reason in Reason],
        *[(reason.value.upper(), reason) for reason in Reason],
        ("TRYAGAIN", Reason.MOVED),
        ("CLUSTERDOWN", Reason.MOVED),
        ("WRONGPASS", Reason.NOAUTH),
        ("MASTERDOWN", Reason.READONLY),
        ("ERR", Reason.OTHER),
        ("something new {every} time", Reason.OTHER),
        ("", Reason.OTHER),
    ],
)
def test_whatever_redis_answers_the_reasons_are_a_fixed_set(word: str, reason: Reason) -> None:
    assert Reason.of(word) is reason


def test_a_lease_shows_who_leads_and_the_epoch_stays(scraped: Scraped) -> None:
    scraped.metrics.lease_taken(KEY, epoch=7)
    assert scraped.value("catalog_publisher_lease_held", KEY) == 1
    scraped.metrics.held_up(KEY, Reason.OOM)
    scraped.metrics.lease_lost(KEY)
    assert scraped.value("catalog_publisher_lease_held", KEY) == 0
    assert scraped.value("catalog_publisher_lease_epoch", KEY) == 7
    # What holds up a stream is the affair of whoever leads it now.
    assert scraped.value("catalog_publisher_back_pressure_streams", "oom") == 0


def test_what_must_be_asked_for_is_unknown_until_somebody_has_looked(scraped: Scraped) -> None:
    names = ("backlog_events", "oldest_unpublished_seconds", "dead_letters_waiting")
    assert all(math.isnan(scraped.value(f"catalog_publisher_{name}")) for name in names)
    scraped.metrics.observed(backlog=0, oldest_unpublished_s=None, dead_letters=0)
    assert [scraped.value(f"catalog_publisher_{name}") for name in names] == [0, 0, 0]
    looked = scraped.value("catalog_publisher_last_look_timestamp_seconds")
    assert looked == 1_790_000_000


def test_what_waits_grows_older_between_two_looks(scraped: Scraped) -> None:
    name = "catalog_publisher_oldest_unpublished_seconds"
    scraped.metrics.observed(backlog=3, oldest_unpublished_s=2.0, dead_letters=1)
    scraped.clock.now += 30
    assert scraped.value(name) == 32
    scraped.metrics.observed(backlog=0, oldest_unpublished_s=None, dead_letters=1)
    scraped.clock.now += 30
    assert scraped.value(name) == 0


def test_a_group_or_an_end_that_is_gone_is_no_longer_shown(scraped: Scraped) -> None:
    lag, budget = "catalog_stream_group_lag_events", "catalog_stream_group_budget_left_seconds"
    slow = GroupSeen("search", lag=90, lag_s=12.5, pending=4, fell_off=40, budget_left_s=600.0)
    fast = GroupSeen("analytics", lag=0, lag_s=0, pending=0, fell_off=0)
    seen: dict[str, int | None] = {
        "entries": 50,
        "memory_bytes": 4096,
        "entries_bytes": 3000,
        "budget_bytes": 4000,
    }
    seen |= {"first_ms": 1_790_000_000_500, "last_ms": None}
    scraped.metrics.stream_observed(KEY, **seen, groups=[slow, fast])  # type: ignore[arg-type]
    first = scraped.series("catalog_stream_first_event_timestamp_seconds")
    assert first == {(KEY,): 1_790_000_000.5}
    assert scraped.series("catalog_stream_last_event_timestamp_seconds") == {}
    assert scraped.value("catalog_stream_entries_bytes", KEY) == 3000
    assert scraped.value("catalog_stream_budget_bytes", KEY) == 4000
    assert scraped.series(lag) == {("search", KEY): 90, ("analytics", KEY): 0}
    assert scraped.series(budget) == {("search", KEY): 600}

    scraped.metrics.stream_observed(KEY, **seen, groups=[fast])  # type: ignore[arg-type]
    assert scraped.series(lag) == {("analytics", KEY): 0}
    assert scraped.series(budget) == {}

    scraped.metrics.stream_forgotten(KEY)
    assert scraped.series(lag) == scraped.series("catalog_stream_entries") == {}


def test_the_rest_is_counted_where_it_happened(scraped: Scraped) -> None:
    metrics = scraped.metrics
    metrics.tick_made()
    metrics.pass_ended(Outcome.MOVED, took_s=0.003)
    metrics.foreign_found(KEY, entries=2, renumbered=9)
    metrics.dead_letter_set_aside()
    metrics.trimmed(KEY, Trim.MEMORY, entries=300)
    metrics.partitions_created(Log.TICK, 2)
    metrics.partitions_dropped(Log.EVENT)
    metrics.partitions_overdue(Log.EVENT, 4)
    prefix = "catalog_publisher_"
    assert scraped.value(f"{prefix}ticks_total") == 1
    assert scraped.value(f"{prefix}pass_duration_seconds_count", "moved") == 1
    assert scraped.value(f"{prefix}foreign_entries_total", KEY) == 2
    assert scraped.value(f"{prefix}renumbered_events_total", KEY) == 9
    assert scraped.value(f"{prefix}dead_letters_total") == 1
    assert scraped.value("catalog_stream_trimmed_entries_total", "memory", KEY) == 300
    assert scraped.value(f"{prefix}partitions_created_total", "tick") == 2
    assert scraped.value(f"{prefix}partitions_dropped_total", "event") == 1
    assert scraped.value(f"{prefix}partitions_overdue", "event") == 4


def test_a_counter_is_there_before_anything_happened() -> None:
    scraped = Scraped("a", "b")
    assert scraped.series("catalog_publisher_heals_total") == {("a",): 0, ("b",): 0}
    assert scraped.series("catalog_publisher_lease_held") == {("a",): 0, ("b",): 0}
    reasons = scraped.series("catalog_publisher_back_pressure_seconds_total")
    assert {reason for (reason,) in reasons} == set(Reason)


def test_two_publishers_in_one_process_count_apart() -> None:
    first, second = Scraped(), Scraped()
    first.metrics.tick_made()
    assert first.value("catalog_publisher_ticks_total") == 1
    assert second.value("catalog_publisher_ticks_total") == 0


def test_no_command_waits_for_the_libraries_of_health_and_metrics() -> None:
    commands = "import publisher.__main__, publisher.commands.status, publisher.web.health, sys"
    found = "[name for name in ('aiohttp', 'prometheus_client') if name in sys.modules]"
    done = subprocess.run(
        [sys.executable, "-c", f"{commands}; print({found})"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]"

"""The names of all metrics, with what they count. Described again in docs/operations.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram, Info, disable_created_metrics

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# Twice the series, and nobody asks when a counter was made.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 300.0),
)
_EACH = ("group", "stream")


class Series:
    """Every metric of one process's consumers, registered in *registry*.

    Labels are fixed sets: never an event, an entity or an error.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, (*_EACH, *labels), registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, _EACH, registry=registry)

        self.build = Info(
            "consumer_build", "Which consumer library this is, on which Python.", registry=registry
        )
        self.reads = gauge("consumer_reads", "1 if this process reads the stream.")
        self.lag_entries = gauge("consumer_lag_entries", "Entries not yet acknowledged.")
        self.lag_seconds = gauge("consumer_lag_seconds", "Age of the oldest of them.")
        self.waiting = gauge("consumer_dead_letters_waiting", "Dead letters that are there.")

        self.handled = counter("consumer_handled_events_total", "Events handled.")
        self.handling_seconds = Histogram(
            "consumer_handling_duration_seconds",
            "Time from the reading of a batch to its acknowledgement.",
            _EACH,
            registry=registry,
            buckets=_SECONDS,
        )
        self.busy = counter("consumer_lane_busy_seconds_total", "Time in the handler.", "lane")
        self.retried = counter("consumer_retries_total", "Attempts that failed and are repeated.")
        self.dead = counter("consumer_dead_letters_total", "Events set aside.", "reason")
        self.requeued = counter(
            "consumer_requeued_events_total", "Dead letters tried once more.", "outcome"
        )
        self.duplicates = counter(
            "consumer_duplicate_events_total", "Events given again that were handled before."
        )
        self.lost = counter(
            "consumer_lost_entries_total", "Entries gone from the stream before they were handled."
        )
        self.gaps = counter("consumer_gaps_total", "Times that the stream began after the group.")
        self.groups_made = counter("consumer_groups_made_total", "Times that the group was made.")
        self.claimed = counter(
            "consumer_claimed_entries_total", "Entries taken over from other members."
        )
        self.away = counter(
            "consumer_held_up_total", "Times that Redis or the checkpoint did not do as asked."
        )
        self.leases_lost = counter(
            "consumer_leases_lost_total", "Times that another member took over unasked."
        )

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


class Series:
    """Every metric of one server process, registered in *registry*.

    Labels are fixed sets: never an item, a cursor, a client or a token.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(name, text, labels, registry=registry, buckets=_SECONDS)

        self.build = Info(
            "snapshot_build", "Which snapshot server this is, on which Python.", registry=registry
        )

        # Calls and what they brought.
        self.calls = counter("snapshot_calls_total", "Calls ended.", "method", "code")
        self.call_seconds = histogram(
            "snapshot_call_duration_seconds", "Time of a call, to its end.", "method"
        )
        self.under_way = gauge("snapshot_calls_under_way", "Calls under way.", "method")
        self.syncs = counter("snapshot_syncs_total", "Syncs ended.", "kind", "outcome")
        self.sent_items = counter("snapshot_sent_items_total", "Items sent.")
        self.sent_removals = counter("snapshot_sent_removals_total", "Removals sent.")
        self.sent_chunks = counter("snapshot_sent_chunks_total", "Chunks sent.")
        self.sent_bytes = counter("snapshot_sent_bytes_total", "Bytes of the chunks sent.")
        self.refused_cursors = counter(
            "snapshot_refused_cursors_total", "Cursors that could not be used.", "reason"
        )

        # The server and the feed, at the last look.
        self.serving = gauge("snapshot_serving", "1 if clients are to be sent here.")
        self.connections = gauge("snapshot_connections", "Connections of clients.")
        self.feed_looked = gauge(
            "snapshot_feed_last_look_timestamp_seconds", "When the feed's place was last asked for."
        )
        self.feed_lag_events = gauge(
            "snapshot_feed_lag_events", "Events in ticks that the feed has not reached."
        )
        self.feed_lag_seconds = gauge(
            "snapshot_feed_lag_seconds",
            "Age of the oldest tick that the feed has not reached; 0 if it has reached all.",
        )
        self.feed_items = gauge("snapshot_feed_items", "Items that are there.", "kind")

        # The projector, while this process is the one.
        self.lease_held = gauge("projector_lease_held", "1 if this process projects.")
        self.projected_items = counter("projector_projected_items_total", "Items written.")
        self.projected_removals = counter("projector_projected_removals_total", "Items removed.")
        self.projected_events = counter("projector_projected_events_total", "Events taken in.")
        self.rebuilds = counter("projector_rebuilds_total", "Times that all items were built anew.")
        self.pass_seconds = histogram(
            "projector_pass_duration_seconds", "Time of a pass that moved the feed."
        )
        self.failed_passes = counter("projector_failed_passes_total", "Passes that failed.")
        self.purged = counter(
            "projector_purged_removals_total", "Removals that are not kept any more."
        )
        self.issues = counter(
            "content_data_quality_issues_total",
            "Items projected although their data breaks a contract.",
            "issue",
        )

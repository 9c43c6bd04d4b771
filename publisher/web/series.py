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
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0),
)


class Series:
    """Every metric of one publisher, registered in *registry*.

    Labels have few values: streams, groups and fixed sets; never an entity or an event.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(name, text, labels, registry=registry, buckets=_SECONDS)

        self.build = Info(
            "catalog_publisher_build",
            "Which publisher this is, on which Python.",
            registry=registry,
        )

        # What this process did.
        self.ticks = counter("catalog_publisher_ticks_total", "Ticks made.")
        self.passes = histogram(
            "catalog_publisher_pass_duration_seconds",
            "Time of a pass, by outcome.",
            "outcome",
        )
        self.batches = counter(
            "catalog_publisher_batches_total", "Batches appended to the stream.", "stream"
        )
        self.appended = counter(
            "catalog_publisher_appended_events_total", "Events appended to the stream.", "stream"
        )
        self.skipped = counter(
            "catalog_publisher_skipped_events_total",
            "Events that the stream held already: another publisher was first.",
            "stream",
        )
        self.delay = histogram(
            "catalog_publisher_delay_seconds",
            "From the write of a batch's oldest event to its place in the stream.",
        )
        self.heals = counter(
            "catalog_publisher_heals_total",
            "Times that the stream had lost its end and it was put back.",
            "stream",
        )
        self.healed = counter(
            "catalog_publisher_healed_events_total",
            "Lost events that are put back.",
            "stream",
        )
        self.unhealed = counter(
            "catalog_publisher_unhealed_events_total",
            "Lost events that are older than the stream is meant to reach back, and stay away.",
            "stream",
        )
        self.foreign = counter(
            "catalog_publisher_foreign_entries_total",
            "Entries found in the stream that somebody else wrote.",
            "stream",
        )
        self.renumbered = counter(
            "catalog_publisher_renumbered_events_total",
            "Events given new IDs because foreign entries had taken theirs.",
            "stream",
        )
        self.back_pressure = gauge(
            "catalog_publisher_back_pressure_streams",
            "Streams that cannot be appended to now, by reason.",
            "reason",
        )
        self.back_pressure_seconds = counter(
            "catalog_publisher_back_pressure_seconds_total",
            "Time that streams could not be appended to, by reason.",
            "reason",
        )
        self.lease_held = gauge(
            "catalog_publisher_lease_held", "1 if this process leads the stream.", "stream"
        )
        self.lease_epoch = gauge(
            "catalog_publisher_lease_epoch",
            "The epoch of the stream's lease when this process last held it.",
            "stream",
        )
        self.dead_letters = counter("catalog_publisher_dead_letters_total", "Events set aside.")
        self.trimmed = counter(
            "catalog_stream_trimmed_entries_total",
            "Entries trimmed off the stream, by reason.",
            "stream",
            "reason",
        )
        self.created = counter(
            "catalog_publisher_partitions_created_total", "Partitions created ahead.", "log"
        )
        self.dropped = counter(
            "catalog_publisher_partitions_dropped_total", "Partitions dropped behind.", "log"
        )

        # What was the case at the last look, whichever process looks.
        self.looked = gauge(
            "catalog_publisher_last_look_timestamp_seconds",
            "When backlog, age and dead letters were last asked for.",
        )
        self.backlog = gauge(
            "catalog_publisher_backlog_events", "Committed events that the stream does not hold."
        )
        self.oldest = gauge(
            "catalog_publisher_oldest_unpublished_seconds",
            "Age of the oldest committed event that the stream does not hold; 0 if it has all.",
        )
        self.waiting = gauge(
            "catalog_publisher_dead_letters_waiting",
            "Dead letters that nobody has requeued or discarded.",
        )
        self.overdue = gauge(
            "catalog_publisher_partitions_overdue",
            "Partitions that should be made, or dropped, and cannot be yet.",
            "log",
        )
        self.entries = gauge("catalog_stream_entries", "Entries in the stream.", "stream")
        self.memory = gauge(
            "catalog_stream_memory_bytes", "Memory that the stream takes in Redis.", "stream"
        )
        self.entries_bytes = gauge(
            "catalog_stream_entries_bytes",
            "The part of it that the entries take, which the budget is for.",
            "stream",
        )
        self.budget_bytes = gauge(
            "catalog_stream_budget_bytes", "What the entries may take, by the settings.", "stream"
        )
        self.first = gauge(
            "catalog_stream_first_event_timestamp_seconds",
            "Time of the stream's first entry.",
            "stream",
        )
        self.last = gauge(
            "catalog_stream_last_event_timestamp_seconds",
            "Time of the stream's last entry.",
            "stream",
        )

        def of_group(name: str, text: str) -> Gauge:
            return gauge(f"catalog_stream_group_{name}", text, "stream", "group")

        self.group_lag = of_group("lag_events", "Committed events that the group was not given.")
        self.group_lag_seconds = of_group(
            "lag_seconds", "Age of the oldest event that the group was not given; 0 if it has all."
        )
        self.group_pending = of_group(
            "pending_entries", "Entries given to the group and not acknowledged."
        )
        self.group_fell_off = of_group(
            "fell_off_events", "Events that the group was never given and the stream has no more."
        )
        self.group_budget = of_group(
            "budget_left_seconds", "When the group's budget will be spent at the present rate."
        )

        self.from_the_start = (
            *(self.batches, self.appended, self.skipped, self.heals, self.healed, self.unhealed),
            *(self.foreign, self.renumbered, self.lease_held, self.lease_epoch),
        )
        """Have a series for each stream of the settings, whatever has happened."""
        self.of_streams = (
            *(self.entries, self.memory, self.entries_bytes, self.budget_bytes),
            *(self.first, self.last),
        )
        self.of_groups = (
            *(self.group_lag, self.group_lag_seconds, self.group_pending),
            *(self.group_fell_off, self.group_budget),
        )

"""What the viewer and the invalidator count, for Prometheus. Described in docs/operations.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

from viewer.keys import PREFIX, Kind
from viewer.problems import Issue
from viewer.purging.outcome import Outcome
from viewer.reports import CacheEvent

if TYPE_CHECKING:
    from http import HTTPStatus

# Twice the series, and nobody asks when a counter was made.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_LABELS = [f"{PREFIX}:{kind}" for kind in Kind]


class _Registry:
    """A registry, and one way to name what is in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.cache_events = self.counter(
            "content_cache_events_total",
            "Pages that were set, found, not found or invalidated.",
            *("cache_event", "cache_key"),
        )
        self.emptied = self.counter(
            "viewer_cache_emptied_total", "Times that all pages were purged at once."
        )

    def rendered(self, accept: str = "") -> tuple[bytes, str]:
        """All of it in the format that *accept* asks for, and the content type of that."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def cached(self, event: CacheEvent, label: str) -> None:
        """Something became of a page in the cache."""
        self.cache_events.labels(event, label).inc()

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=_SECONDS)


class Metrics(_Registry):
    """The viewer's."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = self.counter("viewer_requests_total", "Requests answered.", "kind", "code")
        self.request_seconds = self.histogram(
            "viewer_request_duration_seconds", "Time of a request.", "kind", "cache"
        )
        self.issues = self.counter(
            "content_data_quality_issues_total",
            "Episodes asked for although their data breaks a contract.",
            "issue",
        )
        self.refused_fills = self.counter(
            "viewer_cache_refused_fills_total",
            "Pages that were not cached, as something on them was purged meanwhile.",
            "cache_key",
        )
        self.failed_fills = self.counter(
            "viewer_cache_failed_fills_total", "Pages that could not be cached."
        )
        self.cache_up = self.gauge("viewer_cache_up", "1 while pages come from the cache.")
        self.serving = self.gauge("viewer_serving", "1 if clients are to be sent here.")
        # All series from the start: one that appears later has never increased, for an alert.
        for label in _LABELS:
            self.refused_fills.labels(label)
            for event in (CacheEvent.SET, CacheEvent.HIT, CacheEvent.MISS):
                self.cache_events.labels(event, label)
        for issue in Issue:
            self.issues.labels(issue)

    def answered(self, kind: Kind, status: HTTPStatus, *, cache: str, took_s: float) -> None:
        """A request was answered."""
        self.requests.labels(kind, status.value).inc()
        self.request_seconds.labels(kind, cache).observe(took_s)


class InvalidatorMetrics(_Registry):
    """The invalidator's, beside those of every consumer."""

    def __init__(self) -> None:
        super().__init__()
        self.purged_events = self.counter(
            "invalidator_events_total", "Events whose pages are purged."
        )
        self.purge_seconds = self.histogram(
            "invalidator_purge_duration_seconds", "Time of a purge, of a whole read."
        )
        self.delay_seconds = self.histogram(
            "invalidator_delay_seconds", "Since an event was written, until its pages are purged."
        )
        self.hook = self.counter(
            "invalidator_webhook_messages_total", "Messages to the webhook.", "outcome"
        )
        for label in _LABELS:
            self.cache_events.labels(CacheEvent.INVALIDATE, label)
        for outcome in Outcome:
            self.hook.labels(outcome)

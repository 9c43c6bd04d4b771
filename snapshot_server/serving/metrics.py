"""What the server counts, for Prometheus. Each method is named by what happened."""

from __future__ import annotations

import math
import platform
import time
from importlib import metadata
from typing import TYPE_CHECKING, assert_never

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from snapshot_server.content import reports
from snapshot_server.feed import projector
from snapshot_server.feed.projection import Projected
from snapshot_server.serving.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from snapshot_server.place import FeedPlace

_OK = "OK"
_OTHER = "other"


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(
        self, *, issues: Collection[str] = (), wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._methods: dict[str, str] = {}
        self._wall_clock = wall_clock
        self._looked_at = -math.inf
        self._lag_s = 0.0
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._series = Series(self.registry)
        self._begin(issues)

    def rendered(self, accept: str = "") -> tuple[bytes, str]:
        """All of it in the format that *accept* asks for, and the content type of that."""
        if self._lag_s:
            # It grows between two looks, and also while nobody can look.
            since = self._wall_clock() - self._looked_at
            self._series.feed_lag_seconds.set(self._lag_s + since)
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    # Calls

    def expect(self, methods: Collection[str]) -> None:
        """Those that have a series each, from now on; all others share one."""
        self._methods |= {method: method.rpartition("/")[2] for method in methods}
        for name in self._methods.values():
            self._series.calls.labels(name, _OK)
            self._series.call_seconds.labels(name)
            self._series.under_way.labels(name)

    def call_began(self, method: str) -> None:
        """A call that may be made is under way."""
        self._series.under_way.labels(self._name(method)).inc()

    def call_ended(self, method: str, code: str, *, took_s: float) -> None:
        """It is over."""
        name = self._name(method)
        self._series.under_way.labels(name).dec()
        self._series.calls.labels(name, code).inc()
        self._series.call_seconds.labels(name).observe(took_s)

    def call_refused(self, method: str, code: str) -> None:
        """A call was not even begun."""
        self._series.calls.labels(self._name(method), code).inc()

    def served(self, report: reports.Report) -> None:
        """What the service says that happened."""
        match report:
            case reports.SyncEnded():
                self._series.syncs.labels(report.kind, report.outcome).inc()
                self._series.sent_items.inc(report.items)
                self._series.sent_removals.inc(report.removed)
                self._series.sent_chunks.inc(report.chunks)
                self._series.sent_bytes.inc(report.bytes)
            case reports.CursorRefused():
                self._series.refused_cursors.labels(report.reason).inc()
            case reports.VideoRead():
                # A call like any other: counted there.
                pass
            case _:
                assert_never(report)

    # The server and the feed

    def connected(self, clients: Callable[[], int]) -> None:
        """Where to ask how many clients there are."""
        self._series.connections.set_function(clients)

    def serving(self, *, holds: bool) -> None:
        """Whether clients are to be sent here."""
        self._series.serving.set(holds)

    def looked(self, place: FeedPlace) -> None:
        """The feed's place was asked for."""
        self._looked_at = self._wall_clock()
        self._lag_s = place.lag_s
        self._series.feed_looked.set(self._looked_at)
        self._series.feed_lag_events.set(place.lag_events)
        self._series.feed_lag_seconds.set(place.lag_s)
        self._series.feed_items.labels("series").set(place.series)
        self._series.feed_items.labels("episode").set(place.episodes)

    # The projector

    def projected(self, report: projector.Report) -> None:
        """What the projector says that happened."""
        match report:
            case Projected():
                self._series.projected_events.inc(report.events)
                self._series.projected_items.inc(report.items)
                self._series.projected_removals.inc(report.removed)
                self._series.rebuilds.inc(bool(report.rebuilt))
                self._series.pass_seconds.observe(report.took_s)
            case projector.Purged():
                self._series.purged.inc(report.removals)
            case projector.Issue():
                self._series.issues.labels(report.name).inc()
            case projector.Held():
                self._series.lease_held.set(report.holds)
            case projector.Failed():
                self._series.failed_passes.inc()
            case _:
                assert_never(report)

    def _name(self, method: str) -> str:
        return self._methods.get(method, _OTHER)

    def _begin(self, issues: Collection[str]) -> None:
        """All series from the start: one that appears later has never increased, for an alert."""
        self._series.build.info(
            {"version": _version(), "python": platform.python_version()},
        )
        for kind in reports.SyncKind:
            for outcome in reports.SyncOutcome:
                self._series.syncs.labels(kind, outcome)
        for issue in issues:
            self._series.issues.labels(issue)
        for unknown in (self._series.feed_lag_events, self._series.feed_lag_seconds):
            unknown.set(math.nan)


def _version() -> str:
    try:
        return metadata.version("catalog-outbound")
    except metadata.PackageNotFoundError:
        return "unknown"

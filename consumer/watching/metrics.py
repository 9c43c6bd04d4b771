"""What consumers count, for Prometheus; fed by their reports."""

from __future__ import annotations

import math
import platform
import time
from importlib import metadata
from typing import TYPE_CHECKING, assert_never

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from consumer import reports
from consumer.letters.dead_letters import Reason
from consumer.watching.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import Counter

    from consumer.reports import Report


class Metrics:
    """The metrics of all consumers of one process, in a registry of their own or in *registry*.

    ``Consumer(…, observe=metrics.of("search", streams))``
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
        self.registry = registry
        self._clock = clock
        self._series = Series(registry)
        self._series.build.info({"version": _version(), "python": platform.python_version()})
        self._behind: dict[tuple[str, str], tuple[float, float]] = {}
        """By group and stream: how old the oldest entry was, and when."""

    def rendered(self, accept: str = "") -> tuple[bytes, str]:
        """All of it in the format that *accept* asks for, and the content type of that."""
        for each, (seconds, at) in self._behind.items():
            if seconds:
                # It grows between two measurements, and also while nobody can measure.
                self._series.lag_seconds.labels(*each).set(seconds + self._clock() - at)
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def of(self, group: str, streams: Iterable[str] = ()) -> Callable[[Report], None]:
        """What the reports of *group* are given to; all series of *streams* begin now."""
        for stream in streams:
            self._begin(group, stream)

        def observe(report: Report) -> None:
            self._happened(group, report)

        return observe

    def dead_letters(self, group: str, stream: str, waiting: int) -> None:
        """So many of them are there."""
        self._series.waiting.labels(group, stream).set(waiting)

    def _begin(self, group: str, stream: str) -> None:
        """A series that appears later has never increased, for an alert."""
        of = self._series
        of.reads.labels(group, stream).set(0)
        for unknown in (of.lag_entries, of.lag_seconds, of.waiting):
            unknown.labels(group, stream).set(math.nan)
        counters = (of.handled, of.retried, of.duplicates, of.lost, of.gaps, of.groups_made)
        for counter in (*counters, of.claimed, of.away, of.leases_lost):
            counter.labels(group, stream)
        for reason in Reason:
            of.dead.labels(group, stream, reason)
        for outcome in ("handled", "failed"):
            of.requeued.labels(group, stream, outcome)

    def _happened(self, group: str, report: Report) -> None:
        match report:
            case reports.Handled():
                self._handled(group, report)
            case reports.Lag():
                self._measured(group, report)
            case reports.Took() | reports.Released() | reports.LostLease():
                self._reads(group, report)
            case reports.Retried() | reports.BatchRetried() | reports.DeadLetter():
                self._failed(group, report)
            case reports.Requeued() | reports.Waiting():
                self._mended(group, report)
            case reports.Duplicates() | reports.Lost() | reports.Claimed():
                self._of_entries(report).labels(group, report.stream).inc(report.events)
            case reports.GapFound() | reports.GroupMade() | reports.Away():
                self._times(group, report).inc()
            case reports.GapHealed() | reports.MembersRemoved():
                pass
            case _:
                assert_never(report)

    def _handled(self, group: str, report: reports.Handled) -> None:
        self._series.handled.labels(group, report.stream).inc(report.events)
        self._series.handling_seconds.labels(group, report.stream).observe(report.took_s)
        for lane, busy_s in enumerate(report.busy_s):
            self._series.busy.labels(group, report.stream, lane).inc(busy_s)

    def _failed(
        self, group: str, report: reports.Retried | reports.BatchRetried | reports.DeadLetter
    ) -> None:
        match report:
            case reports.Retried():
                self._series.retried.labels(group, report.event.stream).inc()
            case reports.BatchRetried():
                self._series.retried.labels(group, report.stream).inc()
            case reports.DeadLetter():
                self._series.dead.labels(group, report.event.stream, report.reason).inc()
            case _:
                assert_never(report)

    def _mended(self, group: str, report: reports.Requeued | reports.Waiting) -> None:
        match report:
            case reports.Requeued():
                outcome = "failed" if report.error else "handled"
                self._series.requeued.labels(group, report.event.stream, outcome).inc()
            case reports.Waiting():
                self._series.waiting.labels(group, report.stream).set(report.letters)
            case _:
                assert_never(report)

    def _times(
        self, group: str, report: reports.GapFound | reports.GroupMade | reports.Away
    ) -> Counter:
        match report:
            case reports.GapFound():
                return self._series.gaps.labels(group, report.gap.stream)
            case reports.GroupMade():
                return self._series.groups_made.labels(group, report.stream)
            case reports.Away():
                return self._series.away.labels(group, report.stream)
            case _:
                assert_never(report)

    def _of_entries(self, report: reports.Duplicates | reports.Lost | reports.Claimed) -> Counter:
        match report:
            case reports.Duplicates():
                return self._series.duplicates
            case reports.Lost():
                return self._series.lost
            case reports.Claimed():
                return self._series.claimed
            case _:
                assert_never(report)

    def _measured(self, group: str, report: reports.Lag) -> None:
        each = (group, report.stream)
        self._behind[each] = (report.seconds, self._clock())
        entries = math.nan if report.entries is None else report.entries
        self._series.lag_entries.labels(*each).set(entries)
        self._series.lag_seconds.labels(*each).set(report.seconds)

    def _reads(
        self, group: str, report: reports.Took | reports.Released | reports.LostLease
    ) -> None:
        of, each = self._series, (group, report.stream)
        of.reads.labels(*each).set(isinstance(report, reports.Took))
        if isinstance(report, reports.LostLease):
            of.leases_lost.labels(*each).inc()
        # Only who reads says how far behind it is.
        self._behind.pop(each, None)
        for unknown in (of.lag_entries, of.lag_seconds, of.waiting):
            unknown.labels(*each).set(math.nan)


def _version() -> str:
    try:
        return metadata.version("catalog-outbound")
    except metadata.PackageNotFoundError:
        return "unknown"

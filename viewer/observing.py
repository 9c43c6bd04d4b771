"""Each report as a log line and in the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import structlog

from viewer import problems, reports
from viewer.purging.outcome import Outcome
from viewer.reports import CacheEvent

if TYPE_CHECKING:
    from viewer.metrics import InvalidatorMetrics, Metrics

log = structlog.get_logger(__name__)


class Observer:
    """Of a viewer."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, report: reports.ViewerReport) -> None:
        """Say and count what happened."""
        match report:
            case reports.Cached():
                self._metrics.cached(report.event, report.label)
            case reports.FillRefused():
                self._metrics.refused_fills.labels(report.label).inc()
                log.debug("cache.refused", kind=report.label)
            case reports.FillFailed():
                self._metrics.failed_fills.inc()
                log.debug("cache.failed", error=report.error)
            case reports.CacheAway():
                self._metrics.cache_up.set(0)
                log.warning("cache.away", error=report.error)
            case reports.CacheBack():
                self._metrics.cache_up.set(1)
                log.info("cache.back", away_s=round(report.away_s, 3))
            case reports.CacheEmptied():
                self._metrics.emptied.inc()
                log.info("cache.emptied", pages=report.pages, reason=report.reason)
            case reports.DataIssue():
                issue = problems.issue_of(report.broken)
                self._metrics.issues.labels(issue).inc()
                log.error(
                    "episode.unplayable",
                    episode=report.broken.episode_id,
                    issue=issue,
                    manifest=report.broken.verdict,
                    page=report.key,
                )
            case _:
                assert_never(report)


class InvalidatorObserver:
    """Of an invalidator."""

    def __init__(self, metrics: InvalidatorMetrics) -> None:
        self._metrics = metrics

    def __call__(self, report: reports.InvalidatorReport) -> None:
        """Say and count what happened."""
        match report:
            case reports.Purged():
                for label in report.labels:
                    self._metrics.cached(CacheEvent.INVALIDATE, label)
                self._metrics.purged_events.inc(report.events)
                self._metrics.purge_seconds.observe(report.took_s)
                for delay_s in report.delays_s:
                    self._metrics.delay_seconds.observe(delay_s)
                log.debug(
                    "pages.purged",
                    events=report.events,
                    tags=report.tags,
                    pages=len(report.labels),
                    took_ms=round(report.took_s * 1000, 1),
                )
            case reports.CacheEmptied():
                self._metrics.emptied.inc()
                log.info("cache.emptied", pages=report.pages, reason=report.reason)
            case reports.HookEnded():
                self._metrics.hook.labels(report.outcome).inc()
                if report.outcome is not Outcome.SENT:
                    log.warning("webhook.failed", outcome=report.outcome, error=report.error)
            case _:
                assert_never(report)

"""What is made of what happens: log lines and metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, assert_never

import structlog

from outbox.errors import OutboxUnavailable, StreamRefused, StreamUnavailable
from publisher.errors import IdentityChanged
from publisher.reports import BatchAppended, ForeignFound, PlaceFound, SetAside, StreamLost
from publisher.web.labels import Outcome, Reason

if TYPE_CHECKING:
    from outbox.errors import CatalogStreamError
    from publisher.reports import Report
    from publisher.web.metrics import Metrics
    from publisher.worker import PassReport

log = structlog.get_logger(__name__)


def reason_of(error: CatalogStreamError) -> str:
    """The word for what keeps a stream from getting on."""
    match error:
        case StreamRefused():
            return Reason.of(error.reason)
        case StreamUnavailable():
            return Reason.REDIS_AWAY
        case OutboxUnavailable():
            return Reason.POSTGRES_AWAY
        case IdentityChanged():
            return Reason.IDENTITY
        case _:
            return Reason.OTHER


class StateLog:
    """One log line for each change of state of *stream*: held up, recovered."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._since = 0.0
        self.reason: str | None = None
        """What keeps it from getting on."""
        self._away_since: float | None = None

    @property
    def is_away_for_s(self) -> float:
        """For how long Redis has not been reached."""
        return 0.0 if self._away_since is None else time.monotonic() - self._away_since

    def observe(self, report: PassReport) -> None:
        """Log *report* if it says something new."""
        reason = reason_of(report.error) if report.error else None
        if reason != Reason.REDIS_AWAY:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = time.monotonic()
        if reason == self.reason:
            return
        if report.error:
            log.warning(
                "publisher.held_up", stream=self._stream, reason=reason, error=str(report.error)
            )
            self._since = self._since or time.monotonic()
        else:
            held_up_s = round(time.monotonic() - self._since, 1)
            log.info("publisher.recovered", stream=self._stream, held_up_s=held_up_s)
            self._since = 0.0
        self.reason = reason


class Observer:
    """Where every report of this process goes."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def happened(self, report: Report) -> None:
        """Log and count what happened in a stream."""
        match report:
            case BatchAppended():
                self._appended(report)
            case PlaceFound():
                log.info(
                    "place.found",
                    stream=report.stream,
                    place=str(report.place),
                    end=str(report.end),
                )
            case StreamLost():
                log.error(
                    "stream.lost",
                    stream=report.stream,
                    end=str(report.end),
                    after=str(report.after),
                    until=str(report.until),
                    events=report.events,
                    beyond_retention=report.beyond_retention,
                )
                self._metrics.lost(report.stream, beyond_retention=report.beyond_retention)
            case ForeignFound():
                log.error(
                    "stream.foreign",
                    stream=report.stream,
                    found=str(report.found),
                    ours=str(report.ours),
                    renumbered=report.renumbered,
                )
                self._metrics.foreign_found(report.stream, renumbered=report.renumbered)
            case SetAside():
                log.error(
                    "event.set_aside",
                    stream=report.stream,
                    id=str(report.event),
                    reason=report.reason,
                )
                self._metrics.dead_letter_set_aside()
            case _:
                assert_never(report)

    def passed(self, state: StateLog, stream: str, report: PassReport) -> None:
        """Log and count what a pass of a stream's worker came to."""
        state.observe(report)
        if report.error:
            self._metrics.held_up(stream, reason_of(report.error))
            self._metrics.pass_ended(Outcome.FAILED, took_s=report.took_s)
        else:
            self._metrics.freed(stream)
            outcome = Outcome.MOVED if report.moved else Outcome.IDLE
            self._metrics.pass_ended(outcome, took_s=report.took_s)

    def _appended(self, report: BatchAppended) -> None:
        log.debug(
            "batch.appended",
            stream=report.stream,
            first=str(report.first),
            events=report.events,
            already=report.already,
            took_ms=round(report.took_s * 1000, 2),
        )
        self._metrics.appended(
            report.stream,
            events=report.events - report.already,
            skipped=report.already,
            healed=report.healed,
            delay_s=None if report.healed else report.delay_s,
        )

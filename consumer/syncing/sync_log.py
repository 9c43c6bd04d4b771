"""What is made of syncs, unless somebody else is told of them: log lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import structlog

from consumer.syncing import sync_reports as reports

if TYPE_CHECKING:
    from consumer.syncing.sync_reports import Report

log = structlog.get_logger(__name__)


def observe(report: Report) -> None:
    """One line each; one that went well only where `debug` is logged."""
    match report:
        case reports.Synced():
            log.debug(
                "sync.ended",
                position=str(report.position),
                items=report.items,
                removed=report.removed,
                took_ms=round(report.took_s * 1000, 2),
            )
        case reports.Interrupted():
            log.warning(
                "sync.interrupted", error=str(report.error), pause_s=round(report.pause_s, 3)
            )
        case reports.BeganAnew():
            log.warning("sync.began_anew", error=str(report.error))
        case reports.EventUnknown():
            log.warning("sync.event_unknown", id=report.event_id, error=str(report.error))
        case _:
            assert_never(report)

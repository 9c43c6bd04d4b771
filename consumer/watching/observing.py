"""What is made of what happens, unless a consumer is given something else: log lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from consumer import reports
from consumer.event import Event, Gap
from consumer.letters.dead_letters import first_line
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.reports import Report

log = structlog.get_logger(__name__)

LINES: dict[type, tuple[str, str]] = {
    reports.Handled: ("debug", "events.handled"),
    reports.Lag: ("debug", "lag.measured"),
    reports.Took: ("info", "stream.taken"),
    reports.Released: ("info", "stream.released"),
    reports.LostLease: ("warning", "stream.taken_away"),
    reports.Claimed: ("info", "entries.claimed"),
    reports.MembersRemoved: ("info", "members.removed"),
    reports.GroupMade: ("info", "group.made"),
    reports.Retried: ("warning", "event.retried"),
    reports.BatchRetried: ("warning", "batch.retried"),
    reports.DeadLetter: ("error", "event.dead"),
    reports.Requeued: ("info", "event.requeued"),
    reports.Waiting: ("debug", "dead_letters.counted"),
    reports.Duplicates: ("info", "duplicates.skipped"),
    reports.Lost: ("error", "entries.lost"),
    reports.GapFound: ("error", "gap.found"),
    reports.GapHealed: ("info", "gap.healed"),
    reports.Away: ("warning", "consumer.held_up"),
}
"""Level and event of the line for each report."""


def log_lines(group: str) -> Callable[[Report], None]:
    """One line for each report; of a batch that went well only where `debug` is logged."""
    lines = log.bind(group=group)

    def observe(report: Report) -> None:
        level, event = LINES[type(report)]
        if isinstance(report, reports.Away) and report.failures > 1:
            # The first of them has said it.
            level = "debug"
        getattr(lines, level)(event, **_said(report))

    return observe


def _said(report: Report) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in report._asdict().items():
        match value:
            case Event():
                said |= {"stream": value.stream, "id": value.id}
            case Gap():
                said |= {
                    "stream": value.stream,
                    "after": str(value.after),
                    "first": str(value.first) if value.first else None,
                }
            case Position():
                said[name] = str(value)
            case BaseException():
                # What is on its further lines may be anything.
                said[name] = first_line(value)
            case float():
                said[name] = round(value, 3)
            case [float(), *_]:
                said[name] = [round(one, 3) for one in value]
            case _:
                said[name] = value
    return said

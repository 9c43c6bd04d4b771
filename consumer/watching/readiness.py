"""Whether a consumer gets on, decided from what it has reported."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from consumer import reports
from process.health import Condition, Health

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.reports import Report

_GRACE_S = 15.0
"""For the next attempt to end, after its pause."""


class _Away(NamedTuple):
    until: float
    said: str


class Readiness:
    """What the probes of a process with one consumer are told."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._away: dict[str, _Away] = {}
        self._reads: set[str] = set()
        self.running = False
        """The consumer is; another that has ended should be started anew."""

    def observe(self, report: Report) -> None:
        """Remember what matters of *report*."""
        match report:
            case reports.Away():
                # Who stands by has nothing to report when all is well again.
                until = self._clock() + report.pause_s + _GRACE_S
                self._away[report.stream] = _Away(until, f"cannot {report.doing} {report.stream}")
            case reports.Took():
                self._reads.add(report.stream)
                self._away.pop(report.stream, None)
            case reports.Released() | reports.LostLease():
                self._reads.discard(report.stream)
            case reports.Handled() | reports.Lag():
                self._away.pop(report.stream, None)
            case _:
                pass

    def health(self) -> Health:
        """Ready while Redis does as it is asked, to read or to stand by."""
        now = self._clock()
        away = sorted(away.said for away in self._away.values() if away.until > now)
        role = f"reads {', '.join(sorted(self._reads))}" if self._reads else "stands by"
        running = "is running" if self.running else "is not running"
        return Health(
            live=(Condition("consumer", holds=self.running, reason=running),),
            ready=(
                Condition("consumer", holds=self.running, reason=running),
                Condition("redis", holds=not away, reason="; ".join(away) or role),
            ),
        )

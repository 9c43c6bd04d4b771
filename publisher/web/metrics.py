"""What the publisher counts, for Prometheus. Each method is named by what happened.

Importing this takes a tenth of a second: only the publisher itself does, no command.
"""

from __future__ import annotations

import math
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from publisher.web.labels import Log, Outcome, Reason, Trim
from publisher.web.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import Gauge


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """A consumer group at one look, with its distances counted in events."""

    name: str
    lag: int
    """Committed events that it was not given."""
    lag_s: float
    """The age of the oldest of them; 0 if there is none."""
    pending: int
    fell_off: int
    """Events that it was never given and that the stream no longer holds."""
    budget_left_s: float | None = None
    """When its budget will be spent at the present rate; None if it will not."""


class Metrics:
    """The metrics of one publisher, in a registry of their own.

    All series of *stream_keys* are there from the beginning: one that appears with its first
    event has never increased, as far as an alert can see.
    """

    def __init__(
        self,
        stream_keys: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._waits: dict[str, tuple[Reason, float]] = {}
        """Why each stream waits, and up to when its time is counted."""
        self._oldest_since: float | None = None
        """When the oldest unpublished event was written, by *clock*."""
        self._groups: dict[str, set[str]] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._series = Series(self.registry)
        self._begin(stream_keys)

    def rendered(self, accept: str = "") -> tuple[bytes, str]:
        """All of it in the format that *accept* asks for, and the content type of that."""
        for stream in self._waits:
            self._count_wait(stream)
        if self._oldest_since is not None:
            # It ages between two looks, and also while nobody can look.
            self._series.oldest.set(self._clock() - self._oldest_since)
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    # Publishing

    def tick_made(self) -> None:
        """A tick was made."""
        self._series.ticks.inc()

    def pass_ended(self, outcome: Outcome, *, took_s: float) -> None:
        """One pass is over."""
        self._series.passes.labels(outcome).observe(took_s)

    def appended(
        self,
        stream: str,
        *,
        events: int,
        skipped: int = 0,
        healed: int = 0,
        delay_s: float | None = None,
    ) -> None:
        """A batch is in *stream*: *events* are new, *skipped* were there; *delay_s* old the oldest.

        *healed* of the new ones put back what it had lost.

        Without a delay for a batch whose age says nothing, such as one of a heal.
        """
        self._series.batches.labels(stream).inc()
        self._series.appended.labels(stream).inc(events)
        if healed:
            self._series.healed.labels(stream).inc(healed)
        if skipped:
            self._series.skipped.labels(stream).inc(skipped)
        if delay_s is not None:
            # Two clocks: the writer's may be ahead of ours.
            self._series.delay.observe(max(delay_s, 0.0))

    def lost(self, stream: str, *, beyond_retention: int = 0) -> None:
        """*stream* lost its end; so many events will not be put back."""
        self._series.heals.labels(stream).inc()
        self._series.unhealed.labels(stream).inc(beyond_retention)

    def foreign_found(self, stream: str, *, entries: int = 1, renumbered: int = 0) -> None:
        """Somebody else wrote to *stream*."""
        self._series.foreign.labels(stream).inc(entries)
        self._series.renumbered.labels(stream).inc(renumbered)

    def dead_letter_set_aside(self) -> None:
        """An event could not be published."""
        self._series.dead_letters.inc()

    # Back-pressure and leases

    def held_up(self, stream: str, reason: str) -> None:
        """Nothing can be appended to *stream*, or still nothing; *reason* as Reason.of takes it."""
        known = Reason.of(reason)
        if stream in self._waits:
            self._count_wait(stream)
            self._series.back_pressure.labels(self._waits[stream][0]).dec()
        self._waits[stream] = known, self._clock()
        self._series.back_pressure.labels(known).inc()

    def freed(self, stream: str) -> None:
        """*stream* is appended to again, or is no longer ours to append to."""
        if stream in self._waits:
            self._count_wait(stream)
            self._series.back_pressure.labels(self._waits.pop(stream)[0]).dec()

    def lease_taken(self, stream: str, *, epoch: int) -> None:
        """The lease of *stream* is ours."""
        self._series.lease_held.labels(stream).set(1)
        self._series.lease_epoch.labels(stream).set(epoch)

    def lease_lost(self, stream: str) -> None:
        """The lease of *stream* is no longer ours, given up or run out."""
        self._series.lease_held.labels(stream).set(0)
        self.freed(stream)

    # Retention

    def trimmed(self, stream: str, reason: Trim, *, entries: int) -> None:
        """*entries* were trimmed off *stream*."""
        self._series.trimmed.labels(stream, reason).inc(entries)

    def partitions_created(self, log: Log, count: int = 1) -> None:
        """Room was made for what is to come."""
        self._series.created.labels(log).inc(count)

    def partitions_dropped(self, log: Log, count: int = 1) -> None:
        """What was past retention is gone."""
        self._series.dropped.labels(log).inc(count)

    def partitions_overdue(self, log: Log, count: int) -> None:
        """How many should be made or gone, and may not be yet."""
        self._series.overdue.labels(log).set(count)

    # What has to be asked for

    def observed(
        self, *, backlog: int, oldest_unpublished_s: float | None, dead_letters: int
    ) -> None:
        """A look at the outbox; no age if nothing waits."""
        self._series.looked.set(self._wall_clock())
        self._series.backlog.set(backlog)
        self._series.waiting.set(dead_letters)
        self._series.oldest.set(oldest_unpublished_s or 0)
        now = self._clock()
        self._oldest_since = None if oldest_unpublished_s is None else now - oldest_unpublished_s

    def stream_observed(  # noqa: PLR0913 - plain values, by name
        self,
        stream: str,
        *,
        entries: int,
        memory_bytes: int,
        entries_bytes: int,
        budget_bytes: int,
        first_ms: int | None,
        last_ms: int | None,
        groups: Iterable[GroupSeen] = (),
    ) -> None:
        """A look at *stream* in Redis: its ends are the milliseconds of their IDs."""
        self._series.entries.labels(stream).set(entries)
        self._series.memory.labels(stream).set(memory_bytes)
        self._series.entries_bytes.labels(stream).set(entries_bytes)
        self._series.budget_bytes.labels(stream).set(budget_bytes)
        for gauge, ms in ((self._series.first, first_ms), (self._series.last, last_ms)):
            _set(gauge, None if ms is None else ms / 1000, stream)
        seen = {group.name: group for group in groups}
        self._forget_groups(stream, except_for=seen)
        for group in seen.values():
            self._group_observed(stream, group)

    def stream_forgotten(self, stream: str) -> None:
        """Nobody here looks at *stream* any more, and what was seen would only grow old."""
        for gauge in self._series.of_streams:
            _set(gauge, None, stream)
        self._forget_groups(stream)

    def _group_observed(self, stream: str, group: GroupSeen) -> None:
        key = stream, group.name
        self._groups.setdefault(stream, set()).add(group.name)
        self._series.group_lag.labels(*key).set(group.lag)
        self._series.group_lag_seconds.labels(*key).set(group.lag_s)
        self._series.group_pending.labels(*key).set(group.pending)
        self._series.group_fell_off.labels(*key).set(group.fell_off)
        _set(self._series.group_budget, group.budget_left_s, *key)

    def _forget_groups(self, stream: str, *, except_for: Iterable[str] = ()) -> None:
        gone = self._groups.pop(stream, set()) - set(except_for)
        for name in gone:
            for gauge in self._series.of_groups:
                _set(gauge, None, stream, name)

    def _count_wait(self, stream: str) -> None:
        reason, until = self._waits[stream]
        now = self._clock()
        self._series.back_pressure_seconds.labels(reason).inc(now - until)
        self._waits[stream] = reason, now

    def _begin(self, stream_keys: Sequence[str]) -> None:
        series = self._series
        series.build.info({"version": _version(), "python": platform.python_version()})
        for gauge in (series.backlog, series.oldest, series.waiting):
            gauge.set(math.nan)  # nobody has looked yet
        for outcome in Outcome:
            series.passes.labels(outcome)
        for reason in Reason:
            series.back_pressure.labels(reason)
            series.back_pressure_seconds.labels(reason)
        for log in Log:
            series.created.labels(log)
            series.dropped.labels(log)
        for stream in stream_keys:
            for metric in series.from_the_start:
                metric.labels(stream)
            for trim in Trim:
                series.trimmed.labels(stream, trim)


def _set(gauge: Gauge, value: float | None, *labels: str) -> None:
    """Set it, or remove the series where there is nothing to say: 0 would be a lie."""
    if value is None:
        gauge.remove(*labels)
    else:
        gauge.labels(*labels).set(value)


def _version() -> str:
    try:
        return metadata.version("catalog-outbound")
    except metadata.PackageNotFoundError:
        # Run out of a checkout.
        return "unreleased"

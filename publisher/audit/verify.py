"""The audit that proves the guarantee: rows, ticks and streams compared, ID by ID."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from outbox import checkpoints, sql
from outbox.connection import translated
from outbox.errors import OutboxDamaged
from outbox.position import ORIGIN, Position
from outbox.prefetch import read_ahead
from publisher.audit import accounts, sendable
from publisher.audit.audit import Audit, Side
from publisher.audit.comparison import Absence, Stretch
from publisher.audit.span import just_before

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import asyncpg

    from outbox.tick import Tick
    from outbox.ticks import Ticks
    from publisher.audit.comparison import Difference
    from publisher.audit.pages import Pages

_SQL = sql.load("publisher")
_BATCH = 1000
_READ_AHEAD = 2


class Step(StrEnum):
    """What is done one after the other."""

    ROWS = "rows in ticks"
    ORDER = "order of each entity"
    STREAMS = "streams"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found."""

    since: str | None
    """The oldest event that was looked at; None where there is none."""
    until: str | None
    """The newest: the end of the newest tick when it began."""
    events: int
    """From the one to the other, without dead letters."""
    equal: int
    """In their stream, field by field."""
    waiting: int
    """Newer than the end of their stream: not published yet."""
    trimmed: int
    """Older than what their stream still holds."""
    dead_letters: int
    """Set aside."""
    differences: dict[str, int]
    first: list[Difference]
    """The first of them."""
    took_s: float

    @property
    def clean(self) -> bool:
        """Whether nothing differs."""
        return not any(self.differences.values())


class _Extent(NamedTuple):
    """What of the outbox is looked at."""

    first: Tick
    last: Tick
    since: Position
    reaches_back: bool
    """It begins with the first event that ever was."""


async def verify(
    pool: asyncpg.Pool,
    ticks: Ticks,
    streams: Sequence[Pages],
    *,
    since: Position = ORIGIN,
    watch: Callable[[Step, int, int], None],
) -> Verdict:
    """Compare what the outbox has kept, from *since* on, with *streams*; it makes no tick.

    *watch* is told, step by step, how many of how many events were looked at. Raises
    OutboxUnavailable, OutboxDamaged, OutboxUnreadable, StreamUnavailable or StreamRefused.
    """
    started = time.monotonic()
    while True:
        verdict = None
        try:
            verdict = await _verify(pool, ticks, streams, since=since, watch=watch)
        except OutboxDamaged:
            if await ticks.oldest() <= since:
                raise
        # What is dropped while we look seems to be foreign in the stream: look again without it.
        oldest = await ticks.oldest()
        if verdict and (not verdict.since or oldest <= Position.parse(verdict.since)):
            return replace(verdict, took_s=round(time.monotonic() - started, 3))
        since = max(since, oldest)


async def _verify(
    pool: asyncpg.Pool,
    ticks: Ticks,
    streams: Sequence[Pages],
    *,
    since: Position,
    watch: Callable[[Step, int, int], None],
) -> Verdict:
    # In this order: what was noted as published is in a stream, what a stream holds is in a tick.
    sides = await _sides(pool, streams)
    extent = await _extent(ticks, since)
    stretches = await abandoned(pool)
    after = just_before(extent.since if extent else since)
    if extent is None:
        after = max([after, *(stretch.until for stretch in stretches)])
    elif extent.reaches_back:
        after = ORIGIN
    for side in sides:
        side.cursor = after
    until = extent.last.last if extent else after
    dead = await sendable.dead_between(pool, after, until)
    audit = Audit(pool, sides, stretches, frozenset(dead))
    if extent:
        total = await _check_ticks(pool, ticks, extent, audit, watch)
        source = sendable.batches(ticks, after, until, dead, size=_BATCH)
        async with read_ahead(source, depth=_READ_AHEAD) as batches:
            async for batch in batches:
                await audit.compare(list(batch))
                watch(Step.STREAMS, audit.events, total)
    await audit.finish()
    return Verdict(
        since=str(extent.since) if extent else None,
        until=str(until) if extent else None,
        events=audit.events,
        equal=audit.equal,
        waiting=audit.absent[Absence.WAITING],
        trimmed=audit.absent[Absence.TRIMMED],
        dead_letters=len(dead),
        differences={str(kind): count for kind, count in audit.findings.counts.items()},
        first=audit.findings.first,
        took_s=0.0,
    )


async def _sides(pool: asyncpg.Pool, streams: Sequence[Pages]) -> list[Side]:
    sides = []
    for pages in streams:
        saved = await checkpoints.load(pool, pages.key)
        done = max(saved.position if saved else ORIGIN, await pages.mark())
        sides.append(Side(pages, done, await pages.ends()))
    return sides


async def _extent(ticks: Ticks, since: Position) -> _Extent | None:
    """From *since*, or what has been kept, to the newest tick; None without a tick there."""
    newest = await ticks.newest()
    kept = await ticks.after(0, limit=1)
    if newest is None or not kept:
        return None
    oldest = kept[0]
    begin = Position(oldest.ms, 0)
    if since <= begin:
        return _Extent(oldest, newest, begin, reaches_back=oldest.total_before == 0)
    tick, index = await ticks.next_after(just_before(since))
    if tick is None or tick.ms > newest.ms:
        return None
    return _Extent(tick, newest, Position.in_tick(tick.ms, index), reaches_back=False)


async def abandoned(pool: asyncpg.Pool) -> list[Stretch]:
    """The stretches that no event of ours has an ID in. Raises OutboxUnavailable."""
    with translated():
        rows = await pool.fetch(_SQL["abandoned_stretches"])
    return [
        Stretch(Position(row["after_ms"], row["after_seq"]), Position(*row[2:])) for row in rows
    ]


async def _check_ticks(
    pool: asyncpg.Pool,
    ticks: Ticks,
    extent: _Extent,
    audit: Audit,
    watch: Callable[[Step, int, int], None],
) -> int:
    """See that the ticks hold each row once and in order; how many events they have."""
    first, last = extent.first, extent.last
    total = last.total_before + last.events - first.total_before
    watch(Step.ROWS, 0, total)
    if unaccounted := await accounts.unaccounted(pool, first, last):
        audit.findings.add_uncounted(*unaccounted)
    watch(Step.ROWS, total, total)
    looked_at = 0
    async for events, found in accounts.disorders(pool, ticks, first, last):
        audit.findings.add(found)
        looked_at += events
        watch(Step.ORDER, looked_at, total)
    return total

"""Trimming one stream: what is too old, or too much, and what no group still needs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from outbox.position import Position
from publisher.store.stream import translated
from publisher.survey.view import look, pending_between
from publisher.trim.trimming import Because, following, plan_trim

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from publisher.survey.view import StreamView
    from publisher.trim.trimming import Limits

log = structlog.get_logger(__name__)

# Redis serves nobody else meanwhile: ten thousand take about a millisecond.
_ENTRIES_AT_ONCE = 10_000
_EXACTLY_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Loss:
    """What one group lost by a trim."""

    group: str
    unread: int
    """Entries that it was never given."""
    unacknowledged: int
    """Entries that it was given and had not acknowledged."""


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What one trim came to."""

    removed: int
    because: Because
    lost: tuple[Loss, ...] = ()
    held_by: tuple[str, ...] = ()
    """Groups that need entries older than the retention, so that these stayed."""


class Trimmer:
    """Trims the stream at *key*; *clock* gives seconds since 1970.

    Call it under the lease of the stream: two at once would both remove what is too much.
    """

    def __init__(
        self,
        redis: Redis,
        key: str,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis = redis
        self._commands: Any = redis  # see EventStream
        self._key = key
        self._limits = limits
        self._clock = clock
        self._held_by: tuple[str, ...] = ()

    async def trim(self) -> Trimmed:
        """Trim what may go by now. Raises StreamUnavailable or StreamRefused.

        Where it is broken off, the rest goes with the next trim; what a group lost up to then is
        not reported here, but the status of the group tells it.
        """
        view = await look(self._redis, self._key)
        plan = plan_trim(
            self._limits,
            [group.needs for group in view.groups],
            now_ms=int(self._clock() * 1000),
            first=view.first,
            last=view.last,
            length=view.length,
            entries_bytes=view.entries_bytes,
        )
        removed, unread = 0, dict.fromkeys((group.name for group in view.groups), 0)
        for stage in plan.stages:
            left = None if plan.at_most is None else plan.at_most - removed
            gone = await self._remove(stage.until, left)
            removed += gone
            for group in stage.losing:
                unread[group] += gone
        lost = await self._losses(view, unread) if removed and plan.at_most else ()
        because = Because.OVER_BUDGET if lost else plan.because if removed else Because.NOTHING
        trimmed = Trimmed(removed, because, lost, plan.held_by)
        self._say(trimmed)
        return trimmed

    async def _remove(self, until: Position, at_most: int | None) -> int:
        """Remove entries before *until*: whole nodes, or exactly where only so many may go."""
        removed = 0
        while at_most is None or removed < at_most:
            limit = _ENTRIES_AT_ONCE
            if at_most is not None:
                limit = min(limit, at_most - removed)
            with translated():
                gone = int(await self._commands.xtrim(self._key, minid=str(until), limit=limit))
            if not gone and at_most is not None:
                # A stage must end at its very position: what a group loses is counted by stage.
                gone = await self._remove_exactly(until, min(limit, _EXACTLY_AT_ONCE))
            if not gone:
                break
            removed += gone
        return removed

    async def _remove_exactly(self, until: Position, at_most: int) -> int:
        with translated():
            found = await self._commands.xrange(self._key, "-", f"({until}", at_most)
            if not found:
                return 0
            end = following(Position.parse(found[-1][0]))
            return int(await self._commands.xtrim(self._key, minid=str(end), approximate=False))

    async def _losses(self, view: StreamView, unread: dict[str, int]) -> tuple[Loss, ...]:
        if view.first is None:
            return ()
        with translated():
            left = await self._commands.xrange(self._key, count=1)
        until = Position.parse(left[0][0]) if left else following(view.last)
        losses = []
        for group in view.groups:
            unacknowledged = 0
            if group.oldest_pending and group.oldest_pending < until:
                unacknowledged = await pending_between(
                    self._redis, self._key, group.name, group.oldest_pending, until
                )
            if unread[group.name] or unacknowledged:
                losses.append(Loss(group.name, unread[group.name], unacknowledged))
        return tuple(losses)

    def _say(self, trimmed: Trimmed) -> None:
        if trimmed.removed:
            log.debug(
                "stream.trimmed",
                stream=self._key,
                because=trimmed.because,
                removed=trimmed.removed,
            )
        for loss in trimmed.lost:
            log.error(
                "group.missed",
                stream=self._key,
                group=loss.group,
                unread=loss.unread,
                unacknowledged=loss.unacknowledged,
                hint="the memory budget is spent; the group needs a snapshot",
            )
        if trimmed.held_by != self._held_by:
            self._held_by = trimmed.held_by
            if trimmed.held_by:
                log.warning("stream.held", stream=self._key, groups=list(trimmed.held_by))
            else:
                log.info("stream.released", stream=self._key)

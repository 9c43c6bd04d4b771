"""How far a group is behind its stream, as far as Redis alone can say it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from consumer.letters.dead_letters import text
from consumer.letters.redis_errors import translated
from consumer.reading import lua
from outbox.errors import BadPosition
from outbox.position import Position

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

MOST = 10_000
"""Entries that are counted one by one."""
_PAGE = 500
"""Redis is held up for a few milliseconds by so many."""
_REST_S = 5.0
"""After more than a page was counted."""
_SCRIPT = lua.load("lag", "consumer.watching")


class Behind(NamedTuple):
    """How far a group is behind."""

    entries: int | None
    """Not yet acknowledged; exact up to MOST, else what Redis thinks; None: it does not say."""
    seconds: float
    """The age of the oldest of them, 0 if there is none."""


LEVEL = Behind(0, 0.0)


class Lag:
    """How far *group* is behind *stream*. Raises StreamUnavailable or RedisRefused."""

    def __init__(
        self,
        redis: Redis,
        stream: str,
        group: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._not_before = 0.0
        self._run: Any = redis.register_script(_SCRIPT)
        self._stream = stream
        self._group = group

    async def measured(self) -> Behind | None:
        """None when there is no such group, or when it was counted at length just now."""
        if self._clock() < self._not_before:
            return None
        answer = await self._page("", _PAGE)
        if not answer:
            return None
        counted, last, pending, oldest, redis_says, now_ms = answer
        seconds = _age_s(oldest, int(now_ms))
        in_page = all_counted = int(counted)
        if in_page == _PAGE:
            self._not_before = self._clock() + _REST_S
        while in_page == _PAGE and all_counted < MOST:
            page = await self._page(last, _PAGE)
            if not page:
                return None
            in_page, last = int(page[0]), page[1]
            all_counted += in_page
        if in_page < _PAGE:
            return Behind(all_counted + int(pending), seconds)
        lag = int(redis_says) if redis_says.isdigit() else None
        return Behind(None if lag is None else lag + int(pending), seconds)

    async def _page(self, after: str, most: int) -> list[str]:
        with translated():
            answer = await self._run(keys=[self._stream], args=[self._group, after, most])
        return [text(value) if isinstance(value, bytes) else str(value) for value in answer]


def _age_s(event_id: str, now_ms: int) -> float:
    try:
        since = Position.parse(event_id).ms
    except BadPosition:
        return 0.0
    return max(now_ms - since, 0) / 1000

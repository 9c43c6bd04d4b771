"""Waiting for the feed to come so far: one look serves all who wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_FIRST_PAUSE_S = 0.002
_LONGEST_PAUSE_S = 0.05
_GROWTH = 1.3


class FeedWatch:
    """Looks how far the feed is for as long as somebody waits.

    *look* says how far it has come, or None while there is none.
    """

    def __init__(self, look: Callable[[], Awaitable[int | None]]) -> None:
        self._look = look
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._looking: asyncio.Task[None] | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._refusal: Exception | None = None

    async def reach(self, version: int) -> None:
        """Return when the feed has come to *version*. Raises what *look* does."""
        if self._refusal:
            raise self._refusal
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = version
        self._pause_s = _FIRST_PAUSE_S
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_on())
        try:
            await waiter
        finally:
            del self._waiting[waiter]

    def refuse(self, refusal: Exception) -> None:
        """Nobody waits any more: they all get *refusal*, now and from now on."""
        self._refusal = refusal
        self._fail(refusal)

    async def idle(self) -> None:
        """Return when nothing looks any more. It looks once more after the last has gone."""
        while self._looking is not None:
            await asyncio.wait({self._looking})

    async def _look_on(self) -> None:
        try:
            while self._waiting:
                try:
                    version = await self._look()
                except Exception as exc:  # noqa: BLE001 - it is for those who wait
                    self._fail(exc)
                else:
                    for waiter, wanted in self._waiting.items():
                        if version is not None and version >= wanted and not waiter.done():
                            waiter.set_result(None)
                # Those who were answered leave meanwhile.
                await asyncio.sleep(self._pause_s)
                self._pause_s = min(self._pause_s * _GROWTH, _LONGEST_PAUSE_S)
        finally:
            self._looking = None

    def _fail(self, exc: Exception) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(exc)

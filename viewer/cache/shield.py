"""The cache as the viewer uses it: it never fails, and while it is away it costs no time."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from viewer.errors import CacheClosed, CacheTakenOver, CacheUnavailable
from viewer.reports import (
    CacheAway,
    CacheBack,
    Cached,
    CacheEmptied,
    CacheEvent,
    FillFailed,
    FillRefused,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.cache.store import Place, Store
    from viewer.documents import Document
    from viewer.keys import PageName
    from viewer.reports import Observe

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_REPAIR_TIMEOUT_S = 30.0
_TTL_JITTER = 0.1
_AT_ONCE = 64
"""Commands: a stampede need not open a thousand connections."""


class Shield:
    """Whoever begins last decides how pages are made; those of another make leave it alone."""

    def __init__(  # noqa: PLR0913
        self,
        store: Store,
        *,
        ttl_s: float,
        timeout_s: float,
        observe: Observe,
        dice: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._timeout_s = timeout_s
        self._observe = observe
        self._dice = dice
        self._clock = clock
        self._slots = asyncio.Semaphore(_AT_ONCE)
        # Not before it is known who has made what is in it.
        self._usable = False
        self._is_first = True
        self._away_since: float | None = None
        self._repaired = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wanted.set()

    @property
    def is_usable(self) -> bool:
        """Whether pages come from it at the moment."""
        return self._usable

    async def look(self, name: PageName) -> bytes | Place | None:
        """The page's body, or the place from which to load it; None: load it without."""
        if not self._usable:
            return None
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                return await self._store.look(name)
        except (CacheUnavailable, CacheClosed, TimeoutError) as exc:
            self._lost(exc)
            return None

    async def fill(self, name: PageName, page: Document, place: Place) -> bool:
        """Whether the page is cached now, which says that nothing that is on it has changed."""
        spread = 1 + _TTL_JITTER * (2 * self._dice() - 1)
        try:
            async with asyncio.timeout(self._timeout_s), self._slots:
                tags = page.tags | name.tags
                filled = await self._store.fill(
                    name, page.body, tags, place, ttl_s=self._ttl_s * spread
                )
        except (CacheUnavailable, TimeoutError) as exc:
            # Memory may be full: what is in it is good all the same. The next look will tell.
            self._observe(FillFailed(_said(exc)))
            return False
        self._observe(Cached(CacheEvent.SET, name.label) if filled else FillRefused(name.label))
        return filled

    async def let_go(self, name: PageName, place: Place) -> None:
        """There is no page to cache: others need not wait for it."""
        with suppress(CacheUnavailable, TimeoutError):
            async with asyncio.timeout(self._timeout_s), self._slots:
                await self._store.let_go(name, place)

    async def run(self) -> None:
        """Bring it back whenever it is lost, until cancelled."""
        while True:
            await self._wanted.wait()
            await self._repair()
            self._wanted.clear()
            self._usable = True
            self._repaired.set()
            if self._away_since is not None:
                self._observe(CacheBack(self._clock() - self._away_since))
                self._away_since = None

    async def usable(self, *, within_s: float) -> bool:
        """Wait until it is; False if that takes longer."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._repaired.wait(), within_s)
        return self._usable

    async def _repair(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout(_REPAIR_TIMEOUT_S):
                    await self._begin()
            except (CacheUnavailable, CacheClosed, CacheTakenOver, TimeoutError) as exc:
                self._say_away(exc)
                await asyncio.sleep(pause_s * (0.5 + self._dice() / 2))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                return

    async def _begin(self) -> None:
        if not await self._store.claim(take_over=self._is_first):
            if not self._is_first:
                raise CacheTakenOver
            self._observe(CacheEmptied(await self._store.empty(), "made by another version"))
        elif not await self._store.is_open():
            self._observe(CacheEmptied(await self._store.empty(), "lost, or new"))
        self._is_first = False

    def _lost(self, exc: Exception) -> None:
        if self._usable:
            self._usable = False
            self._repaired.clear()
            self._wanted.set()
            if not isinstance(exc, CacheClosed):
                self._say_away(exc)

    def _say_away(self, exc: Exception) -> None:
        if self._away_since is None:
            self._away_since = self._clock()
            self._observe(CacheAway(_said(exc)))


def _said(exc: Exception) -> str:
    return "the cache is too slow" if isinstance(exc, TimeoutError) else str(exc)

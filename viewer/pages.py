"""Pages, from the cache or made from the catalog: each by one loader at a time."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, assert_never

from viewer.documents import Document, Unplayable, episode_page, series_page
from viewer.reports import Cached, CacheEvent, DataIssue
from viewer.rows import EpisodeRows, SeriesRows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.cache.shield import Shield
    from viewer.cache.store import Place
    from viewer.catalog import Catalog
    from viewer.keys import PageName
    from viewer.manifest import Cdn
    from viewer.reports import Observe

_PATIENCE_S = (0.01, 0.02, 0.04, 0.08, 0.1)
"""How long to wait, between looks, for a page that another process loads."""

Page: TypeAlias = bytes | Unplayable | None
"""What is sent; why it must not be; or that viewers may see no such thing."""


class Found(NamedTuple):
    """A page for a request."""

    page: Page
    from_cache: bool


class _Load:
    """One loader's work, which others may wait for."""

    def __init__(self, place: Place | None) -> None:
        self.place = place
        self.began = 0
        """The turn at which the catalog was asked."""
        self.is_closing = False
        """The cache is being asked something whose answer may end it."""
        self.is_vouched = False
        """The cache had the page, or took it: until that moment nothing on it was purged."""
        self.task: asyncio.Task[Found]


class Pages:
    """What requests get."""

    def __init__(
        self,
        catalog: Catalog,
        cache: Shield,
        cdn: Cdn,
        observe: Observe,
        *,
        patience_s: Sequence[float] = _PATIENCE_S,
    ) -> None:
        self._catalog = catalog
        self._cache = cache
        self._cdn = cdn
        self._observe = observe
        self._patience_s = patience_s
        self._turns = count(1)
        self._loads: dict[PageName, _Load] = {}

    async def find(self, name: PageName) -> Found:
        """The page *name* as it is now. Raises OutboxUnavailable."""
        found = await self._find(name)
        self._observe(
            Cached(CacheEvent.HIT if found.from_cache else CacheEvent.MISS, name.label),
        )
        if isinstance(found.page, Unplayable):
            for broken in found.page.episodes:
                self._observe(DataIssue(name.key, broken))
        return found

    async def _find(self, name: PageName) -> Found:
        arrived = next(self._turns)
        while True:
            seen = await self._cache.look(name)
            if isinstance(seen, bytes):
                return Found(seen, from_cache=True)
            load = self._loads.get(name)
            # One that has just ended is no use: waiting for it would not even let others go on.
            if load is None or load.task.done():
                return await asyncio.shield(self._begin(name, seen))
            # What another request loads may be older than a change that was purged before this
            # one came. It is not, if nothing was purged in between; or if the cache takes it only
            # now, as it would refuse it; or if it was read after this request came.
            is_level = (
                seen is not None and load.place is not None and seen.is_level_with(load.place)
            )
            in_time = not load.is_closing
            found = await asyncio.shield(load.task)
            if is_level or (in_time and load.is_vouched) or load.began > arrived:
                return found

    def _begin(self, name: PageName, place: Place | None) -> asyncio.Task[Found]:
        """Load in a task of its own: others go on although this request is broken off."""
        load = _Load(place)
        load.task = asyncio.create_task(self._load(name, load))
        self._loads[name] = load
        load.task.add_done_callback(partial(self._ended, name, load))
        return load.task

    def _ended(self, name: PageName, load: _Load, task: asyncio.Task[Found]) -> None:
        if self._loads.get(name) is load:
            del self._loads[name]
        if not task.cancelled():
            # Whoever waits is told; perhaps nobody does any more.
            task.exception()

    async def _load(self, name: PageName, load: _Load) -> Found:
        if load.place and not load.place.is_first:
            body = await self._wait(name, load)
            if body is not None:
                return Found(body, from_cache=True)
        load.began = next(self._turns)
        page = self._made_of(await self._catalog.find(name))
        load.is_closing = True
        if not isinstance(page, Document):
            if load.place:
                await self._cache.let_go(name, load.place)
            return Found(page, from_cache=False)
        if load.place:
            load.is_vouched = await self._cache.fill(name, page, load.place)
        return Found(page.body, from_cache=False)

    def _made_of(self, rows: EpisodeRows | SeriesRows | None) -> Document | Unplayable | None:
        match rows:
            case EpisodeRows():
                return episode_page(rows, self._cdn)
            case SeriesRows():
                return series_page(rows, self._cdn)
            case None:
                return None
            case _:
                assert_never(rows)

    async def _wait(self, name: PageName, load: _Load) -> bytes | None:
        """Another process loads the page: have it from there, unless that takes long."""
        for pause_s in self._patience_s:
            await asyncio.sleep(pause_s)
            load.is_closing = True
            seen = await self._cache.look(name)
            if isinstance(seen, bytes):
                load.is_vouched = True
                return seen
            load.is_closing = False
            load.place = seen
            if seen is None or seen.is_first:
                return None
        return None

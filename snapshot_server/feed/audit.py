"""The feed against the tables: both seen at one place, all items compared, in bounded memory."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias
from uuid import UUID

from outbox import sql
from outbox.connection import translated
from outbox.tables import at_newest_tick
from snapshot_server.digest import item_digest
from snapshot_server.errors import SnapshotError
from snapshot_server.feed.comparison import Difference, FeedItem, Outcome, What, compared
from snapshot_server.feed.encoding import ENCODING
from snapshot_server.feed.rows import read_items
from snapshot_server.feed.writer import EPISODE, SERIES, Key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from outbox.position import Position

    Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy

_SQL = sql.load("snapshot_server")
_ROUNDS = 5
_LOOK_AGAIN_S = 0.05
_FIRST = 100
_BEFORE_ALL = UUID(int=0)
_IDS = {SERIES: "series_ids_after", EPISODE: "episode_ids_after"}


class FeedLate(SnapshotError):
    """The feed has not reached the newest tick: no projector runs, or it is far behind."""


@dataclass
class Verdict:
    """What was compared, and what differs."""

    position: Position | None = None
    """Of the first tick: all items were looked at there."""
    items: int = 0
    """That are in the feed, in the tables, or in both."""
    equal: int = 0
    outdated: int = 0
    unsettled: int = 0
    differences: Counter[What] = field(default_factory=Counter)
    first: list[Difference] = field(default_factory=list)
    """At most a hundred."""
    took_s: float = 0.0

    @property
    def is_clean(self) -> bool:
        """Nothing differs."""
        return not self.differences

    def found(self, difference: Difference) -> None:
        """Count *difference*, and keep it if it is one of the first."""
        self.differences[difference.what] += 1
        if len(self.first) < _FIRST:
            self.first.append(difference)


async def audit(
    pool: asyncpg.Pool,
    *,
    page: int = 500,
    within_s: float = 60.0,
    watch: Callable[[int, int], None] = lambda _done, _of: None,
) -> Verdict:
    """Compare all items. *watch* is told how many were compared, and of how many.

    *within_s*: how long to wait for the feed. Raises FeedLate and OutboxUnavailable.
    """
    began = time.monotonic()
    verdict = Verdict()
    unsettled: set[Key] = set()
    for number in range(_ROUNDS):
        async with (
            at_newest_tick(pool) as tables,
            _feed_at(pool, tables.position, within_s) as feed,
        ):
            this = _Round(verdict, tables.connection, feed, tables.position, page)
            if number == 0:
                verdict.position = tables.position
                await this.compare_all(watch)
            else:
                await this.compare_some(unsettled)
        unsettled = this.unsettled
        if not unsettled:
            break
    verdict.unsettled = len(unsettled)
    verdict.took_s = time.monotonic() - began
    return verdict


class _Round:
    """One look at the tables at *tick*, and at the feed as it was when it had reached it."""

    def __init__(
        self, verdict: Verdict, tables: Connection, feed: Connection, tick: Position, page: int
    ) -> None:
        self._verdict = verdict
        self._tables = tables
        self._feed = feed
        self._tick = tick.version
        self._page = page
        self.unsettled: set[Key] = set()

    async def compare_all(self, watch: Callable[[int, int], None]) -> None:
        """All items of either side, and the totals of the feed."""
        with translated():
            [state] = await self._feed.fetch(_SQL["feed_state"])
        counts, digest = Counter({SERIES: 0, EPISODE: 0}), 0
        for kind in (SERIES, EPISODE):
            async for stored, keys in self._pages(kind):
                await self._compare(keys, stored)
                for key, item in stored.items():
                    if item.version > state["version"]:
                        self._verdict.found(Difference(What.AHEAD, key))
                    if item.body is not None:
                        counts[kind] += 1
                        digest += item_digest(*key, item.version)
                watch(self._verdict.items, state["series"] + state["episodes"])
        for name, said, is_so in (
            ("series", state["series"], counts[SERIES]),
            ("episodes", state["episodes"], counts[EPISODE]),
            ("digest", state["digest"] % 2**64, digest % 2**64),
        ):
            if said != is_so:
                detail = f"{name} {said}, and its items come to {is_so}"
                self._verdict.found(Difference(What.TOTALS, None, detail))

    async def compare_some(self, keys: Iterable[Key]) -> None:
        """What an earlier round could not settle."""
        left = iter(keys)
        while some := list(islice(left, self._page)):
            with translated():
                rows = await self._feed.fetch(
                    _SQL["compared_items"], [key.kind for key in some], [key.id for key in some]
                )
            await self._compare(some, _items(rows))

    async def _pages(self, kind: int) -> AsyncIterator[tuple[dict[Key, FeedItem], list[Key]]]:
        """What the feed has, and the keys that either side has, in the order of their IDs."""
        after, is_last = _BEFORE_ALL, False
        while not is_last:
            with translated():
                rows = await self._feed.fetch(_SQL["compared_after"], kind, after, self._page)
                ids = await self._tables.fetch(_SQL[_IDS[kind]], after, self._page)
            # Beyond the end of a full page the other side may have more that lies between.
            ends = [page[-1]["id"] for page in (rows, ids) if len(page) == self._page]
            until, is_last = min(ends, default=None), not ends
            stored = _items(row for row in rows if until is None or row["id"] <= until)
            known = (Key(kind, row["id"]) for row in ids if until is None or row["id"] <= until)
            yield stored, [*{*stored, *known}]
            after = until or after

    async def _compare(self, keys: Collection[Key], stored: dict[Key, FeedItem]) -> None:
        found = await read_items(self._tables, keys)
        for key in keys:
            row = found.get(key)
            outcome = compared(
                key,
                stored.get(key),
                row.encoded if row else None,
                tick=self._tick,
                encoding=ENCODING,
            )
            if outcome is Outcome.UNSETTLED:
                self.unsettled.add(key)
            elif outcome is not Outcome.ABSENT:
                self._verdict.items += 1
                self._count(outcome)

    def _count(self, outcome: Outcome | Difference) -> None:
        if isinstance(outcome, Difference):
            self._verdict.found(outcome)
        elif outcome is Outcome.EQUAL:
            self._verdict.equal += 1
        else:
            self._verdict.outdated += 1


@asynccontextmanager
async def _feed_at(
    pool: asyncpg.Pool, tick: Position, within_s: float
) -> AsyncIterator[PoolConnectionProxy]:
    """The feed as it is when it has first been seen to have reached *tick*. Raises FeedLate."""
    until = time.monotonic() + within_s
    while True:
        with translated():
            async with (
                pool.acquire() as feed,
                feed.transaction(isolation="repeatable_read", readonly=True),
            ):
                state = await feed.fetchrow(_SQL["feed_state"])
                if state and state["version"] >= tick.version:
                    yield feed
                    return
        if time.monotonic() >= until:
            raise FeedLate
        await asyncio.sleep(_LOOK_AGAIN_S)


def _items(rows: Iterable[asyncpg.Record]) -> dict[Key, FeedItem]:
    return {Key(row["kind"], row["id"]): FeedItem(*row[2:]) for row in rows}

"""One pass: the feed moves to the newest tick, in one transaction."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from outbox import sql
from outbox.connection import translated
from outbox.position import ORIGIN, Position
from outbox.prefetch import read_ahead
from outbox.tables import at_newest_tick
from snapshot_server.feed.affected import Mark, touched_by_all
from snapshot_server.feed.encoding import ENCODING
from snapshot_server.feed.rows import Found, read_items
from snapshot_server.feed.writer import EPISODE, SERIES, FeedWriter, Item, Key, Known, load_state

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from outbox.epochs import Epoch
    from outbox.leases import Lease
    from outbox.tables import AsOf
    from outbox.ticks import Ticks
    from snapshot_server.feed.writer import State

_SQL = sql.load("snapshot_server")
_EVENTS_AT_ONCE = 5000
_ITEMS_AT_ONCE = 1000
_BREATHE_EVERY = 50
_LAST_SEQ = (1 << 20) - 1
_NO_ID = UUID(int=0)
_BEFORE_ALL = Key(0, _NO_ID)


class Projected(NamedTuple):
    """What one pass did."""

    position: Position
    """Up to where the feed is now."""
    events: int
    items: int
    removed: int
    rebuilt: bool
    """All items were compared with the tables."""
    took_s: float


class _Page(NamedTuple):
    """Items to be written, and what the tables have for them."""

    wanted: dict[Key, Mark]
    """By item, what is known of it."""
    rows: Found


class Projection:
    """Brings the feed of one database level with its tables.

    Two transactions work together: one sees the tables as they are at a tick, and never changes
    anything; the other writes items, digest and checkpoint, and commits them together.
    """

    def __init__(
        self, pool: asyncpg.Pool, ticks: Ticks, *, observe_issue: Callable[[str], None]
    ) -> None:
        self._pool = pool
        self._ticks = ticks
        self._observe_issue = observe_issue

    async def follow(self, lease: Lease, epoch: Epoch, *, settled_for: str) -> Projected | None:
        """Move the feed to the newest tick; None when it is there.

        Raises OutboxUnavailable, OutboxDamaged, OutboxReplaced, or LeaseLost; then nothing has
        changed.
        """
        started = time.monotonic()
        async with at_newest_tick(self._pool, settled_for=settled_for) as now:
            state = await load_state(self._pool)
            anew = await self._must_rebuild(state, epoch)
            position = _position(now.position, epoch) if state is None or anew else now.position
            outdated = state is not None and state.encoding != ENCODING
            if state and not anew and not outdated and position.version <= state.version:
                return None
            async with self._writing(state) as feed:
                events = 0
                if state is None:
                    await self._build(feed, now, position.version)
                elif anew:
                    await self._rebuild(feed, now, position.version)
                else:
                    events = await self._catch_up(feed, now, state)
                    if outdated:
                        await self._encode_anew(feed, now)
                    position = max(position, _position_of(state.version))
                await feed.finish(lease, position, epoch=epoch.number, encoding=ENCODING)
        return Projected(
            position, events, feed.items, feed.removed, anew, time.monotonic() - started
        )

    async def _must_rebuild(self, state: State | None, epoch: Epoch) -> bool:
        """Whether the events between the feed and the newest tick may not be all there are."""
        if state is None:
            return True
        begun = state.epoch == 0 and epoch.until == ORIGIN
        if state.epoch != epoch.number and not begun:
            return True
        return await self._ticks.oldest() > _position_of(state.version)

    async def _catch_up(self, feed: FeedWriter, now: AsOf, state: State) -> int:
        """Make anew what the events since *state* touch; how many events there were."""
        events = 0
        with translated():
            await now.connection.execute(_SQL["make_touched"])
            await now.connection.execute(_SQL["index_touched"])
        batches = self._ticks.batches_after(
            _position_of(state.version), size=_EVENTS_AT_ONCE, until=now.position.next
        )
        async with read_ahead(batches, depth=1) as ahead:
            async for batch in ahead:
                events += batch.events
                touches = touched_by_all(batch)
                with translated():
                    await now.connection.execute(
                        _SQL["touch"],
                        [touch.scope for touch in touches],
                        [touch.id for touch in touches],
                        [mark.version for mark in touches.values()],
                        [mark.was_shown for mark in touches.values()],
                    )
        numbering = _Numbering()
        async with read_ahead(self._touched(now), depth=1) as pages:
            async for page in pages:
                known = await feed.known(page.wanted)
                items = await self._items(page, known)
                await feed.write(numbering.of(items), known, encoding=ENCODING)
        return events

    async def _touched(self, now: AsOf) -> AsyncGenerator[_Page, None]:
        """The items that were touched, by version, kind and id."""
        last = (-1, 0, _NO_ID)
        while True:
            with translated():
                found = await now.connection.fetch(_SQL["touched_after"], *last, _ITEMS_AT_ONCE)
            if not found:
                return
            last = (found[-1]["version"], found[-1]["kind"], found[-1]["id"])
            wanted = {
                Key(row["kind"], row["id"]): Mark(row["version"], row["was_shown"]) for row in found
            }
            yield _Page(wanted, await read_items(now.connection, wanted))

    async def _items(self, page: _Page, known: dict[Key, Known]) -> list[Item]:
        """What the feed is to have of the items of *page*, as far as it has or gets any."""
        items = []
        for number, (key, mark) in enumerate(page.wanted.items()):
            if number % _BREATHE_EVERY == 0:
                # Encoding is work for the processor; who is served by this process need not wait.
                await asyncio.sleep(0)
            if item := self._item(key, mark, page.rows, known.get(key)):
                items.append(item)
        return items

    def _item(self, key: Key, mark: Mark, rows: Found, known: Known | None) -> Item | None:
        """What the feed is to have of one item; None when it neither has nor gets anything."""
        if row := rows.get(key):
            for issue in row.issues:
                self._observe_issue(issue)
            return Item(key, mark.version, 0, row.encoded(mark.version))
        # It may have come and gone since the last pass, and a client may have seen it meanwhile.
        is_gone = mark.was_shown or (known is not None and known.is_live)
        return Item(key, mark.version, 0, None) if is_gone else None

    async def _build(self, feed: FeedWriter, now: AsOf, version: int) -> None:
        """Fill the feed from the tables. All items are touched at *version*."""
        await feed.clear()
        numbering = _Numbering()
        async with read_ahead(_all_in_tables(now, version), depth=1) as pages:
            async for page in pages:
                items = await self._items(page, {})
                await feed.fill(numbering.of(items), encoding=ENCODING)

    async def _rebuild(self, feed: FeedWriter, now: AsOf, version: int) -> None:
        """Compare all items with the tables. Those that differ are touched at *version*."""
        numbering = _Numbering()
        async with read_ahead(_all_in_tables(now, version), depth=1) as pages:
            async for page in pages:
                known = await feed.known(page.wanted)
                bodies = await feed.bodies(known)
                items = [
                    item
                    for item in await self._items(page, known)
                    if not _is_same(item, page.rows, known, bodies)
                ]
                await feed.write(numbering.of(items), known, encoding=ENCODING)
        last = _BEFORE_ALL
        while live := await feed.live_after(last, limit=_ITEMS_AT_ONCE):
            last = max(live)
            rows = await read_items(now.connection, live)
            gone = [Item(key, version, 0, None) for key in live if key not in rows]
            await feed.write(numbering.of(gone), live, encoding=ENCODING)

    async def _encode_anew(self, feed: FeedWriter, now: AsOf) -> None:
        """Encode what an earlier version of the encoder made; each item stays where it is."""
        last = _BEFORE_ALL
        while outdated := await feed.outdated_after(last, ENCODING, limit=_ITEMS_AT_ONCE):
            last = max(outdated)
            rows = await read_items(now.connection, outdated)
            items = [
                Item(key, was.version, was.ordinal, rows[key].encoded(was.version))
                for key, was in outdated.items()
            ]
            await feed.write(items, outdated, encoding=ENCODING)

    @asynccontextmanager
    async def _writing(self, state: State | None) -> AsyncIterator[FeedWriter]:
        with translated():
            connection = await self._pool.acquire()
        try:
            async with _transaction(connection):
                yield FeedWriter(connection, state)
        finally:
            with translated():
                await self._pool.release(connection)


class _Numbering:
    """Numbers the items that stand at one version, in the order in which they come."""

    def __init__(self) -> None:
        self._version = -1
        self._next = 0

    def of(self, items: list[Item]) -> list[Item]:
        """*items* with their ordinals."""
        return [Item(key, at, self._number(at), body) for key, at, _, body in items]

    def _number(self, version: int) -> int:
        if version != self._version:
            self._version, self._next = version, 0
        self._next += 1
        return self._next - 1


async def _all_in_tables(now: AsOf, version: int) -> AsyncGenerator[_Page, None]:
    for kind, statement in ((SERIES, "series_after"), (EPISODE, "episodes_after")):
        last = (_NO_ID, _NO_ID)
        mark = Mark(version, was_shown=False)
        while True:
            with translated():
                found = await now.connection.fetch(_SQL[statement], *last, _ITEMS_AT_ONCE)
            if not found:
                break
            last = (found[-1]["series_id"] or _NO_ID, found[-1]["id"])
            wanted = {Key(kind, row["id"]): mark for row in found}
            yield _Page(wanted, await read_items(now.connection, wanted))


def _is_same(
    item: Item, rows: Found, known: dict[Key, Known], bodies: dict[Key, bytes | None]
) -> bool:
    """Whether the feed has just this of the item, at whatever place."""
    was = known.get(item.key)
    if was is None or not was.is_live or item.body is None:
        return False
    return rows[item.key].encoded(was.version) == bodies[item.key]


@asynccontextmanager
async def _transaction(
    connection: asyncpg.Connection | PoolConnectionProxy,
) -> AsyncIterator[None]:
    with translated():
        transaction = connection.transaction()
        await transaction.start()
    try:
        yield
    except BaseException:
        with translated():
            await transaction.rollback()
        raise
    with translated():
        await transaction.commit()


def _position(newest: Position, epoch: Epoch) -> Position:
    """Where a feed stands that was made from the tables at *newest*.

    Never among the positions that the epoch abandoned, nor where no event can be.
    """
    if newest > epoch.until:
        return newest
    if epoch.until == ORIGIN:
        return Position(0, 1)
    # Ticks of this epoch begin with the next millisecond.
    return Position(epoch.until.ms, _LAST_SEQ)


def _position_of(version: int) -> Position:
    return Position(version >> 20, version & _LAST_SEQ)

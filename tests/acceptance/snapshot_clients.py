"""Clients of the snapshot service that break off at random, and what they hold at every end."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self, assert_never

import asyncpg
from feed_truth import Catalog, Fields, Historian, Key, differences, fields_of
from snapshot_forks import TOKEN

from content_proto.content_pb2 import CatalogFeedItem, CatalogSnapshotChunk
from outbox.position import Position
from snapshot_server.client.chunk import Chunk
from snapshot_server.client.client import SnapshotClient
from snapshot_server.client.errors import SyncUnavailable
from snapshot_server.client.patience import Patience
from snapshot_server.client.tally import Mirror
from snapshot_server.errors import CursorExpired

LIMITS = (1, 2, 7, 100)
_PATIENCE = Patience(attempts=20, attempt_s=10, silence_s=12, backoff_cap_s=0.3)
_SYNC_S = 60.0
_BREAKS = 0.07
"""Of the chunks after which a client breaks off."""
_SHOWN = 8
_ALL = (
    "SELECT version, (SELECT coalesce(string_agg(body, ''), '') FROM feed.item) AS bodies"
    " FROM feed.state WHERE version <> $1"
)


class Begin(StrEnum):
    """Where a sync begins."""

    NOTHING = "nothing"
    POSITION = "position"
    """The end of the last one."""
    EVENT = "event"
    """An event of the stream, anywhere in its tick."""
    TICK = "tick"
    """A copy of the tables at a tick, and no versions."""


@dataclass
class Judge:
    """Compares what clients hold with what the tables say, at the very tick."""

    historian: Historian
    ids: deque[str]
    """Of events, as the stream has them; the newest last."""
    counts: Counter[str] = field(default_factory=Counter)
    positions: deque[Position] = field(default_factory=lambda: deque(maxlen=20))
    """Where syncs have ended."""
    _said: dict[tuple[Key, int], tuple[bytes, Fields]] = field(default_factory=dict)

    def fields(self, item: CatalogFeedItem) -> Fields:
        """Of *item*; the same version always says the same, whoever is told it, and when."""
        which = (item.kind, item.id), item.version
        body = item.SerializeToString(deterministic=True)
        if which not in self._said:
            self._said[which] = body, fields_of(item)
        was, fields = self._said[which]
        assert was == body, f"{which} says two things: {fields} and {fields_of(item)}"
        return fields

    async def judge(self, held: Catalog, position: Position, story: str) -> None:
        """Raises AssertionError where *held* is not the catalog as of *position*."""
        self.positions.append(position)
        wrong = differences(held, await self.historian.truth_at(position))
        assert not wrong, f"{story}: {len(wrong)} differences: " + "; ".join(wrong[:_SHOWN])
        self.counts["items compared"] += len(held)

    async def judge_feed(self, connection: asyncpg.Connection, since: int) -> int:
        """The same for all that is stored, unless it is still that of version *since*; its version.

        It is what a client would hold that was told all of it at once.
        """
        found = await connection.fetchrow(_ALL, since)
        if found is None:
            return since
        position = Position.in_tick(0, found["version"])
        held: dict[Key, Fields] = {
            (item.kind, item.id): self.fields(item)
            for item in CatalogSnapshotChunk.FromString(found["bodies"]).items
        }
        await self.judge(held, position, f"the feed at {position}")
        self.counts["feeds compared"] += 1
        return position.version

    async def forget(self) -> None:
        """What was before is not asked for again."""
        await self.historian.forget()
        newest = max(self.positions)
        self.positions.clear()
        self.positions.append(newest)
        self._said.clear()


class Syncer:
    """One client: what it holds, and at which position. It may call any of several servers."""

    def __init__(self, addresses: Sequence[str], judge: Judge, dice: random.Random) -> None:
        self._judge = judge
        self._dice = dice
        # Each begins with another server, and goes on with the others where that one fails.
        self._clients = [
            SnapshotClient(
                ",".join([*addresses[n:], *addresses[:n]]),
                TOKEN,
                patience=_PATIENCE,
                dice=dice.random,
            )
            for n in range(len(addresses))
        ]
        self._opened = AsyncExitStack()
        self.position: Position | None = None
        self._held: dict[Key, Fields] = {}
        self._begins: list[Begin] = []
        self._mirror: Mirror | None = None
        """Counts and digest as a client has them; None if it began without versions."""

    async def __aenter__(self) -> Self:
        """Connect later, at the first call."""
        for client in self._clients:
            await self._opened.enter_async_context(client)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Break off whatever runs."""
        await self._opened.aclose()

    async def sync(self) -> None:
        """Once, from each place where a client may begin in turn, in any order."""
        if not self._begins:
            self._begins = self._dice.sample(list(Begin), len(Begin))
        if self.position is None:
            await self.sync_from_nothing()
            return
        match begin := self._begins.pop():
            case Begin.NOTHING:
                await self.sync_from_nothing()
            case Begin.TICK:
                await self._sync_from_a_tick()
            case Begin.EVENT:
                await self.sync_from(self._known_id(self.position), kind=begin)
            case Begin.POSITION:
                await self.sync_from(str(self.position), kind=begin)
            case _:
                assert_never(begin)

    async def sync_from_nothing(self, *, at_least: str | None = None) -> None:
        """Forget everything, and begin anew."""
        self.position, self._held, self._mirror = None, {}, Mirror()
        await self.sync_from(None, at_least=at_least, kind=Begin.NOTHING)

    async def _sync_from_a_tick(self) -> None:
        # The feed may never have stood there.
        ticks = await self._judge.historian.ticks_since(min(self._judge.positions))
        tick = self._dice.choice(ticks or list(self._judge.positions))
        self._held = dict(await self._judge.historian.truth_at(tick))
        self.position, self._mirror = tick, None
        await self.sync_from(str(tick), kind=Begin.TICK)

    async def sync_from(
        self, cursor: str | None, *, at_least: str | None = None, kind: str
    ) -> None:
        """Until the last chunk, breaking off and going on elsewhere; then compare."""
        counts, first = self._judge.counts, cursor
        at_least = at_least or self._maybe_an_id()
        while True:
            limit = self._dice.choice(LIMITS)
            calls = self._dice.choice(self._clients).sync(
                cursor, at_least=at_least, limit=limit, deadline_s=_SYNC_S
            )
            try:
                async with aclosing(calls) as chunks:
                    async for chunk in chunks:
                        self._apply(chunk)
                        counts[f"chunks of {limit}"] += 1
                        if chunk.position:
                            story = f"from {kind} {first} by {cursor} to {chunk.position}"
                            await self._end(Position.parse(chunk.position), at_least, story)
                            counts[f"ends compared: from {kind}"] += 1
                            return
                        cursor = chunk.next_cursor
                        if self._dice.random() < _BREAKS:
                            break
                counts["broken off"] += 1
            except CursorExpired:
                counts["cursors expired"] += 1
                self.position = None
                return
            except SyncUnavailable as exc:
                counts["given up for a while"] += 1
                _check_same(exc.cursor, cursor)
                await asyncio.sleep(0.1)

    def _apply(self, chunk: Chunk) -> None:
        if self._mirror:
            self._mirror.apply(chunk)
        # Naively, in the order in which it comes.
        for item in chunk.items:
            self._held[item.kind, item.id] = self._judge.fields(item)
        for gone in chunk.removed:
            self._held.pop((gone.kind, gone.id), None)

    async def _end(self, position: Position, at_least: str | None, story: str) -> None:
        assert at_least is None or position >= Position.parse(at_least), f"{story}: < {at_least}"
        assert self.position is None or position >= self.position, f"{story}: < {self.position}"
        self.position = position
        await self._judge.judge(self._held, position, story)
        if self._mirror:
            assert self._mirror.items.keys() == self._held.keys()
            self._judge.counts["digests verified"] += 1

    def _known_id(self, until: Position) -> str:
        """One of the stream that the client has behind it; where there is none, its position."""
        known = [id_ for id_ in self._judge.ids if Position.parse(id_) <= until]
        return self._dice.choice(known or [str(until)])

    def _maybe_an_id(self) -> str | None:
        if self._judge.ids and self._dice.random() < 0.4:
            return self._judge.ids[-1]
        return None


def _check_same(told: str | None, known: str | None) -> None:
    assert told == known, f"to go on from {told}, and the last chunk said {known}"

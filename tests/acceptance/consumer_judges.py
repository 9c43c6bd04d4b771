"""Those who look on while chaos falls upon consumers, and say in the calm what is wrong."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Protocol

import asyncpg
from chaos_check import CONTEXT, TABLES, live_rows

from outbox.position import ORIGIN, Position
from outbox.ticks import Ticks

_AT_ONCE = 2000
_SHOWN = 5


class Observer(Protocol):
    """One of them."""

    async def watch(self, until: float) -> None:
        """Look on while everybody writes, until then."""

    async def wrong(self, end: Position) -> list[str]:
        """What is not as it must be at *end*, while nobody writes; asked until nothing is."""

    async def forget(self, end: Position) -> None:
        """All was well at *end*; what was before is not asked for again."""


class LanesJudge:
    """Effects of the consumer `lanes`: none lost, and those of an entity in its order."""

    def __init__(
        self,
        pool: asyncpg.Pool,
        effects: Path,
        gaps: Path,
        trimmed: set[str],
        counts: Counter[str],
    ) -> None:
        self._ticks = Ticks(pool)
        self._effects, self._gaps_file, self._counts = effects, gaps, counts
        self._trimmed = trimmed
        self._at = 0
        self._since = ORIGIN
        self._done: set[str] = set()
        self._newest: dict[str, Position] = {}
        """The event of each entity that was the last to have its first effect."""
        self._fell_off = 0
        self.out_of_order: list[str] = []

    async def watch(self, until: float) -> None:
        """It reads what was written afterwards."""

    async def wrong(self, end: Position) -> list[str]:
        """Events up to *end* without an effect, and whatever came in the wrong order."""
        gaps = self._gaps()
        self._read(gaps)
        lost, self._fell_off = [], 0
        async for batch in self._ticks.batches_after(self._since, size=_AT_ONCE, until=end.next):
            for event in batch:
                if event.id in self._done:
                    continue
                # Both: it was away, and the consumer was told so.
                if event.id in self._trimmed and _in(gaps, Position.parse(event.id)):
                    self._fell_off += 1
                else:
                    lost.append(f"{event.entity} {event.entity_id}: {event.id} has had no effect")
        return [*self.out_of_order, *lost[:_SHOWN], *([f"{len(lost)} lost"] if lost else [])]

    async def forget(self, end: Position) -> None:
        """Those up to *end* have had their effects."""
        total = Ticks.total_at
        self._counts["events"] += await total(self._ticks, end) - await total(
            self._ticks, self._since
        )
        self._counts["gaps"] = len(self._gaps())
        self._counts["events that lanes fell off of"] += self._fell_off
        self._since = end
        self._done.clear()
        self._trimmed.clear()

    def _read(self, gaps: list[tuple[Position, Position]]) -> None:
        if not self._effects.exists():
            return
        with self._effects.open("rb") as file:
            file.seek(self._at)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(newline)
        for line in whole.decode().splitlines():
            id_, entity_id = line.split()
            position = Position.parse(id_)
            self._counts["effects in lanes"] += 1
            if id_ in self._done or position <= self._since:
                self._counts["duplicates in lanes"] += 1
                continue
            self._done.add(id_)
            # Whoever fell off and was told so goes on behind the gap.
            if position < self._newest.get(entity_id, ORIGIN) and not _in(gaps, position):
                self.out_of_order.append(
                    f"{entity_id}: {id_} had its effect after {self._newest[entity_id]}"
                )
            self._newest[entity_id] = max(position, self._newest.get(entity_id, ORIGIN))

    def _gaps(self) -> list[tuple[Position, Position]]:
        if not self._gaps_file.exists():
            return []
        lines = self._gaps_file.read_text().splitlines()
        pairs = [[Position.parse(word) for word in line.split()] for line in lines]
        return [(after, first) for after, first in pairs]


def _in(gaps: list[tuple[Position, Position]], position: Position) -> bool:
    return any(after < position <= first for after, first in gaps)


class InboxJudge:
    """The state that the consumer `inbox` keeps: that of the tables."""

    def __init__(self, pool: asyncpg.Pool, counts: Counter[str]) -> None:
        self._pool, self._counts = pool, counts

    async def watch(self, until: float) -> None:
        """Its table tells nothing while it is behind."""

    async def wrong(self, end: Position) -> list[str]:
        """Where the two differ."""
        assert end
        async with self._pool.acquire() as connection:
            truth = await live_rows(connection)
            rows = await connection.fetch("SELECT * FROM public.held WHERE live")
        held = {(row["entity"], row["entity_id"]): json.loads(row["fields"]) for row in rows}
        wrong = [f"{key} is held and was deleted" for key in held.keys() - truth.keys()]
        wrong += [f"{key} is missing" for key in truth.keys() - held.keys()]
        for key in held.keys() & truth.keys():
            wrong += [
                f"{key} {name}: {held[key].get(name)!r} instead of {truth[key][name]!r}"
                for name in (*TABLES[key[0]][1], *CONTEXT[key[0]])
                if held[key].get(name) != truth[key][name]
            ]
        if not wrong:
            self._counts["rows of the inbox consumer compared"] += len(truth)
        return wrong

    async def forget(self, end: Position) -> None:
        """Nothing is remembered."""


class SearchJudge:
    """The documents of the consumer `search`: the items of the feed, each at its version."""

    def __init__(self, pool: asyncpg.Pool, index: Path, counts: Counter[str]) -> None:
        self._pool, self._index, self._counts = pool, index, counts

    async def watch(self, until: float) -> None:
        """What is indexed at some moment may be of any position."""

    async def wrong(self, end: Position) -> list[str]:
        """Where the two differ."""
        feed = {
            (row["kind"], str(row["id"])): row["version"]
            for row in await self._pool.fetch(
                "SELECT kind, id, version FROM feed.item WHERE body IS NOT NULL"
            )
        }
        at = await self._pool.fetchval("SELECT version FROM feed.state")
        if at is None or at < end.version:
            return [f"the feed is at {at}, before {end}"]
        if not self._index.exists():
            return ["there is no index"]
        with closing(sqlite3.connect(self._index, timeout=5)) as index:
            rows = index.execute("SELECT kind, id, version FROM item WHERE live").fetchall()
        found = {(kind, id_): version for kind, id_, version in rows}
        wrong = [f"{key} is indexed and not in the feed" for key in found.keys() - feed.keys()]
        wrong += [f"{key} is not indexed" for key in feed.keys() - found.keys()]
        wrong += [
            f"{key} is indexed at {found[key]}, and in the feed at {feed[key]}"
            for key in found.keys() & feed.keys()
            if found[key] != feed[key]
        ]
        if not wrong:
            self._counts["documents compared"] += len(feed)
        return wrong

    async def forget(self, end: Position) -> None:
        """Nothing is remembered."""

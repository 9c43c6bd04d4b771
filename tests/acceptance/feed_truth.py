"""What a client must hold, said by SQL that knows nothing of the feed or of its encoder."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from google.protobuf.json_format import MessageToDict

from content_proto.content_pb2 import CatalogFeedItem
from outbox.position import Position

_HERE = Path(__file__).parent
PAST = (_HERE / "past.sql").read_text("utf-8")
_TRUTH = (_HERE / "feed_truth.sql").read_text("utf-8")
_TICKS = "SELECT ms, events FROM outbox.tick WHERE ms >= $1 ORDER BY ms"
_TICK = "SELECT ms, events, snapshot::text FROM outbox.tick WHERE ms <= $1 ORDER BY ms DESC LIMIT 1"
_TIMES = {"published_at", "start", "end", "release_date"}
_KEPT = 30

Key = tuple[int, str]
"""Kind and id of an item."""
Fields = dict[str, Any]
"""An item without its version."""
Catalog = Mapping[Key, Fields]


class NoTick(AssertionError):
    """A position before the last event of its tick: no client may be told it."""


async def truth_now(connection: asyncpg.Connection | PoolConnectionProxy) -> Catalog:
    """What viewers may see, as *connection* sees the tables."""
    await connection.execute("SET LOCAL search_path = catalog")
    return _catalog(await connection.fetch(_TRUTH))


class Historian:
    """Knows the catalog at every tick, as long as past.sql takes down every change."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()
        self._known: OrderedDict[Position, Catalog] = OrderedDict()

    async def truth_at(self, position: Position) -> Catalog:
        """What viewers might see at *position*. Raises NoTick."""
        async with self._lock:
            if position not in self._known:
                self._known[position] = await self._look(position)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return self._known[position]

    async def ticks_since(self, position: Position) -> list[Position]:
        """Where the ticks from *position* on end, whoever made them."""
        async with self._lock:
            rows = await self._connection.fetch(_TICKS, position.ms)
        return [Position.in_tick(row["ms"], row["events"] - 1) for row in rows]

    async def forget(self) -> None:
        """Begin anew from the newest tick; to be called while nobody writes or compares."""
        async with self._lock:
            await self._connection.execute("SELECT past.forget()")
            self._known.clear()

    async def _look(self, position: Position) -> Catalog:
        tick = await self._connection.fetchrow(_TICK, position.ms)
        if tick is None or Position.in_tick(tick["ms"], tick["events"] - 1) > position:
            raise NoTick(f"{position} is in the middle of a tick: {tick}")
        async with self._connection.transaction():
            await self._connection.execute("SET LOCAL search_path = past")
            await self._connection.execute(f"SET LOCAL past.snapshot = '{tick['snapshot']}'")
            return _catalog(await self._connection.fetch(_TRUTH))


def fields_of(item: CatalogFeedItem) -> Fields:
    """Everything that a client was told of *item*, but for which event touched it."""
    found: Fields = MessageToDict(
        item, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    assert int(found.pop("version")) > 0
    assert found.pop("event_id")
    with_times: Fields = _with_times(found)
    return with_times


def differences(held: Catalog, truth: Catalog) -> list[str]:
    """Where the two are not the same, field by field."""
    wrong = [f"{key} is held and should not be there" for key in held.keys() - truth.keys()]
    wrong += [f"{key} is missing" for key in truth.keys() - held.keys()]
    for key in held.keys() & truth.keys():
        mine, theirs = held[key], truth[key]
        wrong += [
            f"{key} {name}: {mine.get(name)!r} instead of {theirs.get(name)!r}"
            for name in mine.keys() | theirs.keys()
            if mine.get(name) != theirs.get(name)
        ]
    return sorted(wrong)


def _catalog(rows: list[asyncpg.Record]) -> Catalog:
    return {(row["kind"], str(row["id"])): _with_times(json.loads(row["item"])) for row in rows}


def _with_times(value: Any) -> Any:  # noqa: ANN401 - JSON
    """*value* with its times as such: they may be spelled in more than one way."""
    if isinstance(value, dict):
        return {
            name: datetime.fromisoformat(inner) if name in _TIMES else _with_times(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_with_times(inner) for inner in value]
    return value

"""The feed's tables, as the projector writes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from outbox import sql
from outbox.connection import translated
from outbox.errors import LeaseLost
from snapshot_server.digest import item_digest

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from asyncpg.pool import PoolConnectionProxy

    from outbox.leases import Lease
    from outbox.position import Position

_SQL = sql.load("snapshot_server")
_PURGED_AT_ONCE = 1000
_COLUMNS = ("kind", "id", "version", "ordinal", "body", "encoding")
_U64 = 1 << 64
_I64 = 1 << 63

SERIES, EPISODE = 1, 2
"""Kinds, as ItemKind in proto/content.proto."""


class Key(NamedTuple):
    """Which item."""

    kind: int
    id: UUID


class Known(NamedTuple):
    """What the feed has of an item."""

    version: int
    ordinal: int
    is_live: bool


class Item(NamedTuple):
    """What the feed is to have of an item; without a body it was removed."""

    key: Key
    version: int
    ordinal: int
    body: bytes | None


@dataclass(frozen=True, slots=True)
class State:
    """What all items together are; see feed.state in schema.sql."""

    epoch: int
    version: int
    purged: int
    series: int
    episodes: int
    digest: int
    """Unsigned."""
    encoding: int


async def load_state(pool: asyncpg.Pool) -> State | None:
    """What the feed is; None before it was built. Raises OutboxUnavailable."""
    with translated():
        row = await pool.fetchrow(_SQL["feed_state"])
    if row is None:
        return None
    return State(**dict(row) | {"digest": row["digest"] % _U64})


async def purge(pool: asyncpg.Pool, lease: Lease, *, keep_s: float) -> int:
    """Forget removals older than *keep_s*; how many. Raises OutboxUnavailable or LeaseLost."""
    purged = 0
    while True:
        with translated():
            async with pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(
                    _SQL["holds_lease"], lease.name, lease.holder, lease.epoch
                ):
                    raise LeaseLost(f"the lease on {lease.name} is somebody else's by now")
                some = await connection.fetchval(
                    _SQL["purge"], timedelta(seconds=keep_s), _PURGED_AT_ONCE
                )
        purged += some or 0
        if (some or 0) < _PURGED_AT_ONCE:
            return purged


class FeedWriter:
    """Changes of the feed that are committed together, or not at all."""

    def __init__(
        self, connection: asyncpg.Connection | PoolConnectionProxy, before: State | None
    ) -> None:
        self._connection = connection
        # Of a feed that begins nobody knows what was removed before.
        self._purged = before.purged if before else None
        self._digest = before.digest if before else 0
        self._live = Counter(
            {SERIES: before.series, EPISODE: before.episodes} if before else {SERIES: 0, EPISODE: 0}
        )
        self.items = 0
        """How many were written."""
        self.removed = 0
        """How many were removed."""

    async def clear(self) -> None:
        """Have no item, whatever was there."""
        with translated():
            await self._connection.execute(_SQL["clear_feed"])

    async def known(self, keys: Collection[Key]) -> dict[Key, Known]:
        """What the feed has of *keys*."""
        with translated():
            rows = await self._connection.fetch(
                _SQL["items_known"], [key.kind for key in keys], [key.id for key in keys]
            )
        return {
            Key(row["kind"], row["id"]): Known(row["version"], row["ordinal"], row["is_live"])
            for row in rows
        }

    async def live_after(self, key: Key, *, limit: int) -> dict[Key, Known]:
        """What the feed has of the live items that follow *key*, in the order of their keys."""
        with translated():
            rows = await self._connection.fetch(_SQL["items_live_after"], *key, limit)
        return {
            Key(row["kind"], row["id"]): Known(row["version"], row["ordinal"], is_live=True)
            for row in rows
        }

    async def outdated_after(self, key: Key, encoding: int, *, limit: int) -> dict[Key, Known]:
        """What it has of live items after *key* that another version of the encoder made."""
        with translated():
            rows = await self._connection.fetch(_SQL["outdated_after"], *key, encoding, limit)
        return {
            Key(row["kind"], row["id"]): Known(row["version"], row["ordinal"], is_live=True)
            for row in rows
        }

    async def bodies(self, keys: Collection[Key]) -> dict[Key, bytes | None]:
        """The bodies that the feed has of *keys*."""
        with translated():
            rows = await self._connection.fetch(
                _SQL["item_bodies"], [key.kind for key in keys], [key.id for key in keys]
            )
        return {Key(row["kind"], row["id"]): row["body"] for row in rows}

    async def write(
        self, items: Sequence[Item], before: dict[Key, Known], *, encoding: int
    ) -> None:
        """Write *items*; *before* is what the feed has of them."""
        if not items:
            return
        with translated():
            await self._connection.execute(
                _SQL["write_items"],
                [item.key.kind for item in items],
                [item.key.id for item in items],
                [item.version for item in items],
                [item.ordinal for item in items],
                [item.body for item in items],
                encoding,
            )
        self._count(items, before)

    async def fill(self, items: Sequence[Item], *, encoding: int) -> None:
        """Write *items* where there are none: in half the time. Raises LeaseLost.

        Where another projector fills it, too, one of the two has lost the lease.
        """
        records = [(*item.key, item.version, item.ordinal, item.body, encoding) for item in items]
        try:
            with translated():
                await self._connection.copy_records_to_table(
                    "item", schema_name="feed", columns=_COLUMNS, records=records
                )
        except asyncpg.UniqueViolationError as exc:
            raise LeaseLost("another projector has filled the feed meanwhile") from exc
        self._count(items, {})

    def _count(self, items: Sequence[Item], before: dict[Key, Known]) -> None:
        for item in items:
            was = before.get(item.key)
            if was and was.is_live:
                self._digest -= item_digest(*item.key, was.version)
                self._live[item.key.kind] -= 1
            if item.body is not None:
                self._digest += item_digest(*item.key, item.version)
                self._live[item.key.kind] += 1
                self.items += 1
            else:
                self.removed += 1

    async def finish(self, lease: Lease, position: Position, *, epoch: int, encoding: int) -> State:
        """Note that the items are those of *position*. Raises LeaseLost.

        The lease cannot be taken over between this and the commit that is to follow.
        """
        state = State(
            epoch=epoch,
            version=position.version,
            purged=position.version if self._purged is None else self._purged,
            series=self._live[SERIES],
            episodes=self._live[EPISODE],
            digest=self._digest % _U64,
            encoding=encoding,
        )
        with translated():
            await self._connection.execute(
                _SQL["write_feed_state"],
                *(state.epoch, state.version, state.purged, state.series, state.episodes),
                *((state.digest + _I64) % _U64 - _I64, state.encoding),
            )
            moved = await self._connection.fetchval(
                _SQL["move_projector"],
                *(lease.name, lease.holder, lease.epoch, position.ms, position.seq),
            )
        if not moved:
            raise LeaseLost(f"the lease on {lease.name} is somebody else's by now")
        return state

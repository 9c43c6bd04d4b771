"""A catalog in a database, and its feed."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import asyncpg

from benchmarks.errors import ItemsMissing
from benchmarks.programs import PROJECTOR, started
from benchmarks.servers import SQL, Servers
from outbox import sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CATALOG = sql.load("benchmarks", "catalog.sql")

_LOOK_EVERY_S = 0.005
_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Built:
    """A feed that was made anew, or a part of it."""

    items: int
    took_s: float
    peak_mb: float

    @property
    def items_per_s(self) -> float:
        """From the beginning of the pass to its commit."""
        return self.items / self.took_s

    def __str__(self) -> str:
        """For people."""
        return f"{self.items:,} items, {self.items_per_s:,.0f} items/s, {self.peak_mb:.0f} MB"


class Feed:
    """The feed of a catalog of *items*."""

    def __init__(
        self, servers: Servers, dsn: str, connection: asyncpg.Connection, items: int
    ) -> None:
        self.dsn = dsn
        self.items = items
        self.connection = connection
        self._servers = servers

    async def build(self) -> Built:
        """Make the feed anew, with a projector that ends then."""
        await self.connection.execute(CATALOG["forget_feed"])
        await self.connection.execute(SQL["checkpoint"])
        async with started(self._servers, self.dsn, PROJECTOR) as projector:
            said = await projector.said("feed.rebuilt")
            built = Built(said["items"], said["took_ms"] / 1000, projector.peak_mb)
        if built.items != self.items:
            raise ItemsMissing(f"{built.items:,} instead of {self.items:,} were built")
        return built

    async def settle(self) -> None:
        """As after some hours: vacuumed, and nothing left to write to disk."""
        await self.connection.execute(CATALOG["settle_feed"])
        await self.connection.execute(SQL["checkpoint"])

    async def position(self) -> str:
        """Where it is: an event ID."""
        return cast("str", await self.connection.fetchval(CATALOG["feed_position"]))

    async def retitle(self, episodes: int) -> str:
        """Change so many episodes, wait until the feed has them; where it was before."""
        before = await self.position()
        await self.connection.execute(CATALOG["retitle_episodes"], f"New {time.time()}", episodes)
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                if await self.connection.fetchval(CATALOG["items_after"], before) >= episodes:
                    return before
                await asyncio.sleep(_LOOK_EVERY_S)

    async def some_episodes(self, most: int) -> list[str]:
        """IDs."""
        rows = await self.connection.fetch(CATALOG["episode_ids"], most)
        return [str(row["id"]) for row in rows]


@asynccontextmanager
async def catalog(servers: Servers, name: str, items: int) -> AsyncIterator[Feed]:
    """A database with a catalog, whose feed is still to be built."""
    async with servers.database(name, series=False) as dsn, AsyncExitStack() as end:
        connection = await asyncpg.connect(dsn)
        end.push_async_callback(connection.close)
        await connection.execute(CATALOG["create_catalog"])
        await connection.execute(CATALOG["fill_catalog"].replace("$1", str(items)))
        await connection.execute(CATALOG["settle_catalog"])
        # A catalog without any event is not what projectors and clients meet.
        await connection.execute(CATALOG["rename_first_category"], "Drama")
        yield Feed(servers, dsn, connection, items)

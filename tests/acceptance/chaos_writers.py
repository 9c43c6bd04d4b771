"""Admin tools: random transactions on the catalog, whatever happens to PostgreSQL meanwhile."""

# ruff: noqa: S608 - statements are put together out of constants

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Sequence

import asyncpg

LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""The server went away; whether a commit was made then, only the tables tell."""
_REFUSED = (
    asyncpg.DeadlockDetectedError,
    asyncpg.ForeignKeyViolationError,
    asyncpg.NotNullViolationError,
    asyncpg.UniqueViolationError,
    # "new multixact has more than one updating member": seen once; the transaction is undone.
    asyncpg.InternalServerError,
)
_KEPT = 300  # of what keep_adding adds
_BULK = 400


class Writer:
    """One admin tool, over a connection of its own."""

    def __init__(
        self,
        dsn: str,
        dice: random.Random,
        counts: Counter[str],
        statements: Sequence[str] | None = None,
    ) -> None:
        self._dsn = dsn
        self._dice = dice
        self._counts = counts
        self._statements = statements or _STATEMENTS

    async def run(self, until: float) -> None:
        """Write until then, over one connection after the other."""
        while time.monotonic() < until:
            try:
                connection = await asyncpg.connect(self._dsn, timeout=5)
            except LOST:
                await asyncio.sleep(0.1)
                continue
            try:
                while time.monotonic() < until:
                    await self._transact(connection)
            except LOST:
                self._counts["connections lost"] += 1
            finally:
                connection.terminate()

    async def _transact(self, connection: asyncpg.Connection) -> None:
        transaction = connection.transaction()
        await transaction.start()
        try:
            for _ in range(self._dice.choice([1, 1, 2, 3, 8])):
                await self._step(connection)
                if self._dice.random() < 0.04:
                    # Long enough to outlive a good many ticks.
                    await asyncio.sleep(self._dice.random() ** 4)
        except _REFUSED:
            await transaction.rollback()
            self._counts["refused"] += 1
            return
        if self._dice.random() < 0.15:
            await transaction.rollback()
            self._counts["rolled back"] += 1
        else:
            await transaction.commit()
            self._counts["committed"] += 1

    async def _step(self, connection: asyncpg.Connection) -> None:
        if self._dice.random() < 0.2:
            savepoint = connection.transaction()
            await savepoint.start()
            try:
                await self._write(connection)
            except _REFUSED:
                await savepoint.rollback()
                raise
            if self._dice.random() < 0.5:
                await savepoint.rollback()
                self._counts["savepoints rolled back"] += 1
            else:
                await savepoint.commit()
        else:
            await self._write(connection)

    async def _write(self, connection: asyncpg.Connection) -> None:
        statement = self._dice.choice(self._statements)
        numbers = [self._dice.randrange(1, 10**6) for _ in set(re.findall(r"\$\d", statement))]
        await connection.execute(statement, *numbers)


async def keep_adding(dsn: str, dice: random.Random, until: float, counts: Counter[str]) -> None:
    """Write all the time, in nobody's way, so that nothing happens to an idle publisher."""
    added = 0
    while time.monotonic() < until:
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except LOST:
            await asyncio.sleep(0.1)
            continue
        try:
            while time.monotonic() < until:
                # Now and then more than a batch holds, in one statement.
                rows = _BULK if dice.random() < 0.002 else 1
                await connection.execute(_ADD, added, rows)
                added += rows
                await connection.execute(_FORGET, added - _KEPT)
                counts["added"] += rows
                await asyncio.sleep(0.005)
        except LOST:
            counts["connections lost"] += 1
            added += _BULK
        finally:
            connection.terminate()


_ADD = (
    "INSERT INTO catalog.category (slug, name, display_order)"
    " SELECT 'added-' || n, 'Name', n FROM generate_series($1::int + 1, $1::int + $2::int) AS n"
)
_FORGET = "DELETE FROM catalog.category WHERE slug LIKE 'added-%' AND display_order < $1"


def _some(table: str, *, limit: int = 1, where: str = "true") -> str:
    """A few rows of *table*, which $1 picks."""
    order = f"ORDER BY md5(id::text || $1::int) LIMIT {limit}"
    return f"SELECT id FROM catalog.{table} WHERE {where} {order}"


# Each placeholder is a random number. Few slugs, so that writers meet, and deleted rows come back.
_STATEMENTS = [
    (
        "INSERT INTO catalog.category (slug, name) VALUES ('c-' || $1::int % 12, 'N' || $2::int)"
        " ON CONFLICT (slug) DO UPDATE SET name = excluded.name"
    ),
    (
        "INSERT INTO catalog.series (slug, title, synopsis, category_id)"
        " VALUES ('s-' || $1::int % 40, 'Title ' || $2::int, repeat('long ', 500),"
        f" ({_some('category', where='''slug LIKE 'c-%' ''')}))"
        " ON CONFLICT (slug) DO UPDATE SET title = excluded.title"
    ),
    (
        "INSERT INTO catalog.season (series_id, sequence_number, title)"
        f" SELECT id, 1 + $2::int % 3, 'Season ' || $2::int FROM ({_some('series')}) AS s"
        " ON CONFLICT (series_id, sequence_number) DO UPDATE SET title = excluded.title"
    ),
    (
        "INSERT INTO catalog.episode (slug, series_id, title, duration_seconds)"
        f" SELECT 'e-' || $2::int % 200, id, 'E', $2::int % 5000 FROM ({_some('series')}) AS s"
        " ON CONFLICT (slug) DO UPDATE SET duration_seconds = excluded.duration_seconds"
    ),
    (
        "INSERT INTO catalog.media_asset (episode_id, status, manifest_url)"
        " SELECT id, 'READY', 'https://cdn.example.com/' || $2::int || '/m.m3u8'"
        f" FROM ({_some('episode', limit=3)}) AS e"
        " ON CONFLICT (episode_id) DO UPDATE SET manifest_url = excluded.manifest_url"
    ),
    (
        "INSERT INTO catalog.media_asset_variant"
        " (media_asset_id, label, width, height, bitrate_kbps, codec)"
        f" SELECT id, 'v' || $2::int % 3, 1, 1, $2::int, 'h264' FROM ({_some('media_asset')}) AS a"
        " ON CONFLICT (media_asset_id, label) DO UPDATE SET bitrate_kbps = excluded.bitrate_kbps"
    ),
    f"UPDATE catalog.series SET title = 'T ' || $2::int WHERE id IN ({_some('series', limit=5)})",
    f"UPDATE catalog.episode SET title = 'E ' || $2::int WHERE id IN ({_some('episode', limit=9)})",
    "UPDATE catalog.series SET status = 'PUBLISHED' WHERE hashtext(slug || $1::int) % 5 = 0",
    "UPDATE catalog.episode SET tags = ARRAY['t' || $1::int] WHERE hashtext(slug) % 9 = $1 % 9",
    (
        "UPDATE catalog.series SET slug = 's-' || $2::int % 40, tags = ARRAY['a', 'b\"' || $2::int]"
        f" WHERE id IN ({_some('series')})"
    ),
    (
        "UPDATE catalog.episode SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END"
        f" WHERE id IN ({_some('episode', limit=2)})"
    ),
    (
        "UPDATE catalog.series SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END,"
        f" title = 'D ' || $2::int WHERE id IN ({_some('series')})"
    ),
    f"DELETE FROM catalog.episode WHERE id IN ({_some('episode', limit=3)})",
    f"DELETE FROM catalog.media_asset WHERE id IN ({_some('media_asset')})",
    f"DELETE FROM catalog.season WHERE id IN ({_some('season')})",
    f"DELETE FROM catalog.series WHERE id IN ({_some('series')}) AND $2::int % 3 = 0",
    (
        "WITH gone AS (DELETE FROM catalog.media_asset"
        f" WHERE id IN ({_some('media_asset')}) RETURNING id, episode_id)"
        " SELECT count(*) FROM gone"
    ),
]

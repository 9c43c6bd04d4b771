"""Fresh events for rows that are there, so that consumers can fill in what they never saw."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg

from outbox import sql
from outbox.connection import translated
from publisher.errors import BackfillRefused, RowsLocked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from datetime import datetime

_SQL = sql.load("publisher")
# Of one look at the table: the condition is anybody's, and may have no index.
_READ_TIMEOUT_S = 3600.0
_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class Target:
    """Which rows, in the words of SQL."""

    entity: str
    condition: str
    """Empty for all."""
    source: str
    key: str
    live: str
    from_start: str
    after: str

    def statement(self, name: str, after_key: str | None) -> str:
        """The statement *name* of this table, for rows that come after *after_key*."""
        return _SQL[name].format(
            source=self.source,
            key=self.key,
            live=self.live,
            condition=self.condition or "true",
            beyond=self.from_start if after_key is None else self.after,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """How far it has come; outbox.backfill remembers it."""

    id: int
    last_key: str | None
    rows: int
    events: int
    """Fewer than rows, where some were deleted meanwhile."""
    started_at: datetime


async def find(pool: asyncpg.Pool, entity: str, condition: str) -> Target:
    """The table of *entity*. Raises BackfillRefused, OutboxUnavailable."""
    with translated(), _refused():
        rows = await pool.fetch(_SQL["backfill_target"], entity)
        known = [row["entity"] for row in await pool.fetch(_SQL["watched_entities"])]
    if not rows:
        raise BackfillRefused(f"there is no entity {entity!r}; there are {', '.join(known)}")
    if len(rows) > 1:
        tables = ", ".join(row["source"] for row in rows)
        raise BackfillRefused(f"the entity {entity!r} is in several tables: {tables}")
    return Target(entity, condition, **dict(rows[0]))


async def count(pool: asyncpg.Pool, target: Target, after_key: str | None) -> int:
    """How many rows there are. Raises BackfillRefused, OutboxUnavailable."""
    found: int = (await _read(pool, target.statement("backfill_count", after_key), after_key))[0][0]
    return found


async def unfinished(pool: asyncpg.Pool, target: Target) -> Run | None:
    """The same backfill, begun and not finished. Raises BackfillRefused, OutboxUnavailable."""
    with translated(), _refused():
        row = await pool.fetchrow(_SQL["unfinished_backfill"], target.entity, target.condition)
    return Run(**dict(row)) if row else None


async def begin(pool: asyncpg.Pool, target: Target, *, again: bool) -> Run:
    """Go on with one that is not finished, or begin; *again* always begins.

    Raises BackfillRefused, OutboxUnavailable.
    """
    names = (target.entity, target.condition)
    with translated(), _refused():
        if again:
            await pool.execute(_SQL["give_up_backfill"], *names)
        await pool.execute(_SQL["begin_backfill"], *names)
        row = await pool.fetchrow(_SQL["unfinished_backfill"], *names)
    if row is None:
        raise BackfillRefused("another process has just finished the same backfill")
    return Run(**dict(row))


async def backfill(  # noqa: PLR0913 - each is one thing it is handed
    pool: asyncpg.Pool,
    target: Target,
    run: Run,
    *,
    chunk: int,
    has_room: Callable[[], Awaitable[bool]],
    pause: Callable[[float], Awaitable[None]],
    watch: Callable[[Run, str | None], None],
) -> Run:
    """Emit the events, *chunk* rows at a time, while the publisher *has_room* for them.

    *watch* is told how far it is, and what it waits for. Several may do the same one at once.
    Raises BackfillRefused, OutboxUnavailable and what *has_room* does.
    """
    while True:
        watch(run, None)
        while not await has_room():
            watch(run, "waiting for the publisher")
            await pause(_PAUSE_S)
        keys = await _keys(pool, target, run, chunk)
        if not keys:
            if await _finished(pool, run):
                return run
        else:
            try:
                moved = await _emit(pool, target, run, keys)
            except RowsLocked:
                watch(run, "waiting for a writer")
                await pause(_PAUSE_S)
                continue
            if moved:
                run = moved
                continue
        # Another process was quicker: go on from where it is.
        found = await unfinished(pool, target)
        if found is None:
            return run
        run = found


async def _keys(pool: asyncpg.Pool, target: Target, run: Run, chunk: int) -> list[str]:
    statement = target.statement("backfill_keys", run.last_key)
    return [row["key"] for row in await _read(pool, statement, run.last_key, chunk)]


async def _read(pool: asyncpg.Pool, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Read the table with the rights of this connection's user, and without the right to write."""
    with translated(), _refused():
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute(_SQL["plan_freely"])
            rows: list[asyncpg.Record] = await connection.fetch(
                statement, *arguments, timeout=_READ_TIMEOUT_S
            )
    return rows


async def _emit(pool: asyncpg.Pool, target: Target, run: Run, keys: list[str]) -> Run | None:
    """One chunk, with its progress, in one transaction; None if another process did it."""
    with translated(), _refused():
        try:
            async with pool.acquire() as connection, connection.transaction():
                if not await connection.fetchval(_SQL["take_backfill"], run.id, run.last_key):
                    return None
                events = await connection.fetchval(_SQL["emit"], target.source, keys)
                row: Any = await connection.fetchrow(
                    _SQL["advance_backfill"], run.id, keys[-1], len(keys), events
                )
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as exc:
            raise RowsLocked from exc
    return Run(**dict(row))


async def _finished(pool: asyncpg.Pool, run: Run) -> bool:
    with translated():
        return bool(await pool.fetchval(_SQL["finish_backfill"], run.id, run.last_key))


@contextmanager
def _refused() -> Iterator[None]:
    """Raise BackfillRefused, in PostgreSQL's words, for a condition or a right that is wrong."""
    try:
        yield
    except asyncpg.UndefinedTableError as exc:
        if "outbox." in str(exc):
            raise
        raise BackfillRefused(str(exc)) from exc
    except (
        asyncpg.SyntaxOrAccessError,
        asyncpg.DataError,
        asyncpg.CardinalityViolationError,
        asyncpg.FeatureNotSupportedError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.PLPGSQLError,
    ) as exc:
        raise BackfillRefused(str(exc)) from exc

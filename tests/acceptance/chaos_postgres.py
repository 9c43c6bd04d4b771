"""What happens to PostgreSQL, and to publishers by way of it."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from chaos_faults import Fault, Strike
from chaos_world import OutOfReach, World, signal_server
from chaos_writers import LOST

_END_SESSIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE application_name LIKE 'catalog-publisher%'"
)
_END_ONE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name LIKE 'catalog-publisher%' ORDER BY md5(pid::text || $1::int) LIMIT 1"
)
_CANCEL = (
    "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
    " WHERE application_name LIKE 'catalog-publisher%'"
)


@asynccontextmanager
async def sessions_ended(world: World, dice: random.Random) -> AsyncIterator[None]:
    if dice.random() < 0.5:
        await world.sql(_END_SESSIONS)
    else:
        await world.sql(_END_ONE, dice.randrange(10**6))
    yield


@asynccontextmanager
async def statements_cancelled(world: World, dice: random.Random) -> AsyncIterator[None]:
    for _ in range(dice.randrange(1, 20)):
        await world.sql(_CANCEL)
    yield


def restarted(number: signal.Signals) -> Strike:
    """It is ended by *number*, and started again."""

    @asynccontextmanager
    async def strike(world: World, dice: random.Random) -> AsyncIterator[None]:
        assert dice
        async with world.postgres_lock:
            try:
                if number is signal.SIGKILL:
                    await asyncio.to_thread(world.postgres.kill)
                else:
                    signal_server(world.postgres, number)
                    await asyncio.to_thread(world.postgres.wait)
                yield
            finally:
                await asyncio.to_thread(world.postgres.start)

    return strike


@asynccontextmanager
async def in_a_hurry(world: World, dice: random.Random) -> AsyncIterator[None]:
    """Statements of publishers are ended after a few milliseconds."""
    try:
        await world.sql(f"ALTER ROLE relay SET statement_timeout = {dice.choice([1, 2, 5, 20])}")
        await world.sql(_END_SESSIONS)
        yield
    finally:
        await world.sql("ALTER ROLE relay RESET statement_timeout")
        await world.sql(_END_SESSIONS)


def locked(table: str) -> Strike:
    """Somebody holds a lock that nobody gets past."""

    @asynccontextmanager
    async def strike(world: World, dice: random.Random) -> AsyncIterator[None]:
        assert dice
        try:
            connection = await asyncpg.connect(world.dsn, timeout=5)
            try:
                # The lock is let go of however this ends.
                await connection.execute("SET lock_timeout = '3s'")
                await connection.execute(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                yield
            finally:
                connection.terminate()
        except (*LOST, asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as exc:
            raise OutOfReach from exc

    return strike


@asynccontextmanager
async def paused(world: World, dice: random.Random) -> AsyncIterator[None]:
    assert dice
    try:
        await world.sql(_PAUSE)
        yield
    finally:
        await world.sql("UPDATE outbox.control SET paused_at = NULL")


_PAUSE = (
    "INSERT INTO outbox.control AS c (paused_at, paused_by, paused_reason)"
    " VALUES (clock_timestamp(), 'chaos', 'to see what happens')"
    " ON CONFLICT (single) DO UPDATE SET paused_at = excluded.paused_at,"
    " paused_by = excluded.paused_by, paused_reason = excluded.paused_reason"
)


@asynccontextmanager
async def rotated(world: World, dice: random.Random) -> AsyncIterator[None]:
    """Events go into a new partition from now on: no fault, but done under way."""
    assert dice
    try:
        await world.sql("SELECT outbox.rotate('0')")
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as exc:
        raise OutOfReach from exc
    yield


FAULTS = [
    Fault("sessions terminated", sessions_ended),
    Fault("statements cancelled", statements_cancelled),
    Fault("PostgreSQL restarted, fast", restarted(signal.SIGINT), (0, 1)),
    Fault("PostgreSQL restarted, immediate", restarted(signal.SIGQUIT), (0, 1)),
    Fault("PostgreSQL kill -9", restarted(signal.SIGKILL), (0, 1)),
    Fault("statement_timeout", in_a_hurry, (0.5, 2)),
    Fault("lock on outbox.lease", locked("outbox.lease"), (0.5, 1.5)),
    Fault("lock on outbox.tick", locked("outbox.tick"), (0.5, 1.5)),
    Fault("lock on outbox.event", locked("outbox.event"), (0.2, 1)),
    Fault("lock on outbox.checkpoint", locked("outbox.checkpoint"), (0.5, 1.5)),
    Fault("new partition of events", rotated),
    Fault("pause and resume", paused, (0.5, 3)),
]

"""The doorbell: asleep we hear of the next commit at once, awake we cost writers nothing.

A writer's transaction holds a lock in shared mode from its first event to its end. The publisher
goes to sleep by taking that lock for itself: it cannot while such a transaction is open, and a
writer that comes later finds the lock taken and notifies when it commits. So between the two no
commit goes unheard.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncpg
import structlog

from outbox import sql
from outbox.connection import translated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)

_SQL = sql.load("publisher")
_QUIET_LIMIT = 3


class Bell:
    """A connection of its own that listens; opened by *connect* when it is first needed."""

    def __init__(
        self, connect: Callable[[], Awaitable[asyncpg.Connection]], *, enabled: bool
    ) -> None:
        self._connect = connect
        self._enabled = enabled
        self._connection: asyncpg.Connection | None = None
        self._rung = asyncio.Event()
        self._missed = 0
        self._asleep = False

    @property
    def is_asleep(self) -> bool:
        """Whether the next commit will ring."""
        return self._asleep

    async def fall_asleep(self) -> bool:
        """Have the next commit ring, if no writer is under way; whether it will.

        What was committed before this answered may not ring: look once more before waiting.
        Raises OutboxUnavailable.
        """
        if self._enabled and not self._asleep:
            with translated():
                connection = await self._listening()
                self._rung.clear()
                self._asleep = self._enabled and await connection.fetchval(_SQL["take_bell"])
        return self._asleep

    async def wait(self, stop: asyncio.Event, *, timeout_s: float) -> bool:
        """Return when it rings, when *stop* is set, or after *timeout_s*; whether it rang."""
        waits = [asyncio.create_task(event.wait()) for event in (self._rung, stop)]
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return self._rung.is_set()

    async def wake_up(self) -> None:
        """Writers need not ring any more. Raises OutboxUnavailable."""
        self._asleep = False
        with translated():
            if self._connection is not None:
                await self._connection.execute(_SQL["release_bell"])

    def should_have_rung(self) -> None:
        """A commit was found that did not ring. After a few in a row the bell is given up."""
        self._missed = 0 if self._rung.is_set() else self._missed + 1
        if self._missed:
            log.warning("bell.quiet", missed=self._missed)
        if self._missed >= _QUIET_LIMIT:
            log.error("bell.off", hint="is a pooler before PostgreSQL? polling from now on")
            self._enabled = False

    async def close(self) -> None:
        """Let the connection go, and with it the lock."""
        self._asleep = False
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                asyncpg.InternalClientError,
                OSError,
                TimeoutError,
            ):
                await connection.close(timeout=1)

    async def _listening(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            # A prepared transaction cannot have notified: where some are in use nobody may ring.
            if await self._connection.fetchval(_SQL["prepared_transactions_allowed"]):
                log.info("bell.off", hint="max_prepared_transactions is above 0; polling")
                self._enabled = False
            await self._connection.add_listener("outbox.bell", lambda *_: self._rung.set())
        return self._connection

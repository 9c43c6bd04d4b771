"""PostgreSQL's clock: the one by which positions are made. This machine's own may be wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from outbox import sql
from outbox.connection import translated

if TYPE_CHECKING:
    import asyncpg

_SQL = sql.load("outbox")


class ServerClock:
    """Tells the server's time from this machine's, by how far they were apart when it was asked."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._ahead_s = 0.0

    async def ask(self) -> None:
        """Compare the two. Raises OutboxUnavailable."""
        with translated():
            there: float = await self._pool.fetchval(_SQL["now"])
        self._ahead_s = there - time.time()

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._ahead_s

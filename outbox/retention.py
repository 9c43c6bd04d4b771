"""Partitions of the outbox: made ahead of what they are for, dropped behind every reader."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import asyncpg

from outbox import sql
from outbox.connection import translated

if TYPE_CHECKING:
    from collections.abc import Sequence

_SQL = sql.load("outbox")
_DAY_S = 86_400.0


class Reason(StrEnum):
    """What a partition may have to wait for."""

    CHECKPOINT = "checkpoint"
    """A reader has not passed its ticks."""
    TRANSACTION = "transaction"
    """It was under way when the partition was the newest, and may still write there."""
    LOCK = "lock"
    """Somebody reads it, or has written there and not committed."""
    CAPTURE = "capture"
    """A watched table still writes there, or what is watched is being changed."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A partition that cannot be made or dropped yet."""

    partition: str
    reason: Reason
    detail: str
    """Whose checkpoint, which process, which trigger."""

    def __str__(self) -> str:
        """For a log line."""
        return f"{self.partition} waits for {self.reason} {self.detail}"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a call of keep_up came to."""

    created: tuple[str, ...]
    dropped: tuple[str, ...]
    waiting_for: tuple[Wait, ...]


class Retention:
    """The partitions of one outbox. Owns no connection: each call borrows one from *pool*.

    Nothing is dropped that a checkpoint has not passed, nor before each of *readers* has one.
    Any number of processes may do this at once.
    """

    def __init__(self, pool: asyncpg.Pool, readers: Sequence[str] = ()) -> None:
        self._pool = pool
        self._readers = list(readers)

    async def keep_up(self, keep_s: float, *, period_s: float = _DAY_S) -> Kept:
        """Make the partitions that will be needed, drop those with nothing younger than *keep_s*.

        A stretch of events is *period_s* long. Raises OutboxUnavailable.
        """
        created, waits = await self._rotated(period_s)
        dropped: list[str] = []
        while (steps := await self._retired(keep_s)) and steps[-1]["reason"] is None:
            if steps[-1]["dropped"]:
                dropped.append(steps[-1]["partition"])
        waits += [Wait(step["partition"], Reason(step["reason"]), step["detail"]) for step in steps]
        return Kept(tuple(created), tuple(dropped), tuple(waits))

    async def _rotated(self, period_s: float) -> tuple[list[str], list[Wait]]:
        with translated():
            try:
                return await self._pool.fetchval(_SQL["rotate"], timedelta(seconds=period_s)), []
            except asyncpg.LockNotAvailableError as exc:
                return [], [Wait("outbox", Reason.LOCK, str(exc))]

    async def _retired(self, keep_s: float) -> list[asyncpg.Record]:
        """One step, in a transaction of its own: locks are held for a moment."""
        with translated():
            rows: list[asyncpg.Record] = await self._pool.fetch(
                _SQL["retire"], timedelta(seconds=keep_s), self._readers
            )
        return rows

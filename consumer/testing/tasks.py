"""Members that are tasks of this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from zlib import crc32

from consumer.testing.consumers import Context
from consumer.testing.effects import Effect
from outbox.errors import CatalogStreamError

if TYPE_CHECKING:
    from consumer.testing.consumers import Coroutine
    from consumer.testing.members import Trial
    from consumer.testing.proxy import Proxy

_ENDS_WITHIN_S = 10.0
_CANCELS = 100


class Unkillable(CatalogStreamError):
    """A coroutine was cancelled, and goes on."""


class CoroutineMember:
    """A task, killed by cutting it off before it is cancelled."""

    def __init__(self, consumer: Coroutine, name: str, proxy: Proxy, trial: Trial) -> None:
        self.name, self.proxy = name, proxy
        self._trial = trial
        self._alive = True
        self._stop = asyncio.Event()
        self._function = consumer.function
        self._context = Context(
            proxy.url, trial.stream, trial.group, name, effect=self._effect, stop=self._stop
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Let it run."""

        async def run() -> None:
            await self._function(self._context)

        self._task = asyncio.create_task(run(), name=f"member {self.name}")

    async def kill(self) -> None:
        """Cut it off, then cancel it: what it would do on its way out reaches nobody."""
        self._alive = False
        self.proxy.shut()
        if self._task is None:
            return
        for _ in range(_CANCELS):
            # Once is not enough: redis-py may take it for an answer that did not come.
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_ENDS_WITHIN_S / _CANCELS)
            if self._task.done():
                break
        else:
            raise Unkillable(f"{self.name} goes on, however often it is cancelled")
        # Seen: it would be complained of when it is collected.
        _ = self._task.cancelled() or self._task.exception()

    async def leave(self) -> str:
        """Ask it to end; what was wrong with how it did, or ""."""
        assert self._task is not None  # noqa: S101 - for the type checker
        self._stop.set()
        await asyncio.wait([self._task], timeout=_ENDS_WITHIN_S)
        if not self._task.done():
            return f"{self.name} was asked to leave {_ENDS_WITHIN_S:g} s ago, and runs"
        error = None if self._task.cancelled() else self._task.exception()
        return f"{self.name} left with {error!r}" if error else ""

    def ended(self) -> str | None:
        """Its last words if it has ended."""
        if self._task is None or not self._task.done():
            return None
        if self._task.cancelled():
            return "it was cancelled by itself"
        error = self._task.exception()
        return f"{type(error).__name__}: {error}" if error else "it returned"

    async def _effect(self, event_id: str, entity_id: str) -> None:
        # Some take longer than others: who works concurrently must keep the order by himself.
        for _ in range(crc32(event_id.encode()) % 5):
            await asyncio.sleep(0)
        if pause_s := self._trial.slow.get(event_id):
            await asyncio.sleep(pause_s)
        # What a dead one does on its way out is not seen.
        if self._alive:
            self._trial.memory.written.append(Effect(event_id, entity_id))

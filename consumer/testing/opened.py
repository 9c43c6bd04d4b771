"""Opens what a scenario needs, and leaves nothing behind but logs and effects."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from consumer.testing.consumers import Command
from consumer.testing.effects import FileLedger, MemoryLedger, StoreLedger
from consumer.testing.group import Group
from consumer.testing.members import Trial
from consumer.testing.publisher import ScriptedPublisher
from consumer.testing.stage import Stage
from consumer.testing.watch import Watch
from embedded.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from consumer.testing.consumers import Consumer
    from consumer.testing.demands import Demands
    from consumer.testing.effects import Ledger

_IN_MEMORY = {"save": "", "appendonly": "no"}


@asynccontextmanager
async def stage(consumer: Consumer, demands: Demands, folder: Path) -> AsyncIterator[Stage]:
    """A stage over *folder*; a new one."""
    server = Valkey(folder / "redis", _IN_MEMORY, binary=demands.redis_server)
    # It makes the folder.
    await asyncio.to_thread(server.start)
    try:
        with ScriptedPublisher(server.url, demands.stream, seed=demands.seed) as publisher:
            memory, effects_file = MemoryLedger(), FileLedger(folder / "effects")
            ledger = _ledger(consumer, memory, effects_file)
            trial = Trial(
                demands.stream, consumer.group, folder, ledger or memory, memory, effects_file.path
            )
            group = Group(server.url, demands.stream, consumer.group)
            watch = Watch(publisher, group, ledger, consumer.state)
            playing = Stage(consumer, demands, server, trial, watch)
            try:
                async with watch.watching():
                    yield playing
            finally:
                await playing.close()
                await group.close()
    finally:
        await asyncio.to_thread(server.kill)


def _ledger(consumer: Consumer, memory: MemoryLedger, file: FileLedger) -> Ledger | None:
    if consumer.effects is not None:
        return StoreLedger(consumer.effects)
    if consumer.state is not None:
        return None
    return file if isinstance(consumer, Command) else memory

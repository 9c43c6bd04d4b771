"""Opens what a scenario needs, and leaves nothing behind but logs and effects."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
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
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from consumer.testing.consumers import Consumer
    from consumer.testing.demands import Demands
    from consumer.testing.effects import Ledger
    from outbox.event import Event

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
            ledger = _ledger(consumer, memory, effects_file, server.url)
            trial = Trial(
                demands.stream, consumer.group, folder, ledger or memory, memory, effects_file.path
            )
            group = Group(server.url, demands.stream, consumer.group)
            state = consumer.state and partial(_state, consumer.state, server.url)
            watch = Watch(publisher, group, ledger, state)
            playing = Stage(consumer, demands, server, trial, watch)
            try:
                async with watch.watching():
                    yield playing
            finally:
                await playing.close()
                await group.close()
    finally:
        await asyncio.to_thread(server.kill)


def _ledger(
    consumer: Consumer, memory: MemoryLedger, file: FileLedger, redis_url: str
) -> Ledger | None:
    if consumer.effects is not None:
        return StoreLedger(consumer.effects, redis_url)
    if consumer.state is not None:
        return None
    return file if isinstance(consumer, Command) else memory


def _state(
    state: Callable[[Sequence[Event], str], object], redis_url: str, events: Sequence[Event]
) -> object:
    return state(events, redis_url)

"""What every command shares: exit codes, opening the two servers, asking before it acts."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from rich.console import Console

from outbox.errors import CatalogStreamError, OutboxUnavailable, StreamRefused, StreamUnavailable
from outbox.ticks import Ticks
from publisher.store import connections
from publisher.store.stream import EventStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    import asyncpg
    from redis.asyncio import Redis

    from publisher.settings import Settings

screen = Console()
"""For results, on standard output."""
notes = Console(stderr=True)
"""For everything else: progress, questions, errors."""


class Exit(IntEnum):
    """Exit codes."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    DEGRADED = 3
    UNREACHABLE = 4


@dataclass(frozen=True, slots=True)
class Servers:
    """Both servers, for the length of one command."""

    pool: asyncpg.Pool
    redis: Redis
    ticks: Ticks
    streams: list[EventStream]
    """One for each partition."""


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Servers]:
    """Connections that open when they are first used."""
    async with (
        connections.postgres_pool(settings) as pool,
        connections.redis_client(settings) as redis,
    ):
        streams = [EventStream(redis, key) for key in settings.stream_keys]
        yield Servers(pool, redis, Ticks(pool), streams)


async def reported(work: Awaitable[int]) -> int:
    """The exit code of *work*; what it raises is said on standard error."""
    try:
        return await work
    except (OutboxUnavailable, StreamUnavailable, StreamRefused) as exc:
        notes.print(f"[red]{exc}", highlight=False)
        return Exit.UNREACHABLE
    except CatalogStreamError as exc:
        notes.print(f"[red]{exc}", highlight=False)
        return Exit.FAILED


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether to go on; where nobody can be asked, only if *yes* was given."""
    if yes:
        return True
    if not sys.stdin.isatty():
        notes.print("Not done: nobody to ask. Give --yes (make: YES=1).")
        return False
    notes.print(f"{question} \\[y/N] ", end="")
    return input().strip().lower() in {"y", "yes"}

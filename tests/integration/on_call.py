"""A system as on-call finds it: an outbox, its streams, and the commands that are typed."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
from publishing import OnePass, outbox_pool, write

from outbox.batch import Share
from process.redis import connection as redis_connection
from publisher.settings import Settings
from publisher.survey.group_status import GroupStatus
from publisher.survey.status import Status
from publisher.survey.survey import survey

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class System:
    """An outbox and the streams of its partitions."""

    settings: Settings
    pool: asyncpg.Pool
    redis: Any
    """redis-py types every answer as all that any of its settings could make of it."""
    connection: asyncpg.Connection

    async def write(self, *entities: str) -> None:
        """One event of each of *entities*, each in a transaction of its own."""
        for entity in entities:
            await write(self.connection, entity)

    async def publish(self) -> None:
        """What is committed goes to the streams."""
        of = self.settings.partitions
        for number, key in enumerate(self.settings.stream_keys):
            one_pass = OnePass(self.pool, self.redis, key=key, share=Share(number, of))
            await one_pass.publish(asyncio.Event())

    async def look(self, *, later_s: float = 0.0) -> Status:
        """The status, as it would be *later_s* from now."""
        return await survey(
            self.settings, self.pool, self.redis, clock=lambda: time.time() + later_s
        )

    async def group(self, *, later_s: float = 0.0) -> GroupStatus:
        """The only group that there is."""
        status = await self.look(later_s=later_s)
        [group] = [group for stream in status.streams for group in stream.groups]
        return group


@asynccontextmanager
async def system_of(
    environment: Mapping[str, str], connection: asyncpg.Connection
) -> AsyncIterator[System]:
    """The system that *environment* names; *connection* is one of its writers."""
    settings = Settings.from_environment(environment)
    async with (
        outbox_pool(settings.database_url) as pool,
        redis_connection.client(settings.redis_url) as redis,
    ):
        yield System(settings, pool, redis, connection)


async def typed(environment: Mapping[str, str], *command: str) -> tuple[int, str, str]:
    """Type *command* of the publisher, with nobody to ask: (exit code, result, notes)."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "publisher", *command),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()

"""Storm and calm in turn, for the feed: writers, clients, and processes that are killed."""

# ruff: noqa: S311 - the dice are to fall the same again

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
from catalog_writers import FILLED, STATEMENTS
from chaos_writers import Writer
from feed_truth import PAST, differences, truth_now
from processes import Publisher, eventually
from redis.asyncio import Redis
from redis_servers import free_port
from snapshot_clients import Begin, Judge, Syncer
from snapshot_forks import Fork, SnapshotNursery

from outbox.position import ORIGIN
from outbox.tables import at_newest_tick

_KEY = "catalog:events"
_ROLE = "feed"
_SERVERS, _PROJECTORS, _WRITERS, _SYNCERS, _TAILERS = 3, 2, 6, 4, 2
KEEP_S = 4.0
"""For how long removals are kept."""
_STORM_S = 10.0
_LOOK_S = 0.005
_LEVEL_WITHIN_S = 60.0
_HOLDER = "SELECT holder FROM outbox.lease WHERE name = 'projector' AND expires_at > now()"


@dataclass
class World:
    """The database, the stream, and the processes around them."""

    dsn: str
    redis_url: str
    folder: Path
    nursery: SnapshotNursery
    ports: list[int] = field(default_factory=lambda: [free_port() for _ in range(_SERVERS)])
    servers: list[Fork] = field(default_factory=list)
    projectors: list[Fork] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _publisher: Publisher | None = None

    def start(self, dice: random.Random) -> None:
        """Start all processes."""
        environment = {"DATABASE_URL": self.dsn, "REDIS_URL": self.redis_url}
        self._publisher = Publisher(self.folder / "publisher.log", environment)
        self.servers = [self.start_server(number, dice) for number in range(_SERVERS)]
        self.projectors = [self.start_projector() for _ in range(_PROJECTORS)]

    def start_server(self, number: int, dice: random.Random) -> Fork:
        """One at its port; the first may be the projector, too."""
        return self._start(
            GRPC_BIND_ADDRESS=f"127.0.0.1:{self.ports[number]}",
            SNAPSHOT_PROJECTOR="off" if number else "on",
            SNAPSHOT_MAX_CHUNK_BYTES=dice.choice(["1024", "4000", "1048576"]),
        )

    def start_projector(self) -> Fork:
        return self._start("projector")

    def check(self) -> None:
        """See that none has ended by itself."""
        for program in [*self.servers, *self.projectors]:
            assert program.is_running, f"it ended by itself:\n{program.tail()}"

    def end(self) -> None:
        """Leave no publisher behind; its nursery ends the others."""
        if self._publisher:
            self._publisher.kill()

    def _start(self, *words: str, **settings: str) -> Fork:
        self.counts["processes started"] += 1
        # With the rights that it is promised to do with, and no others.
        settings["DATABASE_URL"] = self.dsn.replace("postgres@", f"{_ROLE}@")
        return self.nursery.start(*words, **settings)


async def prepare(connection: asyncpg.Connection) -> None:
    """A catalog to begin with, whose every change is taken down, and a user for the feed."""
    await connection.execute(PAST)
    for statement in FILLED:
        await connection.execute(statement)
    await connection.execute(f"CREATE ROLE {_ROLE} LOGIN IN ROLE feed_projector, feed_reader")


class Storm:
    """Everything that goes on in *world* at the same time."""

    def __init__(self, world: World, judge: Judge, seed: int, seconds: float) -> None:
        self._world, self._judge = world, judge
        self._dice = random.Random(seed)
        self._seconds = seconds

    async def rage(self, pool: asyncpg.Pool, redis: Redis) -> None:
        """Storms, and a calm after each, in which all must be the same."""
        world = self._world
        world.start(self._one())
        async with AsyncExitStack() as opened:
            addresses = [f"127.0.0.1:{port}" for port in world.ports]
            clients = [
                await opened.enter_async_context(Syncer(addresses, self._judge, self._one()))
                for _ in range(_SYNCERS + _TAILERS)
            ]
            reading = await opened.enter_async_context(_remembering(redis, self._judge))
            await self._calm(pool, clients)
            started = time.monotonic()
            while (left_s := self._seconds - (time.monotonic() - started)) > 0:
                await self._rage_until(time.monotonic() + min(_STORM_S, left_s), clients, redis)
                assert not reading.done()
                world.check()
                await self._calm(pool, clients)
                await self._judge.forget()
                world.counts["storms"] += 1

    async def _rage_until(self, until: float, clients: list[Syncer], redis: Redis) -> None:
        world = self._world
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WRITERS):
                writer = Writer(world.dsn, self._one(), world.counts, STATEMENTS)
                tasks.create_task(writer.run(until))
            for client in clients[:_SYNCERS]:
                tasks.create_task(_again_and_again(client.sync, until))
            for client in clients[_SYNCERS:]:
                tasks.create_task(_again_and_again(partial(_tail, client, redis), until))
            tasks.create_task(self._watch(until))
            tasks.create_task(self._kill_servers(self._one(), until))
            tasks.create_task(self._kill_projectors(self._one(), until))

    async def _calm(self, pool: asyncpg.Pool, clients: list[Syncer]) -> None:
        """Nobody writes: every client comes to the end, and holds what the tables hold."""
        async with at_newest_tick(pool) as now:
            truth, end = await truth_now(now.connection), now.position
        assert differences(await self._judge.historian.truth_at(end), truth) == []
        async with asyncio.timeout(_LEVEL_WITHIN_S):
            for client in clients:
                if client is clients[0]:
                    await client.sync_from_nothing(at_least=str(end))
                while client.position is None or client.position < end:
                    await _catch_up(client, str(end))
        self._judge.counts["ends compared: in calm"] += len(clients)

    async def _watch(self, until: float) -> None:
        """Look at the feed itself: there are more of its states than of clients' ends."""
        connection = await asyncpg.connect(self._world.dsn)
        try:
            version = 0
            while time.monotonic() < until:
                version = await self._judge.judge_feed(connection, version)
                await asyncio.sleep(_LOOK_S)
        finally:
            await connection.close()

    async def _kill_servers(self, dice: random.Random, until: float) -> None:
        world = self._world
        while time.monotonic() < until:
            await asyncio.sleep(dice.uniform(0.3, 2.5))
            number = dice.randrange(_SERVERS)
            await self._end_one(world.servers[number], dice)
            await asyncio.sleep(dice.uniform(0, 0.5))
            world.servers[number] = world.start_server(number, dice)

    async def _kill_projectors(self, dice: random.Random, until: float) -> None:
        world = self._world
        while time.monotonic() < until:
            await asyncio.sleep(dice.uniform(1.5, 7))
            if (number := await self._which_projects()) is None:
                number = dice.randrange(_PROJECTORS)
            if dice.random() < 0.2:
                # Past its lease, and then on as if nothing were.
                world.projectors[number].send(signal.SIGSTOP)
                await asyncio.sleep(dice.uniform(0.5, 4.5))
                world.projectors[number].send(signal.SIGCONT)
                world.counts["projectors frozen"] += 1
                continue
            await self._end_one(world.projectors[number], dice)
            world.projectors[number] = world.start_projector()

    async def _end_one(self, program: Fork, dice: random.Random) -> None:
        assert program.is_running, f"it ended by itself:\n{program.tail()}"
        if dice.random() < 0.75:
            program.kill()
            self._world.counts["killed"] += 1
        else:
            await program.stop(within_s=15)
            self._world.counts["asked to end"] += 1

    async def _which_projects(self) -> int | None:
        """The number of the projector that holds the lease, if it is one of those."""
        connection = await asyncpg.connect(self._world.dsn)
        try:
            holder = await connection.fetchval(_HOLDER)
        finally:
            await connection.close()
        pids = [program.pid for program in self._world.projectors]
        pid = int(holder.split("/")[1]) if holder else 0
        return pids.index(pid) if pid in pids else None

    def _one(self) -> random.Random:
        """Dice of one's own, so that whoever comes first changes nothing for the others."""
        return random.Random(self._dice.random())


async def _again_and_again(work: Callable[[], Awaitable[None]], until: float) -> None:
    while time.monotonic() < until:
        await work()


async def _catch_up(client: Syncer, at_least: str) -> None:
    """Come to the end, but for a cursor that has expired."""
    if client.position is None:
        await client.sync_from_nothing(at_least=at_least)
    else:
        await client.sync_from(str(client.position), at_least=at_least, kind=Begin.POSITION)


async def _tail(client: Syncer, redis: Redis) -> None:
    """Follow the stream from where the client is: what came is asked for, and must be there."""
    if client.position is None:
        await client.sync_from_nothing()
        return
    found: Any = await redis.xread({_KEY: str(client.position)}, count=50, block=100)
    if found:
        last = found[0][1][-1][0]
        await client.sync_from(str(client.position), at_least=last, kind="tailing")


@asynccontextmanager
async def _remembering(redis: Redis, judge: Judge) -> AsyncIterator[asyncio.Task[None]]:
    """Take down the IDs of the stream's events as they come."""
    over = asyncio.Event()

    async def read() -> None:
        last = str(ORIGIN)
        while not over.is_set():
            found: Any = await redis.xread({_KEY: last}, count=500, block=100)
            for _, entries in found or ():
                judge.ids.extend(id_ for id_, _ in entries)
                last = entries[-1][0]

    task = asyncio.create_task(read())
    try:
        await eventually(lambda: _true_of(judge))
        yield task
    finally:
        over.set()
        with suppress(asyncio.CancelledError):
            await task


async def _true_of(judge: Judge) -> bool:
    return bool(judge.ids)

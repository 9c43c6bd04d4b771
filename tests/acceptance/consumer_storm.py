"""Storm and calm in turn, for consumers: killed, frozen, and Redis lost or trimmed under them."""

# ruff: noqa: S311 - the dice are to fall the same again

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
import pytest
from catalog_writers import STATEMENTS
from chaos_writers import Writer
from consumer_forks import ConsumerFork, ConsumerNursery
from consumer_judges import Observer
from consumer_roles import INBOX, LANES, LEASE_S, SEARCH
from processes import Publisher
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis_servers import free_port
from snapshot_forks import Fork, SnapshotNursery

from embedded.valkey import Valkey
from outbox.position import Position
from outbox.tables import at_newest_tick

KEY = "catalog:events"
MEMBERS = {LANES: 3, INBOX: 2, SEARCH: 1}
# A few entities of which there is always news, beside all that can happen to a catalog.
_NEWS = (
    "INSERT INTO catalog.category (slug, name) VALUES ('n-' || $1::int % 30, 'N' || $2::int)"
    " ON CONFLICT (slug) DO UPDATE SET name = excluded.name"
)
_WRITERS = [STATEMENTS, STATEMENTS, [_NEWS], [_NEWS]]
_STORM_S = 8.0
_LEVEL_WITHIN_S = 60.0
_SHOWN = 10
_FROZEN_S = 2 * LEASE_S


@dataclass
class World:
    """The servers, and the processes around them."""

    dsn: str
    store: Valkey
    folder: Path
    snapshots: SnapshotNursery
    consumers: ConsumerNursery
    port: int = field(default_factory=free_port)
    trimmed: set[str] = field(default_factory=set)
    """IDs of entries that were, since the last calm."""
    counts: Counter[str] = field(default_factory=Counter)
    members: list[ConsumerFork] = field(default_factory=list)
    server: Fork | None = None
    _publisher: Publisher | None = None

    def start(self) -> None:
        """Start all processes."""
        environment = {"DATABASE_URL": self.dsn, "REDIS_URL": self.store.url}
        self._publisher = Publisher(self.folder / "publisher.log", environment)
        self.start_server()
        for role, count in MEMBERS.items():
            self.members += [self.consumers.start(role) for _ in range(count)]

    def start_server(self) -> None:
        """The snapshot server, which also projects."""
        self.server = self.snapshots.start(
            DATABASE_URL=self.dsn,
            GRPC_BIND_ADDRESS=f"127.0.0.1:{self.port}",
            SNAPSHOT_PROJECTOR="on",
        )

    def check(self) -> None:
        """See that none has ended by itself."""
        assert self._publisher
        assert self._publisher.is_running, self._publisher.text()[-3000:]
        for member in self.members:
            assert member.is_running, f"{member.role} ended by itself:\n{member.tail()}"

    def end(self) -> None:
        """Leave no publisher behind; the nurseries end the others."""
        if self._publisher:
            self._publisher.kill()


class Storm:
    """Everything that goes on in *world* at the same time; *observers* say what is wrong."""

    def __init__(
        self, world: World, observers: Sequence[Observer], seed: int, seconds: float
    ) -> None:
        self._world, self._observers = world, observers
        self._dice = random.Random(seed)
        self._seconds = seconds

    async def rage(self, pool: asyncpg.Pool) -> None:
        """Storms, and a calm after each, in which all must be as it should."""
        world = self._world
        world.start()
        await self._calm(pool)
        started = time.monotonic()
        while (left_s := self._seconds - (time.monotonic() - started)) > 0:
            await self._rage_until(time.monotonic() + min(_STORM_S, left_s))
            world.check()
            await self._calm(pool)
            world.counts["storms"] += 1

    async def _rage_until(self, until: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            for statements in _WRITERS:
                writer = Writer(self._world.dsn, self._one(), self._world.counts, statements)
                tasks.create_task(writer.run(until))
            for observer in self._observers:
                tasks.create_task(observer.watch(until))
            tasks.create_task(self._strike_members(self._one(), until))
            tasks.create_task(self._strike_redis(self._one(), until))
            tasks.create_task(self._strike_server(self._one(), until))

    async def _calm(self, pool: asyncpg.Pool) -> None:
        """Nobody writes: whatever is behind comes level, and holds what it must."""
        async with at_newest_tick(pool) as now:
            end = now.position
        started = time.monotonic()
        for observer in self._observers:
            while wrong := await observer.wrong(end):
                if time.monotonic() - started > _LEVEL_WITHIN_S:
                    self._fail(observer, end, wrong)
                self._world.check()
                await asyncio.sleep(0.1)
            await observer.forget(end)
        self._world.counts["ms until all was level, at most"] = max(
            self._world.counts["ms until all was level, at most"],
            round((time.monotonic() - started) * 1000),
        )

    def _fail(self, observer: Observer, end: Position, wrong: list[str]) -> None:
        said = "\n".join(wrong[:_SHOWN])
        ends = "\n\n".join(f"{m.log_file.name}:\n{m.tail()[-1500:]}" for m in self._world.members)
        pytest.fail(f"{type(observer).__name__} at {end}: {len(wrong)} wrong:\n{said}\n\n{ends}")

    async def _strike_members(self, dice: random.Random, until: float) -> None:
        world = self._world
        while time.monotonic() < until:
            await asyncio.sleep(dice.uniform(0.1, 0.6))
            number = dice.randrange(len(world.members))
            member = world.members[number]
            assert member.is_running, f"{member.role} ended by itself:\n{member.tail()}"
            match dice.choice(["kill", "kill", "kill", "freeze", "freeze", "leave", "away"]):
                case "away":
                    await self._take_away(member.role)
                    continue
                case "kill":
                    member.kill()
                case "leave":
                    await member.stop(within_s=15)
                case _:
                    # Past its lease, as a rule, and then on as if nothing were.
                    member.send(signal.SIGSTOP)
                    await asyncio.sleep(dice.uniform(0, _FROZEN_S))
                    member.send(signal.SIGCONT)
                    world.counts["members frozen"] += 1
                    continue
            world.counts[f"members of {member.role} ended"] += 1
            await asyncio.sleep(dice.choice([0, 0, LEASE_S]))
            world.members[number] = world.consumers.start(member.role)

    async def _take_away(self, role: str) -> None:
        """All members of a group are gone for long enough that they may fall off the stream."""
        members = self._world.members
        numbers = [number for number, member in enumerate(members) if member.role == role]
        for number in numbers:
            members[number].kill()
        await asyncio.sleep(LEASE_S)
        async with Redis.from_url(self._world.store.url, retry=Retry(NoBackoff(), 0)) as redis:
            with suppress(RedisError, OSError):
                await self._trim(redis, 0)
        for number in numbers:
            members[number] = self._world.consumers.start(role)
        self._world.counts[f"all of {role} away"] += 1

    async def _strike_redis(self, dice: random.Random, until: float) -> None:
        store, counts = self._world.store, self._world.counts
        async with Redis.from_url(store.url, retry=Retry(NoBackoff(), 0)) as redis:
            strikes: dict[str, Callable[[], object]] = {
                "FLUSHALL": redis.flushall,
                "stream deleted": lambda: redis.delete(KEY),
                "stream trimmed": lambda: self._trim(redis, dice.randrange(200)),
                "trimmed to nothing": lambda: self._trim(redis, 0),
                "connections cut": lambda: redis.client_kill_filter(_type="normal", skipme=True),
                "restarted without its data": self._restart,
            }
            while time.monotonic() < until:
                await asyncio.sleep(dice.uniform(0.2, 1.5))
                name = dice.choice(list(strikes))
                with suppress(RedisError, OSError):
                    await strikes[name]()  # type: ignore[misc]
                    counts[name] += 1

    async def _trim(self, redis: Redis, keep: int) -> None:
        """As somebody may who thinks that nobody needs it any more."""
        async with redis.pipeline(transaction=True) as both:
            both.xrange(KEY)
            both.xtrim(KEY, keep, approximate=False)
            entries, gone = await both.execute()
        self._world.trimmed |= {id_.decode() for id_, _ in entries[:gone]}

    async def _restart(self) -> None:
        await asyncio.to_thread(self._world.store.kill)
        await asyncio.to_thread(self._world.store.start)

    async def _strike_server(self, dice: random.Random, until: float) -> None:
        world = self._world
        while time.monotonic() < until:
            await asyncio.sleep(dice.uniform(1, 4))
            assert world.server
            assert world.server.is_running, world.server.tail()
            world.server.kill()
            await asyncio.sleep(dice.uniform(0, 0.5))
            world.start_server()
            world.counts["snapshot servers killed"] += 1

    def _one(self) -> random.Random:
        """Dice of one's own, so that whoever comes first changes nothing for the others."""
        return random.Random(self._dice.random())

"""Storm and calm in turn: faults while everybody writes, and then everything must be published."""

# ruff: noqa: S311 - the dice are to fall the same again

import asyncio
import random
import time
from dataclasses import dataclass

import chaos_failover
import chaos_postgres
import chaos_processes
import chaos_redis
import pytest
from chaos_faults import Deck
from chaos_reader import Reader
from chaos_world import World
from chaos_writers import Writer, keep_adding

_WRITERS = 10
_STORM_S = 30.0
_CALM_WITHIN_S = 60.0
# What kills and what loses comes up more often, so that a short run has its share of it.
_HEAVY = [*chaos_processes.FAULTS, *chaos_redis.LOSSES, *chaos_failover.LOSSES]
_LIGHT = [*chaos_redis.FAULTS, *chaos_failover.FAULTS, *chaos_postgres.FAULTS]


@dataclass(frozen=True)
class Episode:
    """One run on servers of its own."""

    seed: int
    seconds: float
    partitions: int

    def __str__(self) -> str:
        """As it is asked for again."""
        return f"SEED={self.seed} SECONDS={self.seconds:g} PARTITIONS={self.partitions}"


class Storm:
    """Everything that goes on in *world* at the same time."""

    def __init__(self, episode: Episode, world: World) -> None:
        self._dice = random.Random(episode.seed)
        self._seconds = episode.seconds
        self._world = world
        self.heavy = Deck(_HEAVY, self._one(), pause_s=(0.2, 2))
        self.light = Deck(_LIGHT, self._one(), pause_s=(0.5, 4))
        # Rare: while somebody else writes, events that are not in the stream yet change their IDs.
        self._with_foreign = episode.partitions == 1 and self._dice.random() < 0.5
        self.reader = Reader(world.redis_url, world.keys, self._one())
        self.recoveries_s: list[float] = []
        self._publishers = self._dice.choice([2, 3])

    async def rage(self) -> None:
        """Faults, and calm after them, again and again; healthy when this returns."""
        world, stop = self._world, asyncio.Event()
        world.publishers = [world.start_publisher() for _ in range(self._publishers)]
        async with asyncio.TaskGroup() as reading:
            reading.create_task(self.reader.run(stop))
            try:
                await self._recovered("start")
                async with asyncio.TaskGroup() as writing:
                    await self._alternate(writing)
                # Some of them have committed since the last calm.
                await self._recovered("end")
            finally:
                # It may take a cancellation for an answer that did not come.
                stop.set()

    async def _alternate(self, writing: asyncio.TaskGroup) -> None:
        world = self._world
        until = time.monotonic() + self._seconds
        for _ in range(_WRITERS):
            writing.create_task(Writer(world.dsn, self._one(), world.counts).run(until))
        writing.create_task(keep_adding(world.dsn, self._one(), until, world.counts))
        while time.monotonic() < until:
            calm = min(until, time.monotonic() + _STORM_S)
            imps = (self.heavy, self.light, self.light)
            await asyncio.gather(*(imp.play(world, self._one(), calm) for imp in imps))
            if self._with_foreign:
                await chaos_redis.write_foreign(world, self._dice)
            world.counts["IDs that a reader saw before calm"] = len(self.reader)
            self.recoveries_s.append(await self._recovered(str(len(self.recoveries_s))))

    async def _recovered(self, name: str) -> float:
        """Write now that all is healthy, and see it come; what was written before is there, too."""
        world = self._world
        world.check_publishers()
        started = time.monotonic()
        marks = await world.sql(_MARK, f"{name}-", 8 * len(world.keys))
        if missing := await self.reader.wait_for(set(marks), within_s=_CALM_WITHIN_S):
            ends = "\n".join(publisher.text()[-2000:] for publisher in world.publishers)
            pytest.fail(f"{len(missing)} of {len(marks)} new events did not come:\n{ends}")
        return time.monotonic() - started

    def _one(self) -> random.Random:
        """Dice of one's own, so that whoever comes first changes nothing for the others."""
        return random.Random(self._dice.random())


_MARK = (
    "WITH new AS (INSERT INTO catalog.category (slug, name)"
    " SELECT $1::text || n, 'Name' FROM generate_series(1, $2::int) AS n"
    " ON CONFLICT (slug) DO UPDATE SET name = excluded.name RETURNING id)"
    " SELECT array_agg(id::text) FROM new"
)

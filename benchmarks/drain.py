"""How fast what has waited reaches the stream, and in how much memory."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import asyncpg

from benchmarks import pipes
from benchmarks.errors import EventsMissing
from benchmarks.programs import PUBLISHER, TEXTBOOK, Program, started
from benchmarks.rounds import alternate
from benchmarks.row import Row
from benchmarks.servers import SQL, STREAM_KEY, Servers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from redis.asyncio import Redis

    from benchmarks.screen import Screen

_PER_TICK = 1000
_LOOK_EVERY_S = 0.005
_LOOK_AT_MEMORY_EVERY = 20  # looks
_TIMEOUT_S = 600.0
_NAMES = {10_000: "10k", 300_000: "300k", 1_000_000: "1M", 5_000_000: "5M"}
_OPEN = "open transaction"
_ALSO_SHARED = (300_000, 1_000_000)
_PEERS = ("textbook", "pipe_floor", "redis_benchmark")


@dataclass(frozen=True)
class Drained:
    """One backlog on its way into the stream."""

    events_per_s: float
    """From the first entry to the last."""
    first_entry_s: float
    """From the start of the program."""
    peak_mb: float

    def __str__(self) -> str:
        """For people."""
        return (
            f"{self.events_per_s:,.0f} events/s, first after {self.first_entry_s:.2f} s,"
            f" {self.peak_mb:.0f} MB"
        )


Runs = dict[str, "Callable[[], Awaitable[Drained]]"]
Results = dict[str, list[Drained]]


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """Backlogs of several sizes: as one tick, as many, and beside a transaction that stays open."""
    sizes = {10_000: 1, 300_000: 1} if quick else {10_000: 5, 1_000_000: 3, 5_000_000: 2}
    most_for_textbook = 10_000 if quick else 50_000
    if not pipes.redis_cli():
        screen.warn("redis-cli is not installed: the peer pipe_floor is left out.")
    if not pipes.redis_benchmark():
        screen.warn("redis-benchmark is not installed: the peer redis_benchmark is left out.")
    rows: list[Row] = []
    async with servers.database("drain") as dsn, servers.redis() as redis, AsyncExitStack() as end:
        connection = await asyncpg.connect(dsn)
        end.push_async_callback(connection.close)
        for events, rounds in sizes.items():
            bench = Backlog(servers, dsn, connection, redis, events)
            peers = bench.peers(min(events, most_for_textbook))

            screen.doing(f"drain {_NAMES[events]}: filling the outbox")
            await bench.fill()
            known: Results = {}
            ours: Runs = {"one tick": bench.one_tick, "many ticks": bench.many_ticks}
            rows += await _measured(screen, bench, ours, peers, rounds, known)
            if events in _ALSO_SHARED:
                ours = {"4 partitions": bench.four_partitions, "put back after a loss": bench.heal}
                rows += await _measured(screen, bench, ours, {}, rounds, known)

            screen.doing(f"drain {_NAMES[events]}: filling it beside an open transaction")
            await connection.execute(SQL["clear"])
            holder = await asyncpg.connect(dsn)
            try:
                await holder.execute("BEGIN")
                await holder.execute(SQL["write_and_wait"])
                await bench.fill()
                ours = {_OPEN: bench.publisher}
                # A quick run keeps what the peers came to a minute ago: nobody waits for them.
                rows += await _measured(screen, bench, ours, peers, rounds, known if quick else {})
            finally:
                await holder.close()
            await connection.execute(SQL["clear"])
        await redis.flushall()
    return rows


class Backlog:
    """*events* in the outbox of *dsn*, and those that can move them to the stream."""

    def __init__(
        self,
        servers: Servers,
        dsn: str,
        connection: asyncpg.Connection,
        redis: Redis,
        events: int,
    ) -> None:
        self.events = events
        self._servers = servers
        self._dsn = dsn
        self._connection = connection
        self._redis = redis

    async def fill(self) -> None:
        """Write the events, with a tick for each thousand."""
        await self._connection.execute(SQL["fill"], self.events, _PER_TICK)
        await self._connection.execute(SQL["keep_ticks"])

    async def one_tick(self) -> Drained:
        """Ours, with no tick made before."""
        await self._connection.execute(SQL["remove_ticks"])
        return await self.publisher()

    async def many_ticks(self) -> Drained:
        """Ours, with the ticks that were made while the backlog grew."""
        await self._connection.execute(SQL["restore_ticks"])
        return await self.publisher()

    async def publisher(self) -> Drained:
        """Ours, with the ticks that there are."""
        await self._quiet()
        began = time.perf_counter()
        async with started(self._servers, self._dsn, PUBLISHER) as program:
            return await self._watched(self.events, began, program)

    async def four_partitions(self) -> Drained:
        """Ours, into four streams."""
        await self._quiet()
        began = time.perf_counter()
        partitions = {"CATALOG_EVENT_STREAM_PARTITIONS": "4"}
        async with started(self._servers, self._dsn, PUBLISHER, **partitions) as program:
            keys = [f"{STREAM_KEY}:{{{number}}}" for number in range(4)]
            return await self._watched(self.events, began, program, keys)

    async def heal(self) -> Drained:
        """Ours, when the stream is deleted under a publisher that had nothing left to do."""
        await self._quiet()
        async with started(self._servers, self._dsn, PUBLISHER) as program:
            await self._watched(self.events, time.perf_counter(), program)
            await self._redis.delete(STREAM_KEY)
            return await self._watched(self.events, time.perf_counter(), program)

    def peers(self, textbook_rows: int) -> Runs:
        """Those that can be run on this machine."""
        runs: Runs = {"textbook": partial(self._textbook, textbook_rows)}
        if client := pipes.redis_cli():
            runs["pipe_floor"] = partial(self._pipe, client)
        if program := pipes.redis_benchmark():
            runs["redis_benchmark"] = partial(self._out_of_nowhere, program)
        return runs

    async def _textbook(self, rows: int) -> Drained:
        await self._connection.execute(SQL["fill_peer"].format(rows=rows))
        await self._quiet()
        began = time.perf_counter()
        async with started(self._servers, self._dsn, TEXTBOOK) as program:
            return await self._watched(rows, began, program)

    async def _pipe(self, client: str) -> Drained:
        await self._quiet()
        began = time.perf_counter()
        async with pipes.table_to_stream(self._servers, self._dsn, client):
            return await self._watched(self.events, began, None)

    async def _out_of_nowhere(self, program: str) -> Drained:
        await self._quiet()
        events = max(self.events // 2, 100_000)
        return Drained(await pipes.out_of_nowhere(self._servers, program, events), 0, 0)

    async def _quiet(self) -> None:
        """An empty stream that was never another, and nothing left to write to disk."""
        await self._redis.flushall()
        await self._connection.execute(SQL["forget_checkpoints"])
        await self._connection.execute(SQL["checkpoint"])

    async def _watched(
        self,
        events: int,
        began: float,
        program: Program | None,
        keys: Sequence[str] = (STREAM_KEY,),
    ) -> Drained:
        """Look at the streams at *keys* until they hold *events* entries."""
        first: tuple[float, int] | None = None
        looks = 0
        while True:
            length = sum([await self._redis.xlen(key) for key in keys])
            now = time.perf_counter()
            if first is None and length:
                first = now, length
            if program and looks % _LOOK_AT_MEMORY_EVERY == 0:
                program.look()
            if first and length >= events:
                break
            if now - began > _TIMEOUT_S:
                raise EventsMissing(f"{events - length:,} of {events:,}")
            looks += 1
            await asyncio.sleep(_LOOK_EVERY_S)
        if length != events:
            raise EventsMissing(f"{length:,} entries instead of {events:,}")
        # What was there at the first look came in a time that was not measured.
        rate = (length - first[1]) / (now - first[0]) if length > first[1] else float(length)
        return Drained(rate, first[0] - began, program.peak_mb if program else 0)


async def _measured(  # noqa: PLR0913, PLR0917 - each is one thing it is handed
    screen: Screen, bench: Backlog, ours: Runs, peers: Runs, rounds: int, known: Results
) -> list[Row]:
    """The rows of *ours*; peers whose results are in *known* are not run, the others added."""
    size = _NAMES[bench.events]
    runs: Runs = {}
    for name, one in ours.items():
        # Ours, a peer, ours, the other peers.
        runs[name] = one
        if waiting := [peer for peer in peers if peer not in runs and peer not in known]:
            rest = len(runs) >= len(ours)
            runs |= {peer: peers[peer] for peer in (waiting if rest else waiting[:1])}
    found = await alternate(screen, f"drain {size}", runs, rounds=rounds)
    known |= {peer: found[peer] for peer in peers if peer in found}
    found |= known
    rates = {
        peer: median(one.events_per_s for one in found[peer]) for peer in _PEERS if peer in found
    }
    rows: list[Row] = []
    for name in ours:
        case = f"{size} {name}"
        rate = median(one.events_per_s for one in found[name])
        first_s = median(one.first_entry_s for one in found[name])
        peak = {who: max(one.peak_mb for one in found[who]) for who in (name, "textbook")}
        rows += [
            Row("drain", case, "events/s", rate, rates),
            Row("drain", f"{case}, start to first entry", "s", first_s, {}),
            Row("drain", f"{case}, memory", "MB", peak[name], {"textbook": peak["textbook"]}),
        ]
    return rows

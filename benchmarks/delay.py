"""How long it takes from the moment before COMMIT until a consumer has the event."""

from __future__ import annotations

import asyncio
import json
import random
import re
import secrets
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from benchmarks.errors import EventsMissing
from benchmarks.programs import PUBLISHER, TEXTBOOK, started
from benchmarks.rounds import alternate
from benchmarks.row import Row, quantile
from benchmarks.servers import SQL, STREAM_KEY, Servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from uuid import UUID

    from redis.asyncio import Redis

    from benchmarks.screen import Screen

_PER_SECOND = 1000
_CONNECTIONS = 16
_SERIES = 1000
_WARM_UP = 500  # transactions under load that are not counted
_IDLE_S = (0.2, 0.3)
_GROUP = "benchmark"
_READ_COUNT = 1000
_BLOCK_MS = 200
_ARRIVAL_TIMEOUT_S = 20.0
_KEPT_PACE = 0.97
_MARK = re.compile(rb'"title": ?"delay (\w+) (\d+)"')


@dataclass(frozen=True)
class Delays:
    """Milliseconds, one for each event."""

    ms: list[float]
    per_s: float
    """Transactions that were committed each second, as far as they are counted."""

    def quantile(self, share: float) -> float:
        """What *share* of the events did not exceed."""
        return quantile(self.ms, share)

    def __str__(self) -> str:
        """For people."""
        return (
            f"p50 {self.quantile(0.5):.1f} ms, p99 {self.quantile(0.99):.1f} ms,"
            f" {len(self.ms)} events, {self.per_s:,.0f} tx/s"
        )


@dataclass
class Marks:
    """When each transaction was about to commit, and when its event was there."""

    run: str = field(default_factory=lambda: secrets.token_hex(4))
    """Part of each title: an event of another run is none of this one."""
    sent: dict[int, float] = field(default_factory=dict)
    arrived: dict[int, float] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False

    async def all_arrived(self) -> None:
        """Return when each event has come. Raises EventsMissing."""
        try:
            async with asyncio.timeout(_ARRIVAL_TIMEOUT_S):
                while len(self.arrived) < len(self.sent):
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            missing = len(self.sent) - len(self.arrived)
            raise EventsMissing(f"{missing:,} of {len(self.sent):,}") from None

    def delays(self, after: int) -> Delays:
        """Of the transactions from number *after* on."""
        counted = sorted(number for number in self.sent if number >= after)
        span_s = self.sent[counted[-1]] - self.sent[counted[0]]
        return Delays(
            [(self.arrived[number] - self.sent[number]) * 1000 for number in counted],
            (len(counted) - 1) / span_s,
        )


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """Under a steady load and when almost idle, ours beside a relay that polls."""
    seconds, samples, rounds = (4, 20, 1) if quick else (10, 60, 3)
    rows: list[Row] = []
    async with (
        servers.database("delay_ours") as ours,
        servers.database("delay_textbook") as textbook,
        servers.redis() as redis,
    ):
        await _capture_off(textbook)
        modes: dict[str, Callable[[Bench], Awaitable[Delays]]] = {
            f"{_PER_SECOND:,} tx/s": partial(Bench.steady, seconds=seconds),
            "idle": partial(Bench.idle, samples=samples),
        }
        for mode, measure in modes.items():
            found = await alternate(
                screen,
                f"delay, {mode}",
                {
                    "publisher": partial(_measured, servers, ours, redis, PUBLISHER, measure),
                    "textbook": partial(_measured, servers, textbook, redis, TEXTBOOK, measure),
                },
                rounds=rounds,
            )
            if mode != "idle":
                slowest = min(one.per_s for delays in found.values() for one in delays)
                if slowest < _KEPT_PACE * _PER_SECOND:
                    screen.warn(f"This machine kept up only {slowest:,.0f} tx/s.")
            for share, name in ((0.5, "p50"), (0.99, "p99")):
                middle = {
                    who: median(one.quantile(share) for one in delays)
                    for who, delays in found.items()
                }
                peers = {"textbook": middle["textbook"]}
                rows.append(Row("delay", f"{name}, {mode}", "ms", middle["publisher"], peers))
    return rows


class Bench:
    """Writers and a consumer in this process, on one clock."""

    def __init__(
        self,
        connections: list[asyncpg.Connection],
        series: list[UUID],
        marks: Marks,
        *,
        captured: bool,
    ) -> None:
        self._connections = connections
        self._series = series
        self._marks = marks
        self._captured = captured

    async def steady(self, *, seconds: float) -> Delays:
        """A transaction each millisecond, whatever became of the ones before."""
        free: asyncio.Queue[asyncpg.Connection] = asyncio.Queue()
        for connection in self._connections:
            free.put_nowait(connection)

        async def write(connection: asyncpg.Connection, number: int) -> None:
            await self._write(connection, number)
            free.put_nowait(connection)

        await self._warm_up()
        count = _WARM_UP + int(seconds * _PER_SECOND)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as writes:
            for number in range(1, count + 1):
                early_s = began + number / _PER_SECOND - time.perf_counter()
                if early_s > 0:
                    await asyncio.sleep(early_s)
                writes.create_task(write(await free.get(), number))
        await self._marks.all_arrived()
        return self._marks.delays(_WARM_UP + 1)

    async def idle(self, *, samples: int) -> Delays:
        """One transaction now and then."""
        await self._warm_up()
        for number in range(1, samples + 1):
            await asyncio.sleep(random.uniform(*_IDLE_S))  # noqa: S311 - no secret
            await self._write(self._connections[0], number)
        await self._marks.all_arrived()
        return self._marks.delays(1)

    async def _warm_up(self) -> None:
        for connection in self._connections:
            await self._write(connection, 0)
        await self._marks.all_arrived()

    async def _write(self, connection: asyncpg.Connection, number: int) -> None:
        series, title = self._series[number % _SERIES], f"delay {self._marks.run} {number}"
        await connection.execute("BEGIN")
        await connection.execute(SQL["retitle"], series, title)
        if not self._captured:
            payload = json.dumps({"slug": f"series-{number % _SERIES}", "title": title})
            await connection.execute(SQL["note_change"], series, payload)
        self._marks.sent[number] = time.perf_counter()
        await connection.execute("COMMIT")


async def _measured(
    servers: Servers,
    dsn: str,
    redis: Redis,
    program: tuple[str, ...],
    measure: Callable[[Bench], Awaitable[Delays]],
) -> Delays:
    await redis.flushall()
    await redis.xgroup_create(STREAM_KEY, _GROUP, id="$", mkstream=True)
    async with AsyncExitStack() as end:
        connections = []
        for _ in range(_CONNECTIONS):
            connection = await asyncpg.connect(dsn)
            end.push_async_callback(connection.close)
            connections.append(connection)
        await connections[0].execute(SQL["clear"])
        found = await connections[0].fetch(SQL["series_ids"], _SERIES)
        marks = Marks()
        captured = program == PUBLISHER
        running = await end.enter_async_context(started(servers, dsn, program))
        if captured:
            await running.ready()
        await end.enter_async_context(_consuming(servers, marks))
        bench = Bench(connections, [row["id"] for row in found], marks, captured=captured)
        return await measure(bench)


@asynccontextmanager
async def _consuming(servers: Servers, marks: Marks) -> AsyncIterator[None]:
    """Have a consumer as long as the block runs; its errors end the block."""
    async with asyncio.TaskGroup() as group:
        group.create_task(_consume(servers, marks))
        try:
            yield
        finally:
            # Not cancelled: redis-py may not hand a cancellation on while it reads.
            marks.ended = True


async def _consume(servers: Servers, marks: Marks) -> None:
    async with servers.redis() as redis:
        while not marks.ended:
            answer = await redis.xreadgroup(
                _GROUP,
                "consumer",
                {STREAM_KEY: ">"},
                count=_READ_COUNT,
                block=_BLOCK_MS,
                noack=True,
            )
            now = time.perf_counter()
            for payload in _payloads(answer):
                mark = _MARK.search(payload)
                if mark and mark[1].decode() == marks.run:
                    marks.arrived.setdefault(int(mark[2]), now)
            marks.news.set()


def _payloads(answer: Any) -> list[bytes]:  # noqa: ANN401 - redis-py's shape depends on its protocol
    streams = answer.values() if isinstance(answer, dict) else [one for _, one in answer or ()]
    entries = [entry for stream in streams for entry in stream]
    if entries and isinstance(entries[0], list):
        entries = [entry for page in entries for entry in page]
    return [cast("bytes", fields[b"payload"]) for _, fields in entries]


async def _capture_off(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(SQL["capture_off"])
    finally:
        await connection.close()

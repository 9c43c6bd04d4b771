"""How fast the feed is made, and how far it is behind those who write."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from benchmarks import feeds
from benchmarks.delay import Delays
from benchmarks.errors import EventsMissing
from benchmarks.feeds import CATALOG, Built
from benchmarks.programs import PROJECTOR, Program, started
from benchmarks.rounds import alternate
from benchmarks.row import Row
from benchmarks.servers import SQL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from benchmarks.feeds import Feed
    from benchmarks.screen import Screen
    from benchmarks.servers import Servers

_PER_SECOND = 500
_CONNECTIONS = 8
_WARM_UP = 250  # writes that are not counted
_LOOK_EVERY_S = 0.002
_ARRIVAL_TIMEOUT_S = 20.0
_KEPT_PACE = 0.97


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """The feed of a whole catalog, a change that touches half of it, and a steady load."""
    items, rounds, seconds = (20_000, 2, 4.0) if quick else (200_000, 3, 10.0)
    screen.doing("projector: filling the catalog")
    async with feeds.catalog(servers, "projector", items) as feed:
        found = await alternate(
            screen, "projector", {f"rebuild of {items:,} items": feed.build}, rounds=rounds
        )
        rows = _built(found)
        await feed.settle()
        async with started(servers, feed.dsn, PROJECTOR, LOG_LEVEL="debug") as projector:
            await projector.said("projector.lease_taken")
            fan_out = partial(_fan_out, feed, projector)
            episodes = items // 2
            found = await alternate(
                screen,
                "projector",
                {f"a category of {episodes:,} episodes is renamed": fan_out},
                rounds=rounds,
            )
            rows += _built(found)
        await feed.settle()
        async with started(servers, feed.dsn, PROJECTOR) as projector:
            await projector.said("projector.lease_taken")
            case = f"{_PER_SECOND} writes/s"
            lags = await alternate(
                screen, "projector", {case: partial(_steady, feed, seconds)}, rounds=rounds
            )
        slowest = min(one.per_s for one in lags[case])
        if slowest < _KEPT_PACE * _PER_SECOND:
            screen.warn(f"This machine kept up only {slowest:,.0f} writes/s.")
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            middle = median(one.quantile(share) for one in lags[case])
            rows.append(Row("projector", f"{case}, COMMIT to feed, {name}", "ms", middle, {}))
    return rows


def _built(found: dict[str, list[Built]]) -> list[Row]:
    rows = []
    for case, all_ in found.items():
        rate = median(one.items_per_s for one in all_)
        peak = max(one.peak_mb for one in all_)
        rows += [
            Row("projector", case, "items/s", rate, {}),
            Row("projector", f"{case}, memory", "MB", peak, {}),
        ]
    return rows


async def _fan_out(feed: Feed, projector: Program) -> Built:
    """One event that touches half of the items."""
    await feed.connection.execute(SQL["checkpoint"])
    await feed.connection.execute(CATALOG["rename_first_category"], f"Drama {time.time()}")
    said = await projector.said("feed.moved")
    return Built(said["items"], said["took_ms"] / 1000, projector.peak_mb)


async def _steady(feed: Feed, seconds: float) -> Delays:
    """A write every 2 ms, each to another episode, whatever became of the ones before."""
    count = _WARM_UP + int(seconds * _PER_SECOND)
    episodes = await feed.some_episodes(count)
    sent: dict[UUID, float] = {}
    free: asyncio.Queue[asyncpg.Connection] = asyncio.Queue()

    async def write(connection: asyncpg.Connection, episode: UUID) -> None:
        await connection.execute("BEGIN")
        await connection.execute(CATALOG["retitle_episode"], episode, f"New {time.time()}")
        sent[episode] = time.perf_counter()
        await connection.execute("COMMIT")
        free.put_nowait(connection)

    async with AsyncExitStack() as end:
        for _ in range(_CONNECTIONS):
            connection = await asyncpg.connect(feed.dsn)
            end.push_async_callback(connection.close)
            free.put_nowait(connection)
        async with _looking(feed) as (versions, times):
            before = versions[-1]
            began = time.perf_counter()
            async with asyncio.TaskGroup() as writes:
                for number, episode in enumerate(episodes):
                    early_s = began + number / _PER_SECOND - time.perf_counter()
                    if early_s > 0:
                        await asyncio.sleep(early_s)
                    writes.create_task(write(await free.get(), UUID(episode)))
            reached = await _reached(feed, list(sent), before, versions)
    counted = [UUID(episode) for episode in episodes[_WARM_UP:]]
    there = {episode: times[bisect_left(versions, reached[episode])] for episode in counted}
    span_s = sent[counted[-1]] - sent[counted[0]]
    return Delays(
        [(there[episode] - sent[episode]) * 1000 for episode in counted],
        (len(counted) - 1) / span_s,
    )


@asynccontextmanager
async def _looking(feed: Feed) -> AsyncIterator[tuple[list[int], list[float]]]:
    """Note when feed.state has come how far, until the block ends."""
    connection = await asyncpg.connect(feed.dsn)
    statement = await connection.prepare(CATALOG["feed_version"])
    versions: list[int] = [await statement.fetchval()]
    times = [time.perf_counter()]

    async def look() -> None:
        while True:
            version = await statement.fetchval()
            if version > versions[-1]:
                versions.append(version)
                times.append(time.perf_counter())
            await asyncio.sleep(_LOOK_EVERY_S)

    try:
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(look())
            yield versions, times
            looking.cancel()
    finally:
        await connection.close()


async def _reached(
    feed: Feed, episodes: list[UUID], before: int, versions: list[int]
) -> dict[UUID, int]:
    """The version of each, once the feed has all of them. Raises EventsMissing."""
    deadline = time.perf_counter() + _ARRIVAL_TIMEOUT_S
    while True:
        rows = await feed.connection.fetch(CATALOG["versions_of"], episodes)
        found = {row["id"]: row["version"] for row in rows if row["version"] > before}
        if len(found) == len(episodes) and max(found.values()) <= versions[-1]:
            return found
        if time.perf_counter() > deadline:
            raise EventsMissing(f"{len(episodes) - len(found):,} of {len(episodes):,}")
        await asyncio.sleep(_LOOK_EVERY_S)

"""How long it takes from the moment before COMMIT until a search finds what was written."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from itertools import cycle
from statistics import median
from typing import TYPE_CHECKING

import asyncpg

from benchmarks import feeds
from benchmarks.delay import Delays
from benchmarks.errors import EventsMissing
from benchmarks.feeds import CATALOG
from benchmarks.programs import PUBLISHER, SEARCH, SNAPSHOT_SERVER, started
from benchmarks.rounds import alternate
from benchmarks.row import Row
from consumer.reference.search.answers import search

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from benchmarks.feeds import Feed
    from benchmarks.screen import Screen
    from benchmarks.servers import Servers

_PER_SECOND = 100
_PAUSE_S = (0.1, 0.2)
_WARM_UP = 5  # writes that are not counted
_LOOK_EVERY_S = 0.001
_TIMEOUT_S = 20.0


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """An index that is filled; then one write now and then, alone and beside others."""
    items, samples, rounds = (10_000, 20, 1) if quick else (100_000, 60, 3)
    screen.doing("search: filling the catalog")
    async with feeds.catalog(servers, "search", items) as feed, servers.redis() as redis:
        await redis.flushall()
        await feed.build()
        await feed.settle()
        async with (
            started(servers, feed.dsn, PUBLISHER) as publisher,
            started(servers, feed.dsn, SNAPSHOT_SERVER) as server,
        ):
            await publisher.ready()
            address = (await server.said("server.started"))["address"]
            await server.said("server.serving")
            case = f"an index of {items:,} items is filled"
            found = await alternate(
                screen, "search", {case: partial(_filled, servers, feed, address)}, rounds=rounds
            )
            rows = [Row("search", case, "items/s", median(found[case]), {})]
            modes: dict[str, Callable[[], Awaitable[Delays]]] = {
                "idle": partial(_probed, servers, feed, address, samples),
                f"beside {_PER_SECOND} writes/s": partial(
                    _beside_writers, servers, feed, address, samples
                ),
            }
            delays = await alternate(screen, "search", modes, rounds=rounds)
    for mode in modes:
        for share, name in ((0.5, "p50"), (0.99, "p99")):
            middle = median(one.quantile(share) for one in delays[mode])
            rows.append(Row("search", f"COMMIT to found, {name}, {mode}", "ms", middle, {}))
    return rows


@asynccontextmanager
async def _searching(
    servers: Servers, feed: Feed, address: str, index: Path
) -> AsyncIterator[float]:
    """A search service that is level with the catalog; how long it took to be, in seconds."""
    settings = {"SNAPSHOT_ADDRESS": address, "SEARCH_INDEX": str(index)}
    async with started(servers, feed.dsn, SEARCH, CONSUMER_HTTP_ADDRESS="off", **settings) as own:
        began = (await own.said("consumer.started"))["timestamp"]
        ended = (await own.said("index.level"))["timestamp"]
        took = datetime.fromisoformat(ended) - datetime.fromisoformat(began)
        yield took.total_seconds()


async def _filled(servers: Servers, feed: Feed, address: str) -> float:
    """Items a second, from nothing."""
    index = servers.folder / f"{secrets.token_hex(4)}.db"
    async with _searching(servers, feed, address, index) as took_s:
        return feed.items / took_s


async def _probed(servers: Servers, feed: Feed, address: str, samples: int) -> Delays:
    """One write, and nothing else until it is found."""
    index = servers.folder / "search.db"
    [episode, *_] = await feed.some_episodes(1)
    run, ms, began = secrets.token_hex(4), [], time.perf_counter()
    async with _searching(servers, feed, address, index):
        for number in range(_WARM_UP + samples):
            await asyncio.sleep(random.uniform(*_PAUSE_S))  # noqa: S311 - no secret
            word = f"probe{run}x{number}"
            sent = await _write(feed.connection, episode, word)
            await _found(index, word)
            ms.append((time.perf_counter() - sent) * 1000)
    return Delays(ms[_WARM_UP:], len(ms) / (time.perf_counter() - began))


async def _beside_writers(servers: Servers, feed: Feed, address: str, samples: int) -> Delays:
    """The same, while other episodes are written."""
    others = cycle((await feed.some_episodes(1000))[1:])
    connection = await asyncpg.connect(feed.dsn)

    async def write() -> None:
        due = time.perf_counter()
        for episode in others:
            due += 1 / _PER_SECOND
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await _write(connection, episode, f"Other {time.time()}")

    writing = asyncio.create_task(write())
    try:
        return await _probed(servers, feed, address, samples)
    finally:
        writing.cancel()
        await asyncio.wait([writing])
        await connection.close()


async def _write(connection: asyncpg.Connection, episode: str, title: str) -> float:
    """The moment before its COMMIT."""
    await connection.execute("BEGIN")
    await connection.execute(CATALOG["retitle_episode"], episode, title)
    sent = time.perf_counter()
    await connection.execute("COMMIT")
    return sent


async def _found(index: Path, word: str) -> None:
    """Return as soon as a search finds it. Raises EventsMissing."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            while not search(index, word, most=1):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(_LOOK_EVERY_S)
    except TimeoutError:
        raise EventsMissing("a search does not find it") from None

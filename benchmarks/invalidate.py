"""How long it takes from the moment before COMMIT until the page is purged."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import asynccontextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import asyncpg

from benchmarks import feeds
from benchmarks.errors import PagesNotCached
from benchmarks.feeds import CATALOG
from benchmarks.programs import INVALIDATOR, PUBLISHER, VIEWER, started
from benchmarks.requests import Wish, ask
from benchmarks.rounds import alternate
from benchmarks.row import Row, quantile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from redis.asyncio import Redis

    from benchmarks.feeds import Feed
    from benchmarks.screen import Screen
    from benchmarks.servers import Servers

_ITEMS = 20_000
_IDLE_S = (0.1, 0.2)
_WRITERS = 8
_TIMEOUT_S = 20.0
_TRIES = 20


class Delays(list[float]):
    """Milliseconds, one for each page."""

    def __str__(self) -> str:
        """For people."""
        p50, p99 = median(self), quantile(self, 0.99)
        return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, {len(self)} pages"


class Purges:
    """When which page went, as Redis itself says it at once."""

    def __init__(self) -> None:
        self._awaited: dict[str, asyncio.Future[float]] = {}

    def expect(self, key: str) -> asyncio.Future[float]:
        """When *key* goes, by perf_counter."""
        self._awaited[key] = asyncio.get_running_loop().create_future()
        return self._awaited[key]

    async def listen(self, redis: Redis) -> None:
        """Until cancelled."""
        async with redis.pubsub() as told:
            await told.psubscribe("__keyspace@0__:catalog:episode:*")
            async for message in told.listen():
                awaited = self._awaited.get(message["channel"].decode().partition(":")[2])
                if message["data"] == b"del" and awaited and not awaited.done():
                    awaited.set_result(time.perf_counter())


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """Publisher, invalidator and viewer, each a process of its own."""
    samples, rounds = (40, 1) if quick else (150, 3)
    screen.doing("invalidate: filling the catalog")
    async with feeds.catalog(servers, "invalidate", _ITEMS) as feed, servers.redis() as redis:
        # The stream of another database is not gone on with.
        await redis.flushall()
        return await _purged(servers, screen, feed, redis, samples=samples, rounds=rounds)


async def _purged(  # noqa: PLR0913 - each is one thing it is handed
    servers: Servers, screen: Screen, feed: Feed, redis: Redis, *, samples: int, rounds: int
) -> list[Row]:
    async with (
        started(servers, feed.dsn, PUBLISHER) as publisher,
        started(servers, feed.dsn, INVALIDATOR) as invalidator,
        started(servers, feed.dsn, VIEWER, VIEWER_HTTP_ADDRESS="127.0.0.1:0") as viewer,
        asyncpg.create_pool(feed.dsn, min_size=_WRITERS, max_size=_WRITERS) as pool,
        _purges(redis) as purges,
    ):
        await publisher.ready()
        # Whoever begins purges everything.
        await invalidator.said("group.made")
        address = (await viewer.said("http.started"))["address"]
        bench = Bench(pool, address, purges, await feed.some_episodes(samples * _WRITERS))
        modes: dict[str, Callable[[], Awaitable[Delays]]] = {
            "idle": partial(bench.idle, samples),
            f"{_WRITERS} writers": partial(bench.busy, samples),
        }
        found = await alternate(screen, "invalidate", modes, rounds=rounds)
    return [
        Row("invalidate", f"{name}, {mode}", "ms", median(quantile(one, share) for one in all_), {})
        for mode, all_ in found.items()
        for share, name in ((0.5, "p50"), (0.99, "p99"))
    ]


class Bench:
    """Writers in this process; pages are cached by a viewer."""

    def __init__(
        self, pool: asyncpg.Pool, address: str, purges: Purges, episodes: list[str]
    ) -> None:
        self._pool = pool
        self._host, _, self._port = address.rpartition(":")
        self._purges = purges
        self._episodes = episodes

    async def idle(self, samples: int) -> Delays:
        """One write now and then."""
        await self._cache()
        return Delays([await self._one(id_, pause=True) for id_ in self._episodes[:samples]])

    async def busy(self, samples: int) -> Delays:
        """Several writers, each of which goes on when its page is purged."""
        await self._cache()

        async def write(number: int) -> list[float]:
            mine = self._episodes[number * samples : (number + 1) * samples]
            return [await self._one(id_) for id_ in mine]

        found = await asyncio.gather(*(write(number) for number in range(_WRITERS)))
        return Delays([ms for one in found for ms in one])

    async def _one(self, id_: str, *, pause: bool = False) -> float:
        if pause:
            await asyncio.sleep(random.uniform(*_IDLE_S))  # noqa: S311 - no secret
        gone = self._purges.expect(f"catalog:episode:{id_}")
        async with self._pool.acquire() as connection:
            await connection.execute("BEGIN")
            await connection.execute(CATALOG["retitle_episode"], id_, f"New {time.time()}")
            began = time.perf_counter()
            await connection.execute("COMMIT")
        async with asyncio.timeout(_TIMEOUT_S):
            return (await gone - began) * 1000

    async def _cache(self) -> None:
        paths = tuple(f"/v1/catalog/episodes/{id_}" for id_ in self._episodes)
        wish = Wish(self._host, int(self._port), paths, len(paths), connections=8)
        hits = 0
        for _ in range(_TRIES):
            # What was written before is being purged.
            hits = (await ask(wish)).hits
            if hits == len(paths):
                return
        raise PagesNotCached(f"{hits:,} of {len(paths):,}")


@asynccontextmanager
async def _purges(redis: Redis) -> AsyncIterator[Purges]:
    await redis.config_set("notify-keyspace-events", "Kg")
    purges = Purges()
    listening = asyncio.create_task(purges.listen(redis))
    try:
        yield purges
    finally:
        listening.cancel()
        await redis.config_set("notify-keyspace-events", "")

"""A viewer in this process, and what is asked of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, TCPConnector
from redis.asyncio import Redis
from shown import CDN
from yarl import URL

from process import http
from process.address import Address
from process.redis.connection import client
from process.tokens import Tokens
from viewer import catalog
from viewer.app import application
from viewer.cache.shield import Shield
from viewer.cache.store import Place, Store
from viewer.keys import Kind, PageName, is_page
from viewer.manifest import Cdn
from viewer.metrics import Metrics
from viewer.observing import Observer
from viewer.pages import Pages
from viewer.reports import ViewerReport

TOKEN = "swordfish"  # noqa: S105
GATEWAY = {"x-service-token": TOKEN}


@dataclass
class Answer:
    """What the viewer said."""

    status: int
    headers: Mapping[str, str]
    page: Any

    @property
    def cache(self) -> str | None:
        return self.headers.get("X-Cache")


class Looked(Store):
    """A cache that says how often it was asked."""

    def __init__(self, redis: Redis, maker: str) -> None:
        super().__init__(redis, maker=maker)
        self._looks = asyncio.Semaphore(0)

    async def look(self, name: PageName) -> bytes | Place:
        try:
            return await super().look(name)
        finally:
            # Whoever asked goes on before whoever waits for this.
            self._looks.release()

    async def were_looked_for(self, times: int) -> None:
        """Return once so many more looks were answered than the last time."""
        for _ in range(times):
            await self._looks.acquire()


@dataclass
class Viewer:
    """A viewer and a gateway that asks it."""

    url: str
    session: ClientSession
    metrics: Metrics
    pages: Pages
    store: Looked
    reports: list[ViewerReport] = field(default_factory=list)

    async def get(
        self, path: str, *, headers: Mapping[str, str] = GATEWAY, method: str = "GET"
    ) -> Answer:
        url = URL(self.url + path, encoded=True)
        async with self.session.request(method, url, headers=headers) as response:
            is_json = "json" in response.content_type and method != "HEAD"
            page = await response.json() if is_json else await response.text()
            return Answer(response.status, response.headers, page)

    async def episode(self, identifier: object) -> Answer:
        return await self.get(f"/v1/catalog/episodes/{identifier}")

    async def series(self, identifier: object) -> Answer:
        return await self.get(f"/v1/catalog/series/{identifier}")

    def counted(self, metric: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(metric, labels) or 0.0


def quiet(_: object) -> None:
    """What happens is of no interest."""


def name_of(kind: Kind, identifier: object) -> PageName:
    name = PageName.parse(kind, str(identifier))
    assert name
    return name


@asynccontextmanager
async def store_at(redis_url: str, *, remembered_purges: int = 50_000) -> AsyncIterator[Store]:
    """The cache, opened."""
    async with client(redis_url, timeout_s=5) as redis:
        store = Store(redis, maker=CDN, remembered_purges=remembered_purges)
        await store.claim(take_over=False)
        if not await store.is_open():
            await store.empty()
        yield store


@asynccontextmanager
async def viewing(
    dsn: str,
    redis_url: str,
    *,
    cdn: str = CDN,
    timeout_s: float = 2.0,
    wrapped: Callable[[catalog.Catalog], Any] = lambda tables: tables,
) -> AsyncIterator[Viewer]:
    """A viewer as a process is, without the process; *wrapped* gets between it and the tables."""
    metrics, reports = Metrics(), list[ViewerReport]()
    observer = Observer(metrics)

    def observe(report: ViewerReport) -> None:
        reports.append(report)
        observer(report)

    async with (
        catalog.pool(dsn) as pool,
        client(redis_url, timeout_s=2.0) as redis,
        ClientSession(connector=TCPConnector(limit=0)) as session,
    ):
        store = Looked(redis, cdn)
        cache = Shield(store, ttl_s=300, timeout_s=timeout_s, observe=observe)
        repairing = asyncio.create_task(cache.run())
        pages = Pages(wrapped(catalog.Catalog(pool)), cache, Cdn.parse(cdn), observe)
        served = application(pages, Tokens.parse(TOKEN), metrics)
        try:
            await cache.usable(within_s=2)
            async with http.serving(
                served, Address("127.0.0.1", 0), variable="VIEWER_HTTP_ADDRESS"
            ) as address:
                yield Viewer(f"http://{address}", session, metrics, pages, store, reports)
        finally:
            repairing.cancel()


async def keys_in(redis: Redis) -> set[str]:
    """Of the pages that are cached."""
    found: Any = await redis.keys("catalog:*")
    return {key for key in found if is_page(key)}


class Halted:
    """Tables that a loader has read, and is stopped before it can do anything with it."""

    def __init__(self, tables: catalog.Catalog) -> None:
        self._tables = tables
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()
        self.asked = 0
        self.has_read = asyncio.Event()

    def stop(self) -> None:
        """Whoever reads from now on is stopped."""
        self.has_read.clear()
        self._may_go_on.clear()

    def go_on(self) -> None:
        self._may_go_on.set()

    async def find(self, name: PageName) -> Any:  # noqa: ANN401
        self.asked += 1
        found = await self._tables.find(name)
        self.has_read.set()
        await self._may_go_on.wait()
        return found


@asynccontextmanager
async def halted_viewer(database: str, redis_url: str) -> AsyncIterator[tuple[Viewer, Halted]]:
    """A viewer whose loaders can be stopped."""
    tables: list[Halted] = []

    def halted(real: catalog.Catalog) -> Halted:
        tables.append(Halted(real))
        return tables[-1]

    async with viewing(database, redis_url, wrapped=halted) as viewer:
        yield viewer, tables[0]

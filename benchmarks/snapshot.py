"""How fast clients get the catalog, and what changed in it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import feeds, readers
from benchmarks.errors import ItemsMissing
from benchmarks.programs import BETTERPROTO2, GRPCIO, SNAPSHOT_SERVER, Program, started
from benchmarks.reader import Wish
from benchmarks.rounds import alternate
from benchmarks.row import Row, quantile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.feeds import Feed
    from benchmarks.screen import Screen
    from benchmarks.servers import Servers

_CHUNKS = (100, 1000)
_NAMES = {10_000: "10k", 20_000: "20k", 200_000: "200k", 1_000_000: "1M"}
_PEERS = {"betterproto2": BETTERPROTO2, "grpcio": GRPCIO}
_OURS = "ours"
_SHARES = {"1 %": 100, "0.01 %": 10_000}
_MOST_CALLS = 20
_FIRSTS_MOST_S = 5.0
_MOST_S = 1.5
"""A measurement calls again for as long."""


@dataclass(frozen=True)
class Synced:
    """The middle of several syncs of one client."""

    items: int
    took_s: float
    first_tenth: float
    last_tenth: float

    @property
    def items_per_s(self) -> float:
        """From the call to the last chunk."""
        return self.items / self.took_s

    def __str__(self) -> str:
        """For people."""
        tenths = (
            f", last tenth {self.last_tenth / self.first_tenth:.2f}" if self.first_tenth else ""
        )
        return f"{self.items:,} items, {self.items_per_s:,.0f} items/s{tenths}"


@dataclass(frozen=True)
class Firsts:
    """Milliseconds until the first chunk was there, one for each call."""

    ms: Sequence[float]

    def __str__(self) -> str:
        """For people."""
        return f"p50 {median(self.ms):.1f} ms, p99 {quantile(self.ms, 0.99):.1f} ms"


class Service:
    """A server that is running, and what it is to send."""

    def __init__(self, program: Program, address: str, items: int) -> None:
        self.program = program
        self.items = items
        self._address = address

    async def full(self, chunk: int) -> Synced:
        """Full syncs with so many items in a chunk."""
        wish = Wish(self._address, _MOST_CALLS, _MOST_S, chunk)
        return await self._synced(wish, self.items)

    async def changed(self, since: str, items: int) -> Synced:
        """Syncs of what changed."""
        return await self._synced(Wish(self._address, _MOST_CALLS, _MOST_S, cursor=since), items)

    async def firsts(self, chunk: int, calls: int) -> Firsts:
        """Calls that are broken off at the first chunk."""
        wish = Wish(self._address, calls, _FIRSTS_MOST_S, chunk, first_only=True)
        found = await readers.syncs(wish)
        return Firsts([one.first_s * 1000 for one in found])

    async def _synced(self, wish: Wish, items: int) -> Synced:
        async with self.program.watched():
            found = await readers.syncs(wish)
        if wrong := [one.items for one in found if one.items != items]:
            raise ItemsMissing(f"{wrong[0]:,} instead of {items:,}")
        return Synced(
            items,
            median(one.took_s for one in found),
            median(one.first_tenth for one in found),
            median(one.last_tenth for one in found),
        )


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """Full syncs beside the peers, catalogs of other sizes, what changed, and the first chunk."""
    main = 20_000 if quick else 200_000
    others = () if quick else (10_000, 1_000_000)
    rounds = 2 if quick else 5
    of_peers = {"betterproto2": 1000 if quick else 10_000, "grpcio": 5000 if quick else 50_000}
    async with AsyncExitStack() as end:
        bench = Bench(servers, screen, end)
        feed, ours = await bench.serve(main)
        services = {_OURS: ours} | {
            name: await bench.peer(feed, program, of_peers[name])
            for name, program in _PEERS.items()
        }
        rows = await bench.beside_peers(services, rounds)
        rows += await bench.first_chunks(services, 50 if quick else 200)
        catalogs = {main: (feed, ours)}
        for items in others:
            catalogs[items] = await bench.serve(items)
        rows += await bench.sizes({items: one for items, (_, one) in catalogs.items()}, rounds)
        for items, (of_items, one) in catalogs.items():
            rows += await bench.changes(items, of_items, one)
        rows += [
            Row(
                *("snapshot", f"{_NAMES[items]}, memory of the server", "MB"),
                one.program.peak_mb,
                {name: services[name].program.peak_mb for name in _PEERS} if one is ours else {},
            )
            for items, (_, one) in catalogs.items()
        ]
    return rows


class Bench:
    """What is running ends with *end*."""

    def __init__(self, servers: Servers, screen: Screen, end: AsyncExitStack) -> None:
        self._servers = servers
        self._screen = screen
        self._end = end

    async def serve(self, items: int) -> tuple[Feed, Service]:
        """A catalog with its feed, and our server."""
        self._screen.doing(f"snapshot {_NAMES[items]}: filling the catalog, building the feed")
        name = f"snapshot_{items}"
        feed = await self._end.enter_async_context(feeds.catalog(self._servers, name, items))
        await feed.build()
        await feed.settle()
        return feed, await self._started(feed, SNAPSHOT_SERVER, items)

    async def peer(self, feed: Feed, program: tuple[str, ...], items: int) -> Service:
        """One that sends so many items of the catalog."""
        return await self._started(feed, program, items)

    async def _started(self, feed: Feed, program: tuple[str, ...], items: int) -> Service:
        running = await self._end.enter_async_context(
            started(self._servers, feed.dsn, program, BENCHMARK_ITEMS=str(items))
        )
        said = await running.said("server.started")
        return Service(running, said["address"], items)

    async def beside_peers(self, services: dict[str, Service], rounds: int) -> list[Row]:
        """Full syncs in chunks of both sizes."""
        rows = []
        size = _NAMES[services[_OURS].items]
        for chunk in _CHUNKS:
            found = await alternate(
                self._screen,
                f"snapshot {size}, chunks of {chunk:,}",
                {name: partial(service.full, chunk) for name, service in services.items()},
                rounds=rounds,
            )
            rates = {who: median(one.items_per_s for one in all_) for who, all_ in found.items()}
            rows.append(_row(f"{size}, chunks of {chunk:,}", "items/s", rates))
        return rows

    async def first_chunks(self, services: dict[str, Service], calls: int) -> list[Row]:
        """How long a client waits for the first one."""
        rows = []
        for chunk in _CHUNKS:
            found = await alternate(
                self._screen,
                f"snapshot, first chunk of {chunk:,}",
                {name: partial(one.firsts, chunk, calls) for name, one in services.items()},
                rounds=1,
            )
            middle = {who: median(one.ms) for who, [one] in found.items()}
            rows.append(_row(f"first chunk of {chunk:,}, p50", "ms", middle))
        return rows

    async def sizes(self, services: dict[int, Service], rounds: int) -> list[Row]:
        """Full syncs of each of the catalogs, in turn; and their last tenth beside their first."""
        runs: dict[str, Callable[[], Awaitable[Synced]]] = {}
        for items, service in services.items():
            for chunk in _CHUNKS if len(services) > 1 else _CHUNKS[:1]:
                runs[f"{_NAMES[items]}, whole, chunks of {chunk:,}"] = partial(service.full, chunk)
        rows = []
        found = await alternate(self._screen, "snapshot", runs, rounds=rounds)
        for case, all_ in found.items():
            rows.append(_row(case, "items/s", {_OURS: median(one.items_per_s for one in all_)}))
            # Large chunks are cut by their bytes, and so are not of the same number of items.
            tenths = [one.last_tenth / one.first_tenth for one in all_ if one.first_tenth]
            if tenths and case.endswith(f" {_CHUNKS[0]}"):
                rows.append(_row(f"{case}, last tenth / first", "x", {_OURS: median(tenths)}))
        return rows

    async def changes(self, items: int, feed: Feed, service: Service) -> list[Row]:
        """Syncs of those items that changed."""
        rows = []
        for share, divisor in _SHARES.items():
            changed = items // divisor
            self._screen.doing(f"snapshot {_NAMES[items]}: changing {changed:,} items")
            since = await feed.retitle(changed)
            case = f"{_NAMES[items]}, {share} changed ({changed:,} items)"
            found = await alternate(
                self._screen,
                "snapshot",
                {case: partial(service.changed, since, changed)},
                rounds=1,
            )
            [one] = found[case]
            rows += [
                _row(case, "ms", {_OURS: one.took_s * 1000}),
                _row(case, "items/s", {_OURS: one.items_per_s}),
            ]
        return rows


def _row(case: str, unit: str, found: dict[str, float]) -> Row:
    peers = {name: value for name, value in found.items() if name != _OURS}
    return Row("snapshot", case, unit, found[_OURS], peers)

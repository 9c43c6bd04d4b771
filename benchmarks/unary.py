"""How long GetVideoMetadata takes, alone and beside full syncs."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import feeds, readers
from benchmarks.programs import BETTERPROTO2, GRPCIO, SNAPSHOT_SERVER, started
from benchmarks.reader import Wish
from benchmarks.rounds import alternate
from benchmarks.row import Row, quantile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from benchmarks.screen import Screen
    from benchmarks.servers import Servers

_PROGRAMS = {"ours": SNAPSHOT_SERVER, "betterproto2": BETTERPROTO2, "grpcio": GRPCIO}
_SYNCS = 3
_VIDEOS = 500


@dataclass(frozen=True)
class Calls:
    """Milliseconds, one for each call; and what the syncs came to beside them."""

    ms: Sequence[float]
    synced_mb_per_s: float = 0.0

    def __str__(self) -> str:
        """For people."""
        beside = f", beside {self.synced_mb_per_s:.0f} MB/s" if self.synced_mb_per_s else ""
        return f"p50 {median(self.ms):.1f} ms, p99 {quantile(self.ms, 0.99):.1f} ms{beside}"


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """A call each 10 ms or so."""
    items, calls, most_s, rounds = (20_000, 250, 4.0, 1) if quick else (200_000, 1000, 20.0, 3)
    rows: list[Row] = []
    screen.doing("unary: filling the catalog, building the feed")
    async with feeds.catalog(servers, "unary", items) as feed, AsyncExitStack() as end:
        await feed.build()
        await feed.settle()
        videos = tuple(await feed.some_episodes(_VIDEOS))
        addresses: dict[str, str] = {}
        for name, program in _PROGRAMS.items():
            running = await end.enter_async_context(
                started(servers, feed.dsn, program, BENCHMARK_ITEMS=str(items))
            )
            addresses[name] = (await running.said("server.started"))["address"]
        modes: dict[str, Callable[[Wish], Awaitable[Calls]]] = {
            "alone": _alone,
            f"beside {_SYNCS} full syncs": _beside_syncs,
        }
        for mode, measure in modes.items():
            runs = {
                name: partial(measure, Wish(address, calls, most_s, videos=videos))
                for name, address in addresses.items()
            }
            found = await alternate(screen, f"unary, {mode}", runs, rounds=rounds)
            for share, title in ((0.5, "p50"), (0.99, "p99")):
                middle = {
                    who: median(quantile(one.ms, share) for one in all_)
                    for who, all_ in found.items()
                }
                rows.append(Row("unary", f"{title}, {mode}", "ms", middle.pop("ours"), middle))
        synced = {who: median(one.synced_mb_per_s for one in all_) for who, all_ in found.items()}
        rows.append(Row("unary", "the syncs meanwhile", "MB/s", synced.pop("ours"), synced))
    return rows


async def _alone(wish: Wish) -> Calls:
    return Calls(await readers.videos(wish))


async def _beside_syncs(wish: Wish) -> Calls:
    async with readers.reading(wish.address, _SYNCS) as rates:
        ms = await readers.videos(wish)
    return Calls(ms, sum(rates) / 1e6)

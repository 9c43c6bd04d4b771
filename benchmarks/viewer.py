"""How many pages a viewer serves, from the cache and from the catalog; how long a hit takes."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import feeds
from benchmarks.errors import PagesNotCached
from benchmarks.programs import VIEWER, started
from benchmarks.requests import Answers, Wish, ask
from benchmarks.rounds import alternate
from benchmarks.row import Row, quantile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.screen import Screen
    from benchmarks.servers import Servers

_CONNECTIONS = 32
_WARM = 500
"""Pages that are hit, again and again."""
_PER_SECOND = 1000
_KEPT_PACE = 0.97


async def run(servers: Servers, screen: Screen, *, quick: bool) -> list[Row]:
    """One process of the viewer, asked by another process."""
    items, requests, rounds = (20_000, 4_000, 1) if quick else (200_000, 20_000, 3)
    screen.doing("viewer: filling the catalog")
    async with (
        feeds.catalog(servers, "viewer", items) as feed,
        servers.redis() as redis,
        started(servers, feed.dsn, VIEWER, VIEWER_HTTP_ADDRESS="127.0.0.1:0") as viewer,
    ):
        host, _, port = (await viewer.said("http.started"))["address"].rpartition(":")
        episodes = await feed.some_episodes(requests)
        pages = [f"/v1/catalog/episodes/{id_}" for id_ in episodes]
        wish = partial(Wish, host, int(port), connections=_CONNECTIONS)

        async def miss() -> Answers:
            await redis.flushall()
            # It takes a moment to see that its cache was lost.
            await ask(wish(tuple(pages[:_WARM]), _WARM * 2))
            await redis.unlink(*[f"catalog:episode:{id_}" for id_ in episodes])
            return _all(await ask(wish(tuple(pages), requests)), hits=0)

        async def warm(wished: Wish) -> Answers:
            await ask(wish(wished.paths, len(wished.paths)))
            return _all(await ask(wished), hits=wished.requests)

        paths = tuple(pages[:_WARM])
        at_rate = wish(paths, _PER_SECOND * (4 if quick else 15), per_s=_PER_SECOND)
        runs: dict[str, Callable[[], Awaitable[Answers]]] = {
            "miss": miss,
            "hit": lambda: warm(wish(paths, requests)),
            "at a rate": lambda: warm(at_rate),
        }
        found: dict[str, list[Answers]] = await alternate(screen, "viewer", runs, rounds=rounds)
    slowest = min(one.per_s for one in found["at a rate"])
    if slowest < _KEPT_PACE * _PER_SECOND:
        screen.warn(f"This machine kept up only {slowest:,.0f} requests/s.")
    rows = [
        Row("viewer", name, "requests/s", median(one.per_s for one in found[name]), {})
        for name in ("hit", "miss")
    ]
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        ms = median(quantile(one.ms, share) for one in found["at a rate"])
        rows.append(Row("viewer", f"{name} of a hit, {_PER_SECOND:,} requests/s", "ms", ms, {}))
    return rows


def _all(answers: Answers, *, hits: int) -> Answers:
    """Raises PagesNotCached unless as many of them came from the cache."""
    if answers.hits != hits:
        raise PagesNotCached(f"{answers.hits:,} of {len(answers.ms):,}, {hits:,} were expected")
    return answers

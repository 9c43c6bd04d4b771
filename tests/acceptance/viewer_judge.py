"""Writes to a catalog, reads its pages, and knows what none of them may show any more."""

# ruff: noqa: S311 - the dice are to fall the same again

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
from aiohttp import ClientError, ClientSession, ClientTimeout

EPISODES, SERIES = 8, 2
_READERS = 6
_CONFIRMED_WITHIN_S = 1.5
_ANSWER_WITHIN_S = 5.0

_FILL = """
WITH c AS (
  INSERT INTO catalog.category (slug, name) VALUES ('c', '0') RETURNING id
), s AS (
  INSERT INTO catalog.series (slug, title, status, visibility, category_id)
  SELECT 's-' || n, '0', 'PUBLISHED', 'PUBLIC', c.id FROM c, generate_series(1, $1::int) AS n
  RETURNING id, slug
), e AS (
  INSERT INTO catalog.episode (slug, series_id, title, status, visibility)
  SELECT 'e-' || n, s.id, '0', 'PUBLISHED', 'PUBLIC'
    FROM generate_series(1, $2::int) AS n JOIN s ON s.slug = 's-' || 1 + n % $1::int
  RETURNING id, slug
), a AS (
  INSERT INTO catalog.media_asset (episode_id, manifest_url, status)
  SELECT id, 'https://cdn.example.com/' || slug, 'READY' FROM e
)
SELECT 'episode' AS entity, id::text, slug FROM e UNION ALL SELECT 'series', id::text, slug FROM s
"""
_RETITLE = {
    "episode": "UPDATE catalog.episode SET title = $2 WHERE id = $1::text::uuid",
    "series": "UPDATE catalog.series SET title = $2 WHERE id = $1::text::uuid",
}


class Judge:
    """Each title is a number that only grows; *urls* are those of the viewers."""

    def __init__(
        self, pool: asyncpg.Pool, urls: Sequence[str], purged: Path, counts: Counter[str]
    ) -> None:
        self._pool, self._urls, self._purged, self._counts = pool, urls, purged, counts
        self._read_to = 0
        self._paths: list[str] = []
        self._entities: list[tuple[str, str]] = []
        self._written: Counter[str] = Counter()
        self._floor: Counter[str] = Counter()
        """The highest title of each whose purge is done: nobody may see a lower one from then."""
        self.wrong: list[str] = []

    async def prepare(self) -> None:
        for entity, id_, slug in await self._pool.fetch(_FILL, SERIES, EPISODES):
            kind = "series" if entity == "series" else "episodes"
            self._entities.append((entity, id_))
            self._paths += [f"/v1/catalog/{kind}/{id_}", f"/v1/catalog/{kind}/{slug}"]

    async def watch(self, until: float, dice: random.Random) -> None:
        """Write and read, all at the same time, until then."""
        timeout = ClientTimeout(total=_ANSWER_WITHIN_S)
        async with ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            for entity, id_ in self._entities:
                one = random.Random(dice.random())
                tasks.create_task(self._write(entity, id_, until, one))
            for _ in range(_READERS):
                tasks.create_task(self._read(session, until, random.Random(dice.random())))

    async def missing(self) -> str:
        """What is not as it must be in the end: all that was written is purged, and shown."""
        self._hear()
        late = [id_ for _, id_ in self._entities if self._floor[id_] < self._written[id_]]
        if late:
            return f"not purged: {late}"
        async with ClientSession(timeout=ClientTimeout(total=_ANSWER_WITHIN_S)) as session:
            for url in self._urls:
                for path in self._paths * 2:
                    if not await self._ask(session, url + path):
                        return f"no answer: {url}{path}"
        return ""

    async def touch_all(self) -> None:
        """Whatever of the writes was in a gap has an event now."""
        for entity, id_ in self._entities:
            await self._retitle(entity, id_)

    async def _write(self, entity: str, id_: str, until: float, dice: random.Random) -> None:
        while time.monotonic() < until:
            number = await self._retitle(entity, id_)
            with suppress(TimeoutError):
                async with asyncio.timeout(_CONFIRMED_WITHIN_S):
                    while self._floor[id_] < number:
                        await asyncio.sleep(0.005)
                        self._hear()
                    self._counts["changes seen purged"] += 1
            await asyncio.sleep(dice.uniform(0, 0.05))

    async def _retitle(self, entity: str, id_: str) -> int:
        self._written[id_] += 1
        await self._pool.execute(_RETITLE[entity], id_, str(self._written[id_]))
        self._counts["changes"] += 1
        return self._written[id_]

    async def _read(self, session: ClientSession, until: float, dice: random.Random) -> None:
        while time.monotonic() < until:
            asked = await self._ask(session, dice.choice(self._urls) + dice.choice(self._paths))
            if not asked:
                await asyncio.sleep(0.02)

    async def _ask(self, session: ClientSession, url: str) -> bool:
        """Whether the viewer is there. What it must not say any more is noted."""
        floor = Counter(self._floor)
        try:
            async with session.get(url) as response:
                status, cache = response.status, response.headers.get("X-Cache")
                page = await response.json()
        except (ClientError, OSError, TimeoutError):
            self._counts["viewers not there"] += 1
            return False
        if status != 200:
            self.wrong.append(f"{url}: {status} {page}")
            return True
        self._counts[f"pages, {cache}"] += 1
        for id_, title in titles_in(page):
            if int(title) < floor[id_]:
                self.wrong.append(f"{url} ({cache}): {id_} is {title}, was purged at {floor[id_]}")
        return True

    def _hear(self) -> None:
        """What the invalidators have written down since the last time."""
        if not self._purged.exists():
            return
        with self._purged.open("rb") as file:
            file.seek(self._read_to)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        for line in whole.decode().splitlines():
            id_, _, title = line.partition(" ")
            if title:
                self._floor[id_] = max(self._floor[id_], int(title))


def titles_in(page: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The title of each thing on a page, by its id."""
    yield page["id"], page["title"]
    if series := page.get("series"):
        yield series["id"], series["title"]
    for episode in page.get("episodes", ()):
        yield episode["id"], episode["title"]

"""Everything at once: after the purge of a change nobody gets a page from before it."""

# ruff: noqa: S311 - the dice are to fall the same again

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from aiohttp import ClientSession
from processes import Publisher
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis_servers import free_port, running
from test_chaos import SECONDS, SEED
from viewer_judge import Judge
from viewer_programs import INVALIDATOR, VIEWER, Program, Programs, viewer_programs

from embedded.valkey import Valkey

_VIEWERS, _INVALIDATORS = 2, 2
_LEVEL_WITHIN_S = 60.0
_TOUCH_EVERY_S = 3.0

Strike = Callable[[], Awaitable[object]]


@pytest.mark.timeout(240 + 3 * SECONDS)
async def test_no_page_from_before_a_change_is_served_after_its_purge_whatever_happens(
    database: str, tmp_path: Path
) -> None:
    counts: Counter[str] = Counter()
    ports = [free_port() for _ in range(_VIEWERS)]
    told = {
        "DATABASE_URL": database,
        "CDN_BASE_URL": "https://cdn.example.com",
        "ALLOW_UNAUTHENTICATED": "1",
        "CACHE_HTTP_ADDRESS": "off",
        "PURGED": str(tmp_path / "purged"),
    }
    with running(tmp_path / "redis") as store:
        told["REDIS_URL"] = store.url
        publisher = Publisher(
            tmp_path / "publisher.log", {"DATABASE_URL": database, "REDIS_URL": store.url}
        )
        try:
            with viewer_programs(tmp_path, told) as programs:
                async with asyncpg.create_pool(database, min_size=0, max_size=12) as pool:
                    urls = [f"http://127.0.0.1:{port}" for port in ports]
                    judge = Judge(pool, urls, tmp_path / "purged", counts)
                    await judge.prepare()
                    storm = Storm(store, programs, ports, judge, counts)
                    await storm.rage(SEED, SECONDS)
                    await storm.end_well(urls)
        finally:
            publisher.kill()
            print(f"\nviewer chaos: SEED={SEED} {dict(sorted(counts.items()))}")  # noqa: T201
    assert judge.wrong == []
    assert min(counts[name] for name in ("pages, hit", "pages, miss", "changes seen purged")) > 0


class Storm:
    """What befalls the processes and their Redis."""

    def __init__(
        self,
        store: Valkey,
        programs: Programs,
        ports: list[int],
        judge: Judge,
        counts: Counter[str],
    ) -> None:
        self._store, self._programs, self._judge, self._counts = store, programs, judge, counts
        addresses = [{"VIEWER_HTTP_ADDRESS": f"127.0.0.1:{port}"} for port in ports]
        self._members = [programs.start(VIEWER, **address) for address in addresses]
        self._members += [programs.start(INVALIDATOR) for _ in range(_INVALIDATORS)]

    async def rage(self, seed: int, seconds: float) -> None:
        dice = random.Random(seed)
        await self._calm()
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._judge.watch(until, dice))
            tasks.create_task(self._strike_members(until, random.Random(dice.random())))
            tasks.create_task(self._strike_redis(until, random.Random(dice.random())))
        await self._calm()

    async def end_well(self, urls: list[str]) -> None:
        """Probes are content; and whoever is asked to end does so in good order."""
        async with ClientSession() as session:
            for url in urls:
                async with session.get(f"{url}/readyz") as response:
                    assert (await response.json())["ready"]
                async with session.get(f"{url}/metrics") as response:
                    assert "content_cache_events_total{" in await response.text()
        for member in self._members:
            member.send(signal.SIGTERM)
        for member in self._members:
            code = await asyncio.to_thread(member.wait, 15)
            # One that had not begun yet has nothing to end.
            assert (code, '.stopped"' in member.tail()) in ((0, True), (-15, False)), member.tail()
            assert code == 0 or '.started"' not in member.tail()

    async def _calm(self) -> None:
        """All is purged and shown in the end."""
        started, touched, missing = time.monotonic(), 0.0, "everything"
        while missing:
            self._check()
            if time.monotonic() - started > _LEVEL_WITHIN_S:
                tails = "\n\n".join(member.tail() for member in self._members)
                pytest.fail(f"{missing}; {self._judge.wrong[:5]}\n{tails}")
            if time.monotonic() - touched > _TOUCH_EVERY_S:
                # What is made up for at once, as by whoever begins anew, is not told one by one.
                await self._judge.touch_all()
                touched = time.monotonic()
            await asyncio.sleep(0.02)
            missing = await self._judge.missing()

    def _check(self) -> None:
        for member in self._members:
            assert member.is_running, member.tail()

    async def _strike_members(self, until: float, dice: random.Random) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(dice.uniform(0.4, 2.0))
            number = dice.randrange(len(self._members))
            member = self._members[number]
            assert member.is_running, member.tail()
            if dice.random() < 0.5:
                # Between a read and a fill perhaps, or in the middle of a purge.
                member.send(signal.SIGSTOP)
                await asyncio.sleep(dice.uniform(0, 1.5))
                member.send(signal.SIGCONT)
                self._counts["processes frozen"] += 1
            else:
                member.kill()
                self._members[number] = self._anew(member)
                self._counts["processes killed"] += 1

    def _anew(self, member: Program) -> Program:
        own = {"VIEWER_HTTP_ADDRESS": member.environment.get("VIEWER_HTTP_ADDRESS", "")}
        return self._programs.start(member.words, **own)

    async def _strike_redis(self, until: float, dice: random.Random) -> None:
        async with Redis.from_url(self._store.url, retry=Retry(NoBackoff(), 0)) as redis:
            strikes: dict[str, Strike] = {
                "FLUSHALL": redis.flushall,
                "saved, restored later": lambda: self._restored(redis, dice),
                "restarted without its data": self._restarted_empty,
                "connections cut": lambda: redis.client_kill_filter(_type="normal", skipme=True),
                "scripts flushed": redis.script_flush,
                "full": lambda: self._full(redis, dice),
                "frozen": lambda: self._frozen(dice),
            }
            while time.monotonic() < until:
                await asyncio.sleep(dice.uniform(0.2, 1.0))
                name = dice.choice(list(strikes))
                with suppress(RedisError, OSError):
                    await strikes[name]()
                    self._counts[f"Redis {name}"] += 1

    async def _restored(self, redis: Redis, dice: random.Random) -> None:
        await redis.save()
        await asyncio.sleep(dice.uniform(0.1, 1.0))
        await asyncio.to_thread(self._store.kill)
        await asyncio.to_thread(self._store.start)

    async def _restarted_empty(self) -> None:
        await asyncio.to_thread(self._store.kill)
        (self._store.home / "dump.rdb").unlink(missing_ok=True)
        await asyncio.to_thread(self._store.start)

    async def _full(self, redis: Redis, dice: random.Random) -> None:
        await redis.config_set("maxmemory", 1)
        try:
            await asyncio.sleep(dice.uniform(0.1, 0.6))
        finally:
            await redis.config_set("maxmemory", 0)

    async def _frozen(self, dice: random.Random) -> None:
        pid = int(self._store.pid_file.read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(dice.uniform(0.05, 0.6))
        finally:
            os.kill(pid, signal.SIGCONT)

"""The publisher is killed before and after each statement of one pass, in turn."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from faulty_proxy import Cut, FaultyProxy, Message
from forked import Forked, Nursery, nursery
from processes import eventually
from redis.asyncio import Redis
from wire import PostgresTalk, RedisTalk, Side

from embedded.postgres import Postgres
from embedded.valkey import Valkey

EVERY = int(os.environ.get("KILL_POINTS_EVERY", "23"))
"""1 takes all points, which is a matter of minutes."""
POINTS_OF_TWO = 250
"""The other may have done all before the last of them is reached."""
LIMITS = {"PUBLISHER_BATCH_SIZE": "3"}
ONE, TWO = ["catalog:events"], ["catalog:events:{0}", "catalog:events:{1}"]
# A statement of PostgreSQL is executed by E (or Q), and committed by S; Z says that it is.
STATEMENTS = {(Side.CLIENT, "startup"), (Side.CLIENT, "E"), (Side.CLIENT, "S")}
STATEMENTS |= {(Side.CLIENT, "Q"), (Side.SERVER, "Z")}
EMPTY = """
TRUNCATE outbox.event, outbox.tick, outbox.epoch, outbox.checkpoint, outbox.lease, outbox.member,
    outbox.attempt, outbox.dead_letter
"""
WRITE = """
INSERT INTO outbox.event_1 (entity, entity_id, operation, payload)
SELECT 'series', 'entity ' || n % 3, 'update', format('{"n":%s}', n)
  FROM generate_series($1::int, $2::int) AS n
"""
EXPIRE = "UPDATE outbox.{} SET expires_at = '-infinity' WHERE split_part(holder, '/', 2) = $1"


@dataclass
class Executioner:
    """Counts the messages of one publisher on their way, and kills it at one of them."""

    at: int
    victim: Forked | None = None
    seen: int = 0
    words: Counter[str] = field(default_factory=Counter)

    def hook(self, server: str, counts: Callable[[Message], bool]) -> Callable[[Message], Any]:
        async def meet(message: Message) -> None:
            if counts(message):
                self.seen += 1
                if self.seen == self.at and self.victim:
                    self.words[f"{server} {message.side.value} {message.name}"] += 1
                    self.victim.kill()
                    raise Cut
            await message.pass_on()

        return meet


@dataclass
class Place:
    """Two servers, with proxies before them, and where publishers are forked."""

    dsn: str
    redis_url: str
    proxied: dict[str, str]
    postgres: FaultyProxy
    valkey: FaultyProxy
    writer: asyncpg.Connection
    redis: Any
    forks: Nursery

    def start(self, keys: list[str], urls: dict[str, str] | None = None) -> Forked:
        direct = {"DATABASE_URL": self.dsn, "REDIS_URL": self.redis_url}
        partitions = {"CATALOG_EVENT_STREAM_PARTITIONS": str(len(keys))}
        return self.forks.start(**LIMITS, **partitions, **(urls or direct))

    def expect(self, executioner: Executioner) -> None:
        self.postgres.hook = executioner.hook(
            "postgresql", lambda message: (message.side, message.name) in STATEMENTS
        )
        self.valkey.hook = executioner.hook("redis", lambda _: True)

    async def bury(self, fork: Forked) -> None:
        """As if it had been dead for as long as a lease lasts."""
        fork.kill()
        for table in ("lease", "member"):
            await self.writer.execute(EXPIRE.format(table), str(fork.pid))

    async def streams(self, keys: list[str]) -> list[list[tuple[str, str]]]:
        return [
            [(f["entityId"], f["payload"]) for _, f in await self.redis.xrange(key)] for key in keys
        ]

    async def expected(self, keys: list[str]) -> list[list[tuple[str, str]]]:
        """All that was committed, in the order of one writer."""
        rows = await self.writer.fetch(
            "SELECT entity_id, payload, outbox.partition_of(entity_id, $1) AS number"
            " FROM outbox.event ORDER BY id",
            len(keys),
        )
        return [
            [(row["entity_id"], row["payload"]) for row in rows if row["number"] == number]
            for number in range(len(keys))
        ]

    async def is_level(self, keys: list[str]) -> bool:
        """Whether each stream holds all, and its checkpoint says so."""
        if await self.streams(keys) != await self.expected(keys):
            return False
        newest = await self.writer.fetchval("SELECT max(ms) FROM outbox.tick")
        rows = await self.writer.fetch("SELECT name FROM outbox.checkpoint WHERE ms >= $1", newest)
        return {row["name"] for row in rows} >= set(keys)


@pytest.fixture
async def place(
    own_database: str, own_redis_url: str, postgres: Postgres, valkey: Valkey, tmp_path: Path
) -> AsyncIterator[Place]:
    async with AsyncExitStack() as opened:
        before_postgres = FaultyProxy(PostgresTalk, postgres.socket_path)
        before_valkey = FaultyProxy(RedisTalk, valkey.socket_path)
        await opened.enter_async_context(
            before_postgres.listening(tmp_path / postgres.socket_path.name)
        )
        await opened.enter_async_context(before_valkey.listening(tmp_path / "redis.sock"))
        base = own_database.split("?", maxsplit=1)[0]
        proxied = {
            "DATABASE_URL": f"{base}?host={tmp_path}&port=5432",
            "REDIS_URL": f"unix://{tmp_path}/redis.sock",
        }
        writer = await asyncpg.connect(own_database)
        opened.push_async_callback(writer.close)
        redis = await opened.enter_async_context(
            Redis.from_url(own_redis_url, decode_responses=True)
        )
        forks = opened.enter_context(nursery(tmp_path))
        yield Place(
            *(own_database, own_redis_url, proxied, before_postgres, before_valkey),
            *(writer, redis, forks),
        )


async def something_to_do(place: Place) -> None:
    """Events that are in a tick, and events that are not."""
    number = await place.writer.fetchval("SELECT count(*) FROM outbox.event")
    await place.writer.execute(WRITE, number, number + 4)
    await place.writer.execute("SELECT outbox.make_tick()")
    await place.writer.execute(WRITE, number + 5, number + 7)


async def one_point(place: Place, keys: list[str], executioner: Executioner, beside: int) -> bool:
    """Whether the publisher was killed before its pass was over; *beside* others publish, too."""
    place.expect(executioner)
    executioner.victim = victim = place.start(keys, place.proxied)
    others = [place.start(keys) for _ in range(beside)]

    async def killed_or_over() -> bool:
        return not victim.is_running or await place.is_level(keys)

    async def is_over() -> bool:
        return await place.is_level(keys)

    try:
        await eventually(killed_or_over)
        was_killed = not victim.is_running
        executioner.victim = None
        await place.bury(victim)
        others = others or [place.start(keys)]
        await eventually(is_over)
    finally:
        for fork in (victim, *others):
            await place.bury(fork)
    assert await place.streams(keys) == await place.expected(keys)
    assert await place.writer.fetchval("SELECT count(*) FROM outbox.dead_letter") == 0
    return was_killed


@pytest.mark.timeout(1800 if EVERY == 1 else 240)
@pytest.mark.parametrize("begins", ["for the first time", "again", "after a loss"])
async def test_killed_at_any_point_of_a_pass_it_goes_on_exactly(place: Place, begins: str) -> None:
    at, words = 1, Counter[str]()
    while True:
        if begins != "again":
            await place.writer.execute(EMPTY)
            await place.redis.flushall()
        await something_to_do(place)
        if begins == "after a loss":
            await one_point(place, ONE, Executioner(0), 0)
            await place.redis.flushall()
            await something_to_do(place)
        executioner = Executioner(at)
        if not await one_point(place, ONE, executioner, 0):
            break
        words += executioner.words
        at += EVERY
    report(words, executioner.seen)


@pytest.mark.timeout(1800 if EVERY == 1 else 240)
@pytest.mark.parametrize("keys", [ONE, TWO], ids=["one stands by", "each has a partition"])
async def test_with_two_publishers_the_other_goes_on_exactly(place: Place, keys: list[str]) -> None:
    words = Counter[str]()
    for at in range(1, POINTS_OF_TWO, EVERY):
        await something_to_do(place)
        executioner = Executioner(at)
        await one_point(place, keys, executioner, 1)
        words += executioner.words
    report(words, POINTS_OF_TWO)


def report(words: Counter[str], points: int) -> None:
    print(f"killed at {words.total()} of {points} points: {dict(words)}")  # noqa: T201
    assert words.total() > 100 / EVERY

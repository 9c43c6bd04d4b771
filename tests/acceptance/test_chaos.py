"""Everything at once: whatever goes wrong, the streams hold each committed event once, in order."""

# ruff: noqa: S311 - the dice are to fall the same again

import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import chaos_failover
import chaos_postgres
import chaos_processes
import chaos_redis
import pytest
from chaos_check import committed, content_of, differences, forgotten, live_rows
from chaos_faults import Deck
from chaos_reader import Reader
from chaos_report import show, what_publishers_said
from chaos_world import World, admin_of, end, prepare, stores
from chaos_writers import Writer, keep_adding
from faulty_proxy import FaultyProxy
from processes import ROOT
from servers import IN_A_HURRY
from wire import RedisTalk

from embedded.postgres import Postgres

SECONDS = float(os.environ.get("CHAOS_SECONDS", "15"))
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**9))
PARTITIONS = int(os.environ.get("CHAOS_PARTITIONS") or random.Random(SEED).choice([1, 3]))
KEY = "catalog:events"
WRITERS = 10
STRETCH_S = 30.0
"""So long faults go on; then there is calm, and everything must be published."""
CALM_WITHIN_S = 60.0
LONG_S = 180
"""From here on each fault must have come up."""
# What kills and what loses comes up more often, so that a short run has its share of it.
HEAVY = [*chaos_processes.FAULTS, *chaos_redis.LOSSES, *chaos_failover.LOSSES]
LIGHT = [*chaos_redis.FAULTS, *chaos_failover.FAULTS, *chaos_postgres.FAULTS]
_POSTGRES = IN_A_HURRY | {"max_connections": "100", "deadlock_timeout": "50ms"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    postgres = Postgres(tmp_path / "postgres", _POSTGRES)
    postgres.start()
    store, spare = stores(tmp_path / "stores")
    proxy = FaultyProxy(RedisTalk, store.socket_path)
    keys = [KEY] if PARTITIONS == 1 else [f"{KEY}:{{{n}}}" for n in range(PARTITIONS)]
    try:
        await prepare(postgres)
        socket = tmp_path / "proxy.sock"
        async with proxy.listening(socket):
            url = f"unix://{socket}?socket_timeout=2"
            world = World(postgres, store, spare, proxy, url, tmp_path, keys)
            try:
                yield world
            finally:
                for publisher in world.everyone:
                    publisher.kill()
    finally:
        for server in (postgres, store, spare):
            server.kill()


@pytest.mark.timeout(300 + 3 * SECONDS)
async def test_the_stream_holds_each_committed_event_once_and_in_order(world: World) -> None:
    title = f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g} CHAOS_PARTITIONS={PARTITIONS}"
    print(f"\n{title} {world.folder}", flush=True)  # noqa: T201 - to run it again
    dice = random.Random(SEED)
    heavy = Deck(HEAVY, random.Random(dice.random()), pause_s=(0.2, 2))
    light = Deck(LIGHT, random.Random(dice.random()), pause_s=(0.5, 4))
    # Rare: while somebody else writes, events that are not in the stream yet change their IDs.
    with_foreign = PARTITIONS == 1 and dice.random() < 0.5
    reader = Reader(world.redis_url, world.keys, random.Random(dice.random()))
    world.publishers = [world.start_publisher() for _ in range(dice.choice([2, 3]))]

    started = time.monotonic()
    recoveries = await storm(world, [heavy, light, light], reader, dice, with_foreign=with_foreign)
    took_s = time.monotonic() - started
    for publisher in world.publishers:
        await end(publisher)
    async with admin_of(world.store) as redis:
        content = await content_of(redis, world.keys)
    async with connected(world) as connection:
        written, rows = await committed(connection), await live_rows(connection)
        dead_letters = await connection.fetchval("SELECT count(*) FROM outbox.dead_letter")

    events = sum(map(len, written.values()))
    figures = {
        "events committed": f"{events:,}",
        "events a second": f"{events / took_s:,.0f}",
        "IDs that a reader saw": f"{len(reader):,}",
        "all published after, s (median, most)": (
            f"{statistics.median(recoveries):.1f}, {max(recoveries):.1f}"
        ),
        **{name: f"{count:,}" for name, count in sorted(world.counts.items())},
    }
    show(title, figures, [heavy, light], what_publishers_said(world.everyone))
    assert content.wrong == []
    assert differences(content.histories, written) == []
    assert content.rows == rows
    assert reader.changed == []
    strict = not world.counts["foreign entries"]
    assert forgotten(reader.seen, content.digests, strict=strict) == []
    assert dead_letters == 0
    verdict = await verified(world)
    assert verdict == ({"foreign": len(content.foreign)} if content.foreign else {})
    assert min(world.counts[name] for name in ("committed", "rolled back")) > 0
    if SECONDS >= LONG_S:
        assert min({**heavy.struck, **light.struck}.values()) > 0


async def storm(
    world: World, imps: list[Deck], reader: Reader, dice: random.Random, *, with_foreign: bool
) -> list[float]:
    """Faults, and calm after them, again and again; how long it took until all was published."""
    recoveries, stop = list[float](), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(reader.run(stop))
        await recovered(world, reader, "start")
        until = time.monotonic() + SECONDS
        for _ in range(WRITERS):
            writer = Writer(world.dsn, random.Random(dice.random()), world.counts)
            tasks.create_task(writer.run(until))
        adding = keep_adding(world.dsn, random.Random(dice.random()), until, world.counts)
        tasks.create_task(adding)
        while time.monotonic() < until:
            calm = min(until, time.monotonic() + STRETCH_S)
            await asyncio.gather(
                *(deck.play(world, random.Random(dice.random()), calm) for deck in imps)
            )
            world.counts["IDs that a reader saw before calm"] = len(reader)
            if with_foreign:
                await chaos_redis.write_foreign(world, dice)
            recoveries.append(await recovered(world, reader, str(len(recoveries))))
        stop.set()
    return recoveries


async def recovered(world: World, reader: Reader, name: str) -> float:
    """Write now that all is healthy, and see it come; what was written before is there, too."""
    world.check_publishers()
    started = time.monotonic()
    marks = await world.sql(_MARK, f"{name}-", 8 * len(world.keys))
    if missing := await reader.wait_for(set(marks), within_s=CALM_WITHIN_S):
        ends = "\n".join(publisher.text()[-2000:] for publisher in world.publishers)
        pytest.fail(f"{len(missing)} of {len(marks)} new events did not come:\n{ends}")
    return time.monotonic() - started


_MARK = (
    "WITH new AS (INSERT INTO catalog.category (slug, name)"
    " SELECT $1::text || n, 'Name' FROM generate_series(1, $2::int) AS n"
    " ON CONFLICT (slug) DO UPDATE SET name = excluded.name RETURNING id)"
    " SELECT array_agg(id::text) FROM new"
)


@asynccontextmanager
async def connected(world: World) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(world.dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def verified(world: World) -> dict[str, int]:
    """What differs, says the project's own audit."""
    environment = {"DATABASE_URL": world.dsn, "REDIS_URL": world.store.url}
    environment["CATALOG_EVENT_STREAM_PARTITIONS"] = str(len(world.keys))
    audit = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "publisher", "verify", "--json"),
        cwd=ROOT,
        env=dict(os.environ) | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await audit.communicate()
    found: dict[str, int] = json.loads(said)["differences"]
    return {kind: count for kind, count in found.items() if count}

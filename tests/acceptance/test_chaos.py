"""Everything at once: whatever goes wrong, the streams hold each committed event once, in order."""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from chaos_check import committed, content_of, differences, forgotten, live_rows, unseen
from chaos_report import Tally
from chaos_storm import Episode, Storm
from chaos_world import World, admin_of, end, prepare, stores
from faulty_proxy import FaultyProxy
from processes import ROOT
from servers import IN_A_HURRY
from wire import RedisTalk

from embedded.postgres import Postgres

SECONDS = float(os.environ.get("CHAOS_SECONDS", "8"))
_RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"{random.SystemRandom().randrange(10**9):x}"
"""The same in every process of a run."""
SEED = int(os.environ.get("CHAOS_SEED") or int(_RUN, 16) % 10**9)
PARTITIONS = int(os.environ.get("CHAOS_PARTITIONS") or 0)
"""0: one and three in turn."""
KEY = "catalog:events"
EPISODE_S = 300
"""What goes on for longer begins anew with an empty catalog, or it would put back ever more."""
LONG_S = 180
"""From here on each fault must have come up."""
_POSTGRES = IN_A_HURRY | {"max_connections": "100", "deadlock_timeout": "50ms"}


def episodes() -> list[Episode]:
    count = max(round(SECONDS / EPISODE_S), 1)
    return [
        Episode(seed, SECONDS / count, PARTITIONS or (1 if seed % 2 else 3))
        for seed in range(SEED, SEED + count)
    ]


@pytest.fixture(scope="module")
def total() -> Iterator[Tally]:
    """Of all episodes; printed in the end."""
    total = Tally(f"chaos: {len(episodes())} episodes, SEED={SEED}")
    yield total
    if len(episodes()) > 1 and total.recoveries_s:
        total.show()


@pytest.fixture
async def world(episode: Episode, tmp_path: Path) -> AsyncIterator[World]:
    postgres = Postgres(tmp_path / "postgres", _POSTGRES)
    postgres.start()
    store, spare = stores(tmp_path / "stores")
    proxy = FaultyProxy(RedisTalk, store.socket_path)
    numbers = range(episode.partitions)
    keys = [KEY] if episode.partitions == 1 else [f"{KEY}:{{{number}}}" for number in numbers]
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


@pytest.mark.timeout(300 + 3 * min(SECONDS, 2 * EPISODE_S))
@pytest.mark.parametrize("episode", episodes(), ids=str)
async def test_the_stream_holds_each_committed_event_once_and_in_order(
    episode: Episode, world: World, total: Tally
) -> None:
    print(f"\n{episode} in {world.folder}", flush=True)  # noqa: T201 - to look on
    storm, tally, started = Storm(episode, world), Tally(f"chaos: {episode}"), time.monotonic()
    await storm.rage()
    for publisher in world.publishers:
        await end(publisher)
    tally.took_s, tally.recoveries_s = time.monotonic() - started, storm.recoveries_s

    async with admin_of(world.store) as redis:
        content = await content_of(redis, world.keys)
    connection = await asyncpg.connect(world.dsn)
    written, rows = await committed(connection), await live_rows(connection)
    dead_letters = await connection.fetchval("SELECT count(*) FROM outbox.dead_letter")
    await connection.close()
    world.counts["events committed"] = sum(map(len, written.values()))
    world.counts["IDs that a reader saw"] = len(storm.reader)
    tally.counts = world.counts
    tally.add_deck(storm.heavy)
    tally.add_deck(storm.light)
    tally.add_words(world.everyone)
    tally.show()
    total.add(tally)

    assert content.wrong == []
    assert differences(content.histories, written) == []
    assert content.rows == rows
    assert storm.reader.changed == []
    strict = not world.counts["foreign entries"]
    assert forgotten(storm.reader.seen, content.digests, strict=strict) == []
    if strict:
        assert unseen(storm.reader.seen, content.digests) == []
    assert dead_letters == 0
    assert await audited(world) == ({"foreign": len(content.foreign)} if content.foreign else {})
    assert min(world.counts[name] for name in ("committed", "rolled back")) > 0
    if episode.seconds >= LONG_S:
        assert min(tally.struck.values()) > 0


async def audited(world: World) -> dict[str, int]:
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

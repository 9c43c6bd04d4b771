"""Everything at once: no effect is lost or out of order per entity, and every copy comes level."""

import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from catalog_writers import FILLED
from consumer_forks import consumer_nursery
from consumer_judges import InboxJudge, LanesJudge, Observer, SearchJudge
from consumer_roles import TABLE
from consumer_storm import Storm, World
from redis_servers import free_port, running
from rich.console import Console
from rich.table import Table
from servers import IN_A_HURRY, with_schema
from snapshot_forks import TOKEN, snapshot_nursery
from test_chaos import SEED

from embedded.postgres import Postgres

SECONDS = float(os.environ.get("CHAOS_SECONDS", "6"))
_POSTGRES = IN_A_HURRY | {"max_connections": "200", "deadlock_timeout": "50ms", "jit": "off"}
_KEEP_S = 3600.0
"""For how long the feed remembers removals."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Postgres]:
    postgres = Postgres(tmp_path / "postgres", _POSTGRES)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.kill()


@pytest.mark.timeout(240 + 3 * SECONDS)
async def test_no_effect_is_lost_or_out_of_order_whatever_happens_to_consumers(
    server: Postgres, tmp_path: Path
) -> None:
    print(f"\nconsumer chaos: SEED={SEED} SECONDS={SECONDS:g} in {tmp_path}", flush=True)  # noqa: T201
    started, port = time.monotonic(), free_port()
    effects, gaps, index = (tmp_path / name for name in ("effects", "gaps", "search.db"))
    with running(tmp_path / "redis") as store:
        async with (
            with_schema(server) as dsn,
            asyncpg.create_pool(dsn, min_size=0, max_size=4) as pool,
        ):
            for statement in (TABLE, *FILLED):
                await pool.execute(statement)
            told = {
                "DATABASE_URL": dsn,
                "REDIS_URL": store.url,
                "EFFECTS": str(effects),
                "GAPS": str(gaps),
                "CHECKPOINTS": str(tmp_path / "checkpoints"),
                "SEARCH_INDEX": str(index),
                "SNAPSHOT_ADDRESS": f"127.0.0.1:{port}",
                "SERVICE_AUTH_TOKEN": TOKEN,
                "CONSUMER_HTTP_ADDRESS": "off",
                "CONSUMER_LEASE_S": "1",
                "LOG_LEVEL": "debug",
            }
            with (
                snapshot_nursery(tmp_path, keep_s=_KEEP_S) as snapshots,
                consumer_nursery(tmp_path, told) as consumers,
            ):
                world = World(dsn, store, tmp_path, snapshots, consumers, port)
                judges: list[Observer] = [
                    LanesJudge(pool, effects, gaps, world.trimmed, world.counts),
                    InboxJudge(pool, world.counts),
                    SearchJudge(pool, index, world.counts),
                ]
                try:
                    await Storm(world, judges, SEED, SECONDS).rage(pool)
                finally:
                    world.end()
                    show(world.counts, time.monotonic() - started)

    counts = world.counts
    assert min(counts[name] for name in ("events", "documents compared", "storms")) > 0
    assert counts["rows of the inbox consumer compared"] > 0


def show(counts: Counter[str], took_s: float) -> None:
    """Print what was counted."""
    table = Table("what", "count", title=f"consumer chaos: SEED={SEED}, {took_s:.0f} s")
    table.columns[1].justify = "right"
    for name, count in sorted(counts.items()):
        table.add_row(name, f"{count:,}")
    Console(width=100).print(table)

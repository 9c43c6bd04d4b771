"""Everything at once: at every end of a sync, a client holds what the tables hold at that tick."""

import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from feed_truth import Historian
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table
from servers import IN_A_HURRY, with_schema
from snapshot_clients import Begin, Judge
from snapshot_forks import snapshot_nursery
from snapshot_storm import KEEP_S, Storm, World, prepare
from test_chaos import SECONDS, SEED

from embedded.postgres import Postgres

_POSTGRES = IN_A_HURRY | {"max_connections": "200", "deadlock_timeout": "50ms", "jit": "off"}
_KEPT_IDS = 300
_ENDS_A_SECOND = 0.5
"""At the least: of syncs that came to their end while everybody wrote."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Postgres]:
    postgres = Postgres(tmp_path / "postgres", _POSTGRES)
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.kill()


@pytest.mark.timeout(240 + 2 * SECONDS)
async def test_at_every_end_of_a_sync_the_client_holds_what_the_tables_hold_at_that_tick(
    server: Postgres, own_redis_url: str, own_redis: Redis, tmp_path: Path
) -> None:
    print(f"\nsnapshot chaos: SEED={SEED} SECONDS={SECONDS:g} in {tmp_path}", flush=True)  # noqa: T201
    started = time.monotonic()
    async with (
        with_schema(server) as dsn,
        asyncpg.create_pool(dsn, min_size=0, max_size=2) as pool,
    ):
        connection = await asyncpg.connect(dsn)
        await prepare(connection)
        judge = Judge(Historian(connection), deque(maxlen=_KEPT_IDS))
        with snapshot_nursery(tmp_path, keep_s=KEEP_S) as nursery:
            world = World(dsn, own_redis_url, tmp_path, nursery)
            try:
                await Storm(world, judge, SEED, SECONDS).rage(pool, own_redis)
            finally:
                world.end()
                await connection.close()
                show(world.counts + judge.counts, time.monotonic() - started)

    ends = {kind: judge.counts[f"ends compared: from {kind}"] for kind in KINDS}
    assert min(ends.values()) > 0, ends
    assert sum(ends.values()) > _ENDS_A_SECOND * SECONDS, ends
    assert judge.counts["broken off"] > 0
    assert world.counts["killed"] > 0


KINDS = (*Begin, "tailing")


def show(counts: Counter[str], took_s: float) -> None:
    """Print what was counted."""
    table = Table("what", "count", title=f"snapshot chaos: SEED={SEED}, {took_s:.0f} s")
    table.columns[1].justify = "right"
    for name, count in sorted(counts.items()):
        table.add_row(name, f"{count:,}")
    Console(width=100).print(table)

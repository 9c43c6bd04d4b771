"""Everything at once: whatever is killed, the stream holds each committed event once, in order."""

# ruff: noqa: S311 - the dice are to fall the same again
# ruff: noqa: S608 - statements are put together out of constants

import asyncio
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from processes import Publisher, eventually
from redis.asyncio import Redis
from servers import IN_A_HURRY, SCHEMA, postgres_running

from embedded.postgres import Postgres
from embedded.valkey import Valkey
from outbox.event import TYPE
from outbox.position import Position

KEY = "catalog:events"
WRITERS = 10
SECONDS = float(os.environ.get("CHAOS_SECONDS", "15"))
SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(10**9))

# What a stream's reader can know of each table: its columns as payloads name them.
TABLES = {
    "category": ("category", {"name": "name", "displayOrder": "display_order"}),
    "series": ("series", {"title": "title", "status": "status", "tags": "tags"}),
    "season": ("season", {"title": "title", "sequenceNumber": "sequence_number"}),
    "episode": ("episode", {"title": "title", "durationSeconds": "duration_seconds"}),
    "mediaAsset": ("media_asset", {"status": "status", "manifestUrl": "manifest_url"}),
}
CONTEXT = {
    "category": {"slug": "slug"},
    "series": {"slug": "slug", "categoryId": "category_id"},
    "season": {"seriesId": "series_id"},
    "episode": {"slug": "slug", "seriesId": "series_id", "seasonId": "season_id"},
    "mediaAsset": {"episodeId": "episode_id"},
}
REFUSED = (
    asyncpg.DeadlockDetectedError,
    asyncpg.ForeignKeyViolationError,
    asyncpg.UniqueViolationError,
)


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    settings = IN_A_HURRY | {"max_connections": "60", "deadlock_timeout": "50ms"}
    with postgres_running(tmp_path_factory.mktemp("chaos") / "postgres", settings) as server:
        yield server


class Writer:
    """One admin tool: random transactions on the catalog, over a connection of its own."""

    def __init__(
        self, connection: asyncpg.Connection, dice: random.Random, counts: Counter[str]
    ) -> None:
        self._connection = connection
        self._dice = dice
        self._counts = counts

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            transaction = self._connection.transaction()
            await transaction.start()
            try:
                for _ in range(self._dice.choice([1, 1, 2, 3, 8])):
                    await self._step()
                    if self._dice.random() < 0.04:
                        # Long enough to outlive a good many ticks.
                        await asyncio.sleep(self._dice.random() ** 4)
            except REFUSED as exc:
                await transaction.rollback()
                self._counts[type(exc).__name__] += 1
                continue
            if self._dice.random() < 0.15:
                await transaction.rollback()
                self._counts["rolled back"] += 1
            else:
                await transaction.commit()
                self._counts["committed"] += 1

    async def _step(self) -> None:
        if self._dice.random() < 0.2:
            savepoint = self._connection.transaction()
            await savepoint.start()
            try:
                await self._write()
            except REFUSED:
                await savepoint.rollback()
                raise
            if self._dice.random() < 0.5:
                await savepoint.rollback()
                self._counts["savepoints rolled back"] += 1
            else:
                await savepoint.commit()
        else:
            await self._write()

    async def _write(self) -> None:
        statement = self._dice.choice(STATEMENTS)
        numbers = [self._dice.randrange(1, 10**6) for _ in set(re.findall(r"\$\d", statement))]
        await self._connection.execute(statement, *numbers)


async def keep_adding(connection: asyncpg.Connection, until: float, counts: Counter[str]) -> None:
    """Write all the time, in nobody's way, so that nothing happens to an idle publisher."""
    while time.monotonic() < until:
        counts["added"] += 1
        await connection.execute(
            "INSERT INTO catalog.category (slug, name) VALUES ($1, 'Name')",
            f"added-{counts['added']}",
        )
        await asyncio.sleep(0.002)


def _some(table: str, *, limit: int = 1) -> str:
    """A few rows of *table*, which $1 picks."""
    return f"SELECT id FROM catalog.{table} ORDER BY md5(id::text || $1::int) LIMIT {limit}"


# Each placeholder is a random number. Few slugs, so that writers meet, and deleted rows come back.
STATEMENTS = [
    (
        "INSERT INTO catalog.category (slug, name) VALUES ('c-' || $1::int % 12, 'N' || $2::int)"
        " ON CONFLICT (slug) DO UPDATE SET name = excluded.name"
    ),
    (
        "INSERT INTO catalog.series (slug, title, synopsis, category_id)"
        " VALUES ('s-' || $1::int % 40, 'Title ' || $2::int, repeat('long ', 500),"
        f" ({_some('category')})) ON CONFLICT (slug) DO UPDATE SET title = excluded.title"
    ),
    (
        "INSERT INTO catalog.season (series_id, sequence_number, title)"
        f" SELECT id, 1 + $2::int % 3, 'Season ' || $2::int FROM ({_some('series')}) AS s"
        " ON CONFLICT (series_id, sequence_number) DO UPDATE SET title = excluded.title"
    ),
    (
        "INSERT INTO catalog.episode (slug, series_id, title, duration_seconds)"
        f" SELECT 'e-' || $2::int % 200, id, 'E', $2::int % 5000 FROM ({_some('series')}) AS s"
        " ON CONFLICT (slug) DO UPDATE SET duration_seconds = excluded.duration_seconds"
    ),
    (
        "INSERT INTO catalog.media_asset (episode_id, status, manifest_url)"
        " SELECT id, 'READY', 'https://cdn.example.com/' || $2::int || '/m.m3u8'"
        f" FROM ({_some('episode', limit=3)}) AS e"
        " ON CONFLICT (episode_id) DO UPDATE SET manifest_url = excluded.manifest_url"
    ),
    (
        "INSERT INTO catalog.media_asset_variant"
        " (media_asset_id, label, width, height, bitrate_kbps, codec)"
        f" SELECT id, 'v' || $2::int % 3, 1, 1, $2::int, 'h264' FROM ({_some('media_asset')}) AS a"
        " ON CONFLICT (media_asset_id, label) DO UPDATE SET bitrate_kbps = excluded.bitrate_kbps"
    ),
    f"UPDATE catalog.series SET title = 'T ' || $2::int WHERE id IN ({_some('series', limit=5)})",
    f"UPDATE catalog.episode SET title = 'E ' || $2::int WHERE id IN ({_some('episode', limit=9)})",
    "UPDATE catalog.series SET status = 'PUBLISHED' WHERE hashtext(slug || $1::int) % 5 = 0",
    "UPDATE catalog.episode SET tags = ARRAY['t' || $1::int] WHERE hashtext(slug) % 9 = $1 % 9",
    (
        "UPDATE catalog.series SET slug = 's-' || $2::int % 40, tags = ARRAY['a', 'b\"' || $2::int]"
        f" WHERE id IN ({_some('series')})"
    ),
    (
        "UPDATE catalog.episode SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END"
        f" WHERE id IN ({_some('episode', limit=2)})"
    ),
    (
        "UPDATE catalog.series SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END,"
        f" title = 'D ' || $2::int WHERE id IN ({_some('series')})"
    ),
    f"DELETE FROM catalog.episode WHERE id IN ({_some('episode', limit=3)})",
    f"DELETE FROM catalog.media_asset WHERE id IN ({_some('media_asset')})",
    f"DELETE FROM catalog.season WHERE id IN ({_some('season')})",
    f"DELETE FROM catalog.series WHERE id IN ({_some('series')}) AND $2::int % 3 = 0",
    # The same entity again, under the id it had.
    (
        "WITH gone AS (DELETE FROM catalog.media_asset"
        f" WHERE id IN ({_some('media_asset')}) RETURNING id, episode_id)"
        " SELECT count(*) FROM gone"
    ),
]


async def keep_killing(
    publishers: list[Publisher],
    start: Any,  # noqa: ANN401 - a function of the test
    dice: random.Random,
    until: float,
    counts: Counter[str],
) -> None:
    """Kill one of *publishers* after the other, and start another in its place."""
    while time.monotonic() < until:
        await asyncio.sleep(dice.uniform(0.2, 1.2))
        number = dice.randrange(len(publishers))
        assert publishers[number].is_running, publishers[number].text()
        publishers[number].kill()
        counts["publishers killed"] += 1
        publishers[number] = start()


async def keep_deleting(
    redis: Redis, dice: random.Random, until: float, counts: Counter[str]
) -> None:
    while time.monotonic() < until - 1:
        await asyncio.sleep(SECONDS * dice.uniform(0.15, 0.35))
        counts["streams deleted"] += await redis.delete(KEY)


@pytest.mark.timeout(120 + 4 * SECONDS)
async def test_the_stream_holds_each_committed_event_once_and_in_order(
    postgres: Postgres, valkey: Valkey, tmp_path: Path
) -> None:
    print(f"CHAOS_SEED={SEED} CHAOS_SECONDS={SECONDS:g}")  # noqa: T201 - to run it again
    dice, counts = random.Random(SEED), Counter[str]()
    dsn = postgres.dsn()
    connections = [await asyncpg.connect(dsn) for _ in range(WRITERS + 2)]
    reader = connections[0]
    await reader.execute(SCHEMA.read_text("utf-8"))
    environment = {"DATABASE_URL": dsn, "REDIS_URL": valkey.url, "PUBLISHER_BATCH_SIZE": "50"}

    def start() -> Publisher:
        counts["publishers started"] += 1
        log_file = tmp_path / f"publisher-{counts['publishers started']}.log"
        return Publisher(log_file, environment)

    until = time.monotonic() + SECONDS
    writers = [Writer(c, random.Random(dice.random()), counts) for c in connections[2:]]
    publishers = [start(), start()]
    try:
        async with Redis.from_url(valkey.url, decode_responses=True) as redis:
            await asyncio.gather(
                *(writer.run(until) for writer in writers),
                keep_adding(connections[1], until, counts),
                keep_killing(publishers, start, random.Random(dice.random()), until, counts),
                keep_deleting(redis, random.Random(dice.random()), until, counts),
            )
            events = await reader.fetch(
                "SELECT id, entity, entity_id, operation, payload,"
                " to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') AS at"
                " FROM outbox.event ORDER BY id"
            )
            counts["events"] = len(events)
            print(dict(counts))  # noqa: T201 - what the run came to

            async def all_there() -> bool:
                return bool(await redis.xlen(KEY) >= len(events))

            try:
                await eventually(all_there)
            except TimeoutError:
                pytest.fail(f"{await redis.xlen(KEY)} of {len(events)} events are in the stream")
            for publisher in publishers:
                publisher.kill()
            found: Any = await redis.xrange(KEY)
    finally:
        for publisher in publishers:
            publisher.kill()
    check_entries(found, events)
    assert replayed(found) == await live_rows(reader)
    assert min(counts[name] for name in ("committed", "rolled back", "publishers killed")) > 0
    assert counts["streams deleted"] > 0
    for connection in connections:
        await connection.close()


def check_entries(found: list[tuple[str, dict[str, str]]], events: list[asyncpg.Record]) -> None:
    """Each committed event once, none that rolled back, IDs ascending, entities in order."""
    positions = [Position.parse(id_) for id_, _ in found]
    assert positions == sorted(set(positions))
    assert all(fields["type"] == TYPE for _, fields in found)
    names = ("entity", "entityId", "operation", "payload", "timestamp")
    sent = [tuple(fields[name] for name in names) for _, fields in found]
    # PostgreSQL's to_char cuts off what the contract rounds: compare the content apart from it.
    committed: list[tuple[str, ...]] = [
        (e["entity"], e["entity_id"], e["operation"], e["payload"]) for e in events
    ]
    assert Counter(entry[:4] for entry in sent) == Counter(committed)
    assert by_entity([entry[:4] for entry in sent]) == by_entity(committed)


def by_entity(entries: list[tuple[str, ...]]) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for entry in entries:
        found.setdefault(entry[:2], []).append(entry[2:])
    return found


def replayed(found: list[tuple[str, dict[str, str]]]) -> dict[tuple[str, str], dict[str, Any]]:
    """What a consumer holds that has applied every entry to an empty catalog."""
    held: dict[tuple[str, str], dict[str, Any]] = {}
    for _, fields in found:
        key = fields["entity"], fields["entityId"]
        payload = json.loads(fields["payload"])
        columns, context = TABLES[key[0]][1], CONTEXT[key[0]]
        match fields["operation"]:
            case "create":
                assert key not in held
                held[key] = {name: payload.get(name) for name in columns}
            case "update":
                held[key] |= {name: payload[name] for name in columns if name in payload}
            case "delete":
                del held[key]
                continue
        held[key] |= {name: payload[name] for name in context}
    return held


async def live_rows(reader: asyncpg.Connection) -> dict[tuple[str, str], dict[str, Any]]:
    """The same out of the tables."""
    held: dict[tuple[str, str], dict[str, Any]] = {}
    for entity, (table, columns) in TABLES.items():
        for row in await reader.fetch(f"SELECT * FROM catalog.{table} WHERE deleted_at IS NULL"):
            held[entity, str(row["id"])] = {
                name: str(value) if isinstance(value := row[column], UUID) else value
                for name, column in (columns | CONTEXT[entity]).items()
            }
    return held

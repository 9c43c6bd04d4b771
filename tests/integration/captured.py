"""What a test writes to the catalog, and what the outbox holds of it."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg

CREATED_AT = "2026-01-02 03:04:05+00"
CREATED_AT_JSON = "2026-01-02T03:04:05+00:00"


@dataclass(frozen=True)
class Change:
    """One event, as far as the catalog decides it."""

    entity: str
    entity_id: str
    operation: str
    payload: dict[str, Any]


async def captured(connection: asyncpg.Connection, *, after: int = 0) -> list[Change]:
    """The events with an id above *after* that *connection* sees, in order of id."""
    rows = await connection.fetch(
        "SELECT entity, entity_id, operation, payload FROM outbox.event WHERE id > $1 ORDER BY id",
        after,
    )
    return [
        Change(row["entity"], row["entity_id"], row["operation"], json.loads(row["payload"]))
        for row in rows
    ]


async def last_id(connection: asyncpg.Connection) -> int:
    """The id of the newest event, 0 without one: what comes later is above it."""
    newest: int = await connection.fetchval("SELECT coalesce(max(id), 0) FROM outbox.event")
    return newest


def by_entity(changes: list[Change]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """The (operation, payload) pairs of each entity id; order holds within an entity only."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for change in changes:
        found.setdefault(change.entity_id, []).append((change.operation, change.payload))
    return found


async def add_series(connection: asyncpg.Connection, count: int = 1) -> list[UUID]:
    """*count* series s-0, s-1, … titled Title, without a category."""
    ids = [uuid4() for _ in range(count)]
    await connection.executemany(
        "INSERT INTO catalog.series (id, slug, title, created_at)"
        " VALUES ($1, $2, 'Title', $3::text::timestamptz)",
        [(series, f"s-{n}", CREATED_AT) for n, series in enumerate(ids)],
    )
    return ids


async def add_assets(connection: asyncpg.Connection, count: int = 1) -> list[tuple[UUID, UUID]]:
    """(asset id, episode id) of *count* assets, each of its own episode of one series."""
    series = await connection.fetchval(
        "INSERT INTO catalog.series (slug, title) VALUES ('of-assets', 'Title') RETURNING id"
    )
    pairs = [(uuid4(), uuid4()) for _ in range(count)]
    await connection.executemany(
        "INSERT INTO catalog.episode (id, slug, series_id, title) VALUES ($1, $2, $3, 'Title')",
        [(episode, f"e-{n}", series) for n, (_, episode) in enumerate(pairs)],
    )
    await connection.executemany(
        "INSERT INTO catalog.media_asset (id, episode_id) VALUES ($1, $2)", pairs
    )
    return pairs


async def add_variants(
    connection: asyncpg.Connection, assets: list[UUID], *labels: str
) -> list[UUID]:
    """The ids of variants *labels* of each of *assets*, added in one statement."""
    rows = await connection.fetch(
        "INSERT INTO catalog.media_asset_variant"
        " (media_asset_id, label, width, height, bitrate_kbps, codec)"
        " SELECT asset, label, 1920, 1080, 6000, 'h264'"
        " FROM unnest($1::uuid[]) AS asset, unnest($2::text[]) AS label RETURNING id",
        assets,
        list(labels),
    )
    return [row["id"] for row in rows]

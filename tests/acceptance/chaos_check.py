"""What must be true in the end: of the streams, of the outbox, and of the two together."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from chaos_reader import Digests, digest
from chaos_redis import FOREIGN

from outbox.event import TYPE
from outbox.position import ORIGIN, Position

_AT_ONCE = 2000

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

Admin = Any  # redis-py's own types fit no command
Entity = tuple[str, str]
Histories = dict[Entity, list[bytes]]
"""What happened to each entity, in order."""
Rows = dict[Entity, dict[str, Any]]


class Content(NamedTuple):
    """What the streams hold in the end."""

    histories: Histories
    rows: Rows
    """What a consumer holds that has applied every entry to an empty catalog."""
    digests: dict[str, Digests]
    foreign: list[str]
    """IDs of entries that are not ours."""
    wrong: list[str]
    """What cannot be so, whatever was written."""


async def content_of(redis: Admin, keys: list[str]) -> Content:
    """Read all of it; IDs are to ascend, and an entity is to be in one stream only."""
    content, home = Content({}, {}, {key: {} for key in keys}, [], []), dict[Entity, str]()
    for key in keys:
        last = ORIGIN
        async for id_, fields in _entries(redis, key):
            before, last = last, Position.parse(id_)
            if last <= before:
                content.wrong.append(f"{key}: {id_} follows {before}")
            content.digests[key][id_] = digest(fields)
            if fields["type"] == FOREIGN:
                content.foreign.append(id_)
                continue
            entity = fields["entity"], fields["entityId"]
            if fields["type"] != TYPE or home.setdefault(entity, key) != key:
                content.wrong.append(f"{key}: {id_} {entity} does not belong here")
            content.histories.setdefault(entity, []).append(
                _event(fields["operation"], fields["payload"], fields["timestamp"])
            )
            if not _apply(content.rows, entity, fields["operation"], json.loads(fields["payload"])):
                content.wrong.append(f"{key}: {id_} {entity} {fields['operation']} out of place")
    return content


async def committed(connection: asyncpg.Connection) -> Histories:
    """What was written, out of the outbox itself."""
    histories: Histories = {}
    async with connection.transaction():
        async for row in connection.cursor(_COMMITTED, prefetch=_AT_ONCE):
            at = datetime.fromtimestamp(row["seconds"], UTC).strftime("%Y-%m-%dT%H:%M:%S")
            said = _event(row["operation"], row["payload"], f"{at}.{row['ms']:03}Z")
            histories.setdefault((row["entity"], row["entity_id"]), []).append(said)
    return histories


# Rounded as the contract says; a column of the select would do, if to_char did not cut off.
_COMMITTED = (
    "SELECT entity, entity_id, operation, payload, ms / 1000 AS seconds, ms % 1000 AS ms"
    " FROM (SELECT *, (date_part('epoch', at) * 1000)::bigint AS ms FROM outbox.event) AS e"
    " ORDER BY id"
)


async def live_rows(connection: asyncpg.Connection | PoolConnectionProxy) -> Rows:
    """What the tables hold, as far as a consumer can know it."""
    held: Rows = {}
    for entity, (table, columns) in TABLES.items():
        statement = f"SELECT * FROM catalog.{table} WHERE deleted_at IS NULL"  # noqa: S608
        for row in await connection.fetch(statement):
            held[entity, str(row["id"])] = {
                name: str(value) if isinstance(value := row[column], UUID) else value
                for name, column in (columns | CONTEXT[entity]).items()
            }
    return held


def differences(found: Histories, written: Histories) -> list[str]:
    """Where the streams do not hold each committed event once, in the order of its entity."""
    wrong = []
    for entity in found.keys() | written.keys():
        had, should = found.get(entity, []), written.get(entity, [])
        if had == should:
            continue
        lost, surplus = Counter(should) - Counter(had), Counter(had) - Counter(should)
        kind = "lost or doubled" if lost or surplus else "out of order"
        wrong.append(f"{entity}: {kind}: {lost.total()} missing, {surplus.total()} too many")
    return wrong


def forgotten(seen: dict[str, Digests], final: dict[str, Digests], *, strict: bool) -> list[str]:
    """IDs that a reader saw and that say something else now, or (*strict*) nothing any more."""
    return [
        f"{key} {id_}"
        for key, digests in seen.items()
        for id_, said in digests.items()
        if final[key].get(id_, None if strict else said) != said
    ]


def unseen(seen: dict[str, Digests], final: dict[str, Digests]) -> list[str]:
    """IDs that passed by a reader who was there all the time: the stream had a gap then."""
    return [f"{key} {id_}" for key in final for id_ in final[key].keys() - seen[key].keys()]


async def _entries(redis: Admin, key: str) -> AsyncIterator[tuple[str, dict[str, str]]]:
    start = "-"
    while page := await redis.xrange(key, start, count=_AT_ONCE):
        for entry in page:
            yield entry
        start = f"({page[-1][0]}"


def _event(operation: str, payload: str, timestamp: str) -> bytes:
    said = f"{operation}\n{timestamp}\n{payload}".encode()
    return blake2b(said, digest_size=16).digest()


def _apply(held: Rows, key: Entity, operation: str, payload: dict[str, Any]) -> bool:
    """Do to *held* what the event says; whether that was possible."""
    possible = (key in held) != (operation == "create")
    if operation == "delete":
        held.pop(key, None)
        return possible
    columns, context = TABLES[key[0]][1], CONTEXT[key[0]]
    if operation == "create":
        held[key] = {name: payload.get(name) for name in columns}
    row = held.setdefault(key, {})
    row |= {name: payload[name] for name in columns if name in payload}
    row |= {name: payload[name] for name in context}
    return possible

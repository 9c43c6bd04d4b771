"""A small catalog that viewers may see, and the events of what is written to it."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from captured import captured, last_id

from consumer.event import Event
from viewer.cache.store import Store
from viewer.keys import tags_of

CDN = "https://cdn.example.com"


class Catalog:
    """Writes rows that viewers may see, unless it is told otherwise."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def category(self, slug: str, **columns: Any) -> UUID:  # noqa: ANN401
        return await self._insert("category", {"slug": slug, "name": slug.title()} | columns)

    async def series(self, slug: str, **columns: Any) -> UUID:  # noqa: ANN401
        shown = {"status": "PUBLISHED", "visibility": "PUBLIC"}
        return await self._insert("series", {"slug": slug, "title": slug.title()} | shown | columns)

    async def season(self, series: UUID, number: int, **columns: Any) -> UUID:  # noqa: ANN401
        known = {"series_id": series, "sequence_number": number, "status": "PUBLISHED"}
        return await self._insert("season", known | columns)

    async def episode(
        self,
        slug: str,
        series: UUID,
        *,
        manifest: str | None = "",
        asset: str = "READY",
        **columns: Any,  # noqa: ANN401
    ) -> UUID:
        """With an asset of this status, and one variant; *manifest* None: without."""
        shown = {"status": "PUBLISHED", "visibility": "PUBLIC", "title": slug.title()}
        episode = await self._insert(
            "episode", {"slug": slug, "series_id": series} | shown | columns
        )
        if manifest is not None:
            url = manifest or manifest_of(slug)
            asset_id = await self._insert(
                "media_asset", {"episode_id": episode, "manifest_url": url, "status": asset}
            )
            await self._insert(
                "media_asset_variant",
                {"media_asset_id": asset_id, "label": "720p", "width": 1280, "height": 720}
                | {"bitrate_kbps": 3000, "codec": "h264", "frame_rate": 25},
            )
        return episode

    async def update(self, table: str, id_: UUID, **columns: Any) -> None:  # noqa: ANN401
        changes = ", ".join(f"{name} = ${n}" for n, name in enumerate(columns, 2))
        await self.connection.execute(
            f"UPDATE catalog.{table} SET {changes} WHERE id = $1",  # noqa: S608
            id_,
            *columns.values(),
        )

    async def _insert(self, table: str, columns: Mapping[str, Any]) -> UUID:
        row: dict[str, Any] = {"id": uuid4(), **columns}
        places = ", ".join(f"${n}" for n in range(1, len(row) + 1))
        await self.connection.execute(
            f"INSERT INTO catalog.{table} ({', '.join(row)}) VALUES ({places})",  # noqa: S608
            *row.values(),
        )
        id_: UUID = row["id"]
        return id_


def manifest_of(slug: str) -> str:
    return f"{CDN}/videos/{slug}/master.m3u8"


class Events:
    """What the tables' own triggers note, purged when the test says so."""

    def __init__(self, connection: asyncpg.Connection, store: Store) -> None:
        self._connection = connection
        self._store = store
        self._seen = 0

    async def purge(self) -> set[str]:
        """Purge what was written since the last time; the keys of the pages that went."""
        events = await self.new()
        tags = {tag for event in events for tag in tags_of(event)}
        return {page.key for page in await self._store.purge(tags)}

    async def new(self) -> list[Event]:
        changes = await captured(self._connection, after=self._seen)
        self._seen = await last_id(self._connection)
        return [
            Event.of(
                "catalog:events",
                f"{number}-0",
                {
                    "type": "catalog.updated",
                    "entity": change.entity,
                    "entityId": change.entity_id,
                    "operation": change.operation,
                    "timestamp": "2026-01-02T03:04:05.678Z",
                    "payload": json.dumps(change.payload),
                },
            )
            for number, change in enumerate(changes, 1)
        ]

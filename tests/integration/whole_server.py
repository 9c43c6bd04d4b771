"""The content service as it is deployed, in its shell, over a feed that was projected."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
from grpclib.health.check import ServiceStatus
from grpclib.health.service import OVERALL, Health
from projecting import projecting

from process.address import Address
from process.tokens import Tokens
from snapshot_server.connections import bulk_pool, unary_pool
from snapshot_server.content.codec import ContentCodec
from snapshot_server.content.limits import Limits
from snapshot_server.content.service import ContentService
from snapshot_server.serving.calls import Calls
from snapshot_server.serving.metrics import Metrics
from snapshot_server.serving.server import GrpcServer

TOKEN = "swordfish"  # noqa: S105
_CATALOG = """
  WITH category AS (
       INSERT INTO catalog.category (slug, name) VALUES ('drama', 'Dráma') RETURNING id
  ), series AS (
       INSERT INTO catalog.series (slug, title, synopsis, category_id, tags, status, visibility,
                                   release_date)
       SELECT 's1', 'Series ✓', '', id, '{a,b}', 'PUBLISHED', 'PUBLIC', '2026-02-28' FROM category
       RETURNING id
  ), season AS (
       INSERT INTO catalog.season (series_id, sequence_number, title)
       SELECT id, 1, 'First' FROM series RETURNING id, series_id
  ), episode AS (
       INSERT INTO catalog.episode (slug, series_id, season_id, title, duration_seconds, status,
                                    visibility, published_at, availability_start, captions)
       SELECT 'e' || n, series_id, id, 'Episode ' || n, n, 'PUBLISHED', 'PUBLIC',
              '2026-01-02 03:04:05.678901+00', '1969-12-31 23:59:59.5+00',
              '{"en": {"label": "English", "url": "https://cdn.example.com/en.vtt"}}'
         FROM season, generate_series(1, 9) AS n
       RETURNING id
  ), asset AS (
       INSERT INTO catalog.media_asset (episode_id, manifest_url, status)
       SELECT id, 'https://cdn.example.com/' || id || '.m3u8', 'READY' FROM episode RETURNING id
  )
INSERT INTO catalog.media_asset_variant (media_asset_id, label, width, height, bitrate_kbps,
                                         codec, frame_rate)
SELECT id, '1080p', 1920, 1080, 6000, 'avc1', 23.976 FROM asset
"""


@dataclass
class Whole:
    """Where it listens, and how its feed follows the tables."""

    port: int
    follow: Callable[[], Awaitable[Any]]
    connection: asyncpg.Connection

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def whole(database: str, connection: asyncpg.Connection) -> AsyncIterator[Whole]:
    """A series and nine episodes with all that may belong to them."""
    await connection.execute(_CATALOG)
    async with (
        projecting(database) as follow,
        bulk_pool(database) as bulk,
        unary_pool(database) as unary,
    ):
        await follow()
        metrics, status = Metrics(), ServiceStatus()
        status.set(True)
        service = ContentService(bulk, unary, Limits(), lambda _: None)
        health = Health({service: [status], OVERALL: [status]})
        server = GrpcServer([service, health], ContentCodec())
        metrics.expect(service.__mapping__())
        calls = Calls(Tokens.parse(TOKEN), metrics)
        calls.of(server)
        address = await server.listen(Address("127.0.0.1", 0), tls=None)
        try:
            yield Whole(address.port, follow, connection)
        finally:
            await server.end(within_s=1)
